"""The complete part of a trajectory that is still being generated, read as a trajectory."""

from pathlib import Path

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.trajectory.species import Selection


def complete_extent(path: str | Path) -> tuple[int, np.ndarray]:
    """Return how far a trajectory got: the records, and the particles that have all of them.

    Blocks of particles are not equally far. Of all numbers of records the one is taken that gives
    the most ion time.

    Returns
    -------
    records : int
    particles : array of int, [n]
        Their numbers in the file, ascending.

    Raises
    ------
    DataError
        If no record is complete.
    """
    with Trajectory(path, incomplete_ok=True) as trajectory:
        completed, n = trajectory.completed_records, trajectory.n_particles
        if trajectory.complete:
            return trajectory.n_records, np.arange(n)
        width = trajectory.block_particles
        block = np.arange(n) // width
        particles = np.bincount(block, minlength=len(completed))
        choices = np.unique(completed)
        worth = [rows * particles[completed >= rows].sum() for rows in choices]
        rows = int(choices[int(np.argmax(worth))])
        if rows == 0:
            raise DataError(
                "holds no complete record yet", where=path, remedy="let it be generated further"
            )
        return rows, np.flatnonzero(completed[block] >= rows)


class CompletePart(Trajectory):
    """What is complete of a trajectory; see `Trajectory`.

    Parameters
    ----------
    path : path
    species : str or int, optional
    records : int
        Of `complete_extent`.
    particles : array of int, [n]
        Of `complete_extent`.
    """

    def __init__(
        self,
        path: str | Path,
        species: str | int | None = None,
        *,
        records: int,
        particles: np.ndarray,
    ) -> None:
        super().__init__(path, species, incomplete_ok=True)
        self._records = records
        chosen = particles
        if self._selection is not None:
            chosen = np.intersect1d(chosen, self._selection.index)
        self._cells_of_file = super().ions_per_cell
        if len(chosen) < self.n_particles:
            self._selection = Selection(chosen)

    @property
    def n_records(self) -> int:
        """Number of complete records T."""
        return self._records

    @property
    def ions_per_cell(self) -> int:
        """Particles, following each other, that saw each other: blocks hold whole cells."""
        return self._cells_of_file

    def _within(self, records: slice) -> slice:
        return slice(*records.indices(self._records))

    def positions(
        self,
        records: slice = slice(None),
        particles: slice = slice(None),
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return positions [t, n, 3] in Angstrom; see `Trajectory.positions`."""
        return super().positions(self._within(records), particles, out=out)

    def velocities(
        self, records: slice = slice(None), particles: slice = slice(None)
    ) -> np.ndarray:
        """Return velocities [t, n, 3] in Angstrom/ps; see `Trajectory.velocities`."""
        return super().velocities(self._within(records), particles)

    def cells(self, records: slice = slice(None)) -> np.ndarray:
        """Return the cells [t, 3, 3] in Angstrom; see `Trajectory.cells`."""
        return super().cells(self._within(records))
