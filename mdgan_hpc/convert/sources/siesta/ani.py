"""`.ANI`: XMol text, columns of fixed width (`a2,2x,3f12.6`) that may touch.

A block of frames is parsed as a whole: frames of one file are equally long, so the bytes form an
array [frames, atoms, line], and the digits of a column are summed by three multiplications of a
64-bit word (D. Lemire, "Quickly parsing eight digits", 2018).
"""

import re
import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError, DataWarning

#: Bytes parsed at a time: the words of a tile stay in the cache of a core.
_TILE_BYTES = 2**18
_BLOCK_BYTES = 2**22
#: A frame may not be longer than this; a larger atom count is damage.
_MAX_FRAME_BYTES = 2**28

_SYMBOL, _FIELD = 4, 12
_NUMBER = re.compile(rb"[ ]*[+-]?\d+\.\d*(?:[eEdD][+-]?\d+)?\s*\Z")

_WORD = np.uint64
#: One in each of the five bytes before the point, in the high bytes of a word.
_ONES = _WORD(0x0101010101000000)
_NIBBLES = _WORD(0x0F0F0F0F0F0F0F0F)
_TENS, _PAIRS = _WORD(1 + (10 << 8)), _WORD(0x00FF00FF00FF00FF)
_HUNDREDS, _QUADS = _WORD(1 + (100 << 16)), _WORD(0x0000FFFF0000FFFF)
_TEN_THOUSANDS = _WORD(1 + (10_000 << 32))


class ColumnParser:
    """Parses the `f12.6` columns of frames of equal length, all at once.

    Parameters
    ----------
    n_frames : int
        Most frames of one call: the working arrays are kept.
    n_atoms : int
    head : int
        Bytes of a frame before its atoms.
    line : int
        Bytes of an atom's line, its end included.
    """

    def __init__(self, n_frames: int, n_atoms: int, head: int, line: int) -> None:
        self._n_atoms, self._start = n_atoms, head + _SYMBOL
        self._strides = (head + n_atoms * line, line, _FIELD)
        self._words = np.empty((7, n_frames, n_atoms, 3), _WORD)

    def parse(self, data: bytes | memoryview, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions [n_frames, N, 3] and which frames [n_frames] hold numbers throughout.

        A field is taken exactly if it is blanks, at most one minus, digits, a point, six digits.
        """
        left, right, digits, sign, nibbles, wrong, t = self._words[:, :n_frames]
        shape = (n_frames, self._n_atoms, 3)
        # The 12 bytes "iiiii.dddddd" as two words that overlap in the middle.
        left[:] = np.ndarray(shape, "<u8", data, self._start, self._strides)
        right[:] = np.ndarray(shape, "<u8", data, self._start + 4, self._strides)
        np.left_shift(left, _WORD(24), out=left)  # i i i i i in the high bytes

        # Digits have bit 4 (0x30 to 0x39), blanks (0x20) and minus (0x2d) have not.
        np.right_shift(left, _WORD(4), out=digits)
        np.bitwise_and(digits, _ONES, out=digits)
        # Blanks become zeros. Then 6 more sets bit 6 of what is beyond 9: the minus.
        np.bitwise_or(left, _WORD(0x1010101010000000), out=left)
        np.add(left, _WORD(0x0606060606000000), out=sign)
        np.right_shift(sign, _WORD(6), out=sign)
        np.bitwise_and(sign, _ONES, out=sign)
        np.bitwise_and(left, _NIBBLES, out=nibbles)
        np.multiply(sign, _WORD(ord("-") & 0x0F), out=t)
        np.subtract(nibbles, t, out=nibbles)

        # Any bit left in `wrong` is a character that does not belong where it is.
        np.bitwise_and(left, _WORD(0xF0F0F0F0F0000000), out=wrong)
        np.bitwise_xor(wrong, _WORD(0x3030303030000000), out=wrong)
        np.bitwise_and(sign, digits, out=t)
        np.bitwise_or(wrong, t, out=wrong)
        others = np.bitwise_xor(digits, _ONES, out=left)  # bytes that are no digits
        np.bitwise_or(sign, digits, out=t)
        np.left_shift(t, _WORD(8), out=t)
        np.bitwise_or(t, _WORD(1 << 56), out=t)  # after a minus, a digit, or before the point
        np.bitwise_and(t, others, out=t)
        np.bitwise_or(wrong, t, out=wrong)
        np.multiply(others, _WORD(0x0F), out=t)
        np.bitwise_and(t, nibbles, out=t)
        np.bitwise_or(wrong, t, out=wrong)
        negative = sign != 0

        # The point and six digits: high nibbles 3, low ones up to 9.
        np.bitwise_and(right, _WORD(0xF0F0F0F0F0F0FF00), out=t)
        np.bitwise_xor(t, _WORD(0x3030303030302E00), out=t)
        np.bitwise_or(wrong, t, out=wrong)
        np.bitwise_and(right, _WORD(0x0F0F0F0F0F0F0000), out=right)
        np.add(right, _WORD(0x0606060606060000), out=t)
        np.bitwise_and(t, _WORD(0xF0F0F0F0F0F00000), out=t)
        np.bitwise_or(wrong, t, out=wrong)

        values = _number(nibbles, t).astype(np.float64)
        values += np.multiply(_number(right, t), 1e-6)
        np.negative(values, out=values, where=negative)
        return values, ~wrong.reshape(n_frames, -1).any(axis=1)


def _number(nibbles: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return in place the numbers whose eight digits are the bytes of each word, low byte first."""
    np.multiply(nibbles, _TENS, out=t)
    np.right_shift(t, _WORD(8), out=t)
    np.bitwise_and(t, _PAIRS, out=t)
    np.multiply(t, _HUNDREDS, out=t)
    np.right_shift(t, _WORD(16), out=t)
    np.bitwise_and(t, _QUADS, out=t)
    np.multiply(t, _TEN_THOUSANDS, out=t)
    return np.asarray(np.right_shift(t, _WORD(32), out=nibbles))


class _Window:
    """The part of a stream that is being read: `data`, of which bytes from `at` on are left."""

    def __init__(self, stream: Stream, block: int) -> None:
        self._stream, self._block = stream, block
        self.data, self.at, self.ended = b"", 0, False

    @property
    def left(self) -> int:
        """Bytes still to be read."""
        return len(self.data) - self.at

    @property
    def byte(self) -> int:
        """Place of the next byte in the stream."""
        return self._stream.offset - self.left

    def fill(self) -> None:
        """Let go of what was read, and add a block."""
        if not self.ended:
            new = self._stream.read(self._block)
            self.ended = len(new) < self._block
            self.data, self.at = self.data[self.at :] + new, 0


class AniFile:
    """A `.ANI` file.

    Parameters
    ----------
    stream : Stream

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

    def __init__(self, stream: Stream) -> None:
        self._stream, self.path = stream, stream.path
        first = self._read_head()
        rows = first.split(b"\n")
        if len(rows) < self.n_atoms + 3:
            raise DataError("stops within its first frame", where=self.path)
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
            raise DataError("its first frame cannot be read", where=self.path)

    def _read_head(self) -> bytes:
        """Return the beginning of the file with its first frame, and set the number of atoms."""
        stream, path = self._stream, self.path
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
        return first

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn frames keep their place, with a warning."""
        self._stream.rewind()
        frame_bytes = self._head + self.n_atoms * self._line if self._line else 0
        tile = max(1, _TILE_BYTES // frame_bytes) if frame_bytes else 0
        parser = ColumnParser(tile, self.n_atoms, self._head, self._line)
        window = _Window(self._stream, max(_BLOCK_BYTES, 2 * frame_bytes))
        record = 0
        while True:
            window.fill()
            while frame_bytes and window.left >= frame_bytes:
                n = min(tile, window.left // frame_bytes)
                positions, good = self._parse_block(parser, window.data, window.at, n)
                n_good = n if good.all() else int(np.argmin(good))
                if n_good:
                    yield Frames(np.arange(record, record + n_good), positions[:n_good])
                    record += n_good
                    window.at += n_good * frame_bytes
                if n_good < n:
                    break
            # What is left is a frame cut by the end of the block, or an unusual one.
            if not window.left:
                if window.ended:
                    return
                continue
            if not window.ended and window.left < max(2 * frame_bytes, _BLOCK_BYTES // 4):
                continue
            one = self._parse_one(window.data, window.at)
            if one is not None:
                positions, window.at = one
                yield Frames(np.array([record]), positions[None])
                record += 1
                continue
            if window.ended and not window.data[window.at :].strip():
                return
            if not self._pass_torn(window, record):
                return
            record += 1

    def _pass_torn(self, window: "_Window", record: int) -> bool:
        """Go on at the frame after a torn one, with a warning; False if there is none."""
        byte = window.byte
        found = self._next_frame(window.data, self._after_header(window.data, window.at))
        while found < 0 and not window.ended:
            window.at = max(window.at, len(window.data) - 64)
            window.fill()
            found = self._next_frame(window.data, window.at)
        if found < 0:
            end = f" and is the last; {record} frames are used"
        else:
            end, window.at = "; it is left out", found
        warnings.warn(
            f"{self.path}: frame {record} is torn (byte {byte}){end}", DataWarning, stacklevel=3
        )
        return found >= 0

    def _parse_block(
        self, parser: ColumnParser, data: bytes, at: int, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        view = memoryview(data)[at:]
        positions, good = parser.parse(view, n)
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
