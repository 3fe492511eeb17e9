"""Trajectories of other codes, read by ASE.

Formats that ASE reads frame by frame (extended XYZ among them) and LAMMPS dumps, which are handed
to it in pieces, take little memory whatever their size; for others ASE loads the whole file.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers
from ase.io import iread, read
from ase.io.formats import UnknownFileTypeError

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.siesta.frames import Frames, piece_records
from mdgan_hpc.siesta.streams import Stream, lines
from mdgan_hpc.units import FS_PER_PS

_DUMP = "lammps-dump-text"
_DUMP_BYTES = 2**21


class AseFile:
    """A trajectory that ASE can read, with everything of a frame at the same instant.

    Parameters
    ----------
    path : path
    format : str
        ASE's name of the format; ``auto`` lets ASE find it.
    species : list of str
        Elements of the LAMMPS types 1, 2, ...; empty: the dump has them.

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

    def __init__(self, path: Path, format: str, species: list[str]) -> None:
        self.path = path
        self.kind = f"ASE {format}"
        self._format = None if format == "auto" else format
        self._species = species
        if species and format != _DUMP:
            raise UsageError("--species names the types of a LAMMPS dump", where=path)
        if unknown := [symbol for symbol in species if symbol not in atomic_numbers]:
            raise UsageError(f"--species {','.join(unknown)}: no such element")
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
            if self._format == _DUMP:
                yield from self._dump()
            else:
                yield from iread(self.path, index=":", format=self._format)
        except UnknownFileTypeError as error:
            raise UsageError(f"its format is not known to ASE ({error})", where=self.path) from None
        except (MemoryError, UsageError):
            raise
        except Exception as error:  # readers of ASE raise anything on damaged files
            kind = type(error).__name__
            raise DataError(f"ASE cannot read it ({kind}: {error})", where=self.path) from error

    def _dump(self) -> Iterator[Atoms]:
        """Read a LAMMPS dump some frames at a time; ASE alone would load all of it."""
        piece: list[str] = []
        frames = size = 0
        with Stream(self.path) as stream:
            for line in lines(stream):
                if line.startswith("ITEM: TIMESTEP"):
                    if frames and size >= _DUMP_BYTES:
                        yield from self._dump_piece(piece)
                        piece, frames, size = [], 0, 0
                    frames += 1
                elif (
                    line.startswith("ITEM: ATOMS")
                    and not self._species
                    and "element" not in line.split()
                ):
                    raise UsageError(
                        "the dump has atom types but no elements",
                        where=self.path,
                        remedy="name the elements of the types with --species, such as Li,O",
                    )
                piece.append(line)
                size += len(line)
        if any(line.strip() for line in piece):
            yield from self._dump_piece(piece)

    def _dump_piece(self, piece: list[str]) -> Iterator[Atoms]:
        text = io.StringIO("\n".join(piece).rstrip("\n") + "\n")
        order = self._species or None
        yield from read(text, index=":", format=_DUMP, specorder=order)

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
