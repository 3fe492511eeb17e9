"""What made a file: command, configuration, versions, seed and the fingerprints of its inputs."""

import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

from mdgan_hpc import __version__
from mdgan_hpc.errors import DataError
from mdgan_hpc.inputs import require_file

_ENDS_BYTES = 65_536
_LIBRARIES = ("numpy", "h5py", "torch", "mpi4py", "ase", "spglib")


@cache
def git_hash() -> str:
    """Return the commit of the source tree the package runs from, or an empty string.

    An image has no source tree; its build leaves the commit in MDGAN_GIT_HASH.
    """
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return os.environ.get("MDGAN_GIT_HASH", "")
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that shape results."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        try:
            told = importlib.metadata.distribution(name).read_text("METADATA") or ""
        except importlib.metadata.PackageNotFoundError:
            continue
        # The parser of mail headers, which `importlib.metadata.version` uses, takes milliseconds.
        found = re.search(r"^Version: *(\S+)", told, re.MULTILINE)
        versions[name] = found[1] if found else importlib.metadata.version(name)
    return versions


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, read in pieces.

    Raises
    ------
    DataError
        If it is missing or cannot be read.
    """
    require_file(path)
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None


def identity(
    options: Mapping[str, Any], files: Iterable[str | Path], text: str = ""
) -> dict[str, str]:
    """Return what all ranks of a run must agree on, by what it is called (`require_same`).

    A file is known by its size and by its first and last 64 KiB.

    Parameters
    ----------
    options : mapping
        The configuration of the command.
    files : paths
        What it reads.
    text : str
        Anything else.

    Raises
    ------
    DataError
        If a file is missing or cannot be read.
    """
    seen = {
        "version of mdgan_hpc": __version__,
        "versions of libraries": as_json(library_versions()),
    }
    seen |= {"configuration": as_json(options) + text}
    return seen | {f"file {path}": _ends(path) for path in files}


def _ends(path: str | Path) -> str:
    """Return size and digest of the first and last piece of a file."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError("is no regular file", where=path)
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.sha256(stream.read(_ENDS_BYTES))
            stream.seek(max(0, size - _ENDS_BYTES))
            digest.update(stream.read(_ENDS_BYTES))
    except FileNotFoundError:
        raise DataError("no such file", where=path) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None
    return f"{size} {digest.hexdigest()}"


class Fingerprints:
    """SHA-256 of files, computed beside other work: a thread that reads ahead of it.

    Used as a context manager: leaving it ends the thread, finished or not.

    Parameters
    ----------
    paths : paths, or mapping of path to descriptor
        A file that is open already is read by its descriptor, wherever others read in it.
    """

    _PIECE_BYTES = 2**24

    def __init__(self, paths: Iterable[str | Path] | Mapping[str, int]) -> None:
        self._paths: list[tuple[str | Path, int | None]] = (
            list(paths.items()) if isinstance(paths, Mapping) else [(path, None) for path in paths]
        )
        self._found: dict[str, str] = {}
        self._error: DataError | OSError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            for path, descriptor in self._paths:
                digest = hashlib.sha256()
                if descriptor is None:
                    require_file(path)
                    with open(path, "rb", buffering=0) as stream:
                        finished = self._read(stream.fileno(), digest)
                else:
                    finished = self._read(descriptor, digest)
                if not finished:
                    return
                self._found[str(path)] = digest.hexdigest()
        except (DataError, OSError) as error:
            self._error = error

    def _read(self, descriptor: int, digest: "hashlib._Hash") -> bool:
        """Take in a file; False if the work was stopped before its end."""
        place = 0
        while piece := os.pread(descriptor, self._PIECE_BYTES, place):
            if self._stopped.is_set():
                return False
            digest.update(piece)
            place += len(piece)
        return True

    def result(self) -> dict[str, str]:
        """Return the fingerprints by path when they are there.

        Raises
        ------
        DataError
            If a file cannot be read.
        """
        self._thread.join()
        if isinstance(self._error, DataError):
            raise self._error
        if self._error is not None:
            raise DataError(f"cannot be read ({self._error.strerror})", where=self._error.filename)
        return self._found


def provenance(
    *,
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    inputs: Iterable[str | Path] | Mapping[str, str] = (),
    ranks: int = 1,
) -> dict[str, Any]:
    """Return the record of how an output came to be, ready for JSON.

    Parameters
    ----------
    config : mapping, optional
        The full configuration of the command.
    seed : int, optional
        Seed of every random number drawn.
    inputs : paths, or mapping of path to SHA-256
        Files read; each is fingerprinted, unless it is already.
    ranks : int
        Number of processes that took part.
    """
    if not isinstance(inputs, Mapping):
        inputs = {str(path): file_sha256(path) for path in inputs}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "mdgan_hpc": __version__,
        "git": git_hash(),
        "libraries": library_versions(),
        "config": dict(config or {}),
        "seed": seed,
        "inputs": dict(inputs),
        "ranks": ranks,
    }


def as_json(record: Mapping[str, Any]) -> str:
    """Return a provenance record as one JSON text."""
    return json.dumps(record, sort_keys=True, default=str)
