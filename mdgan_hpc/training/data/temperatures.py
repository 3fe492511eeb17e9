"""The temperatures of the runs: from the files, or as told."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.crystal.alignment import Alignment
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.temperature import Temperature, levels_of, temperature_of

_REMEDY = "give --temperature once for all runs, or once for each in their order"


def run_temperatures(
    trajectories: Sequence[Trajectory], told_k: Sequence[float] = ()
) -> list[float]:
    """Return the temperature of each run, K; nothing where neither the files nor the user tell it.

    Parameters
    ----------
    trajectories : sequence of Trajectory
    told_k : sequence of float
        For files that do not tell it: one for all runs, or one for each.

    Raises
    ------
    DataError
        If a file tells another temperature, or some runs are at several and one does not tell.
    UsageError
        If the number of those told is not that of the runs.
    """
    if len(told_k) > 1 and len(told_k) != len(trajectories):
        raise UsageError(
            f"{len(told_k)} temperatures are given for {len(trajectories)} runs", remedy=_REMEDY
        )
    found = [temperature_of(trajectory) for trajectory in trajectories]
    each = list(told_k) * (len(found) if len(told_k) == 1 else 1)
    for number, kelvin in enumerate(each):
        told = Temperature(kelvin)
        if told.differs(found[number]):
            raise DataError(
                f"is at {found[number].k:.0f} K, not {kelvin:g} K",
                where=trajectories[number].path,
                remedy="leave --temperature out, or correct it",
            )
        found[number] = told
    levels = levels_of(found)
    known = [k for k in levels if k is not None]
    if len(set(known)) > 1 and len(known) < len(levels):
        raise DataError(
            "does not tell its temperature, and other runs are at several",
            where=trajectories[levels.index(None)].path,
            remedy=_REMEDY,
        )
    # At one temperature, files that do not tell it are of that too.
    return [float(np.mean(known))] * len(levels) if len(set(known)) == 1 else known


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
