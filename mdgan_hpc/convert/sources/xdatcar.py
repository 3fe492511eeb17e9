"""XDATCAR of VASP, streamed.

A header (title, scale, three vectors, species, counts) stands once, before every frame (a changing
cell), or again wherever runs were concatenated. Fractions are printed in columns of fixed width,
which touch where a number is wide or negative. Source: page "XDATCAR" of the VASP wiki.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from ase.data import atomic_masses

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    OTHER_ATOMS,
    CellWatch,
    ForeignRun,
    RepeatedLines,
    Torn,
    element_number,
    existing,
    named_species,
    no_frame,
    refuse_siesta_options,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import CUT, Files, Rows, Stream, lines
from mdgan_hpc.errors import DataError, UsageError

#: Most lines of a header: title, scale, three vectors, names, counts, and what VASP may add.
_HEADER_LINES = 12
#: A row as VASP prints it, three numbers with so many digits after the point, and flags.
_ROW = r"\s*([+-]?\d+\.\d{%d})\s*([+-]?\d+\.\d{%d})\s*([+-]?\d+\.\d{%d})(?:\s+[TF]){0,3}\s*$"


@dataclass(frozen=True)
class _Header:
    """What stands before the frames."""

    cell: np.ndarray  # [3, 3], Angstrom
    names: tuple[str, ...]  # empty: VASP 4
    counts: tuple[int, ...]

    @property
    def n_atoms(self) -> int:
        return sum(self.counts)


@dataclass
class _Frame:
    """One frame: its header, its number or None, its fractions [N, 3], or why it is torn."""

    header: _Header
    number: int | None
    fractions: np.ndarray | None
    torn: str = ""
    last: str = ""  # its last row

    def repeats_torn(self, before: "_Frame") -> bool:
        """Whether it is torn and has the number of the one before: their lines may be mixed."""
        return self.fractions is None and self.number is not None and self.number == before.number


def _titled_header(rows: list[str]) -> _Header:
    """Read the lines of a header whose first, the title, may have been blank."""
    try:
        return _header(rows)
    except (ValueError, IndexError):
        return _header(["", *rows])


def _header(rows: list[str]) -> _Header:
    """Read the lines of a header; ValueError if it is damaged."""
    if not 6 <= len(rows) <= _HEADER_LINES or any(CUT in row for row in rows):
        raise ValueError("length")
    scale = np.array(rows[1].split(), np.float64)
    cell = np.array([row.split()[:3] for row in rows[2:5]], np.float64)
    words = rows[5].split()
    names: tuple[str, ...] = ()
    if not words[0].isdigit():
        names, words = tuple(_element(word) for word in words), rows[6].split()
    counts = tuple(int(word) for word in words)
    if names and len(names) != len(counts):
        raise ValueError("counts")
    if not counts or min(counts) < 0 or not 0 < sum(counts) < 2**22 or len(scale) not in (1, 3):
        raise ValueError("counts")
    if len(scale) == 1 and scale[0] < 0:  # the volume
        scale = np.array([(-scale[0] / abs(np.linalg.det(cell))) ** (1 / 3)])
    cell = cell * scale
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-9:
        raise ValueError("cell")
    return _Header(cell, names, counts)


def _element(word: str) -> str:
    """Return the element of a label such as ``Li_sv``, ``Li/`` or ``Li/0a1b2c3d``."""
    return re.split(r"[_/]", word)[0]


class XdatcarFile:
    """An XDATCAR.

    Parameters
    ----------
    stream : Stream
    config : ConvertConfig

    Attributes
    ----------
    n_atoms : int
    atomic_numbers : array of int, [N]
    first : list of int
        Numbers of the first frames.

    Raises
    ------
    UsageError
        If the species are not stated and not given.
    DataError
        For a file without a whole frame.
    """

    def __init__(self, stream: Stream, config: ConvertConfig) -> None:
        self.path, self._stream = stream.path, stream
        self._pattern: re.Pattern[str] | None = None  # of a row of fixed width
        self._width = 0  # of a row whose numbers stand in columns; none of a frame is shorter
        whole = [f for f in islice(self._frames(), LOOK_AHEAD) if f.fractions is not None]
        if not whole:
            raise no_frame(self.path)
        self._first = whole[0].header
        self._first_cells = [frame.header.cell for frame in whole]
        self.n_atoms = self._first.n_atoms
        self.atomic_numbers = self._species(config)
        self.first = [frame.number for frame in whole if frame.number is not None]

    def _species(self, config: ConvertConfig) -> np.ndarray:
        given = named_species(config, self.path)
        names = self._first.names
        if names and given:
            raise UsageError(
                f"--species, but the file names its species ({' '.join(names)})",
                where=self.path,
                remedy="leave it away",
            )
        if not names and len(given) != len(self._first.counts):
            raise UsageError(
                f"counts {len(self._first.counts)} species and does not name them",
                where=self.path,
                remedy="name them in this order with --species, such as Li,O",
            )
        numbers = given or [element_number(name, self.path) for name in names]
        return np.repeat(numbers, self._first.counts)

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each whole frame, Angstrom."""
        watch = CellWatch(self._first_cells)
        for frame in self._frames():
            if frame.fractions is not None and watch.fits(frame.header.cell):
                yield frame.header.cell

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn ones keep their place.

        Raises
        ------
        DataError
            If the atoms change from frame to frame.
        """
        torn, cells = Torn(self.path), CellWatch(self._first_cells)
        kept: list[tuple[int, _Frame]] = []
        number = 0
        for record, frame in enumerate(self._frames()):
            number = number + 1 if frame.number is None else frame.number
            frame.number = number
            if frame.fractions is None:
                torn.add(record, frame.torn)
                continue
            header = frame.header
            if not cells.fits(header.cell):
                torn.add(record, "its cell is another")
                continue
            if (header.names, header.counts) != (self._first.names, self._first.counts):
                raise DataError(
                    f"frame {record} holds other atoms than the first, or in another order",
                    where=self.path,
                    remedy="cut the file there",
                )
            kept.append((record, frame))
            if len(kept) == min(piece_records(self.n_atoms), 256):
                yield _piece(kept)
                kept = []
        if kept:
            yield _piece(kept)
        torn.tell()

    def _frames(self) -> Iterator[_Frame]:
        """Yield each frame when the line after it shows that it has no rows too many."""
        self._stream.rewind()
        rows = Rows(lines(self._stream, cut=CUT))
        header: _Header | None = None
        before: list[str] = []  # lines since the last frame
        waiting: _Frame | None = None
        repeated = RepeatedLines()
        for row in rows:
            if not row.lstrip().lower().startswith(("direct config", "cartesian config")):
                if row.strip():
                    before.append(row)
                continue
            damaged = lost = False
            if before:
                try:
                    header = _titled_header(before)
                except (ValueError, IndexError, OverflowError):
                    damaged, lost = True, not all(map(_is_row, before))
            before = []
            found = None if header is None else self._frame(rows, row, header)
            if found is not None and lost:
                found.fractions, found.torn = None, "its header is damaged"
            if waiting is not None:
                if damaged and waiting.fractions is not None:
                    waiting.fractions, waiting.torn = None, "lines too many"
                elif found is not None and found.repeats_torn(waiting):
                    waiting.fractions, waiting.torn = None, "a torn one of the same number follows"
                elif found is not None and repeated.mixed(
                    waiting.number, waiting.last, found.number, found.last
                ):
                    waiting.fractions, waiting.torn = None, OTHER_ATOMS
                yield waiting
            waiting = found
        if waiting is not None:
            if before and waiting.fractions is not None:
                waiting.fractions, waiting.torn = None, "lines too many"
            yield waiting

    def _frame(self, rows: Rows, title: str, header: _Header) -> _Frame:
        """Read the rows of a frame, as far as they go."""
        match = re.search(r"=\s*(\d{1,17})\s*$", title)
        number = int(match[1]) if match else None
        if not title.lstrip().lower().startswith("direct"):
            return _Frame(header, number, None, "its coordinates are not direct")
        body: list[str] = []
        for row in rows:
            body.append(row)
            if not _is_row(row):
                rows.put_back(row)
                return _Frame(header, number, None, "a line is damaged or missing")
            if len(body) == header.n_atoms:
                break
        found = self._numbers(body) if len(body) == header.n_atoms else None
        if found is None:
            return _Frame(header, number, None, "a line is damaged or missing")
        return _Frame(header, number, found, last=body[-1])

    def _numbers(self, body: list[str]) -> np.ndarray | None:
        """Return the numbers [N, 3] of the rows of a frame; None if they are damaged."""
        pattern = self._pattern
        if pattern is None:
            digits = len(re.sub(r"(\s+[TF])+\s*$", "", body[0]).rstrip().rpartition(".")[2])
            pattern = re.compile(_ROW % (digits, digits, digits))
        found = [pattern.match(row) for row in body]
        words = [match.groups() for match in found if match is not None]
        widths = {len(row.rstrip()) for row in body}
        if len(widths) > 1 and min(widths) < self._width:
            return None
        if len(words) == len(body):
            in_columns = len(widths) == 1 and all(row[:1] == " " for row in body)
            self._width = min(widths) if in_columns or self._width else 0
            self._pattern = pattern
        elif self._pattern is not None:
            return None
        else:  # not of fixed width: some other program wrote it
            words = [tuple(row.split()) for row in body]
            if any(len(row) != 3 or "_" in "".join(row) for row in words):
                return None
        try:
            values = np.array(list(map(float, chain.from_iterable(words)))).reshape(-1, 3)
        except ValueError:
            return None
        return values if np.isfinite(values).all() else None


def _is_row(row: str) -> bool:
    """Whether a line may be a row of numbers."""
    return row.lstrip()[:1] in set("+-.0123456789") and CUT not in row


def _piece(kept: list[tuple[int, _Frame]]) -> Frames:
    cells = np.array([frame.header.cell for _, frame in kept])
    fractions = np.array([frame.fractions for _, frame in kept])
    return Frames(
        np.array([record for record, _ in kept]),
        fractions @ cells,
        np.array([frame.number for _, frame in kept]),
        cells=cells,
    )


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open an XDATCAR.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    file = XdatcarFile(files.open(existing(path)), config)
    time_line = stated_times(path, config, file.first, renumbered=True)
    numbers = file.atomic_numbers
    return run_of_file(path, "XDATCAR", file, time_line, numbers, atomic_masses[numbers])
