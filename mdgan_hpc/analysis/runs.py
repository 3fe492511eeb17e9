"""MD runs read whole, in one frame of the lattice where they are of one crystal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.dynamics import open_runs
from mdgan_hpc.crystal import Crystal, NoCrystal, align_frameworks
from mdgan_hpc.errors import DataError


@dataclass(frozen=True)
class MdRuns:
    """MD runs in memory.

    Attributes
    ----------
    positions : list of array, [T, N, 3]
        Unwrapped, Angstrom; of a crystal all in the frame of the first run.
    interval_ps : float
        Between two records.
    cell : array, [3, 3] or None
        Rows are the cell vectors, Angstrom.
    crystal : Crystal or NoCrystal
        Of the framework averaged over the runs.
    """

    positions: list[np.ndarray]
    interval_ps: float
    cell: np.ndarray | None
    crystal: Crystal | NoCrystal


def read_runs(paths: Sequence[str | Path], species: str = "") -> MdRuns:
    """Read MD runs of one species.

    Runs whose frameworks have nothing to do with each other are no crystal: their motion can be
    compared, their sites cannot.

    Raises
    ------
    DataError
        If they are not replicas of one system.
    UsageError
        If they hold several species and none is named.
    """
    with open_runs(paths, species) as trajectories:
        interval_ps = trajectories[0].record_interval_ps
        positions = [t.positions() for t in trajectories]
        frameworks = [t.framework for t in trajectories]
        cells = [t.constant_cell for t in trajectories]
    try:
        alignment = align_frameworks(frameworks, cells)
    except DataError as error:
        return MdRuns(positions, interval_ps, None, NoCrystal(error.what))
    aligned = [alignment.apply(i, run).astype(run.dtype) for i, run in enumerate(positions)]
    return MdRuns(aligned, interval_ps, alignment.cell, alignment.crystal)
