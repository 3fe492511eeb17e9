"""Trajectories of other codes, read frame by frame by ASE."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import iread
from ase.io.formats import UnknownFileTypeError

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.siesta.frames import Frames, piece_records
from mdgan_hpc.units import FS_PER_PS


class AseFile:
    """A trajectory that ASE can read, with everything of a frame at the same instant.

    Parameters
    ----------
    path : path
    format : str
        ASE's name of the format; ``auto`` lets ASE find it.

    Attributes
    ----------
    n_atoms : int
    atomic_numbers : array of int, [N]
    masses : array, [N]
    has_cell : bool
    cell : array, [3, 3], or None
        Of the first frame, Angstrom.

    Raises
    ------
    UsageError
        For a format that ASE does not know.
    DataError
        For a file without a readable first frame.
    """

    ahead = 0

    def __init__(self, path: Path, format: str) -> None:
        self.path = path
        self.kind = f"ASE {format}"
        self._format = None if format == "auto" else format
        first = next(self._atoms(), None)
        if first is None or not len(first):
            raise DataError("holds no frame", where=path)
        self.n_atoms = len(first)
        self.atomic_numbers = first.numbers.copy()
        self.masses = first.get_masses()
        self.has_cell = bool(first.cell.rank == 3)
        self.cell = first.cell.array.copy() if self.has_cell else None
        self._has_velocities = first.has("momenta")

    def _atoms(self) -> Iterator[Atoms]:
        try:
            yield from iread(self.path, index=":", format=self._format)
        except UnknownFileTypeError as error:
            raise UsageError(f"its format is not known to ASE ({error})", where=self.path) from None
        except MemoryError:
            raise
        except Exception as error:  # readers of ASE raise anything on damaged files
            kind = type(error).__name__
            raise DataError(f"ASE cannot read it ({kind}: {error})", where=self.path) from error

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces.

        Raises
        ------
        DataError
            If the atoms change from frame to frame.
        """
        size = min(piece_records(self.n_atoms), 256)
        kept: list[Atoms] = []
        record = 0
        for atoms in self._atoms():
            if not np.array_equal(atoms.numbers, self.atomic_numbers):
                raise DataError(
                    f"frame {record + len(kept)} holds other atoms than the first, or in another "
                    "order",
                    where=self.path,
                )
            kept.append(atoms)
            if len(kept) == size:
                yield self._frames(kept, record)
                record, kept = record + size, []
        if kept:
            yield self._frames(kept, record)

    def _frames(self, kept: list[Atoms], record: int) -> Frames:
        positions = np.array([atoms.positions for atoms in kept])
        if not np.isfinite(positions).all():
            raise DataError("holds a position that is not a number", where=self.path)
        velocities = None
        if self._has_velocities:
            velocities = np.array([atoms.get_velocities() for atoms in kept])
            velocities *= units.fs * FS_PER_PS
        return Frames(
            np.arange(record, record + len(kept)),
            positions,
            None,
            velocities,
            np.array([atoms.cell.array for atoms in kept]) if self.has_cell else None,
        )
