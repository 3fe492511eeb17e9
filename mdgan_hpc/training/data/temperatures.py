"""What a model is told of the temperatures of the runs."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.crystal.alignment import Alignment
from mdgan_hpc.models.condition import Temperatures


def temperatures_of(
    run_k: Sequence[float], cells: Sequence[np.ndarray | None], alignment: Alignment
) -> Temperatures:
    """Return the temperatures of runs with their mean cells, where all runs have one."""
    kelvin, boxes = tuple(sorted(set(run_k))), [cell for cell in cells if cell is not None]
    if len(boxes) < len(cells):
        return Temperatures(kelvin)
    numbers = np.array(run_k)
    means = [np.mean(np.array(boxes)[numbers == k], axis=0) for k in kelvin]
    return Temperatures(
        kelvin, np.array(means), alignment.cell if alignment.maps is not None else None
    )
