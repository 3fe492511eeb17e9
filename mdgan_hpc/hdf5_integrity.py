"""What HDF5 does not look at itself, and crashes or reads something else where it is damaged."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from mdgan_hpc.errors import DataError

#: The mark of a heap of texts, its version, and three bytes of nothing.
_HEAP = b"GCOL\x01\0\0\0"
#: What stands before the address of a heap and is no length of a text: version and class in the
#: layout of a virtual dataset, and the upper half of a negative number before one like the address.
_VIRTUAL = b"\x04\x03"
_NO_LENGTH = (_VIRTUAL, b"\xff\xff\xff\xff")
#: At both ends of a file, where heaps are looked for.
_ENDS_BYTES = 2**18
#: The attribute of a dataset that is a digest of the places of its chunks.
_PLACES = "places_sha256"
_TELLS_CHUNKS = hasattr(h5py.h5d.DatasetID, "chunk_iter")


def require_heaps(path: Path) -> None:
    """Walk through the heaps of texts, and through what refers to them.

    A damaged heap lets HDF5 (2.0) turn round for ever; for a text, it takes as much memory as the
    reference claims; what a virtual dataset is made of, it reads before it looks at the checksum.
    Looked for where writers put them, at both ends of the file. A heap is its mark, version, size,
    and objects one after the other; a reference is the length of a text, where its heap begins, and
    its number there (HDF5 File Format Specification 3.0, III.E, IV.B and VII.A).

    Raises
    ------
    DataError
        Naming the byte.
    """
    size = path.stat().st_size
    ends: dict[int, bytes] = {}
    heaps: dict[int, bytes] = {}
    with open(path, "rb") as stream:
        for start in sorted({0, max(0, size - _ENDS_BYTES)}):
            stream.seek(start)
            ends[start] = piece = stream.read(_ENDS_BYTES)
            for at in _all(_HEAP, piece):
                if not _sound_heap(piece[at:], size - start - at):
                    raise DataError(
                        "is damaged: a heap of texts", where=f"{path}, byte {start + at}"
                    )
                heaps[start + at] = piece[at:]
    for start, piece in ends.items():
        for heap, content in heaps.items():
            for at in _all(heap.to_bytes(8, "little"), piece):
                before = piece[max(0, at - 4) : at]
                length = int.from_bytes(before, "little")
                number = int.from_bytes(piece[at + 8 : at + 10], "little")
                if before.endswith(_VIRTUAL):
                    _require_checksum(content, number, f"{path}, byte {heap}")
                other = before.endswith(_NO_LENGTH) or piece[at + 10 : at + 12] != b"\0\0"
                other = other or _across_numbers(piece, at, size) or not _holds(content, number)
                if length > size and not other:
                    raise DataError(
                        f"is damaged: claims a text of {length / 1e6:.3g} MB",
                        where=f"{path}, byte {start + at - 4}",
                    )


def _across_numbers(piece: bytes, at: int, size: int) -> bool:
    """Tell whether the address at `at` lies across two numbers of eight bytes that stand there.

    As two bytes and zeros it is part of every number that is 256 times as large, or 65536 or 2^24
    times: one to three bytes before it such a number begins, a place in the file, behind another
    that is small, or undefined. Few lengths of texts end in such zeros.
    """
    return at >= 4 and any(
        int.from_bytes(piece[at - k : at - k + 8], "little") < size
        and (
            piece[at - 4 : at - k] == bytes(4 - k)
            or piece[max(0, at - k - 8) : at - k] == b"\xff" * 8
        )
        for k in (1, 2, 3)
    )


def _objects(heap: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, content and length of the objects of a sound heap, as far as it is seen."""
    at = 16
    while at + 16 <= min(int.from_bytes(heap[8:16], "little"), len(heap)):
        number = int.from_bytes(heap[at : at + 2], "little")
        length = int.from_bytes(heap[at + 8 : at + 16], "little")
        if number:
            yield number, heap[at + 16 : at + 16 + length], length
        at += 16 + length + -length % 8 if number else length


def _holds(heap: bytes, number: int) -> bool:
    """Tell whether a heap has an object of this number; a part that is not seen may."""
    seen = int.from_bytes(heap[8:16], "little") <= len(heap)
    return number > 0 and (not seen or any(known == number for known, _, _ in _objects(heap)))


def _require_checksum(heap: bytes, number: int, where: str) -> None:
    """Raise if an object of a heap does not end with its checksum; none beyond `heap` is seen."""
    for known, found, length in _objects(heap):
        if known == number:
            told = int.from_bytes(found[-4:], "little")
            if len(found) == length and (length < 4 or _lookup3(found[:-4]) != told):
                raise DataError("is damaged: what a virtual dataset is made of", where=where)
            return


def _lookup3(data: bytes) -> int:
    """Return the checksum of metadata in HDF5: lookup3 by Bob Jenkins (2006), hashlittle, of 0."""
    most = 0xFFFFFFFF

    def turned(x: int, n: int) -> int:
        return (x << n | x >> (32 - n)) & most

    a = b = c = (0xDEADBEEF + len(data)) & most
    if not data:
        return c
    words = np.frombuffer(data + bytes(-len(data) % 12), "<u4").tolist()
    last = len(words) - 3
    for i in range(0, last, 3):
        a, b, c = (a + words[i]) & most, (b + words[i + 1]) & most, (c + words[i + 2]) & most
        for n, m, k in ((4, 6, 8), (16, 19, 4)):
            a = (a - c & most) ^ turned(c, n)
            c = c + b & most
            b = (b - a & most) ^ turned(a, m)
            a = a + c & most
            c = (c - b & most) ^ turned(b, k)
            b = b + a & most
    a, b, c = (x + w & most for x, w in zip((a, b, c), words[last:], strict=True))
    for n, m, k in ((14, 11, 25), (16, 4, 14)):
        c = (c ^ b) - turned(b, n) & most
        a = (a ^ c) - turned(c, m) & most
        b = (b ^ a) - turned(a, k) & most
    return int((c ^ b) - turned(b, 24) & most)


def _all(mark: bytes, piece: bytes) -> Iterator[int]:
    """Yield where a mark stands."""
    at = piece.find(mark)
    while at >= 0:
        yield at
        at = piece.find(mark, at + 1)


def _sound_heap(piece: bytes, room: int) -> bool:
    """Tell whether a heap ends within the `room` bytes of its file, and its objects within it."""
    end = int.from_bytes(piece[8:16], "little")
    if end > room:  # HDF5 allocates what it claims
        return False
    at = 16
    while at + 16 <= min(end, len(piece)):
        number = int.from_bytes(piece[at : at + 2], "little")
        length = int.from_bytes(piece[at + 8 : at + 16], "little")
        # An object is padded to 8 bytes behind its head; free space counts its head.
        step = 16 + length + -length % 8 if number else length
        if step < 1 or at + step > end:
            return False
        at += step
    return True


def seal_places(dataset: h5py.Dataset) -> None:
    """Store a digest of where the chunks of a dataset lie, all of which are allocated by now.

    Not with HDF5 before 1.12.3, which takes as long to tell of one chunk as of all.
    """
    if _TELLS_CHUNKS:
        dataset.attrs[_PLACES] = _places(dataset)


def require_places(dataset: h5py.Dataset, where: Callable[[h5py.Dataset], str]) -> None:
    """Raise if chunks lie elsewhere than when the dataset was made: one bit there moves numbers.

    Datasets without a digest are taken as they are.

    Raises
    ------
    DataError
    """
    told = dataset.attrs.get(_PLACES)
    if told is not None and _TELLS_CHUNKS and told != _places(dataset):
        raise DataError("is damaged: its chunks are not where they were made", where=where(dataset))


def _places(dataset: h5py.Dataset) -> str:
    found: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda chunk: found.append((*chunk.chunk_offset, chunk.byte_offset)))
    return hashlib.sha256(np.array(sorted(found), "<i8").tobytes()).hexdigest()
