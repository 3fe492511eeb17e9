"""Grids over a cell, and the density of positions folded into it."""

import math
from collections.abc import Iterable

import numpy as np


def grid_shape(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Return the points along each vector of a grid over a cell, at most `spacing` apart."""
    a, b, c = (max(4, math.ceil(float(v) / spacing)) for v in np.linalg.norm(lattice, axis=1))
    return a, b, c


def folded_voxels(
    positions: np.ndarray, lattice: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return the flat index of the grid voxel that each of positions [..., 3] folds into."""
    fraction = positions @ np.linalg.inv(lattice)
    fraction -= np.floor(fraction)
    index = np.minimum((fraction * shape).astype(np.intp), np.array(shape) - 1)
    return np.asarray((index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2])


def folded_density(
    pieces: Iterable[np.ndarray], lattice: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return the density of positions [..., 3] folded into a cell, over its mean; `shape`."""
    counts = np.zeros(math.prod(shape))
    for positions in pieces:
        counts += np.bincount(
            folded_voxels(positions, lattice, shape).ravel(), minlength=len(counts)
        )
    return np.asarray(counts.reshape(shape) / max(float(counts.mean()), 1e-300))
