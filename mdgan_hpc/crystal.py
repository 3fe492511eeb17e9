"""What leaves the statistics of the motion unchanged: space group, isotropy, time reversal."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import DataError

#: Framework atoms of a crystal stay within this root mean square distance of their sites
#: (Lindemann: a tenth to a fifth of a bond length of 2 to 3 Angstrom), Angstrom.
LATTICE_RMS = 0.8
#: Tolerance of the symmetry search on the averaged framework, Angstrom.
SYMPREC = 0.1


@dataclass(frozen=True)
class Symmetry:
    """Operations x -> R x + t under which the motion of the ions looks the same.

    Attributes
    ----------
    rotations : array, [n, 3, 3]
        A finite group, Cartesian; one operation for each point operation.
    translations : array, [n, 3]
        Angstrom.
    primitive : array, [3, 3] or None
        Primitive cell (rows), or None where there is no lattice.
    isotropic : bool
        Any rotation is allowed too.
    time_reversal : bool
        A window read backwards is as good (equilibrium).
    name : str
        For the record.
    """

    rotations: np.ndarray = field(default_factory=lambda: np.eye(3)[None])
    translations: np.ndarray = field(default_factory=lambda: np.zeros((1, 3)))
    primitive: np.ndarray | None = None
    isotropic: bool = False
    time_reversal: bool = False
    name: str = "none"

    def random_rotations(self, n: int, random: torch.Generator) -> Tensor | None:
        """Return uniform rotations with reflections [n, 3, 3] of an isotropic system, or None."""
        if not self.isotropic:
            return None
        q, r = torch.linalg.qr(torch.randn(n, 3, 3, generator=random, dtype=torch.float64))
        return q * torch.sign(torch.diagonal(r, dim1=1, dim2=2))[:, None, :]

    def built_in(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rotations and translations of the subgroup that a network should carry exactly.

        Identity and inversion where there is one: the mean displacement is then zero by
        construction, and the network keeps more free weights than under the whole group, which it
        learns from moved windows. Without an inversion, the whole group.
        """
        distance = np.abs(self.rotations + np.eye(3)).max((1, 2))
        if distance.min() > 1e-6:
            return self.rotations, self.translations
        chosen = [int(np.abs(self.rotations - np.eye(3)).max((1, 2)).argmin()), distance.argmin()]
        return self.rotations[chosen], self.translations[chosen]


def isotropic() -> Symmetry:
    """Return the symmetry of a liquid: inversion, and any rotation of the training windows."""
    rotations = np.array([np.eye(3), -np.eye(3)])
    return Symmetry(
        rotations, np.zeros((2, 3)), isotropic=True, time_reversal=True, name="isotropic"
    )


def crystal(cell: np.ndarray, species: np.ndarray, positions: np.ndarray) -> Symmetry:
    """Find primitive cell and space group of an averaged framework.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    species : array, [M]
        Atomic numbers.
    positions : array, [M, 3]
        Mean positions, Angstrom.

    Returns
    -------
    Symmetry
        One operation a point operation, in the orientation and origin of the input.

    Raises
    ------
    DataError
        If the search fails.
    """
    import spglib

    fractional = positions @ np.linalg.inv(cell)
    found = spglib.get_symmetry_dataset(
        (cell.tolist(), (fractional % 1).tolist(), species.tolist()), symprec=SYMPREC
    )
    if found is None:
        raise DataError("no symmetry was found in the averaged framework")
    pure = [t for r, t in zip(found.rotations, found.translations, strict=True) if _identity(r)]
    primitive = _primitive_cell(np.array(pure) @ cell, cell)
    inverse = np.linalg.inv(primitive)
    # A supercell hides operations: search again with one primitive cell of averaged atoms.
    atoms, numbers = _average_copies(positions @ inverse, primitive, np.asarray(species))
    found = spglib.get_symmetry_dataset(
        (primitive.tolist(), (atoms % 1).tolist(), numbers.tolist()), symprec=SYMPREC
    )
    if found is None:
        raise DataError("no symmetry was found in the primitive cell of the framework")
    rotations: list[np.ndarray] = []
    translations: list[np.ndarray] = []
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        cartesian = primitive.T @ rotation @ inverse.T
        if any(np.allclose(cartesian, known, atol=1e-2) for known in rotations):
            continue
        # The nearest orthogonal matrix: the averaged cell is symmetric only to its noise.
        u, _, v = np.linalg.svd(cartesian)
        rotations.append(u @ v)
        translations.append(translation @ primitive)
    return Symmetry(
        np.array(rotations),
        np.array(translations),
        primitive,
        time_reversal=True,
        name=found.international,
    )


def _identity(rotation: np.ndarray) -> bool:
    return bool((rotation == np.eye(3)).all())


def _primitive_cell(translations: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the shortest right-handed lattice vectors [3, 3] of a cell with inner translations.

    Parameters
    ----------
    translations : array, [n, 3]
        Pure translations inside the cell, zero included, Angstrom.
    cell : array, [3, 3]
    """
    around = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell
    points = (translations[:, None] + around[None]).reshape(-1, 3)
    lengths = np.linalg.norm(points, axis=1)
    points = points[np.argsort(lengths, kind="stable")][(lengths < 1e-6).sum() :]
    volume = abs(np.linalg.det(cell)) / len(translations)
    for reach in range(3, len(points) + 1):
        # The newest, longest vector with all pairs of shorter ones: the first fit is the shortest.
        for pair in itertools.combinations(range(reach - 1), 2):
            vectors = points[[*pair, reach - 1]]
            determinant = np.linalg.det(vectors)
            if abs(abs(determinant) - volume) < 0.01 * volume:
                return vectors if determinant > 0 else -vectors
    raise DataError("the translations of the framework do not span a lattice")


def _average_copies(
    fractional: np.ndarray, primitive: np.ndarray, species: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average atoms that differ by lattice translations; return fractional positions, species."""
    atoms, numbers = [], []
    left = np.ones(len(fractional), bool)
    for first in range(len(fractional)):
        if not left[first]:
            continue
        shift = fractional - fractional[first]
        shift -= np.round(shift)
        same = left & (species == species[first])
        same &= np.linalg.norm(shift @ primitive, axis=1) < 0.5
        left &= ~same
        atoms.append(fractional[first] + shift[same].mean(0))
        numbers.append(species[first])
    return np.array(atoms), np.array(numbers)


def framework_shift(reference: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the translation [3] that takes one averaged framework onto another, modulo the cell.

    The atoms are in the same order but may be on different sides of the cell, so the mean is
    taken on the circle.

    Parameters
    ----------
    reference, positions : array, [M, 3]
        Angstrom.
    cell : array, [3, 3]

    Returns
    -------
    array, [3]
        Add it to `positions`.

    Raises
    ------
    DataError
        If no translation does it: the runs are not of one crystal with one order of atoms.
    """
    difference = (reference - positions) @ np.linalg.inv(cell)
    shift = np.angle(np.exp(2j * np.pi * difference).mean(0)) / (2 * np.pi)
    rest = difference - shift
    rest = (rest - np.round(rest)) @ cell
    if np.sqrt((rest**2).sum(1).mean()) > LATTICE_RMS:
        raise DataError(
            "the frameworks of the runs do not match",
            remedy="train on runs of one crystal whose atoms are in the same order",
        )
    return shift @ cell
