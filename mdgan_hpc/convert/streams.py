"""Files read as they are, compressed or not, in pieces."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import warnings
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mdgan_hpc.errors import DataError, DataWarning, UsageError

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")

#: More than any input file or single geometry of a run; larger ones are not what they seem.
SMALL_FILE_BYTES = 64 * 2**20


def plain_name(path: Path) -> str:
    """Return the file name without the suffix of its compression."""
    return path.stem if path.suffix.lower() in COMPRESSED else path.name


def _open(path: Path) -> Any:
    try:
        raw = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by Stream)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    magic = raw.read(6)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)
    if magic[:3] == b"BZh":
        return bz2.BZ2File(raw)
    if magic == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(raw)
    if magic[:4] == b"\x28\xb5\x2f\xfd":
        try:
            import zstandard
        except ImportError:
            raise UsageError(
                "is compressed with zstd",
                where=path,
                remedy="install mdgan-hpc[zstd], or decompress it",
            ) from None
        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return raw


class Stream:
    """The decompressed bytes of a file, in order.

    A compressed file that is damaged ends where the damage begins, with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        # `read1` hands out what is before the damage of a compressed file.
        self._read = getattr(self._file, "read1", self._file.read)
        self.offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes`, or fewer at the end of the file."""
        pieces, missing = [], n_bytes
        while missing > 0:
            try:
                piece = self._read(missing)
            except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                self._damaged(error)
                break
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "zstandard":
                    raise
                self._damaged(error)
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.offset += len(data)
        return data

    def read_into(self, buffer: bytearray) -> int:
        """Fill `buffer`; return the bytes read, fewer at the end of the file."""
        if not isinstance(self._file, io.FileIO):
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        view, done = memoryview(buffer), 0
        try:
            while done < len(view) and (n := self._file.readinto(view[done:])):
                done += n
        except OSError as error:
            self._damaged(error)
        self.offset += done
        return done

    def seekable(self) -> Any:
        """Return the decompressed content as a file that can be read out of order."""
        return self._file

    def _damaged(self, error: Exception) -> None:
        warnings.warn(
            f"{self.path}: cannot be read beyond byte {self.offset} of its content "
            f"({str(error) or type(error).__name__}); what is before it is used",
            DataWarning,
            stacklevel=2,
        )


def read_small(path: Path) -> str:
    """Return the text of a file that holds an input or one geometry.

    Raises
    ------
    DataError
        If it is too large for that.
    """
    with Stream(path) as stream:
        data = stream.read(SMALL_FILE_BYTES + 1)
    if len(data) > SMALL_FILE_BYTES:
        raise DataError("is too large for a file of its kind", where=path)
    return data.decode("latin-1")


def lines(stream: Stream, block: int = 2**20) -> Any:
    """Yield the lines of a stream as text without their ends; an overlong line is cut in pieces."""
    rest = b""
    while True:
        data = stream.read(block)
        if not data:
            break
        whole, newline, tail = (rest + data).rpartition(b"\n")
        if not newline and len(tail) < 4 * block:
            rest = tail
            continue
        rest = tail if newline else b""
        yield from (whole if newline else tail).decode("latin-1").split("\n")
    if rest:
        yield rest.decode("latin-1")
