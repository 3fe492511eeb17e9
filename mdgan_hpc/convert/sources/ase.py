"""Trajectories of other codes, read by ASE.

Formats that ASE reads frame by frame (extended XYZ among them) take little memory whatever their
size. Those it would load as a whole are split here and handed to it some frames at a time.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers, chemical_symbols
from ase.io import iread, read
from ase.io.formats import UnknownFileTypeError, filetype

from mdgan_hpc.convert.chain import ChainRules
from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.streams import Files, lines
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.units import FS_PER_PS

_DUMP = "lammps-dump-text"
#: Bytes of text handed to ASE at a time.
_PIECE_BYTES = 2**21


def _dump_frames(rows: Iterator[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield the lines of each frame of a LAMMPS dump, and whether all its atoms are there."""
    frame: list[str] = []
    n_atoms, begin = -1, 0
    for row in rows:
        if row.startswith("ITEM: TIMESTEP") and frame:
            yield frame, len(frame) - begin == n_atoms
            frame, n_atoms = [], -1
        elif frame and frame[-1].startswith("ITEM: NUMBER OF ATOMS"):
            n_atoms = int(row)
        elif row.startswith("ITEM: ATOMS"):
            begin = len(frame) + 1
        if row.strip():
            frame.append(row)
    if frame:
        yield frame, len(frame) - begin == n_atoms


def _xdatcar_frames(rows: Iterator[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield header and lines of each frame of an XDATCAR, and whether all its atoms are there."""
    header: list[str] = []
    n_atoms = 0
    for row in rows:
        if not row.lower().startswith("direct configuration"):
            if len(header) == 7:
                header = []  # a changing cell: each frame has its own
            header.append(row)
            continue
        if len(header) == 7:
            n_atoms = sum(int(word) for word in header[6].split())
        body = [line for _, line in zip(range(n_atoms), rows, strict=False)]
        whole = len(body) == n_atoms and all(len(line.split()) >= 3 for line in body)
        yield [*header, row, *body], whole


#: How to split the formats that ASE would load as a whole.
_SPLITTERS: dict[str, Callable[[Iterator[str]], Iterator[tuple[list[str], bool]]]] = {
    _DUMP: _dump_frames,
    "vasp-xdatcar": _xdatcar_frames,
}


@dataclass(kw_only=True)
class AseRun(Run):
    """A file that ASE reads."""

    file: "AseFile"

    def frames(self, *, check: bool) -> Iterator[Frames]:
        """Yield the frames in pieces."""
        return self.file.frames()


def open_source(path: Path, config: ConvertConfig, files: Files) -> AseRun:
    """Open a trajectory of another code through ASE.

    Raises
    ------
    UsageError, DataError
    """
    if not path.is_file():
        raise UsageError("no such file", where=path)
    if not config.time_step_fs:
        raise UsageError(
            "--format needs the time between two frames", remedy="give it with --time-step, in fs"
        )
    species = [word for word in config.species.split(",") if word]
    file = AseFile(path, config.format, species, files)
    rules = ChainRules(
        where=path.parent,
        ahead=0,
        first_step=0,
        time_steps_fs=[config.time_step_fs],
        given_time_step=True,
        appended=False,
        cell=file.cell,
    )
    return AseRun(
        where=path.parent,
        label=path.stem,
        kind=file.kind,
        name=path.name,
        inputs=[path],
        atomic_numbers=file.atomic_numbers,
        labels=[chemical_symbols[z] for z in file.atomic_numbers],
        masses=file.masses,
        cell=None,
        rules=rules,
        file=file,
    )


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

    def __init__(self, path: Path, format: str, species: list[str], files: Files) -> None:
        self.path, self._files = path, files
        self.kind = f"ASE {format}"
        self._format = self._guessed() if format == "auto" else format
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

    def _guessed(self) -> str | None:
        try:
            return filetype(str(self.path))
        except UnknownFileTypeError:
            return None  # told where it is read

    def _atoms(self) -> Iterator[Atoms]:
        try:
            if self._format in _SPLITTERS:
                yield from self._in_pieces(self._format)
            else:
                yield from iread(self.path, index=":", format=self._format)
        except UnknownFileTypeError as error:
            raise UsageError(f"its format is not known to ASE ({error})", where=self.path) from None
        except (MemoryError, UsageError, DataError, DataWarning):
            raise
        except Exception as error:  # readers of ASE raise anything on damaged files
            kind = type(error).__name__
            raise DataError(f"ASE cannot read it ({kind}: {error})", where=self.path) from error

    def _in_pieces(self, format: str) -> Iterator[Atoms]:
        piece: list[str] = []
        size = 0
        torn = -1
        rows = lines(self._files.open(self.path))
        for number, (frame, whole) in enumerate(_SPLITTERS[format](rows)):
            if not whole:
                torn = number
                break
            piece += frame
            size += sum(map(len, frame))
            if size >= _PIECE_BYTES:
                yield from self._read(piece, format)
                piece, size = [], 0
        if piece:
            yield from self._read(piece, format)
        if torn >= 0:
            warnings.warn(
                f"{self.path}: frame {torn} is torn; what is before it is used",
                DataWarning,
                stacklevel=2,
            )

    def _read(self, piece: list[str], format: str) -> Iterator[Atoms]:
        options: dict[str, Any] = {}
        if format == _DUMP:
            if not self._species and not any(
                "element" in row.split() for row in piece if row.startswith("ITEM: ATOMS")
            ):
                raise UsageError(
                    "the dump has atom types but no elements",
                    where=self.path,
                    remedy="name the elements of the types with --species, such as Li,O",
                )
            options = {"specorder": self._species or None}
        text = io.StringIO("\n".join(piece) + "\n")
        yield from read(text, index=":", format=format, **options)

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
