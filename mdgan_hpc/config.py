"""Configuration: TOML into validated dataclasses, every key overridable, unknown keys refused.

A configuration class is a frozen dataclass whose fields are values or further such classes; it
checks its own values in ``__post_init__`` by `require`. What a key means stands in the
``metadata["help"]`` of its field, made by `key`.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mdgan_hpc.errors import ConfigError

Config = TypeVar("Config")


def key(
    default: Any,
    help: str,
    *,
    flag: str = "",
    metavar: str | None = None,
    empty: str = "",
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
    least, above, most : float, optional
        The value is at least, above, or at most this (`require_ranges`).
    """
    told = {"help": help, "flag": flag, "metavar": metavar, "empty": empty}
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
        if told.get("least") is not None:
            require(value >= told["least"], name, value, f"at least {told['least']}")
        if told.get("above") is not None:
            require(value > told["above"], name, value, f"above {told['above']}")
        if told.get("most") is not None:
            require(value <= told["most"], name, value, f"at most {told['most']}")


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise `ConfigError` unless `condition`: ``name = value must be <rule>``."""
    if not condition:
        raise ConfigError(f"{name} = {value!r} must be {rule}")


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
        try:
            tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError("no such configuration file", where=path) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read ({error})", where=path) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"is not TOML ({error})", where=path) from None
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {override} is not of the form section.key=value")
        *sections, last = name.strip().split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"--set {override}: {section} is a value, not a section")
        branch[last] = _override_value(text.strip())
    try:
        return from_mapping(cls, tree)
    except ConfigError as error:
        raise ConfigError(error.what, where=path or "", remedy=error.remedy) from None


def _override_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def from_mapping(cls: type[Config], tree: Mapping[str, Any], prefix: str = "") -> Config:
    """Build a configuration dataclass from nested mappings (TOML or JSON).

    Raises
    ------
    ConfigError
        For unknown keys, wrong types and values out of range.
    """
    assert dataclasses.is_dataclass(cls)
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    for name in tree:
        if name not in names:
            near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
            known = f"known: {', '.join(sorted(names))}"
            remedy = f"did you mean {prefix}{near[0]}?" if near else known
            raise ConfigError(f"unknown key {prefix}{name}", remedy=remedy)
    values = {name: _checked(hints[name], value, f"{prefix}{name}") for name, value in tree.items()}
    return typing.cast(Config, cls(**values))


def _checked(hint: Any, value: Any, name: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {value!r} must be a section of keys")
        return from_mapping(typing.cast(type[Any], hint), value, f"{name}.")
    if origin is typing.Literal:
        if value not in options:
            near = difflib.get_close_matches(str(value), [str(o) for o in options], n=1)
            raise ConfigError(
                f"{name} = {value!r} is not one of {', '.join(map(str, options))}",
                remedy=f"did you mean {near[0]}?" if near else "",
            )
        return value
    if origin is list:
        if not isinstance(value, list):
            raise ConfigError(f"{name} = {value!r} must be a list")
        return [_checked(options[0], item, name) for item in value]
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _checked(next(o for o in options if o is not type(None)), value, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} = {value!r} must be of type {hint.__name__}")
    return value


def as_mapping(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dictionaries, ready for JSON."""
    return dataclasses.asdict(config)
