"""The atoms that stand still, averaged over a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.species import require_species


@dataclass(frozen=True)
class Framework:
    """The atoms that were not selected, averaged over the run.

    Attributes
    ----------
    species : array of int, [M]
        Atomic numbers.
    position : array, [M, 3]
        Mean positions in the frame of the trajectory, Angstrom.
    rms_displacement : array, [M]
        Root mean square distance from the mean position, Angstrom: large where there is no lattice.
    """

    species: np.ndarray
    position: np.ndarray
    rms_displacement: np.ndarray


def framework_of(values: Any, where: str) -> Framework:
    """Return the framework that a file tells: ``species``, ``position`` and ``rms_displacement``.

    Raises
    ------
    DataError
        If one of them is missing, has another shape than the others, or is no number.
    """
    if not isinstance(values, Mapping):
        raise DataError("is no group of species, position and rms_displacement", where=where)
    found = {}
    for name in ("species", "position", "rms_displacement"):
        value = values.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            raise DataError("is missing, or is no array of numbers", where=f"{where}/{name}")
        if not np.isfinite(value).all():
            raise DataError("holds values that are no numbers", where=f"{where}/{name}")
        found[name] = value
    species, position, rms = found.values()
    if position.shape != (*species.shape, 3) or rms.shape != species.shape or species.ndim != 1:
        raise DataError(
            f"has species of the shape {species.shape}, positions {position.shape} and "
            f"displacements {rms.shape}",
            where=where,
        )
    return Framework(require_species(species, where), position, rms)


class FrameworkAverage:
    """Streamed mean and scatter of positions, about the first frame to keep the digits."""

    def __init__(self, n_atoms: int) -> None:
        self.count = 0
        self._first = np.zeros((n_atoms, 3))
        self._sum = np.zeros((n_atoms, 3))
        self._squares = np.zeros(n_atoms)

    def add(self, positions: np.ndarray) -> None:
        """Take in positions [n, M, 3]."""
        if not self.count:
            self._first = positions[0].copy()
        away = positions - self._first
        self._sum += away.sum(axis=0)
        self._squares += np.einsum("tni,tni->n", away, away)
        self.count += len(positions)

    @property
    def mean(self) -> np.ndarray:
        """Mean positions, [M, 3]."""
        return np.asarray(self._first + self._sum / self.count)

    @property
    def rms_displacement(self) -> np.ndarray:
        """Root mean square distance from the mean position, [M]."""
        square = self._squares / self.count - ((self._sum / self.count) ** 2).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))
