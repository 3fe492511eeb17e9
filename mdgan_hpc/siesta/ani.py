"""`.ANI`: XMol text, columns of fixed width (`a2,2x,3f12.6`) that may touch.

A block of frames is parsed as a whole: frames of one file are equally long, so the bytes form an
array [frames, atoms, line], and the digits of a column are summed by three multiplications of a
64-bit word (D. Lemire, "Quickly parsing eight digits", 2018).
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.siesta.frames import Frames
from mdgan_hpc.siesta.streams import Stream

#: Bytes parsed at a time: the words of a tile stay in the cache of a core.
_TILE_BYTES = 2**18
_BLOCK_BYTES = 2**22
#: A frame may not be longer than this; a larger atom count is damage.
_MAX_FRAME_BYTES = 2**28

_SYMBOL, _FIELD = 4, 12
_NUMBER = re.compile(rb"[ ]*[+-]?\d+\.\d*(?:[eEdD][+-]?\d+)?\s*\Z")

_ONES = np.uint64(0x0101010101010101)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_TENS = np.uint64(2561)  # 10 + 2^8
_PAIRS = np.uint64(0x00FF00FF00FF00FF)
_HUNDREDS = np.uint64(6553601)  # 100 + 2^16
_QUADS = np.uint64(0x0000FFFF0000FFFF)
_TEN_THOUSANDS = np.uint64(42949672960001)  # 10^4 + 2^32


def _digits_value(nibbles: np.ndarray) -> np.ndarray:
    """Return the numbers whose eight decimal digits are the bytes of each word, low byte first."""
    value = nibbles * _TENS >> np.uint64(8) & _PAIRS
    value = value * _HUNDREDS >> np.uint64(16) & _QUADS
    return value * _TEN_THOUSANDS >> np.uint64(32)


def _digit_bytes(words: np.ndarray) -> np.ndarray:
    """Return a word with 1 in each byte that is a decimal digit."""
    low = words & _NIBBLES
    is_three = words >> np.uint64(4) & _ONES & (words >> np.uint64(5) & _ONES)
    is_three &= ~(words >> np.uint64(6) | words >> np.uint64(7)) & _ONES
    at_most_nine = ~((low + np.uint64(0x0606060606060606)) >> np.uint64(4)) & _ONES
    return is_three & at_most_nine


def parse_fixed_columns(
    data: bytes | memoryview, n_frames: int, n_atoms: int, head: int, line: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parse the `f12.6` columns of frames of equal length.

    Parameters
    ----------
    data : bytes or memoryview
        At least `n_frames` frames.
    n_frames, n_atoms : int
    head : int
        Bytes of a frame before its atoms.
    line : int
        Bytes of an atom's line, its end included.

    Returns
    -------
    positions : array, [n_frames, n_atoms, 3]
    good : array of bool, [n_frames]
        Whether every column of the frame is a number in this format.
    """
    frame = head + n_atoms * line
    shape, strides = (n_frames, n_atoms, 3), (frame, line, _FIELD)
    start = head + _SYMBOL
    # The 12 bytes "iiiii.dddddd" as two words that overlap in the middle.
    left = np.ndarray(shape, "<u8", data, start, strides).astype(np.uint64)
    right = np.ndarray(shape, "<u8", data, start + 4, strides).astype(np.uint64)
    point = right >> np.uint64(8) & np.uint64(0xFF)
    left <<= np.uint64(24)  # i i i i i in the high bytes
    right &= np.uint64(0xFFFFFFFFFFFF0000)  # d d d d d d in the high bytes
    whole_digits = _digit_bytes(left)
    decimal_digits = _digit_bytes(right)
    mask = whole_digits * np.uint64(0x0F)
    value = _digits_value(left & mask).astype(np.float64)
    value += _digits_value(right & _NIBBLES) * 1e-6
    # Before the digits: blanks (0x20), then at most one sign (0x2d).
    others = left & ~(whole_digits * np.uint64(0xFF))
    signs = others & np.uint64(0x0D0D0D0D0D0D0D0D)
    value[signs != 0] *= -1.0

    byte = np.uint64(8)
    blanks = ~whole_digits & np.uint64(0x0101010101000000)
    wrong = others ^ (blanks * np.uint64(0x20)) ^ signs  # another character
    wrong |= (whole_digits << byte) & ~whole_digits & _ONES  # a digit before a blank
    sign_ones = signs & _ONES
    wrong |= signs ^ sign_ones * np.uint64(0x0D)
    wrong |= (sign_ones << byte) & ~whole_digits & _ONES  # a sign before a blank or a sign
    wrong |= decimal_digits ^ np.uint64(0x0101010101010000)
    wrong |= ~whole_digits & np.uint64(1 << 56)  # no digit before the point
    wrong |= point ^ np.uint64(ord("."))
    return value, ~(wrong != 0).reshape(n_frames, -1).any(axis=1)


class AniFile:
    """A `.ANI` file.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    n_atoms : int
    symbols : list of str, [N]
        Element symbols.

    Raises
    ------
    DataError
        If it does not begin with a complete frame.
    """

    kind = "ANI"
    ahead = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        with Stream(path) as stream:
            first = stream.read(4096)
            if not first.strip():
                raise DataError("is empty", where=path, remedy="was the run killed at once?")
            count = first.split(b"\n", 1)[0].strip()
            if not count.isdigit() or not 0 < int(count) < _MAX_FRAME_BYTES // 41:
                raise DataError(
                    f"does not begin with a number of atoms but with {count[:20]!r}", where=path
                )
            self.n_atoms = int(count)
            wanted = self.n_atoms * 64 + 4096
            while first.count(b"\n") < self.n_atoms + 2 and len(first) < wanted:
                piece = stream.read(2**16)
                if not piece:
                    break
                first += piece
        rows = first.split(b"\n")
        if len(rows) < self.n_atoms + 3:
            raise DataError("stops within its first frame", where=path)
        atoms = rows[2 : 2 + self.n_atoms]
        self.symbols = [row[:2].strip().decode("latin-1") for row in atoms]
        self._head = len(rows[0]) + len(rows[1]) + 2
        self._head_bytes = first[: self._head]
        lengths = {len(row) + 1 for row in atoms}
        #: Bytes of an atom's line if all are equally long, else 0: then line by line.
        self._line = lengths.pop() if len(lengths) == 1 else 0
        if self._line < _SYMBOL + 3 * _FIELD + 1:
            self._line = 0
        self._labels = np.frombuffer(b"".join(row[:4].ljust(4) for row in atoms), "<u4")
        self._tail = atoms[0][_SYMBOL + 3 * _FIELD :] + b"\n"
        if self._parse_one(first, 0) is None:
            raise DataError("its first frame cannot be read", where=path)

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn frames keep their place, with a warning."""
        frame_bytes = self._head + self.n_atoms * self._line if self._line else 0
        tile = max(1, _TILE_BYTES // frame_bytes) if frame_bytes else 0
        block = max(_BLOCK_BYTES, 2 * frame_bytes)
        record = 0
        with Stream(self.path) as stream:
            data, at, ended = b"", 0, False  # bytes from `at` on are still to be read
            while True:
                if not ended:
                    new = stream.read(block)
                    ended = len(new) < block
                    data, at = data[at:] + new, 0
                while frame_bytes and len(data) - at >= frame_bytes:
                    n = min(tile, (len(data) - at) // frame_bytes)
                    positions, good = self._parse_block(data, at, n)
                    n_good = n if good.all() else int(np.argmin(good))
                    if n_good:
                        yield Frames(np.arange(record, record + n_good), positions[:n_good])
                        record += n_good
                        at += n_good * frame_bytes
                    if n_good < n:
                        break
                # What is left is a frame cut by the end of the block, or an unusual one.
                if at >= len(data):
                    if ended:
                        return
                    continue
                if not ended and len(data) - at < max(2 * frame_bytes, _BLOCK_BYTES // 4):
                    continue
                one = self._parse_one(data, at)
                if one is not None:
                    positions, at = one
                    yield Frames(np.array([record]), positions[None])
                    record += 1
                    continue
                if ended and not data[at:].strip():
                    return
                byte = stream.offset - len(data) + at
                found = self._next_frame(data, self._after_header(data, at))
                while found < 0 and not ended:
                    at = max(at, len(data) - 64)
                    new = stream.read(block)
                    ended = len(new) < block
                    data, at = data[at:] + new, 0
                    found = self._next_frame(data, at)
                if found < 0:
                    warnings.warn(
                        f"{self.path}: frame {record} is torn (byte {byte}) and is the last; "
                        f"{record} frames are used",
                        DataWarning,
                        stacklevel=2,
                    )
                    return
                warnings.warn(
                    f"{self.path}: frame {record} is torn (byte {byte}); it is left out",
                    DataWarning,
                    stacklevel=2,
                )
                record += 1
                at = found

    def _parse_block(self, data: bytes, at: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        view = memoryview(data)[at:]
        positions, good = parse_fixed_columns(view, n, self.n_atoms, self._head, self._line)
        frame = self._head + self.n_atoms * self._line
        rows = np.frombuffer(view, np.uint8, n * frame).reshape(n, frame)
        good &= (rows[:, : self._head] == np.frombuffer(self._head_bytes, np.uint8)).all(axis=1)
        labels = np.ndarray((n, self.n_atoms), "<u4", view, self._head, (frame, self._line))
        good &= (labels == self._labels).all(axis=1)
        for place, character in enumerate(self._tail, start=self._line - len(self._tail)):
            ends = rows[:, self._head + place :: self._line]
            good &= (ends == character).all(axis=1)
        return positions, good

    def _parse_one(self, data: bytes, at: int) -> tuple[np.ndarray, int] | None:
        """Read one frame line by line; None if it is torn, or not all there."""
        limit = at + self.n_atoms * 256 + 1024
        rows = data[at:limit].split(b"\n", self.n_atoms + 2)
        if len(rows) < self.n_atoms + 3 or rows[0].strip() != str(self.n_atoms).encode():
            return None
        positions = np.empty((self.n_atoms, 3))
        for i, row in enumerate(rows[2 : 2 + self.n_atoms]):
            columns = [row[4:16], row[16:28], row[28:40]]
            if not all(map(_NUMBER.match, columns)):
                columns = row.split()[1:4]
                if len(columns) < 3 or not all(map(_NUMBER.match, columns)):
                    return None
            if row[:2].strip() != self.symbols[i].encode("latin-1"):
                return None
            positions[i] = [float(text.lower().replace(b"d", b"e")) for text in columns]
        if not np.isfinite(positions).all():
            return None
        return positions, at + sum(len(row) + 1 for row in rows[:-1])

    def _after_header(self, data: bytes, at: int) -> int:
        """Return where to look for the frame after the torn one that begins at `at`."""
        line = data.find(b"\n", at) + 1 or len(data)
        return line if data[at:line].strip() == str(self.n_atoms).encode() else at + 1

    def _next_frame(self, data: bytes, at: int) -> int:
        """Return where the next frame header begins at or after `at`, or -1.

        A torn line may run into the header of the next segment.
        """
        n = self.n_atoms
        match = re.compile(
            rb"(?<=\n) *%d *\r?\n[^\n]*\n *[A-Za-z]| {0,4}%d\r?\n *\r?\n *[A-Za-z]" % (n, n)
        ).search(data, at)
        return match.start() if match else -1
