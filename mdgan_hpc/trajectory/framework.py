"""The atoms that stand still, averaged over a run."""

from dataclasses import dataclass

import numpy as np


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
