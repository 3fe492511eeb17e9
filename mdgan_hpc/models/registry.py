"""Generators by name: how a model file says which one it holds."""

from typing import Any

from mdgan_hpc.errors import DataError
from mdgan_hpc.models.base import Generator
from mdgan_hpc.models.latent import LatentGenerator
from mdgan_hpc.models.transition.network import TransitionGenerator

_KINDS: dict[str, type[Generator]] = {
    "latent": LatentGenerator,
    "transition": TransitionGenerator,
}


def create(kind: str, arguments: dict[str, Any]) -> Generator:
    """Build a generator with fresh weights that remembers how it was built."""
    generator = _KINDS[kind](**arguments)
    generator.description = {"kind": kind, "arguments": arguments}
    return generator


def describe(generator: Generator) -> dict[str, Any]:
    """Return kind and arguments (plain numbers, lists and texts) of a generator."""
    return generator.description


def build(description: dict[str, Any]) -> Generator:
    """Build the generator of a description.

    Raises
    ------
    DataError
        If the kind is not known to this version.
    """
    if description["kind"] not in _KINDS:
        raise DataError(
            f"the model holds a generator of the unknown kind {description['kind']!r}",
            remedy="use the version of mdgan_hpc that trained it",
        )
    return create(description["kind"], description["arguments"])
