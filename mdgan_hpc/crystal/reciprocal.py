"""Reciprocal lattice vectors: cosines and sines of them tell the place in a primitive cell."""

import itertools

import numpy as np


def reciprocal_shells(cell: np.ndarray, at_least: int) -> np.ndarray:
    """Return integer indices [m, 3] of the shortest reciprocal vectors, one of each +-pair.

    Whole shells of equal length, so that the point group maps them onto each other.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the lattice vectors, Angstrom.
    at_least : int
    """
    indices = np.array([v for v in itertools.product(range(-6, 7), repeat=3) if v > (0, 0, 0)])
    lengths = np.linalg.norm(indices @ np.linalg.inv(cell).T, axis=1)
    order = np.argsort(lengths, kind="stable")
    indices, lengths = indices[order], lengths[order]
    count = at_least
    while count < len(lengths) and lengths[count] - lengths[count - 1] < 1e-4 * lengths[count]:
        count += 1
    return indices[:count]
