"""The lattice of a crystal, and densities of ions folded into a cell of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from mdgan_hpc.crystal import Crystal

#: A cell and its 26 neighbours, in lattice vectors.
AROUND = np.array(list(product((-1, 0, 1), repeat=3)))


@dataclass(frozen=True)
class Lattice:
    """Translations of the averaged framework, and its other symmetry operations.

    Attributes
    ----------
    vectors : array, [3, 3]
        Primitive lattice vectors (rows), Angstrom.
    rotations : array, [G, 3, 3]
        A row vector r (Cartesian) goes to ``r @ rotation + translation``; the identity is first.
    translations : array, [G, 3]
        Angstrom.
    """

    vectors: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray

    @classmethod
    def of_vectors(cls, vectors: np.ndarray) -> "Lattice":
        """Return a lattice of which only the translations are known."""
        return cls(np.asarray(vectors, np.float64), np.eye(3)[None], np.zeros((1, 3)))

    @classmethod
    def of_crystal(cls, crystal: Crystal) -> "Lattice":
        """Return the lattice of a crystal, with its point operations."""
        # There columns go to R x + t.
        rotations = crystal.rotations.swapaxes(1, 2)
        return cls(crystal.primitive, rotations, crystal.translations)


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
