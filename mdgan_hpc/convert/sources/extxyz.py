"""XYZ and extended XYZ, streamed: frames are split and checked here, and read by ASE.

What a frame has not (a cell, velocities) is missing there. The numbers that frames state of
themselves (`Time`, `step` ...) tell where some are missing; the time between two is asked for,
as the format states no unit of time.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.ase import AtomsFile, foreign_run
from mdgan_hpc.convert.sources.foreign import (
    OTHER_ATOMS,
    ForeignRun,
    RepeatedLines,
    Torn,
    existing,
    no_frame,
    refuse_siesta_options,
)
from mdgan_hpc.convert.streams import CUT, Files, Stream, lines

#: Bytes of text handed to ASE at a time.
_PIECE_BYTES = 2**21
_PROPERTIES = re.compile(r'Properties\s*=\s*"?([A-Za-z0-9_:.\-]+)"?', re.IGNORECASE)
_LATTICE = re.compile(r'(?:^|[\s,])(?:Lattice|cell)\s*=\s*["{\[]', re.IGNORECASE)
#: Numbers that a frame may state of itself, whole ones first; times are counted in millionths.
_NUMBER = re.compile(
    r'(?:^|[\s,])(step|timestep|frame|i|time)\s*=\s*"?([+-]?[0-9.]+(?:[eE][+-]?\d+)?)',
    re.IGNORECASE,
)
_MILLION = 1_000_000


@dataclass
class _Text:
    """The lines of one frame, or why it is torn."""

    rows: list[str]
    torn: str = ""

    @property
    def number(self) -> int | None:
        return _stated_number(self.rows[1]) if len(self.rows) > 1 else None

    def goes_on_with(self, row: str) -> bool:
        """Whether a line after a whole frame looks as if it were one more atom of it."""
        return not self.torn and len(row.split()) == len(self.rows[-1].split())


def _frames(stream: Stream) -> Iterator[_Text]:
    """Yield the lines of each frame, when the line after it shows that it has none too many."""
    stream.rewind()
    rows = lines(stream, cut=CUT)
    waiting: _Text | None = None
    repeated = RepeatedLines()
    lost = False  # within something that is no frame
    for row in rows:
        count = row.strip()
        if not (count.isdigit() and 0 < int(count[:9]) < 2**24 and len(count) < 9):
            if not count or lost:
                continue
            lost = True
            if waiting is not None and waiting.goes_on_with(row):
                waiting.torn = "lines too many"
                continue
            found = _Text([row, ""], "it does not begin with a number of atoms")
        else:
            lost = False
            of_frame = [row, *islice(rows, int(count) + 1)]
            found = _Text(of_frame, _damage(of_frame, int(count)))
        if waiting is not None:
            if repeated.mixed(waiting.number, waiting.rows[-1], found.number, found.rows[-1]):
                waiting.torn = waiting.torn or OTHER_ATOMS
            yield waiting
        waiting = found
    if waiting is not None:
        yield waiting


def _damage(rows: list[str], n_atoms: int) -> str:
    """Return what is wrong with the lines of a frame, or nothing."""
    if len(rows) < n_atoms + 2 or rows[-1].endswith(CUT):
        return "it is cut"
    match = _PROPERTIES.search(rows[1])
    columns = len(rows[2].split())
    if match:
        try:
            columns = sum(int(size) for size in match[1].split(":")[2::3])
        except ValueError:
            return "its comment is damaged"
    elif "properties" in rows[1].lower() or rows[1].count('"') % 2:
        return "its comment is damaged"
    if rows[1].count('"') % 2:
        return "its comment is damaged"
    if columns < 4 or any(len(row.split()) != columns for row in rows[2:]):
        return "a line has not its columns"
    if any("_" in number for row in rows[2:] for number in row.split()[1:4]):
        return "a number is damaged"
    return ""


def _stated_number(comment: str) -> int | None:
    """Return the step that a comment states, or its time in millionths; None without either."""
    found = {name.lower(): text for name, text in _NUMBER.findall(comment)}
    for name in ("step", "timestep", "frame", "i", "time"):
        try:
            value = float(found[name])
        except (KeyError, ValueError):
            continue
        if name == "time":
            return round(value * _MILLION) if abs(value) < 1e12 else None
        if value == int(value) and abs(value) < 2**53:
            return int(value)
    return None


class XyzFile(AtomsFile):
    """An XYZ or extended XYZ file.

    Parameters
    ----------
    stream : Stream
    format : str
        ``extxyz`` or ``xyz``.

    Raises
    ------
    DataError
        For a file without a whole frame.
    """

    def __init__(self, stream: Stream, format: str) -> None:
        self._stream, self._format = stream, format
        self._torn = Torn(stream.path)
        self._look(stream.path)
        super().__init__(stream.path, f"ASE {format}")

    def _look(self, path: Path) -> None:
        """Find out in a first pass what some of the frames have."""
        self.some_cell = self.all_cells = self.some_velocities = False
        numbers: list[int | None] = []
        lacks_cell = whole = False
        for text in _heads(self._stream):
            has_cell = bool(_LATTICE.search(text))
            self.some_cell |= has_cell
            lacks_cell |= not has_cell
            self.some_velocities |= bool(re.search(r"momenta|velocities", text))
            numbers.append(_stated_number(text))
            whole = True
        if not whole:
            raise no_frame(path)
        self.all_cells = not lacks_cell
        known = [number for number in numbers if number is not None]
        # One damaged comment among those that state a number does not make them none.
        enough = len(known) > 0.5 * len(numbers) and len(set(known)) > 1
        self.numbers = known if enough else []

    def _atoms(self) -> Iterator[tuple[int, Atoms, int | None]]:
        """Yield record, atoms and stated number of each whole frame."""
        self._torn = Torn(self.path)
        piece: list[tuple[int, _Text]] = []
        size = 0
        for record, text in enumerate(_frames(self._stream)):
            if text.torn:
                self._torn.add(record, text.torn)
                continue
            piece.append((record, text))
            size += sum(map(len, text.rows))
            if size >= _PIECE_BYTES:
                yield from self._read(piece)
                piece, size = [], 0
        yield from self._read(piece)
        self._torn.tell()

    def _read(self, piece: list[tuple[int, _Text]]) -> Iterator[tuple[int, Atoms, int | None]]:
        if not piece:
            return
        text = "\n".join("\n".join(frame.rows) for _, frame in piece) + "\n"
        images: Any = None
        try:
            images = read(io.StringIO(text), index=":", format=self._format)
        except Exception:  # one of them is damaged: ASE raises anything
            images = None
        if images is not None and len(images) == len(piece):
            for (record, frame), atoms in zip(piece, images, strict=True):
                yield record, atoms, frame.number
            return
        for record, frame in piece:
            try:
                alone: Any = read(
                    io.StringIO("\n".join(frame.rows) + "\n"), index=0, format=self._format
                )
            except Exception:
                self._torn.add(record, "ASE cannot read it")
                continue
            yield record, alone, frame.number


def _heads(stream: Stream) -> Iterator[str]:
    """Yield the comment of each frame, without looking at its atoms."""
    stream.rewind()
    rows = lines(stream)
    for row in rows:
        count = row.strip()
        if count.isdigit() and len(count) < 9 and int(count) > 0:
            comment = next(rows, None)
            if comment is None:
                return
            yield comment
            next(islice(rows, int(count) - 1, int(count)), None)


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open an XYZ file.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    format = "xyz" if config.format == "xyz" else "extxyz"
    file = XyzFile(files.open(existing(path)), format)
    return foreign_run(path, config, file)
