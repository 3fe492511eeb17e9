"""Configuration: TOML into validated dataclasses, every key overridable, unknown keys refused.

A configuration class is a frozen dataclass whose fields are values, further such classes, or
tuples of them (arrays of tables, counted from 1); it checks its own values in ``__post_init__`` by
`require`. What a key means stands in the ``metadata["help"]`` of its field, made by `key`. Keys
that have moved stand in the class variable ``RENAMED`` of the outermost class, old name to new. A
section whose keys depend on a choice is a class with ``from_tree``, ``as_tree`` and ``keys``.
"""

import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mdgan_hpc.errors import ConfigError, DataError
from mdgan_hpc.inputs import read_toml

Config = TypeVar("Config")
#: The number that ``"auto"`` is in a configuration: a count that is left to the program.
AUTO = 0
#: What a message calls the types of values.
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}


def key(
    default: Any,
    help: str,
    *,
    flag: str = "",
    metavar: str | None = None,
    empty: str = "",
    auto: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare a configuration key with its default and its meaning: ``unit or shape | meaning``.

    Parameters
    ----------
    default : value
        A list or dict is copied for each configuration.
    help : str
    flag : str, optional
        Name of the option of a command, where it is not that of the field.
    metavar : str, optional
        What the help calls the value.
    empty : str, optional
        What the default stands for, where it means "chosen by the program".
    auto : bool
        The value may be the text ``"auto"``: a count that the program chooses, `AUTO` until then.
    least, above, most : float, optional
        The value is at least, above, or at most this (`require_ranges`).
    """
    told = {"help": help, "flag": flag, "metavar": metavar, "empty": empty, "auto": auto}
    metadata = {**told, "least": least, "above": above, "most": most}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def require_ranges(config: Any, prefix: str = "") -> None:
    """Check every number of a configuration against the range that its `key` declares.

    Raises
    ------
    ConfigError
    """
    for field in dataclasses.fields(config):
        value, told = getattr(config, field.name), field.metadata
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        name = prefix + field.name
        _require_usual(value, name)
        if told.get("least") is not None:
            require(value >= told["least"], name, value, f"at least {told['least']}")
        if told.get("above") is not None:
            require(value > told["above"], name, value, f"above {told['above']}")
        if told.get("most") is not None:
            require(value <= told["most"], name, value, f"at most {told['most']}")


def _require_usual(value: float, name: str) -> None:
    """Raise `ConfigError` for a number that no computer word holds, or that is none."""
    if isinstance(value, int):
        require(-(2**63) <= value < 2**64, name, value, "of at most 64 bits")
    else:
        require(math.isfinite(value), name, value, "a finite number")


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise `ConfigError` unless `condition`: ``name = value must be <rule>``."""
    if not condition:
        raise ConfigError(f"{name} = {_short(value)} must be {rule}")


def require_choice(config: Any, name: str) -> None:
    """Check a value against the choices of its field's `Literal` type.

    Raises
    ------
    ConfigError
    """
    choices = typing.get_args(typing.get_type_hints(type(config))[name])
    value = getattr(config, name)
    require(value in choices, name, value, " or ".join(map(str, choices)))


def load_config(
    cls: type[Config], path: str | Path | None = None, overrides: Iterable[str] = ()
) -> Config:
    """Read a configuration file, apply ``section.key=value`` overrides, and check everything.

    Parameters
    ----------
    cls : type
        The dataclass to build.
    path : path, optional
        A TOML file; without one the defaults hold.
    overrides : iterable of str
        ``section.key=value``; the value is TOML, or else taken as a string.

    Raises
    ------
    ConfigError
        Naming the file, the key and the nearest valid name.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        if not Path(path).exists():
            raise ConfigError("no such configuration file", where=path)
        try:
            tree = read_toml(path)
        except DataError as error:
            raise ConfigError(error.what, where=error.where) from None
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {override} is not of the form section.key=value")
        _set(cls, tree, name.strip(), _override_value(text.strip()))
    try:
        return from_mapping(cls, tree)
    except ConfigError as error:
        where = path or ""
        if path is not None and _valid(cls, read_toml(path)):
            where = "--set"  # without it the file is right
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None


def _valid(cls: type[Any], tree: Mapping[str, Any]) -> bool:
    try:
        from_mapping(cls, tree)
    except ConfigError:
        return False
    return True


def _set(cls: type[Any], tree: dict[str, Any], name: str, value: Any) -> None:
    """Put a value at ``section.key``, or at ``section.number.key`` of an array of tables."""
    section, *rest = name.split(".")
    branch: Any = tree
    if rest and _row_class(typing.get_type_hints(cls).get(section)) is not None:
        rows = branch.setdefault(section, [{}])
        branch[section] = rows = rows if isinstance(rows, list) else [rows]
        number = int(rest.pop(0)) if rest[0].isdecimal() and len(rest[0]) < 6 else None
        if number is None and len(rows) > 1:
            raise ConfigError(
                f"--set {name}: there are {len(rows)} tables [[{section}]]",
                remedy=f"say which: {section}.1.{'.'.join(rest)}",
            )
        number = number or 1
        if not rest or number > len(rows) + 1:
            raise ConfigError(f"--set {name}: there are {len(rows)} tables [[{section}]]")
        if number == len(rows) + 1:
            rows.append({})
        branch, (section, *rest) = rows[number - 1], rest
    for following in rest:
        branch = branch.setdefault(section, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {name}: {section} is a value, not a section")
        section = following
    branch[section] = value


def _row_class(hint: Any) -> type[Any] | None:
    """Return the class of a row where `hint` is an array of tables."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(options[0]):
        return typing.cast(type[Any], options[0])
    return None


def _override_value(text: str) -> Any:
    import tomllib  # here, as below: every command loads this module

    try:
        return tomllib.loads(f"value = {text}").get("value", text)
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError, OverflowError):
        raise ConfigError(
            f"--set {_short(text)} is no value", remedy="give a shorter one"
        ) from None


def _short(value: Any) -> str:
    """Return a value as a message shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, deep nesting
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:80]}..."


def from_mapping(cls: type[Config], tree: Mapping[str, Any], prefix: str = "") -> Config:
    """Build a configuration dataclass from nested mappings (TOML or JSON).

    Raises
    ------
    ConfigError
        For unknown keys, wrong types and values out of range.
    """
    own = getattr(cls, "from_tree", None)
    if own is not None:
        return typing.cast(Config, own(tree, prefix))
    assert dataclasses.is_dataclass(cls)
    for old, new in getattr(cls, "RENAMED", {}).items():
        if _has(tree, old):
            raise ConfigError(f"unknown key {old}", remedy=f"it is {new} now")
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    for name in tree:
        if name not in names:
            near = _nearest(name, sorted(names), 0.5)
            known = f"known: {', '.join(sorted(names))}"
            remedy = f"did you mean {prefix}{near}?" if near else known
            raise ConfigError(f"unknown key {prefix}{_shown_key(name)}", remedy=remedy)
    automatic = {field.name for field in dataclasses.fields(cls) if field.metadata.get("auto")}
    for name in sorted(automatic & tree.keys()):
        if tree[name] == AUTO:  # a number is what it says
            raise ConfigError(f"{prefix}{name} = {_short(tree[name])} must be above 0 or 'auto'")
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in automatic:
            values[name] = _checked(hints[name], value, f"{prefix}{name}")
            continue
        if isinstance(value, str):
            require(value == "auto", f"{prefix}{name}", value, "a whole number or 'auto'")
        values[name] = AUTO if value == "auto" else _checked(hints[name], value, prefix + name)
    return typing.cast(Config, cls(**values))


def from_options(cls: type[Config], options: Mapping[str, Any]) -> Config:
    """Build a configuration dataclass from what a function was called with.

    As `from_mapping`; a value may be a number of NumPy, too.

    Raises
    ------
    ConfigError
    """
    plain = {
        name: value.item() if getattr(value, "ndim", None) == 0 else value
        for name, value in options.items()
    }
    return from_mapping(cls, plain)


def _nearest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Return the name that was meant, perhaps; empty if none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), "")


def _shown_key(name: object) -> str:
    return _short(name)[1:-1] if isinstance(name, str) else _short(name)


def _has(tree: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _checked(hint: Any, value: Any, name: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {_short(value)} must be a section of keys")
        return from_mapping(typing.cast(type[Any], hint), value, f"{name}.")
    row = _row_class(hint)
    if row is not None:
        rows = [value] if isinstance(value, Mapping) else value
        if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
            raise ConfigError(f"{name} = {_short(value)} must be tables [[{name}]]")
        return tuple(_checked(row, one, f"{name}.{n}") for n, one in enumerate(rows, 1))
    if origin is typing.Literal:
        if value not in options:
            near = _nearest(str(value), [str(option) for option in options])
            raise ConfigError(
                f"{name} = {_short(value)} is not one of {', '.join(map(str, options))}",
                remedy=f"did you mean {near}?" if near else "",
            )
        return value
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} = {_short(value)} must be a list")
        if origin is tuple and options[-1] is not Ellipsis and len(value) != len(options):
            raise ConfigError(f"{name} = {_short(value)} must have {len(options)} values")
        return origin(_checked(options[0], item, name) for item in value)
    if hint is Path and isinstance(value, str | os.PathLike):
        return Path(value)
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _checked(next(o for o in options if o is not type(None)), value, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _require_usual(value, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kind = _KINDS.get(hint, hint.__name__)
        raise ConfigError(f"{name} = {_short(value)} must be {kind}")
    return value


def as_mapping(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dictionaries, ready for JSON."""
    return {f.name: _plain(shown_value(config, f)) for f in dataclasses.fields(config)}


def shown_value(config: Any, field: "dataclasses.Field[Any]") -> Any:
    """Return a value as a configuration file has it: ``"auto"`` where the program chooses."""
    value = getattr(config, field.name)
    return "auto" if value == AUTO and field.metadata.get("auto") else value


def _plain(value: Any) -> Any:
    if hasattr(value, "as_tree"):
        return value.as_tree()
    if dataclasses.is_dataclass(value):
        return as_mapping(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def as_toml(config: Any) -> list[str]:
    """Return a configuration as lines of TOML, the meaning of each key behind it."""
    lines: list[str] = []
    _write_table(lines, config, "")
    return lines[1:]


def _write_table(lines: list[str], config: Any, name: str) -> None:
    """Write values first, then the tables below, as TOML wants them."""
    below: list[tuple[str, str, Any]] = []
    for field, value in _keys(config):
        inner = f"{name}.{field.name}".lstrip(".")
        if isinstance(value, tuple):
            below += [(f"[[{inner}]]", inner, row) for row in value]
        elif dataclasses.is_dataclass(value):
            below.append((f"[{inner}]", inner, value))
        elif value is None:
            lines.append(f"# {field.name}: {field.metadata['help']}")
        else:
            shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
            lines.append(f"{field.name} = {shown}  # {field.metadata['help']}")
    for title, inner, value in below:
        lines += ["", title]
        _write_table(lines, value, inner)


def _keys(config: Any) -> list[tuple["dataclasses.Field[Any]", Any]]:
    """Return the keys of a section and their values; a chosen section tells its own."""
    if hasattr(config, "keys"):
        return typing.cast(list[tuple["dataclasses.Field[Any]", Any]], config.keys())
    return [(field, shown_value(config, field)) for field in dataclasses.fields(config)]
