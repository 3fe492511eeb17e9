"""How every file of the product is written: claimed, put together beside, then renamed.

A writer of NAME claims it by a lock on ``.NAME.lock``, which the kernel frees when the writer ends
in any way. It writes to a temporary file of its own, ``.NAME.HOST-TOKEN.partial`` in the same
folder, brings that to the disk and renames it. So NAME is at any moment the old file or the new
one, whole; a second writer is told in one line; and what a killed writer left is removed by the
next one. On a file system without locks both writers go on, each in its own temporary file.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mdgan_hpc.errors import DataError, MdganError, OutputExistsError, UsageError
from mdgan_hpc.parallel import Ranks, together

#: A writer that was just killed lets go of its claim within this time.
_PATIENCE_S = 2.0
#: A temporary file that another host made counts as left behind after this time: where locks hold
#: on one host alone, its writer may live.
_ABANDONED_S = 86_400.0
#: Ranks on other hosts see a new file within this time.
_VISIBLE_S = 30.0
#: Longer names are shortened to a digest in the names of temporary files.
_LONGEST = 160
_HOST = re.sub(r"[^A-Za-z0-9]", "_", os.uname().nodename.partition(".")[0])[:32]
_PARTIAL = re.compile(r"\.(?P<name>.+)\.(?P<host>\w*)-[0-9a-f]{8}\.partial")
_LOCK = re.compile(r"\.(?P<name>.+)\.lock")
#: Parts of generated trajectories, in the folders that `trajectory.blocks.plan` names.
_PART = re.compile(r".+\.(shards|parts)/part-\d+\.h5")
_ROOM = "make room, or choose another place"


def check_output(path: str | Path, *, force: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Raise unless a file can be written to `path`; nothing is made or changed.

    Where it is there already, what dead writers of it left goes.

    Parameters
    ----------
    path : path
    force : bool
        A file that is there may be replaced.
    inputs : paths
        Files that are read, and must stay.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `force` is false.
    UsageError
        If `path` is one of the inputs, a part of a trajectory, a folder or a device.
    DataError
        If the folder cannot be written to.
    """
    if os.path.isdir(path):
        raise UsageError("is a folder", where=path, remedy="name a file")
    there = _status(path)
    if there is not None and not force:
        _sweep_name(Path(path))
        raise OutputExistsError(
            "exists already", where=path, remedy="choose another path or use --force"
        )
    refuse_input(path, inputs)
    if there is not None and _PART.fullmatch(os.path.realpath(path)):
        raise UsageError("is a part of a trajectory", where=path, remedy="choose another path")
    if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
        raise UsageError("is no regular file", where=path, remedy="choose another path")
    require_place(Path(path).absolute().parent)


def refuse_input(path: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise `UsageError` if `path` is one of `inputs`, by name, by a link or as the same file."""
    for file in inputs:
        same = os.path.realpath(path) == os.path.realpath(file)
        with contextlib.suppress(OSError):
            same = same or os.path.samefile(path, file)
        if same:
            raise UsageError(
                "is read by this command, and would be replaced by its output",
                where=path,
                remedy="choose another output",
            )


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"cannot be a name ({error.strerror})", where=path, remedy="choose another path"
        ) from None


def require_place(folder: Path) -> None:
    """Raise `DataError` unless `folder` can be written to, or made."""
    there = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not there.is_dir():
        raise DataError("is no folder", where=there, remedy="check the path")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DataError("the folder is not writable", where=there, remedy="choose another")


def write_error(error: OSError, path: str | Path) -> DataError:
    """Return what a user is told where writing `path` failed."""
    return DataError(f"cannot be written ({error.strerror or error})", where=path, remedy=_ROOM)


@contextmanager
def claimed(path: str | Path, *, patience_s: float = _PATIENCE_S) -> Iterator[str]:
    """Be the only writer of `path`; what dead writers of it left is removed first.

    The folder is made where it is missing, and goes again if nothing comes into it. For a run
    folder, claim a name in it. Gives what the claim file says: this host, process and a token.

    Raises
    ------
    DataError
        If another process writes it still after `patience_s`, or the folder cannot be made.
    """
    path = Path(path)
    claim = _Claim(path)
    try:
        claim.take(patience_s)
        text = _signed(claim.descriptor, path)
        _remove_partials(path.absolute().parent, _short(path.name), everyone=claim.exclusive)
        yield text
    finally:
        try:
            claim.release()
        except BaseException:  # a signal, which may come between any two of its lines
            claim.release()
            raise


class _Claim:
    """The lock file of a name; what `take` has begun `release` ends, wherever a signal came.

    Attributes
    ----------
    descriptor : int
        Of the lock file; -1 without one.
    exclusive : bool
        Whether the file system knows locks at all.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor, self.exclusive = -1, True
        self._path, self._lock = path, _lock_of(path)
        self._begun = self._held = False
        self._made: list[Path] = []

    def take(self, patience_s: float) -> None:
        """Make the folder and take the lock; `DataError` as of `claimed`."""
        folder = self._path.absolute().parent
        self._made = [p for p in (folder, *folder.parents) if not os.path.lexists(p)]
        _make_folder(folder)
        deadline = time.monotonic() + patience_s
        self._begun = True
        while not self._try(deadline):
            time.sleep(0.05)

    def _try(self, deadline: float) -> bool:
        """Try once to take the lock."""
        try:
            self.descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise write_error(error, self._path) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self.descriptor, 200).decode(errors="replace").partition(",")[0]
            self._close()
            if time.monotonic() >= deadline:
                raise DataError(
                    f"another run is writing it ({holder or 'unknown'})",
                    where=self._path,
                    remedy="wait for it or end it",
                ) from None
            return False
        except OSError:
            self.exclusive, self._held = False, True
            return True
        # The one before may have removed the file between our opening and locking it.
        self._held = _is_at(self.descriptor, self._lock)
        if not self._held:
            self._close()
        return self._held

    def release(self) -> None:
        """Remove the lock file if it is ours, or nobody's; and the folders made, if empty."""
        if self._begun and not self._held:
            self._close()
            with contextlib.suppress(OSError):
                self.descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held = _is_at(self.descriptor, self._lock)
        if self._held:
            with contextlib.suppress(OSError):
                self._lock.unlink()
        self._close()
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _close(self) -> None:
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)
        self.descriptor = -1


def _is_at(descriptor: int, lock: Path) -> bool:
    """Whether an open lock file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the folder ({error.strerror})", where=folder, remedy="check the path"
        ) from error


def _signed(descriptor: int, path: Path) -> str:
    """Write into a claim file whose it is; returns the text."""
    text = f"process {os.getpid()} on {os.uname().nodename}, {os.urandom(8).hex()}\n"
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, text.encode())
    except OSError as error:
        raise write_error(error, path) from error
    return text


def _lock_of(path: Path) -> Path:
    path = path if path.name else path.resolve()  # "." has none
    return path.with_name(f".{_short(path.name)}.lock")


def _short(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else hashlib.sha256(raw).hexdigest()[:32]


def _remove_partials(folder: Path, short: str, *, everyone: bool) -> None:
    """Remove the temporary files of dead writers of a name whose claim is held."""
    for entry in os.scandir(folder):
        found = _PARTIAL.fullmatch(entry.name)
        if found is None or found["name"] != short:
            continue
        with contextlib.suppress(OSError):
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S
            if old or (everyone and found["host"] == _HOST):
                _remove(Path(entry.path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a claim or of a temporary file."""
    return bool(_LOCK.fullmatch(name) or _PARTIAL.fullmatch(name))


def sweep(folder: Path) -> None:
    """Remove what dead writers left in a folder of our own, of whatever name."""
    if not folder.is_dir():
        return
    found = [_PARTIAL.fullmatch(n) or _LOCK.fullmatch(n) for n in sorted(os.listdir(folder))]
    for name in {match["name"] for match in found if match}:
        _sweep_name(folder / name)


def _sweep_name(path: Path) -> None:
    """Remove what dead writers of a name left, if its claim is there."""
    if os.path.lexists(_lock_of(path)):
        with contextlib.suppress(MdganError), claimed(path, patience_s=0.0):
            pass


@contextmanager
def claimed_by_ranks(
    path: str | Path, ranks: Ranks, *, patience_s: float = _PATIENCE_S
) -> Iterator[None]:
    """Let rank 0 claim `path` for all ranks, which must see its claim: one folder for all.

    Raises
    ------
    DataError
        On all ranks, if another run writes it, or a rank looks into another folder.
    """
    with ExitStack() as stack:

        def claim() -> str:
            return stack.enter_context(claimed(path, patience_s=patience_s))

        token = ranks.allgather(together(ranks, claim if ranks.rank == 0 else str))[0]
        lock = _lock_of(Path(path))
        together(ranks, lambda: _require_claim(lock, token, path))
        yield


def _require_claim(lock: Path, token: str, path: str | Path) -> None:
    deadline, seen = time.monotonic() + _VISIBLE_S, ""
    while seen != token:
        with contextlib.suppress(OSError):
            seen = lock.read_text()
        # An empty or missing file may be on its way to this host; another text is another folder.
        if (seen and seen != token) or time.monotonic() > deadline:
            raise DataError(
                "is not in the folder that rank 0 writes to",
                where=Path(path).absolute(),
                remedy="start all ranks in one folder that all of them see",
            )
        if not seen:
            if not lock.parent.exists():
                deadline = min(deadline, time.monotonic() + 2.0)
            time.sleep(0.05)


@contextmanager
def written_whole(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """Give a path to write to; on success it takes the place of `path`, on failure it goes.

    Raises
    ------
    OutputExistsError
        If `path` exists and `force` is false.
    DataError
        If another process writes `path`, or it cannot be written, as on a full disk.
    """
    check_output(path, force=force)
    with claimed(path):
        check_output(path, force=force)  # the writer before may have just finished
        with replaced(path) as partial:
            yield partial


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Do what `written_whole` does, for one who has claimed `path` or a folder above it."""
    path = Path(path)
    partial = path.with_name(f".{_short(path.name)}.{_HOST}-{os.urandom(4).hex()}.partial")
    try:
        yield partial
        _commit(partial, path)
    except OSError as error:
        _remove(partial)
        if error.filename in (None, str(partial), str(path)):
            raise write_error(error, path) from error
        raise
    except BaseException:
        _remove(partial)
        raise


def _commit(partial: Path, path: Path) -> None:
    """Put a finished file in its place: on the disk, then renamed."""
    with open(partial, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)
    directory = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
