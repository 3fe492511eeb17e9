"""Damage to HDF5 files: what lies under a name, its type, shape, size, place and values."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np


def damage_structure(path: Path, rng: random.Random) -> str:
    """Change one thing in a file; return what was done."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        names = [name for name in names if name in file]
        name = rng.choice(names)
        for _ in range(20):
            change = rng.choice(_CHANGES)
            item = file.get(name)
            try:
                if change(file, name, item, rng) is not False:
                    return f"{change.__name__.strip('_')} {name}"
            except (OSError, ValueError, RuntimeError, TypeError, LookupError, AttributeError):
                pass  # HDF5 does not write that
            name = rng.choice([name for name in names if name in file])
    return "nothing"


def damage_bytes(path: Path, rng: random.Random) -> str:
    """Change bytes of a file; return what was done."""
    data = bytearray(path.read_bytes())
    kind = rng.randrange(5)
    # Most of what HDF5 looks at lies at the begin, or at the end.
    at = rng.choice((rng.randrange(min(len(data), 4096)), rng.randrange(len(data))))
    if kind == 0:
        del data[at:]
    elif kind == 1:
        data[at : at + rng.choice((8, 512, 4096))] = b""
    elif kind == 2:
        n = rng.choice((1, 8, 512))
        data[at : at + n] = bytes(min(n, len(data) - at))
    elif kind == 3:
        n = rng.choice((1, 8, 64))
        data[at : at + n] = rng.randbytes(min(n, len(data) - at))
    else:
        for _ in range(rng.choice((1, 4, 16))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"bytes, kind {kind} at {at}"


def _gone(file, name, item, rng):
    del file[name]


def _other_kind(file, name, item, rng):
    """A group for a dataset, a dataset for a group, a named type for either."""
    del file[name]
    if rng.random() < 0.2:
        file[name] = np.dtype("f8")
    elif isinstance(item, h5py.Dataset):
        file.create_group(name)
    else:
        file[name] = rng.choice([1.0, "text", np.zeros(3), np.zeros((0, 3))])


def _other_type(file, name, item, rng):
    if not isinstance(item, h5py.Dataset):
        return False
    shape = item.shape or ()
    del file[name]
    kind = rng.randrange(7)
    if kind == 0:
        file.create_dataset(name, shape, h5py.string_dtype())
    elif kind == 1:
        file.create_dataset(name, shape, np.dtype([("a", "f8"), ("b", "i4")]))
    elif kind == 2:
        file.create_dataset(name, shape, h5py.vlen_dtype(np.float32))
    elif kind == 3:
        file.create_dataset(name, shape, h5py.ref_dtype)
    elif kind == 4:
        file.create_dataset(name, shape, rng.choice(["c16", "?", "f2", "u1", ">i8", "S5", "V7"]))
    elif kind == 5:
        file.create_dataset(name, shape, np.dtype(("f4", (3,))))
    else:
        file[name] = h5py.Empty("f8")


def _other_shape(file, name, item, rng):
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.size > 10**6:
        return False
    values, attributes = item[()], dict(item.attrs)
    if not isinstance(values, np.ndarray):
        values = np.asarray(values)
        if values.dtype.kind not in "iuf":
            return False
    new = rng.choice(
        [
            lambda v: v[None],
            lambda v: v[..., None],
            lambda v: v.ravel(),
            lambda v: v[:-1],
            lambda v: v[:0],
            lambda v: v.T,
            lambda v: v.ravel()[:1].reshape(()),
            lambda v: np.concatenate([v, v]),
            lambda v: v[..., :2],
        ]
    )(values)
    del file[name]
    file[name] = new
    file[name].attrs.update(attributes)


def _dangling(file, name, item, rng):
    del file[name]
    file[name] = h5py.SoftLink(rng.choice(["/nowhere", name.rpartition("/")[2], f"/{name}", "."]))


def _leaves(file, name, item, rng):
    """A link, external storage or a virtual dataset that leads to a pipe, device or other file."""
    folder = Path(file.filename).parent
    pipe = folder / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    target = rng.choice([str(pipe), "pipe", "/dev/zero", "/etc/hostname", "nofile", "../run.h5"])
    del file[name]
    kind = rng.randrange(3)
    shape = getattr(item, "shape", None) or (10,)
    if kind == 0:
        file[name] = h5py.ExternalLink(target, f"/{name}")
    elif kind == 1:
        size = int(np.prod(shape)) * 4
        file.create_dataset(name, shape, "f4", external=[(target, 0, size)])
    else:
        layout = h5py.VirtualLayout(shape, "f4")
        source = rng.choice([target, "."])
        layout[...] = h5py.VirtualSource(source, name, shape, "f4")
        file.create_virtual_dataset(name, layout)


def _claims(file, name, item, rng):
    """An axis of a billion, of which nothing or little is stored."""
    shape = list(getattr(item, "shape", None) or (3,))
    axis = rng.randrange(len(shape))
    shape[axis] = rng.choice([10**6, 10**9, 10**12])
    kind = rng.choice(["f4", "f8", "i4"])
    del file[name]
    way = rng.randrange(4)
    if way == 0:
        file.create_dataset(name, shape, kind)
    elif way == 1:
        file.create_dataset(name, shape, kind, chunks=tuple(min(n, 100) for n in shape))
    elif way == 2:
        chunks = tuple(min(n, 30_000_000) for n in shape)
        file.create_dataset(name, shape, kind, chunks=chunks)
    else:
        chunks = tuple(min(n, 1000) for n in shape)
        made = file.create_dataset(name, shape, kind, chunks=chunks, compression="gzip")
        made[tuple(slice(0, 2) for _ in shape)] = 1
    file[name].attrs["unit"] = "Angstrom"


def _no_number(file, name, item, rng):
    if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f" or not item.size:
        return False
    if item.is_virtual:
        return False
    at = tuple(rng.randrange(n) for n in item.shape)
    item[at] = rng.choice([np.nan, np.inf, -np.inf])


def _impossible(file, name, item, rng):
    """A number that no quantity of that name can have."""
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or not item.size:
        return False
    if item.is_virtual or item.size > 10**6:
        return False
    value = rng.choice([0, -1, 2.5, 119, 2**31 - 1, -(2**31), 1e30, 1e300])
    values = np.full(item.shape, value, "f8")
    with np.errstate(all="ignore"):
        item[...] = values.astype(item.dtype)


def _attributes(file, name, item, rng):
    if item is None or not len(item.attrs):
        return False
    key = rng.choice(sorted(item.attrs))
    new = rng.choice([None, "parsec", 3.0, np.zeros(3), b"\xff\xfe", "", h5py.Empty("f8")])
    del item.attrs[key]
    if new is not None:
        item.attrs[key] = new


def _text(file, name, item, rng):
    """Another text where there is one."""
    if not isinstance(item, h5py.Dataset) or h5py.check_string_dtype(item.dtype) is None:
        return False
    text = item[()].decode() if item.shape == () else ""
    at = rng.randrange(max(len(text), 1))
    new = rng.choice(
        ["", "{", "null", "[" * 5000, '{"a": ' * 5000, "9" * 5000, text[:at], text[at:], "3"]
    )
    del file[name]
    file[name] = new


def _strange_name(file, name, item, rng):
    file.move(name, rng.choice([f"{name}é", f"{name} ", f"{name}\n", f"other/{name}"]))


_CHANGES: list[Callable[..., object]] = [
    _gone,
    _other_kind,
    _other_type,
    _other_shape,
    _dangling,
    _leaves,
    _claims,
    _no_number,
    _impossible,
    _attributes,
    _text,
    _strange_name,
]
