"""What the readers of HDF5 files share that hold one array [T, N, 3] a quantity."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.errors import DataError


class ArrayFile(ABC):
    """An HDF5 file whose positions are one dataset.

    Parameters
    ----------
    path : path
    positions : str
        Name of the dataset [T, N, 3].

    Attributes
    ----------
    n_records, n_atoms : int
    steps : array of int, [T], or None
        What the records state.

    Raises
    ------
    DataError
        If it is no HDF5 file, or holds no such dataset.
    """

    steps: np.ndarray | None = None

    def __init__(self, path: Path, positions: str) -> None:
        self.path = path
        self.file = hdf5.open_file(path)
        try:
            self.root = self.file["/"]
            self._positions = hdf5.numbers(self.root, positions, (None, None, 3))
            hdf5.require_stored(self._positions)
        except BaseException:
            self.file.close()
            raise
        self.n_records, self.n_atoms = (int(n) for n in self._positions.shape[:2])

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @abstractmethod
    def piece(self, rows: slice, stored: np.ndarray) -> Frames:
        """Return the frames of some records.

        Parameters
        ----------
        rows : slice
        stored : array, [t, N, 3]
            Of the dataset of positions.
        """

    @abstractmethod
    def cell_rows(self, rows: slice) -> np.ndarray:
        """Return the cells [t, 3, 3] of some records, Angstrom."""

    def frames(self) -> Iterator[Frames]:
        """Yield the records in pieces.

        Raises
        ------
        DataError
            If a position is no number.
        """
        for rows in self._slices():
            stored = hdf5.read(self._positions, rows).astype(np.float64)
            if not np.isfinite(stored).all():
                bad = rows.start + int(np.argmin(np.isfinite(stored).all((1, 2))))
                raise DataError(
                    "holds positions that are no numbers", where=f"{self.path}, record {bad}"
                )
            yield self.piece(rows, stored)

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each record, Angstrom."""
        for rows in self._slices():
            yield from self.cell_rows(rows)

    def _slices(self) -> Iterator[slice]:
        size = piece_records(self.n_atoms)
        for start in range(0, self.n_records, size):
            yield slice(start, min(start + size, self.n_records))

    def vectors(self, name: str) -> h5py.Dataset | None:
        """Return a dataset [T, N, 3] beside the positions, or None."""
        if hdf5.find(self.root, name) is None:
            return None
        return hdf5.numbers(self.root, name, (self.n_records, self.n_atoms, 3))

    def matrices(self, name: str) -> h5py.Dataset:
        """Return a dataset [T, 3, 3], or [1, 3, 3] of what does not change."""
        return hdf5.numbers(self.root, name, (self.n_records, 3, 3), (1, 3, 3))

    def rows_of(self, dataset: h5py.Dataset, rows: slice) -> np.ndarray:
        """Return rows of a dataset of `matrices`, [t, 3, 3]."""
        if len(dataset) == self.n_records:
            return hdf5.read(dataset, rows).astype(np.float64)
        once = hdf5.read(dataset, slice(0, 1)).astype(np.float64)
        return np.repeat(once, rows.stop - rows.start, axis=0)
