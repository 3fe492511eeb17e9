"""Results of an analysis: a tree of numbers, texts and arrays, kept as HDF5, JSON or CSV.

Groups are mappings with text keys; leaves are arrays, numbers, texts, booleans or None. The
suffix of the file chooses the form. A `Result` is a dataclass that is such a group.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from mdgan_hpc import digests
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.hdf5_output import hdf5_written
from mdgan_hpc.inputs import parse_json, read_json
from mdgan_hpc.outputs import written_whole

Tree = Mapping[str, Any]

#: Where a file keeps the digest of its tree: a key (JSON), or an attribute of the root (HDF5).
DIGEST = "sha256"

_CHANGED = f"make it again; if it was changed on purpose, take its {DIGEST} out"
SUFFIXES = (".h5", ".json", ".csv")


class Result:
    """Base of dataclasses that go to a result tree and come back from it.

    A field is an entry of the group, under its name or the ``stored`` one of its metadata; what is
    not known (None) is left out.
    """

    def to_tree(self) -> dict[str, Any]:
        """Return the result tree: nested mappings of arrays, numbers and texts."""
        tree: dict[str, Any] = {}
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if value is not None:
                name = item.metadata.get("stored", item.name)
                tree[name] = _as_tree(value)
        return tree

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        """Make the object from a result tree; entries that it does not know are passed over.

        Raises
        ------
        DataError
            Naming the entries that are missing.
        """
        if not isinstance(tree, Mapping):
            raise DataError(f"is a {type(tree).__name__}, not a {cls.__name__} result")
        required = cls._required()
        missing = required.difference(tree)
        if missing:
            names = sorted(missing)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise DataError(f"holds no {', '.join(names[:3])}{more}: not a {cls.__name__} result")
        hints, values = typing.get_type_hints(cls), {}
        for item in dataclasses.fields(cls):  # type: ignore[arg-type]
            name = item.metadata.get("stored", item.name)
            value = tree.get(name)
            if value is None and name in required and hints[item.name] is float:
                value = math.nan  # JSON has no word for a number that is not known
            if value is not None:
                try:
                    values[item.name] = _as_type(hints[item.name], value)
                except (TypeError, ValueError, AttributeError, OverflowError) as error:
                    raise DataError(f"holds a {item.name} of another type ({error})") from error
        return cls(**values)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result file (.json or .h5).

        Raises
        ------
        DataError
            If it is none.
        """
        try:
            return cls.from_tree(load_results(path))
        except DataError as error:
            raise DataError(error.what, where=error.where or path, remedy=error.remedy) from None

    @classmethod
    def _required(cls) -> set[str]:
        return {
            item.metadata.get("stored", item.name)
            for item in dataclasses.fields(cls)  # type: ignore[arg-type]
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        }


def _as_tree(value: Any) -> Any:
    """Return a field of a result, or a mapping of such, as a part of a tree."""
    if isinstance(value, Mapping):
        return {name: _as_tree(part) for name, part in value.items()}
    return value.to_tree() if isinstance(value, Result) else value


def _as_type(hint: Any, value: Any) -> Any:
    """Return a value of a tree as the type of its field."""
    if typing.get_origin(hint) is dict:
        inner = typing.get_args(hint)[1]
        return {name: _as_type(inner, part) for name, part in value.items()}
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(value, Mapping):
        groups = [o for o in options if isinstance(o, type) and issubclass(o, Result)]
        fitting = [group for group in groups if group._required() <= set(value)] or groups
        return fitting[0].from_tree(value) if fitting else dict(value)
    if np.ndarray in options:
        return np.asarray(value)
    if typing.get_origin(options[0]) is tuple:
        return tuple(v.item() if isinstance(v, np.generic) else v for v in value)
    for kind in (bool, int, float, str):
        if kind in options:
            return kind(value)
    return value


def check_suffix(path: str | Path) -> None:
    """Raise `UsageError` unless the suffix of `path` names a known form."""
    if Path(path).suffix not in SUFFIXES:
        raise UsageError(
            f"the suffix {Path(path).suffix!r} is not known",
            where=path,
            remedy=f"end the name in {', '.join(SUFFIXES)}",
        )


def save_results(path: str | Path, tree: Tree, *, force: bool = True, table: str = "") -> None:
    """Write a result tree; the file appears whole or not at all.

    Parameters
    ----------
    path : path
        Ends in ``.h5``, ``.json`` or ``.csv``.
    tree : mapping
    force : bool
        Replace an existing file.
    table : str
        Group whose equally long columns go into a CSV file; the numbers and texts of the other
        groups stand above them in comment lines.
    """
    check_suffix(path)
    with written_whole(path, force=force) as partial:
        suffix = Path(path).suffix
        if suffix == ".h5":
            # In the order of the tree, as it is drawn and printed.
            with hdf5_written(partial, track_order=True) as file:
                _write_group(file, tree)
                file.attrs[DIGEST] = digests.of_tree(_read_group(file))
        elif suffix == ".json":
            told = plain(tree)
            told[DIGEST] = digests.of_tree(told)
            partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        else:
            partial.write_text(_as_csv(tree, table), encoding="utf-8")


def load_results(path: str | Path) -> dict[str, Any]:
    """Read a result tree from an HDF5 or JSON file; JSON lists of numbers become arrays.

    Raises
    ------
    DataError
        If the file is missing or holds no result tree.
    """
    path = Path(path)
    if path.suffix == ".json":
        told = read_json(path)
        digest = told.pop(DIGEST, None)
        digests.require_digest(told, digest, path, remedy=_CHANGED)
        try:
            return {name: _revived(value) for name, value in told.items()}
        except RecursionError:
            raise DataError("is JSON nested too deep", where=path) from None
    from mdgan_hpc import hdf5

    with hdf5.open_file(path, remedy="give a result of mdgan-msd (.json or .h5)") as file:
        tree = _read_group(file)
        digests.require_digest(tree, hdf5.text_attribute(file, DIGEST), path, remedy=_CHANGED)
        return tree


def plain(value: Any) -> Any:
    """Return `value` with arrays as lists and numbers that are not finite as None, for JSON."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def _revived(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _revived(v) for k, v in value.items()}
    if isinstance(value, list):
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            return [_revived(v) for v in value]
        return array
    return value


def _write_group(group: Any, tree: Tree) -> None:
    import h5py

    for name, value in tree.items():
        if isinstance(value, Mapping):
            _write_group(group.create_group(_escaped(name), track_order=True), value)
            continue
        name = _escaped(name)
        if value is None:
            group[name] = h5py.Empty("f8")
        elif isinstance(value, str):
            group.create_dataset(name, data=_encodable(value), dtype=h5py.string_dtype())
        elif isinstance(value, Sequence) and np.asarray(value, object).size == 0:
            group[name] = np.zeros(0)
        elif isinstance(value, list | tuple) and np.asarray(value[0]).dtype.kind not in "biuf":
            item = group.create_dataset(name, data=json.dumps(plain(value)))
            item.attrs["json"] = True
        else:
            array = np.asarray(value)
            options = {"compression": "gzip", "shuffle": True} if array.size > 1024 else {}
            group.create_dataset(name, data=array, **options)


def _escaped(name: str) -> str:
    """HDF5 takes a slash in a name for a path, and one at its begin for the root of the file."""
    return _encodable(name).replace("%", "%25").replace("/", "%2F")


def _encodable(text: str) -> str:
    """Return a text with escapes for the bytes of a file name that are no text."""
    return text.encode(errors="backslashreplace").decode()


def _named(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


def _read_group(group: Any, depth: int = 16) -> dict[str, Any]:
    import h5py

    from mdgan_hpc import hdf5

    tree: dict[str, Any] = {}
    for name in hdf5.names(group):
        item = hdf5.find(group, name)
        if isinstance(item, h5py.Group):
            if not depth:
                raise DataError("is nested too deep", where=hdf5.place(item))
            tree[_named(name)] = _read_group(item, depth - 1)
        elif item is not None:
            value = hdf5.value(item)
            if isinstance(value, str) and np.any(hdf5.attribute(item, "json")):
                value = parse_json(f'{{"value": {value}}}', hdf5.place(item))["value"]
            tree[_named(name)] = value
    return tree


def _as_csv(tree: Tree, table: str) -> str:
    columns: dict[str, np.ndarray] = {}
    source = tree[table] if table else tree
    length = len(next(v for v in source.values() if isinstance(v, np.ndarray) and v.ndim == 1))
    for name, value in source.items():
        if isinstance(value, np.ndarray) and len(value) == length:
            if value.ndim == 1:
                columns[name] = value
            elif value.ndim == 2 and value.shape[1] == 3:
                columns |= {
                    f"{name.removesuffix('_axis')}_{axis}": value[:, i]
                    for i, axis in enumerate("xyz")
                }
    lines = [f"# {line}" for line in _facts(tree)]
    lines.append(",".join(columns))
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join(f"{v:.17g}" if np.isfinite(v) else "" for v in row))
    return "\n".join(lines) + "\n"


def _facts(tree: Tree, prefix: str = "") -> list[str]:
    facts = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            facts += _facts(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float | np.generic) and plain(value) is not None:
            facts.append(f"{prefix}{name} = {value}")
    return facts
