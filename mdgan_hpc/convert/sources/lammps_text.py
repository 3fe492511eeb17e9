"""The text of LAMMPS dumps: from the stream to frames whose counts and columns are whole."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
from scipy.io import mmread

from mdgan_hpc.convert.sources.foreign import OTHER_ATOMS, RepeatedLines
from mdgan_hpc.convert.streams import CUT, Stream

_BLOCK = 2**20
#: A frame may not be longer than this; a file without frames is something else.
_MAX_FRAME_BYTES = 2**30
_MARK = b"ITEM: TIMESTEP"
#: Header items that LAMMPS writes before TIMESTEP.
_BEFORE = (b"TIME\n", b"TIME\r", b"UNITS")
_STEP = re.compile(rb"ITEM: TIMESTEP\s*\n\s*(\d{1,18})")
#: Stands for a frame that has, or may have, a part of another.
_DOUBTFUL = b"doubtful"


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
    """Yield the text of each frame, from its UNITS, TIME or TIMESTEP on.

    Where a frame is followed by a torn one of the same step, lines of the two may be mixed: neither
    is whole. (A torn one that is followed by a whole one of its step is where a restart went on.)
    """
    repeated = RepeatedLines()
    for frame, following in pairwise(chain(_split(stream), [b""])):
        step, next_step = _stated_step(frame), _stated_step(following)
        mixed = step is not None and step == next_step and _is_torn(following)
        mixed |= repeated.mixed(step, _last_line(frame), next_step, _last_line(following))
        yield _DOUBTFUL if mixed else frame


def _last_line(data: bytes) -> bytes:
    return data[data.rfind(b"\n", 0, -1) + 1 :]


def _stated_step(data: bytes) -> int | None:
    found = _STEP.search(data, 0, 400)
    return None if found is None else int(found[1])


def _is_torn(data: bytes) -> bool:
    try:
        parsed(data)
    except TornFrame:
        return True
    return False


def _split(stream: Stream) -> Iterator[bytes]:
    """Yield the text of each frame as it stands in the file."""
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
    frame, n_atoms, body = _head(data)
    frame.table, frame.words = _table(body, n_atoms, frame.columns)
    return frame


def parsed_group(group: list[bytes]) -> tuple[list[DumpFrame], np.ndarray] | None:
    """Read frames that are alike and whole, all at once.

    Returns
    -------
    frames : list of DumpFrame
        Without their atoms.
    table : array, [frames, N, columns]
    None
        If a frame is torn, or another than the first: they are to be read one by one.
    """
    try:
        heads = [_head(data) for data in group]
        frame, n_atoms, _ = heads[0]
        columns = frame.columns
        if any(n != n_atoms or head.columns != columns for head, n, _ in heads):
            return None
        if _WORDS & set(columns) or any(body.count(b"\n") != n_atoms for *_, body in heads):
            return None
        values = _numbers(b"".join(body for *_, body in heads), len(columns))
    except TornFrame:
        return None
    if values is None or values.size != len(group) * n_atoms * len(columns):
        return None
    return [head for head, *_ in heads], values.reshape(len(group), n_atoms, -1)


def _head(data: bytes) -> tuple[DumpFrame, int, bytes]:
    """Return a frame without its atoms, their number, and their lines."""
    if data == _DOUBTFUL:
        raise TornFrame(OTHER_ATOMS)
    if data.endswith(CUT.encode()):
        raise TornFrame("its last line has no end")
    at = data.find(b"ITEM: ATOMS")
    title, _, body = data[at + 11 :].partition(b"\n")
    items: dict[str, tuple[str, bytes]] = {}
    for part in data[: max(at, 0)].split(b"ITEM: ")[1:]:
        line, _, content = part.partition(b"\n")
        text = line.decode("latin-1").strip()
        name = next((n for n in _ITEMS if text == n or text.startswith(n + " ")), text)
        if name in items:  # the header of one frame, the atoms of another
            raise TornFrame("its header comes twice")
        items[name] = (text[len(name) :], content)
    try:
        step, n_atoms = (int(items[name][1]) for name in ("TIMESTEP", "NUMBER OF ATOMS"))
        cell, origin, periodic = _bounds(*items["BOX BOUNDS"])
        time = float(items["TIME"][1]) if "TIME" in items else None
    except (KeyError, ValueError):
        raise TornFrame("its header is damaged") from None
    columns = title.decode("latin-1").split()
    if at < 0 or not 0 <= step < 2**62 or n_atoms < 1 or not columns or b"_" in data[:at]:
        raise TornFrame("its header is damaged")
    units = items["UNITS"][1].decode("latin-1").strip() if "UNITS" in items else ""
    return DumpFrame(step, time, units, cell, origin, periodic, columns, None, []), n_atoms, body


@lru_cache(maxsize=4)
def _bounds(titles: str, text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cell [3, 3], origin [3] and periodic directions [3]; ValueError if damaged."""
    rows = [list(map(float, row.split())) for row in text.split(b"\n") if row.strip()]
    cell, origin = cell_of_box(titles.split(), rows)
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise ValueError("cell")
    flags = [word for word in titles.split() if len(word) == 2 and set(word) <= set("pfsm")]
    periodic = np.array([word == "pp" for word in flags]) if len(flags) == 3 else np.ones(3, bool)
    return cell, origin, periodic


_ITEMS = ("UNITS", "TIMESTEP", "TIME", "NUMBER OF ATOMS", "BOX BOUNDS")
#: Columns that hold words.
_WORDS = {"element", "typelabel"}
_DIGITS = b"0123456789"
_MATRIX = b"%%%%MatrixMarket matrix array real general\n%d 1\n"


def _word_ends(body: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the words up to each byte, and those up to the end of each line."""
    text = np.frombuffer(body, np.uint8)
    blank = text <= ord(" ")
    begins = ~blank
    begins[1:] &= blank[:-1]
    words = np.cumsum(begins, dtype=np.int32)
    return words, words[text == ord("\n")]


def _numbers(body: bytes, columns: int) -> np.ndarray | None:
    """Return the numbers of lines that have so many each; None for anything unusual.

    The parser of Matrix Market files in SciPy is the fastest at hand, five times `numpy`'s. It
    passes over what follows a number, so each word is looked at before: digits, at most one point,
    a sign at its beginning or after an exponent.
    """
    if body.translate(None, _DIGITS + b".-e+ \n"):
        return None
    words, ends = _word_ends(body)
    if (np.diff(ends, prepend=0) != columns).any():
        return None
    text = np.frombuffer(body, np.uint8)
    points = words[text == ord(".")]
    signs = np.flatnonzero((text == ord("-")) | (text == ord("+")))
    before = text[np.maximum(signs - 1, 0)]
    if (points[1:] == points[:-1]).any():
        return None
    if ((before > ord(" ")) & (before != ord("e")) & (signs > 0)).any():
        return None
    if not all(_EXPONENT.match(_word(body, int(at))) for at in np.flatnonzero(text == ord("e"))):
        return None
    lines = _MATRIX % int(ends[-1]) + body.replace(b" ", b"\n")
    try:
        values = mmread(io.BytesIO(lines))
    except ValueError:
        return None
    return np.asarray(values).ravel()


def _word(body: bytes, at: int) -> bytes:
    """Return the word at a place."""
    begin = max(body.rfind(b" ", 0, at), body.rfind(b"\n", 0, at)) + 1
    return body[begin : at + 32].split()[0]


_EXPONENT = re.compile(rb"-?\d+\.?\d*e[-+]?\d+\Z")


def _table(body: bytes, n_atoms: int, columns: list[str]) -> tuple[np.ndarray | None, list[bytes]]:
    """Return the lines of the atoms as numbers [N, columns], or as words where some are words.

    Raises
    ------
    TornFrame
        If there are not as many lines as atoms, or a line has not its columns.
    """
    counts = np.diff(_word_ends(body)[1], prepend=0)
    counts = counts[counts > 0]  # the empty lines left out
    if len(counts) != n_atoms:
        raise TornFrame("it has not the atoms that it states")
    if (counts != len(columns)).any():
        raise TornFrame("a line has not its columns")
    words = body.split()
    if _WORDS & set(columns):
        return None, words
    try:
        if b"_" in body:  # which Python takes in numbers
            raise ValueError
        return np.array(list(map(float, words))).reshape(n_atoms, -1), []
    except ValueError:
        raise TornFrame("a number is damaged") from None


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
