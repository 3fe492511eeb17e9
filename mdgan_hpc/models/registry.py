"""Generators by name: the built-in ones, registered ones, and those of other packages.

Another package brings its own by an entry point of the group ``mdgan_hpc.generators``, whose name
is the kind and whose object is the class::

    [project.entry-points."mdgan_hpc.generators"]
    brownian = "my_package.brownian:Brownian"
"""

import difflib
from importlib import import_module
from importlib.metadata import entry_points

from mdgan_hpc.errors import ConfigError
from mdgan_hpc.models.base import Generator

ENTRY_POINTS = "mdgan_hpc.generators"
#: Module and class, imported when asked for.
_BUILT_IN = {
    "latent": ("mdgan_hpc.models.latent", "LatentGenerator"),
    "transition": ("mdgan_hpc.models.transition.generator", "TransitionGenerator"),
}
_registered: dict[str, type[Generator]] = {}


def register(cls: type[Generator]) -> type[Generator]:
    """Make a generator known by its `kind`; may be used as a decorator.

    Raises
    ------
    ValueError
        If another class has that name.
    """
    if cls.kind in _BUILT_IN or _registered.get(cls.kind, cls) is not cls:
        raise ValueError(f"a generator {cls.kind!r} is there already")
    _registered[cls.kind] = cls
    return cls


def kinds() -> list[str]:
    """Return the names of all generators that can be had here."""
    found = {point.name for point in entry_points(group=ENTRY_POINTS)}
    return sorted({*_BUILT_IN, *_registered, *found})


def get(kind: str) -> type[Generator]:
    """Return the class of a generator.

    Raises
    ------
    ConfigError
        If there is none, or the package that brings it cannot be used.
    """
    if kind in _BUILT_IN:
        module, name = _BUILT_IN[kind]
        return _checked(getattr(import_module(module), name), kind)
    if kind in _registered:
        return _registered[kind]
    for point in entry_points(group=ENTRY_POINTS, name=kind):
        try:
            found = point.load()
        except Exception as error:
            raise ConfigError(
                f"the generator {kind!r} of {point.value} cannot be loaded ({error})",
                remedy="mend or reinstall the package that brings it",
            ) from error
        return _checked(found, kind)
    known = kinds()
    near = difflib.get_close_matches(kind, known, n=1)
    raise ConfigError(
        f"there is no generator {kind!r}",
        remedy=f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",
    )


def _checked(found: object, kind: str) -> type[Generator]:
    if not (isinstance(found, type) and issubclass(found, Generator) and found.kind == kind):
        raise ConfigError(
            f"the entry point {kind!r} of {ENTRY_POINTS} is not a Generator of that kind",
            remedy="mend or reinstall the package that brings it",
        )
    return found
