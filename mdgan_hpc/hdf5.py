"""The door to HDF5 files: links, types, shapes and sizes are looked at before anything is read.

Nothing in a file leads out of it, but for the part files that a generated trajectory names
(`PART`). What HDF5 itself finds wrong ends in one line like everything else.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mdgan_hpc.errors import DataError, MdganError
from mdgan_hpc.hdf5_integrity import require_heaps, require_places
from mdgan_hpc.inputs import require_file, require_memory

#: A part file of a generated trajectory, seen from the folder of the file.
PART = re.compile(r"[^/\0]+\.(shards|parts)/part-\d{5,}\.h5")
#: Links followed one after the other at most.
_LINKS = 16
#: A byte in a compressed file can stand for so many at most (deflate: 1032).
_COMPRESSION = 1100
#: A value in memory of which nobody asks where it lies.
_LARGE_BYTES = 2**20
#: Of a chunk, which is read as a whole.
_MOST_CHUNK_BYTES = 2**30
#: What h5py and HDF5 raise for what they cannot read.
_FAILURES = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError)

#: Lengths of the axes of an array; None: any but zero.
Shape = tuple[int | None, ...]


def open_file(path: Path, *, remedy: str = "") -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    DataError
        If it is missing, no file, locked, or no HDF5.
    """
    require_heaps(require_file(path))
    try:
        file = h5py.File(path, "r")
        try:
            file["/"]  # HDF5 opens a file whose outermost group it cannot read
        except BaseException:
            file.close()
            raise
        return file
    except (*_FAILURES, MemoryError) as error:
        if "unable to lock" in str(error):
            raise DataError(
                "is locked by another program, which writes or holds it",
                where=path,
                remedy="wait until it is done, or set HDF5_USE_FILE_LOCKING=FALSE to read anyway",
            ) from error
        raise DataError("is not an HDF5 file, or is damaged", where=path, remedy=remedy) from error


def place(item: h5py.Group | h5py.Dataset, name: str = "") -> str:
    """Return the file and the name in it, for messages."""
    try:
        return f"{item.file.filename}:{item.name.rstrip('/')}{f'/{name}' if name else ''}"
    except _FAILURES:
        return name


@contextmanager
def damage_told(where: str | h5py.Group | h5py.Dataset, name: str = "") -> Iterator[None]:
    """Turn what HDF5 finds wrong into one line.

    Parameters
    ----------
    where : str, h5py.Group or h5py.Dataset
        The place, or what lies there: its place takes HDF5 longer to tell than many a read.
    name : str, optional
        What follows the place.

    Raises
    ------
    DataError
    """
    try:
        yield
    except MdganError:
        raise
    except MemoryError:
        told = where if isinstance(where, str) else place(where)
        raise DataError("does not fit into memory", where=told + name) from None
    except _FAILURES as error:
        told = where if isinstance(where, str) else place(where)
        raise DataError(f"cannot be read ({_first_line(error)})", where=told + name) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def find(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies under a name, or None; soft links within the file are followed.

    Raises
    ------
    DataError
        If it is a link out of the file, one that leads nowhere, or neither group nor dataset.
    """
    with damage_told(group, f"/{name}"):
        return _find(group, name, _LINKS)


def _find(group: h5py.Group, name: str, links: int) -> h5py.Group | h5py.Dataset | None:
    item: Any = group
    for part in name.strip("/").split("/"):
        if not isinstance(item, h5py.Group):
            raise DataError("is a dataset, a group is needed", where=place(item))
        link, known = part.encode(), item.id.links  # in a third of the time of `item.get`
        if not known.exists(link):
            return None
        hard = known.get_info(link).type == h5py.h5l.TYPE_HARD
        found = item[part] if hard else _linked(item, part, links)
        if not isinstance(found, h5py.Group | h5py.Dataset):
            raise DataError("is neither a group nor a dataset", where=place(item, part))
        item = found
    return item


def _linked(item: h5py.Group, part: str, links: int) -> h5py.Group | h5py.Dataset:
    """Follow a link that is within the file.

    Raises
    ------
    DataError
        If it is not, or leads nowhere.
    """
    link = item.get(part, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise DataError(
            f"is a link to another file ({link.filename}), which is not followed",
            where=place(item, part),
            remedy="copy the data into the file",
        )
    found = None
    if isinstance(link, h5py.SoftLink) and links:
        base = item.file["/"] if link.path.startswith("/") else item
        found = _find(base, link.path, links - 1)
    if found is None:
        told = getattr(link, "path", "of an unknown kind")
        raise DataError(f"is a link that leads nowhere ({told})", where=place(item, part))
    return found


def group(parent: h5py.Group, name: str) -> h5py.Group | None:
    """Return the group under a name, or None.

    Raises
    ------
    DataError
        If something else lies there.
    """
    found = find(parent, name)
    if isinstance(found, h5py.Dataset):
        raise DataError("is a dataset, a group is needed", where=place(found))
    return found


def names(parent: h5py.Group) -> list[str]:
    """Return the names in a group.

    Raises
    ------
    DataError
        If one of them is no text.
    """
    with damage_told(parent):
        return [str(name) for name in parent]


def numbers(parent: h5py.Group, name: str, *shapes: Shape, kinds: str = "iuf") -> h5py.Dataset:
    """Return a dataset of numbers of one of some shapes.

    Parameters
    ----------
    parent : h5py.Group
    name : str
    *shapes : tuple of int or None
        Lengths of the axes; None: any but zero. Any shape at all if none is given.
    kinds : str
        Letters of NumPy's kinds: integers, floats.

    Raises
    ------
    DataError
        If it is missing, of another type or shape, or its content does not lie in the file.
    """
    found = find(parent, name)
    if found is None:
        raise DataError("is missing", where=place(parent, name))
    if not isinstance(found, h5py.Dataset):
        raise DataError("is a group, a dataset is needed", where=place(found))
    with damage_told(found):
        if found.dtype.kind not in kinds or found.dtype.itemsize > 16 or found.dtype.subdtype:
            raise DataError(f"has the type {found.dtype}, numbers are needed", where=place(found))
        if found.shape is None or (shapes and not any(_fits(found.shape, s) for s in shapes)):
            raise DataError(
                f"has the shape {found.shape}, not {' or '.join(map(_shown, shapes))}",
                where=place(found),
            )
        require_within(found)
    return found


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        length > 0 if want is None else length == want
        for length, want in zip(shape, wanted, strict=True)
    )


def _shown(shape: Shape) -> str:
    return f"[{', '.join('any' if n is None else str(n) for n in shape)}]"


def require_within(dataset: h5py.Dataset) -> None:
    """Raise if the content of a dataset lies elsewhere, or chunks are larger than what is stored.

    Raises
    ------
    DataError
    """
    if dataset.external:
        raise DataError(
            f"keeps its content in another file ({dataset.external[0][0]}), which is not read",
            where=place(dataset),
            remedy="copy the data into the file",
        )
    if dataset.is_virtual:
        _require_sources(dataset)
    if dataset.chunks:
        size = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
        if size > _MOST_CHUNK_BYTES:
            raise DataError(
                f"has chunks of {size / 1e9:.3g} GB, too large to read", where=place(dataset)
            )
        require_places(dataset, place)


def _require_sources(dataset: h5py.Dataset) -> None:
    """Raise unless what a virtual dataset is made of lies in this file or in parts of it.

    HDF5 follows from file to file, and may crash where a source is smaller than what is taken from
    it. A part that is missing is told by who needs it.
    """
    folder = Path(dataset.file.filename).parent
    for (name, source), extent in sources(dataset).items():
        if name == ".":
            _require_source(dataset.file["/"], source, extent, dataset)
        elif not PART.fullmatch(name):
            raise DataError(
                f"refers to {name!r}, which is none of its parts and is not read",
                where=place(dataset),
                remedy="copy the data into the file",
            )
        elif os.path.lexists(folder / name):
            with open_file(folder / name) as part:
                _require_source(part["/"], source, extent, dataset)


def sources(dataset: h5py.Dataset) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return file and name of what a virtual dataset is made of, and the extent that is needed."""
    needed: dict[tuple[str, str], np.ndarray] = {}
    for source in dataset.virtual_sources():
        if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:  # keeps no extent
            first, last = (np.array(corner) for corner in source.vspace.get_select_bounds())
            last -= first
        else:
            last = np.array(source.src_space.get_select_bounds()[1])
        key = (source.file_name, source.dset_name)
        needed[key] = np.maximum(needed.get(key, 0), last + 1)
    return {key: tuple(int(n) for n in extent) for key, extent in needed.items()}


def _require_source(
    root: h5py.Group, name: str, extent: tuple[int, ...], user: h5py.Dataset
) -> None:
    found = find(root, name)
    if not isinstance(found, h5py.Dataset) or found.is_virtual:
        raise DataError(f"refers to {name!r}, which holds no data", where=place(user))
    require_within(found)
    if found.shape is None or not _covers(found.shape, extent):
        raise DataError(
            f"holds records of the shape {found.shape}, {Path(user.file.filename).name} "
            f"refers to {extent}",
            where=place(found),
        )


def _covers(shape: tuple[int, ...], extent: tuple[int, ...]) -> bool:
    return len(shape) == len(extent) and all(a >= b for a, b in zip(shape, extent, strict=True))


def require_stored(dataset: h5py.Dataset) -> None:
    """Raise if a dataset claims more than its file can hold.

    Raises
    ------
    DataError
        Telling both.
    """
    with damage_told(dataset):
        if dataset.is_virtual:
            return
        claimed, stored = dataset.nbytes, dataset.id.get_storage_size()
        most = stored * _COMPRESSION if dataset.compression or _filtered(dataset) else stored
        if claimed > most:
            raise DataError(
                f"claims {claimed / 1e6:.3g} MB (shape {dataset.shape}), of which the file holds "
                f"{stored / 1e6:.3g} MB",
                where=place(dataset),
                remedy="the file was not written to its end, or is damaged: make it again",
            )


def _require_room(dataset: h5py.Dataset) -> None:
    """Raise if a dataset that is read whole is more than its file holds, or the memory."""
    if dataset.shape is not None and dataset.nbytes > _LARGE_BYTES:
        require_memory(dataset.nbytes, place(dataset))
        require_stored(dataset)


def _filtered(dataset: h5py.Dataset) -> bool:
    return bool(dataset.id.get_create_plist().get_nfilters())


def read(dataset: h5py.Dataset, where: Any = (), out: np.ndarray | None = None) -> np.ndarray:
    """Return ``dataset[where]``, in the memory `out` if given.

    Raises
    ------
    DataError
        If the file is damaged there, or holds less than the whole that is read claims.
    """
    with damage_told(dataset):
        if out is not None:
            dataset.read_direct(out, where)
            return out
        if where == ():
            _require_room(dataset)
        return np.asarray(dataset[where])


def text(item: h5py.Dataset) -> str:
    """Return the text in a dataset.

    Raises
    ------
    DataError
        If it holds none.
    """
    with damage_told(item):
        kind = h5py.check_string_dtype(item.dtype)
        if kind is None or item.shape != ():
            raise DataError(f"has the type {item.dtype}, a text is needed", where=place(item))
        require_within(item)
        if kind.length is None:
            _require_length(item)
        elif kind.length > _LARGE_BYTES:
            require_memory(kind.length, place(item))
        value = item[()]
        return value.decode() if isinstance(value, bytes) else str(value)


def _require_length(item: h5py.Dataset) -> None:
    """Raise if a text is said to be longer than its file: HDF5 takes memory for all of it.

    Where it stands are four bytes of length, then its heap (HDF5 File Format 3.0, IV.B).
    """
    offset, path = item.id.get_offset(), item.file.filename
    # No offset: in the head of the dataset, or in chunks. No file: one that we write just now.
    if offset is None or not os.path.isfile(path):
        return
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(offset)
        length = int.from_bytes(stream.read(4), "little")
    if length > size:
        raise DataError(f"claims a text of {length / 1e6:.3g} MB", where=place(item))


def attribute(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute; None where there is none.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    with damage_told(item, f", attribute {name}"):
        value = item.attrs.get(name)
        return value.decode() if isinstance(value, bytes) else value


def text_attribute(item: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Return an attribute that is one text, also one of a list of one; None where there is none.

    Raises
    ------
    DataError
        If it cannot be read, or is something else.
    """
    told = attribute(item, name)
    if isinstance(told, np.ndarray) and told.size == 1:
        told = told.item().decode() if isinstance(told.item(), bytes) else told.item()
    if told is None or isinstance(told, str):
        return told
    raise DataError(f"has the attribute {name} {str(told)[:60]}, no text", where=place(item))


def value(item: h5py.Dataset) -> Any:
    """Return a small dataset as it is: a number, an array, a text, or None for an empty one.

    Raises
    ------
    DataError
        If it holds anything else, such as references.
    """
    with damage_told(item):
        if item.shape is None:
            return None
        if h5py.check_string_dtype(item.dtype) is not None and item.shape == ():
            return text(item)
        if item.dtype.kind not in "biuf" or item.dtype.subdtype:
            raise DataError(f"has the type {item.dtype}, numbers are needed", where=place(item))
        require_within(item)
        _require_room(item)
        found = item[()]
        return found.item() if isinstance(found, np.generic) else found
