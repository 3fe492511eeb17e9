"""The text of LAMMPS dumps: from the stream to frames whose counts and columns are whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

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
    words: list[bytes]  # N times the columns

    @property
    def n_atoms(self) -> int:
        return len(self.words) // len(self.columns)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column [N]."""
        try:
            values = np.array(list(map(float, self.raw(name))))
        except ValueError:
            raise TornFrame("a number is damaged") from None
        if not np.isfinite(values).all():
            raise TornFrame("a number is damaged")
        return values

    def integers(self, name: str) -> np.ndarray:
        """Return a column of whole numbers [N]."""
        try:
            return np.array(list(map(int, self.raw(name))), np.int64)
        except (ValueError, OverflowError):
            raise TornFrame("a number is damaged") from None

    def raw(self, name: str) -> list[bytes]:
        """Return a column as it stands in the file [N]."""
        return self.words[self.columns.index(name) :: len(self.columns)]

    def texts(self, name: str) -> list[str]:
        """Return a column of words [N]."""
        return [word.decode("latin-1") for word in self.raw(name)]


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
    items: dict[str, tuple[str, list[bytes]]] = {}
    for part in data.split(b"ITEM: ")[1:]:
        rows = part.split(b"\n")
        title = rows[0].decode("latin-1").strip()
        name = next((n for n in _ITEMS if title == n or title.startswith(n + " ")), title)
        items[name] = (title[len(name) :], [row for row in rows[1:] if row])
    try:
        step, n_atoms = (int(items[name][1][0]) for name in ("TIMESTEP", "NUMBER OF ATOMS"))
        if any(len(items[name][1]) != 1 for name in ("TIMESTEP", "NUMBER OF ATOMS")):
            raise TornFrame("its header is damaged")
        bounds, box = items["BOX BOUNDS"]
        titles, rows = items["ATOMS"]
        cell, origin = cell_of_box(bounds.split(), [list(map(float, row.split())) for row in box])
        time = float(items["TIME"][1][0]) if "TIME" in items else None
    except (KeyError, IndexError, ValueError):
        raise TornFrame("its header is damaged") from None
    if not 0 <= step < 2**62 or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise TornFrame("its header is damaged")
    columns = titles.split()
    split = [row.split() for row in rows]
    if n_atoms < 1 or len(rows) != n_atoms:
        raise TornFrame("it has not the atoms that it states")
    if any(len(words) != len(columns) for words in split) or b"_" in data:
        raise TornFrame("a line has not its columns")
    units = items["UNITS"][1][0].decode("latin-1").strip() if "UNITS" in items else ""
    flags = [word for word in bounds.split() if len(word) == 2 and set(word) <= set("pfsm")]
    periodic = np.array([word == "pp" for word in flags]) if len(flags) == 3 else np.ones(3, bool)
    return DumpFrame(
        step, time, units, cell, origin, periodic, columns, list(chain.from_iterable(split))
    )


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
