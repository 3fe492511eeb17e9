"""Atoms matched with moved atoms, modulo the cell."""

import numpy as np


def to_nearest(fractions: np.ndarray) -> np.ndarray:
    """Return differences of fractional coordinates to the nearest image."""
    return np.asarray(fractions - np.round(fractions))


def nearest(
    moved: np.ndarray, atoms: np.ndarray, cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of `atoms` [m, 3] to each of `moved` [n, 3] and the way to it [n, 3].

    Positions are fractions of the cell, the way is in Angstrom.
    """
    way = to_nearest(atoms[None] - moved[:, None]) @ cell
    index = (way**2).sum(-1).argmin(1)
    return index, way[np.arange(len(moved)), index]


def match(
    moved: np.ndarray, atoms: np.ndarray, species: np.ndarray, cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match moved atoms with atoms of their own kind; see `nearest`."""
    partner = np.empty(len(atoms), int)
    way = np.empty((len(atoms), 3))
    for kind in np.unique(species):
        of_kind = np.flatnonzero(species == kind)
        index, way[of_kind] = nearest(moved[of_kind], atoms[of_kind], cell)
        partner[of_kind] = of_kind[index]
    return partner, way
