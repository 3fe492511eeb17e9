"""What a critic sees of the motion: numbers that no symmetry operation changes.

Equilibrium motion looks the same after an operation of the space group (in a liquid: any rotation
and translation). So the critic is given only what these leave as it is, and learns from few
windows: nothing has to be learned again in another orientation or cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.observables.pairs import nearest_distances
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.crystal.reciprocal import reciprocal_shells

#: Functions of the place that are used at most, and reciprocal vectors that they are made of.
_PLACES, _WAVES = 8, 40
#: Nearest ions whose distances are seen.
_NEAREST = 4
#: Nearer ions look no different, Angstrom.
_LEAST_DISTANCE = 0.1


@dataclass(frozen=True)
class Series:
    """Scalars of the ions of one cell over time.

    Attributes
    ----------
    lag : int
        Records that each number looks ahead.
    values : array, [T - lag, n, c]
    """

    lag: int
    values: np.ndarray


class Scalars:
    """Invariant scalars of ions that share a cell.

    Squared displacements along the principal axes of the point group, over several lags; in a
    crystal periodic functions of the place; the distances of the nearest ions.

    Parameters
    ----------
    lags : sequence of int
        Of the displacements, in records.
    lattice : Lattice, optional
        Of a crystal.
    neighbours : int
        Nearest ions whose distances are told; 0 where ions do not see each other.
    """

    def __init__(self, lags: Sequence[int], lattice: Lattice | None, neighbours: int) -> None:
        self.lags = tuple(lags)
        self.neighbours = min(neighbours, _NEAREST)
        rotations = np.eye(3)[None] if lattice is None else lattice.rotations
        self.axes = [np.eye(3)] if lattice is None else principal_axes(rotations)
        self._places = None if lattice is None else _PlaceFunctions(lattice)

    def of(self, positions: np.ndarray, cell: np.ndarray | None) -> list[Series]:
        """Return the scalars of the ions of one cell.

        Parameters
        ----------
        positions : array, [T, n, 3]
            Unwrapped, Angstrom.
        cell : array, [3, 3]
            Needed for `neighbours`.
        """
        x = np.asarray(positions, np.float64)
        found = []
        for lag in self.lags:
            moved = x[lag:] - x[:-lag]
            squares = [np.einsum("tni,ij,tnj->tn", moved, p, moved) for p in self.axes]
            found.append(Series(lag, np.stack(squares, -1)))
        if self._places is not None:
            found.append(Series(0, self._places(x)))
        if self.neighbours:
            assert cell is not None
            apart = nearest_distances(x, cell, self.neighbours)
            found.append(Series(0, np.log(np.maximum(apart, _LEAST_DISTANCE))))
        return found


def principal_axes(rotations: np.ndarray) -> list[np.ndarray]:
    """Return projectors [3, 3] onto the spaces that a point group [g, 3, 3] maps onto themselves.

    One for a cubic group, two for one with a single axis of order three or more, else three.
    """
    generic = np.array([[1.0, 0.31, 0.17], [0.31, 2.0, 0.11], [0.17, 0.11, 3.0]])
    mean = np.einsum("gij,jk,glk->il", rotations, generic, rotations) / len(rotations)
    values, vectors = np.linalg.eigh(mean)
    new = np.diff(values, prepend=-np.inf) > 1e-3
    return [
        vectors[:, group] @ vectors[:, group].T
        for group in np.split(np.arange(3), np.flatnonzero(new)[1:])
    ]


class _PlaceFunctions:
    """Real functions of the place that have the full symmetry of a crystal."""

    def __init__(self, lattice: Lattice) -> None:
        indices = reciprocal_shells(lattice.vectors, _WAVES)
        waves = 2 * np.pi * np.linalg.inv(lattice.vectors) @ indices.T  # [3, m]
        # x -> x R + t under each operation; a sine is a cosine a quarter of a period later.
        turned = np.einsum("gij,jm->gim", lattice.rotations, waves)
        phase = lattice.translations @ waves
        self._waves = np.concatenate([turned, turned], 2)
        self._phase = np.concatenate([phase, phase - np.pi / 2], 1)
        chosen = self._independent(lattice)
        self._waves, self._phase = self._waves[:, :, chosen], self._phase[:, chosen]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the functions [..., c] at places [..., 3]."""
        total = np.zeros((*x.shape[:-1], self._waves.shape[2]))
        for waves, phase in zip(self._waves, self._phase, strict=True):
            total += np.cos(x @ waves + phase)
        return total / len(self._waves)

    def _independent(self, lattice: Lattice) -> list[int]:
        """Return the numbers of functions that are not zero and no sum of others before them."""
        places = np.random.default_rng(0).random((512, 3)) @ lattice.vectors
        every = self(places)
        # Those of short waves first, cosine and sine of a wave beside each other.
        order = np.arange(every.shape[1]).reshape(2, -1).T.ravel()
        basis: list[np.ndarray] = []
        chosen = []
        for number in order:
            rest = every[:, number] - every[:, number].mean()
            for known in basis:
                rest = rest - (rest @ known) * known
            size = np.linalg.norm(rest)
            if size > 0.02 * np.sqrt(len(rest)):
                basis.append(rest / size)
                chosen.append(int(number))
            if len(chosen) == _PLACES:
                break
        return chosen
