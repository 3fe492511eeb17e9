"""One run at a time writes an output."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mdgan_hpc.errors import DataError
from mdgan_hpc.outputs import require_directory_for
from mdgan_hpc.parallel import Communicator

#: Processes of a run that was killed end within this time.
_WAIT_S = 15.0


def lock_path(output: Path) -> Path:
    """Return the file whose lock says that a run is going on."""
    return output.with_name(f".{output.name}.lock")


@contextmanager
def locked(output: Path, communicator: Communicator) -> Iterator[None]:
    """Hold the output for all ranks of a run.

    A new run must first have the lock alone; then every process of it (`shared_lock`) shares it,
    so that processes that outlive a killed run keep the next one waiting.

    Raises
    ------
    DataError
        If another run holds it.
    """
    path = lock_path(output)
    if communicator.rank == 0:
        require_directory_for(output)
        with open(path, "a") as stream:
            _wait_alone(stream, output)
    communicator.barrier()
    with shared_lock(output):
        communicator.barrier()
        yield
        communicator.barrier()
        if communicator.rank == 0:
            path.unlink(missing_ok=True)


@contextmanager
def shared_lock(output: Path) -> Iterator[None]:
    """Hold the output together with the other processes of this run."""
    with open(lock_path(output), "a") as stream:
        _try(stream, fcntl.LOCK_SH)
        yield


def _wait_alone(stream: TextIO, output: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not _try(stream, fcntl.LOCK_EX | fcntl.LOCK_NB):
        if time.monotonic() > deadline:
            raise DataError(
                "another run is writing it", where=output, remedy="wait for it or end it"
            )
        time.sleep(0.1)


def _try(stream: TextIO, operation: int) -> bool:
    """Lock; false if another holds it. A file system without locks locks nothing."""
    try:
        fcntl.flock(stream, operation)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
