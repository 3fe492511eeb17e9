"""The text of LAMMPS dumps: from the stream to frames whose counts and columns are whole."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.convert.streams import CUT, Stream

_BLOCK = 2**20
#: A frame may not be longer than this; a file without frames is something else.
_MAX_FRAME_BYTES = 2**30
_MARK = b"ITEM: TIMESTEP"
#: Header items that LAMMPS writes before TIMESTEP.
_BEFORE = (b"TIME\n", b"TIME\r", b"UNITS")


class TornFrame(Exception):
    """A frame is not whole; why, in one word or two."""


@dataclass
class DumpFrame:
    """One frame as it stands in the file."""

    step: int
    time: float | None  # in the units of the dump
    units: str
    cell: np.ndarray  # [3, 3], rows are the vectors
    origin: np.ndarray  # [3]
    periodic: np.ndarray  # [3] bool
    columns: list[str]
    table: np.ndarray | None  # [N, columns]; None where some column is of words
    words: list[bytes]  # N times the columns; none beside a table

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.words) // len(self.columns) if self.table is None else len(self.table)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column [N]."""
        at = self.columns.index(name)
        try:
            if self.table is not None:
                values = self.table[:, at]
            else:
                values = np.array(list(map(float, self.words[at :: len(self.columns)])))
        except ValueError:
            raise TornFrame("a number is damaged") from None
        if not np.isfinite(values).all():
            raise TornFrame("a number is damaged")
        return values

    def integers(self, name: str) -> np.ndarray:
        """Return a column of whole numbers [N]."""
        values = self.numbers(name)
        if (values != np.rint(values)).any() or np.abs(values).max() >= 2**53:
            raise TornFrame("a number is damaged")
        return values.astype(np.int64)

    def constant(self, name: str) -> np.ndarray:
        """Return a column that tells atoms apart [N]: numbers, or words."""
        if self.table is not None:
            return self.integers(name)
        return np.array(self.words[self.columns.index(name) :: len(self.columns)])

    def texts(self, name: str) -> list[str]:
        """Return a column of words [N]."""
        at = self.columns.index(name)
        if self.table is not None:
            return [f"{value:g}" for value in self.table[:, at]]
        return [word.decode("latin-1") for word in self.words[at :: len(self.columns)]]


def raw_frames(stream: Stream) -> Iterator[bytes]:
    """Yield the text of each frame, from its UNITS, TIME or TIMESTEP on."""
    stream.rewind()
    data, ended = b"", False
    begin, look = -1, 0  # where the frame begins, and where to look for the next one
    while not ended:
        new = stream.read(_BLOCK)
        ended = len(new) < _BLOCK
        if begin > 0:
            data, look, begin = data[begin:], look - begin, 0
        data += new
        if len(data) > _MAX_FRAME_BYTES:
            return
        while (at := data.find(_MARK, look)) >= 0:
            start = _header_start(data, max(begin, 0), at)
            if begin >= 0 or data[:start].strip():  # else the end of a frame without beginning
                yield data[max(begin, 0) : start]
            begin, look = start, at + len(_MARK)
        look = max(look, len(data) - len(_MARK))
    rest = data[max(begin, 0) :]
    if rest.strip():
        yield rest if rest.endswith(b"\n") else rest + CUT.encode()


def _header_start(data: bytes, first: int, at: int) -> int:
    """Return where the header begins, from `first` on, whose TIMESTEP is at `at`."""
    while (before := data.rfind(b"ITEM: ", first, at)) >= 0:
        if not data.startswith(_BEFORE, before + 6) or data.count(b"\n", before, at) != 2:
            return at
        at = before
    return at


def parsed(data: bytes) -> DumpFrame:
    """Read a frame; raises `TornFrame` if it is not whole."""
    if data.endswith(CUT.encode()):
        raise TornFrame("its last line has no end")
    items: dict[str, tuple[str, bytes]] = {}
    for part in data.split(b"ITEM: ")[1:]:
        first, _, body = part.partition(b"\n")
        title = first.decode("latin-1").strip()
        name = next((n for n in _ITEMS if title == n or title.startswith(n + " ")), title)
        items[name] = (title[len(name) :], body)
    try:
        step, n_atoms = (int(items[name][1]) for name in ("TIMESTEP", "NUMBER OF ATOMS"))
        bounds, box = items["BOX BOUNDS"]
        rows = [list(map(float, row.split())) for row in box.split(b"\n") if row.strip()]
        cell, origin = cell_of_box(bounds.split(), rows)
        titles, atoms = items["ATOMS"]
        time = float(items["TIME"][1]) if "TIME" in items else None
    except (KeyError, ValueError):
        raise TornFrame("its header is damaged") from None
    if not 0 <= step < 2**62 or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise TornFrame("its header is damaged")
    columns = titles.split()
    if n_atoms < 1 or not columns or b"_" in data:
        raise TornFrame("its header is damaged")
    table, words = _table(atoms, n_atoms, columns)
    units = items["UNITS"][1].decode("latin-1").strip() if "UNITS" in items else ""
    flags = [word for word in bounds.split() if len(word) == 2 and set(word) <= set("pfsm")]
    periodic = np.array([word == "pp" for word in flags]) if len(flags) == 3 else np.ones(3, bool)
    return DumpFrame(step, time, units, cell, origin, periodic, columns, table, words)


def _table(body: bytes, n_atoms: int, columns: list[str]) -> tuple[np.ndarray | None, list[bytes]]:
    """Return the lines of the atoms as numbers [N, columns], or as words where some are words.

    Raises
    ------
    TornFrame
        If there are not as many lines as atoms, or a line has not its columns.
    """
    text = np.frombuffer(body, np.uint8)
    blank = text <= ord(" ")
    begins = ~blank
    begins[1:] &= blank[:-1]
    # Words up to the end of each line, the empty lines left out.
    counts = np.diff(np.cumsum(begins)[text == ord("\n")], prepend=0)
    counts = counts[counts > 0]
    if len(counts) != n_atoms:
        raise TornFrame("it has not the atoms that it states")
    if (counts != len(columns)).any():
        raise TornFrame("a line has not its columns")
    if not _WORDS & set(columns):
        try:
            values = np.fromstring(body.decode("latin-1"), sep=" ")
        except ValueError:
            raise TornFrame("a number is damaged") from None
        if values.size != n_atoms * len(columns):
            raise TornFrame("a number is damaged")
        return values.reshape(n_atoms, -1), []
    return None, body.split()


#: Columns that hold words.
_WORDS = {"element", "typelabel"}
_ITEMS = ("UNITS", "TIMESTEP", "TIME", "NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS")


def cell_of(data: bytes) -> np.ndarray | None:
    """Return the cell [3, 3] of a frame, without looking at its atoms; None if it is damaged."""
    title, _, rest = data.partition(b"BOX BOUNDS")[2].partition(b"\n")
    try:
        rows = [list(map(float, row.split())) for row in rest.split(b"\n", 3)[:3]]
        return cell_of_box(title.decode("latin-1").split(), rows)[0]
    except ValueError:
        return None


def cell_of_box(titles: list[str], rows: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return cell [3, 3] and origin [3] of a BOX BOUNDS item; ValueError if it is damaged."""
    columns = 4 if "abc" in titles else 3 if "xy" in titles else 2
    values = np.array(rows)
    if values.size != 3 * columns or values.ndim != 2:
        raise ValueError("box")
    values = values.reshape(3, columns)
    if columns == 4:
        return values[:, :3], values[:, 3]
    xy, xz, yz = values[:, 2] if columns == 3 else (0.0, 0.0, 0.0)
    low, high = values[:, 0].copy(), values[:, 1].copy()
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    if not (high > low).all():
        raise ValueError("box")
    x, y, z = high - low
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), low
