"""The lattice of a crystal."""

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
