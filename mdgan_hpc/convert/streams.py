"""Files read as they are, compressed or not, in pieces."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.inputs import require_file

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")

#: More than any input file or single geometry of a run; larger ones are not what they seem.
SMALL_FILE_BYTES = 64 * 2**20


def plain_name(path: Path) -> str:
    """Return the file name without the suffix of its compression."""
    return path.stem if path.suffix.lower() in COMPRESSED else path.name


def _opened(path: Path) -> io.FileIO:
    require_file(path)
    try:
        raw = io.FileIO(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return raw


def _decompressed(raw: io.FileIO, path: Path) -> Any:
    """Return the content of an open file, from its beginning, whatever packed it."""
    try:
        raw.seek(0)
        magic = raw.read(6)
        raw.seek(0)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
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
        return zstandard.ZstdDecompressor().stream_reader(
            raw, read_across_frames=True, closefd=False
        )
    return raw


class Stream:
    """The decompressed bytes of a file, in order; the file is opened once, when it is made.

    A compressed file that is damaged ends where the damage begins, with a warning.

    Attributes
    ----------
    path : path
    offset : int
        Bytes of the content read so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = _opened(path)
        self._told = False  # of damage, once however often the file is read
        self._file: Any = None  # the decompressed content, from the first read on
        self.offset = 0

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None:
            raw.close()

    def _content(self) -> Any:
        if self._file is None:
            self._file = _decompressed(self._raw, self.path)
        return self._file

    @property
    def descriptor(self) -> int:
        """Number of the open file, by which its bytes as they are can be read too."""
        return self._raw.fileno()

    def rewind(self) -> None:
        """Go back to the beginning."""
        self._file, self.offset = None, 0

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes`, or fewer at the end of the file."""
        pieces, missing = [], n_bytes
        content = self._content()
        # `read1` hands out what is before the damage of a compressed file.
        read = getattr(content, "read1", content.read)
        while missing > 0:
            try:
                piece = read(missing)
            except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                self._damaged(error, n_bytes - missing)
                break
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "zstandard":
                    raise
                self._damaged(error, n_bytes - missing)
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
        content = self._content()
        if not isinstance(content, io.FileIO):
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        view, done = memoryview(buffer), 0
        try:
            while done < len(view) and (n := content.readinto(view[done:])):
                done += n
        except OSError as error:
            self._damaged(error, done)
        self.offset += done
        return done

    def seekable(self) -> Any:
        """Return the decompressed content as a file that can be read out of order."""
        self.rewind()
        return self._content()

    def text(self) -> str:
        """Return all of a file that holds an input or one geometry.

        Raises
        ------
        DataError
            If it is too large for that.
        """
        self.rewind()
        data = self.read(SMALL_FILE_BYTES + 1)
        if len(data) > SMALL_FILE_BYTES:
            raise DataError("is too large for a file of its kind", where=self.path)
        return data.decode("latin-1")

    def _damaged(self, error: Exception, n_read: int) -> None:
        if self._told:
            return
        self._told = True
        warnings.warn(
            f"{self.path}: cannot be read beyond byte {self.offset + n_read} of its content "
            f"({str(error) or type(error).__name__}); what is before it is used",
            DataWarning,
            stacklevel=2,
        )


class Files:
    """The files of a run, each opened once, closed together; a context manager."""

    def __init__(self) -> None:
        self._streams: dict[Path, Stream] = {}
        self._more: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self, path: Path) -> Stream:
        """Return the stream of a file; one that is open already goes back to its beginning.

        Raises
        ------
        UsageError, DataError
            If it cannot be read.
        """
        stream = self._streams.get(path)
        if stream is None:
            stream = self._streams[path] = Stream(path)
        else:
            stream.rewind()
        return stream

    def descriptors(self, paths: Iterable[Path]) -> dict[str, int]:
        """Return the numbers of open files by path; those that are not open yet are opened."""
        return {
            str(path): (self._streams.get(path) or self.open(path)).descriptor for path in paths
        }

    def add(self, close: Callable[[], object]) -> None:
        """Take in what closes a file that was opened by other means."""
        self._more.append(close)

    def close(self) -> None:
        """Close them all."""
        for close in self._more:
            close()
        self._more.clear()
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


class Rows:
    """Lines of which the last one taken can be put back.

    Parameters
    ----------
    rows : iterator of str
    """

    def __init__(self, rows: Iterator[str]) -> None:
        self._rows = rows
        self._back: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._back is not None:
            row, self._back = self._back, None
            return row
        return next(self._rows)

    def put_back(self, row: str) -> None:
        """Let `row` be the next line again."""
        self._back = row


#: Ends a last line whose end is missing: it may be cut within a number, and is none any more.
CUT = "\0"


def lines(stream: Stream, block: int = 2**20, *, cut: str = "") -> Iterator[str]:
    """Yield the lines of a stream as text without their ends; an overlong line is cut in pieces.

    Parameters
    ----------
    stream : Stream
    block : int
        Bytes read at a time.
    cut : str
        Added to the last line if its end is missing, such as `CUT`.
    """
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
        yield rest.decode("latin-1") + cut
