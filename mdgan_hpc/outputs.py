"""Outputs are never overwritten unasked and never half-replaced."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdgan_hpc.errors import DataError, OutputExistsError


def refuse_existing(path: str | Path, *, force: bool) -> None:
    """Raise unless `path` is free or may be replaced.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `force` is false.
    """
    if os.path.lexists(path) and not force:
        raise OutputExistsError(
            "exists already", where=path, remedy="choose another path or use --force"
        )


def require_directory_for(path: str | Path) -> None:
    """Make the directory that will hold `path`.

    Raises
    ------
    DataError
        If it cannot be made or written to.
    """
    parent = Path(path).absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the folder ({error.strerror})", where=parent, remedy="check the path"
        ) from error
    if not os.access(parent, os.W_OK):
        raise DataError("the folder is not writable", where=parent, remedy="choose another")


def partial_path(path: str | Path) -> Path:
    """Where the content of `path` is put together until it is complete."""
    path = Path(path)
    return path.with_name(f".{path.name}.partial")


def commit(partial: Path, path: str | Path) -> None:
    """Put the finished file `partial` in the place of `path`: on the disk, then renamed."""
    with open(partial, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)
    directory = os.open(Path(path).absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def written_whole(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """Give a path to write to; on success it takes the place of `path`, on failure it goes.

    Raises
    ------
    OutputExistsError
        If `path` exists and `force` is false.
    """
    refuse_existing(path, force=force)
    require_directory_for(path)
    partial = partial_path(path)
    try:
        yield partial
        commit(partial, path)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise
