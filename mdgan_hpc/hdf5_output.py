"""New HDF5 files whose writing may fail: on a full disk the error is told, and nothing crashes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import h5py


class Target(io.FileIO):
    """The file below HDF5, which keeps a failed write to itself.

    HDF5 cannot close a file that it failed to write, and ends the program; so the first failure,
    or an interrupt that arrives meanwhile, is kept in `error`, whatever follows is dropped, and
    the writer gives up in good order.
    """

    error: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or note why that failed."""
        view, done = memoryview(data), 0
        try:
            while self.error is None and done < len(view):
                done += super().write(view[done:])
        except BaseException as error:
            self.error = error
        return len(view)

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or note why that failed."""
        if self.error is not None:
            return 0
        try:
            return super().truncate(size)
        except BaseException as error:
            self.error = error
            return 0

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self.error is not None:
            raise self.error


class Hdf5Writer:
    """An HDF5 file open for writing; a context manager that closes it.

    Attributes
    ----------
    file : h5py.File
    """

    def __init__(self, path: Path, mode: str = "w", **options: Any) -> None:
        import h5py

        self._target = Target(path, "w+" if mode == "w" else "r+")
        self.file: h5py.File = h5py.File(self._target, mode, **options)

    def check(self) -> None:
        """Raise the `OSError` of a write that failed so far."""
        self._target.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or let go of it; raises the `OSError` of a write that failed."""
        try:
            self.file.close()
        except Exception:
            # What HDF5 says of a file that is thrown away does not matter.
            self.check()
            if value is None:
                raise
        finally:
            self._target.close()
        self.check()


@contextmanager
def hdf5_written(path: Path, mode: str = "w", **options: Any) -> "Iterator[h5py.File]":
    """Give an h5py.File to write to (`options` are its own); closed at the end.

    Raises
    ------
    OSError
        If it could not be written, whatever HDF5 made of that.
    """
    with Hdf5Writer(path, mode, **options) as writer:
        yield writer.file
