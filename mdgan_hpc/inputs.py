"""The door to files that are read: whatever is wrong with one ends in a line that says where.

HDF5 has its own part of it (`mdgan_hpc.hdf5`), since it is heavy to load.
"""

import os
import stat
from pathlib import Path
from typing import Any

from mdgan_hpc.errors import DataError, UsageError

#: A text that people write (TOML) is never as long.
_MOST_TEXT_BYTES = 64 * 2**20
#: What a text takes in memory once it is parsed, in times its length: numbers of two characters
#: in lists are the worst.
_PARSED = 20
#: Below this nobody asks how much memory there is.
_SMALL_BYTES = 256 * 2**20


def require_file(path: str | Path, *, remedy: str = "") -> Path:
    """Return a path that is a file which can be read.

    A folder, a pipe or a device is none: reading one may never end.

    Raises
    ------
    DataError
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise DataError("no such file", where=path, remedy=remedy) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"cannot be read ({_reason(error)})", where=path, remedy=remedy) from None
    if stat.S_ISDIR(mode):
        raise DataError("is a folder, not a file", where=path, remedy=remedy)
    if not stat.S_ISREG(mode):
        raise DataError("is a pipe or a device, not a file", where=path, remedy=remedy)
    if not os.access(path, os.R_OK):
        raise DataError("cannot be read (Permission denied)", where=path, remedy=remedy)
    return Path(path)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def read_bytes(path: str | Path, *, remedy: str = "") -> bytes:
    """Return the content of a file.

    Raises
    ------
    DataError
        If it cannot be read, or is larger than the memory.
    """
    file = require_file(path, remedy=remedy)
    require_memory(file.stat().st_size, path)
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({_reason(error)})", where=path) from None


def read_text(path: str | Path) -> str:
    """Return the content of a file of UTF-8 text.

    Raises
    ------
    DataError
        Naming the byte where it is none.
    """
    return as_text(read_bytes(path), path)


def as_text(content: bytes, where: object) -> str:
    """Return bytes of UTF-8 as text.

    Raises
    ------
    DataError
        Naming the byte where they are none.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError("is not text (UTF-8)", where=f"{where}, byte {error.start}") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    DataError
        Naming line and column where it is none.
    """
    require_memory(_PARSED * require_file(path).stat().st_size, path)
    return parse_json(read_text(path), path)


def parse_json(text: str, where: object) -> dict[str, Any]:
    """Return a JSON object; NaN and Infinity, which Python writes, count as numbers.

    Raises
    ------
    DataError
    """
    import json  # here, since every command loads this module

    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"is not JSON ({error.msg})", where=f"{where}, {place}") from None
    except RecursionError:
        raise DataError("is JSON nested too deep", where=where) from None
    except ValueError:  # Python refuses whole numbers of thousands of digits
        raise DataError("holds a number of too many digits", where=where) from None
    if not isinstance(value, dict):
        raise DataError("is not a JSON object", where=where)
    return value


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the TOML tables in a file.

    Raises
    ------
    DataError
    """
    size = require_file(path).stat().st_size
    if size > _MOST_TEXT_BYTES:
        raise DataError(f"has {size / 1e6:.0f} MB, too much for a TOML file", where=path)
    return parse_toml(read_text(path), path)


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Return TOML tables.

    Raises
    ------
    DataError
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"is not TOML ({error})", where=where) from None
    except RecursionError:
        raise DataError("is TOML nested too deep", where=where) from None
    except (ValueError, OverflowError):
        raise DataError("holds a number of too many digits", where=where) from None


def require_memory(needed: int, where: object, *, remedy: str = "") -> None:
    """Raise unless `needed` bytes can be had.

    Raises
    ------
    UsageError
        Saying how much there is.
    """
    if needed <= _SMALL_BYTES:
        return
    free = free_memory()
    if needed > free:
        raise UsageError(
            f"{needed / 1e9:.3g} GB would be read into memory, {free / 1e9:.3g} GB are free",
            where=where,
            remedy=remedy or "use a machine with more memory, or a part of the data",
        )


def free_memory() -> int:
    """Return the bytes that this process can still get, as far as the system tells."""
    import resource

    free = [2**62]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(1024 * int(line.split()[1]))
    limit = _lines("/sys/fs/cgroup/memory.max")
    used = _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        free.append(int(limit[0]) - int(used[0]))
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _lines("/proc/self/statm")
    if most != resource.RLIM_INFINITY and pages:
        free.append(most - int(pages[0].split()[0]) * resource.getpagesize())
    return max(0, min(free))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
