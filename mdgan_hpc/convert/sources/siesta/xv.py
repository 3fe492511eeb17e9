"""`.XV`: cell, species, positions and velocities of the last step (Bohr, Bohr/fs)."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError


@dataclass(frozen=True)
class Geometry:
    """One geometry in the units of its file.

    Attributes
    ----------
    species : array of int, [N]
        Species index, from 1.
    atomic_numbers : array of int, [N]
        Negative for ghosts.
    cell : array, [3, 3]
    positions : array, [N, 3]
    velocities : array, [N, 3], or None
    """

    species: np.ndarray
    atomic_numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray | None


def read_xv(stream: Stream) -> Geometry:
    """Read a `.XV` file.

    Raises
    ------
    DataError
        If it is cut or holds anything but numbers.
    """
    return _read(stream, cell_columns=6, atom_columns=8)


def read_struct(stream: Stream) -> Geometry:
    """Read a `.STRUCT_OUT` or `.STRUCT_NEXT_ITER` file: cell in Angstrom, fractional positions.

    Raises
    ------
    DataError
        If it is cut or holds anything but numbers.
    """
    return _read(stream, cell_columns=3, atom_columns=5)


def _read(stream: Stream, *, cell_columns: int, atom_columns: int) -> Geometry:
    rows = [line.split() for line in stream.text().splitlines()]
    rows = [row for row in rows if row]
    try:
        cell = np.array([row[:3] for row in rows[:3]], dtype=np.float64)
        n_atoms = int(rows[3][0])
        atoms = rows[4 : 4 + n_atoms]
        if cell.shape != (3, 3) or n_atoms < 1 or len(atoms) < n_atoms:
            raise ValueError("cut short")
        if any(len(row) < cell_columns for row in rows[:3]):
            raise ValueError("too few columns")
        if any(len(row) < atom_columns for row in atoms):
            raise ValueError("too few columns")
        values = np.array([row[2:atom_columns] for row in atoms], dtype=np.float64)
        species = np.array([row[0] for row in atoms], dtype=np.int64)
        numbers = np.array([row[1] for row in atoms], dtype=np.int64)
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(
            f"is damaged ({error})",
            where=stream.path,
            remedy="remove it if other files tell the same",
        ) from None
    if not (np.isfinite(values).all() and np.isfinite(cell).all()):
        raise DataError("holds a value that is not a number", where=stream.path)
    velocities = values[:, 3:6] if atom_columns == 8 else None
    return Geometry(species, numbers, cell, values[:, :3], velocities)
