"""Primitive cell and space group of an averaged framework.

The averaged positions of a finite run carry statistical noise, so a fixed tolerance finds either
too few operations (noise larger than it) or too many (a real distortion smaller than it). Here
the groups that are found at several tolerances compete: each is fitted to the positions, and what
is left, per degree of freedom, estimates the noise. A true group leaves the same noise as its
subgroups; a false one leaves more. The largest group that leaves no more is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdgan_hpc.crystal.definitions import (
    LARGEST_NOISE,
    LATTICE_RMS,
    LEAST_NOISE,
    NOISE_RATIO,
    TOLERANCES,
    AveragedFramework,
    Crystal,
    NoCrystal,
)
from mdgan_hpc.crystal.library import symmetry_dataset
from mdgan_hpc.crystal.matching import match, to_nearest
from mdgan_hpc.crystal.translations import shortest_vectors, translation_groups


def find_crystal(
    framework: AveragedFramework | None, cell: np.ndarray | None
) -> Crystal | NoCrystal:
    """Find primitive cell and space group of an averaged framework.

    Parameters
    ----------
    framework : AveragedFramework or None
    cell : array, [3, 3] or None
        Rows are the cell vectors, Angstrom; None where it changes in time.

    Notes
    -----
    Loose atoms (`LATTICE_RMS`) do not count where the lattice puts a copy in their place. A
    framework which no operation maps onto itself is a glass: nothing tells it from a crystal of
    one triclinic cell, whose lattice would be of no use.
    """
    if cell is None or not abs(np.linalg.det(cell)) > 0:
        return NoCrystal("there is no constant cell")
    if framework is None or not len(framework.species):
        return NoCrystal("no other atoms are known (--select of the ions when converting)")
    rms = np.asarray(framework.rms_displacement, np.float64)
    positions = np.asarray(framework.position, np.float64)
    species = np.asarray(framework.species)
    cell = np.asarray(cell, np.float64)
    if not (np.isfinite(positions).all() and np.isfinite(rms).all()):
        return NoCrystal("the averaged positions of the other atoms are no numbers")
    if np.median(rms) > LATTICE_RMS:
        return NoCrystal(
            f"the other atoms do not stay in place (median rms displacement "
            f"{np.median(rms):.2g} Angstrom, at most {LATTICE_RMS:g})"
        )
    found = _largest_group(_candidates(cell, species, positions, rms <= LATTICE_RMS))
    if found is None:
        return NoCrystal("no operation maps the other atoms onto themselves, as in a glass")
    rotations, translations = _one_for_each_rotation(found)
    return Crystal(
        cell=cell,
        species=species,
        positions=positions,
        primitive=found.primitive,
        rotations=rotations,
        translations=translations,
        rms=float(np.median(rms)),
        noise=found.noise,
        space_group=found.name,
    )


@dataclass(frozen=True)
class _Group:
    """A candidate: operations in fractions of a primitive cell, and the noise that they leave."""

    primitive: np.ndarray  # [3, 3]
    rotations: np.ndarray  # [n, 3, 3]
    translations: np.ndarray  # [n, 3]
    name: str
    copies: int
    noise: float

    @property
    def order(self) -> int:
        return self.copies * len(self.rotations)


def _largest_group(candidates: Sequence[_Group]) -> _Group | None:
    """Return the largest group that leaves no more noise than the others, if it is not trivial."""
    if not candidates:
        return None
    noise = max(min(c.noise for c in candidates), LEAST_NOISE)
    good = [c for c in candidates if c.noise <= min(NOISE_RATIO * noise, LARGEST_NOISE)]
    best = max(good, key=lambda c: (c.order, c.copies), default=None)
    return best if best is not None and best.order > 1 else None


def _candidates(
    cell: np.ndarray, species: np.ndarray, positions: np.ndarray, tight: np.ndarray
) -> list[_Group]:
    """Return the groups found at all tolerances, trivial ones (whose noise is unknown) left out."""
    groups: list[_Group] = []
    for shifts in translation_groups(cell, species[tight], positions[tight], int((~tight).sum())):
        primitive = shortest_vectors(shifts @ cell, cell)
        atoms, numbers, scatter = _average_copies(
            positions @ np.linalg.inv(primitive), primitive, species, tight, len(shifts)
        )
        orders = set()
        for tolerance in TOLERANCES:
            found = symmetry_dataset(primitive, atoms, numbers, tolerance)
            if found is None or len(found.rotations) in orders:
                continue
            orders.add(len(found.rotations))
            group = _Group(
                primitive,
                found.rotations,
                found.translations,
                found.international,
                len(shifts),
                np.inf,
            )
            groups.append(replace(group, noise=_noise(group, atoms, numbers, scatter)))
        if len(shifts) > 1 and min(g.noise for g in groups) <= LEAST_NOISE / 2:
            break  # beyond doubt, and so little noise hides no translation from the library
    return [group for group in groups if np.isfinite(group.noise)]


def _average_copies(
    fractional: np.ndarray,
    primitive: np.ndarray,
    species: np.ndarray,
    tight: np.ndarray,
    copies: int,
) -> tuple[np.ndarray, np.ndarray, tuple[float, int]]:
    """Average atoms that differ by lattice translations.

    Returns
    -------
    fractional positions [m, 3], species [m], and (sum of the squared distances of the copies from
    their means in Angstrom^2, its degrees of freedom).
    """
    atoms: list[np.ndarray] = []
    numbers: list[int] = []
    squares, freedoms = 0.0, 0
    left = tight.copy()
    for turn in (tight, ~tight):
        if len(atoms) * copies == len(fractional):
            break  # the loose atoms are copies of tight ones
        left |= turn
        for first in np.flatnonzero(turn):
            if not left[first]:
                continue
            shift = to_nearest(fractional - fractional[first])
            same = left & (species == species[first])
            same &= np.linalg.norm(shift @ primitive, axis=1) < LATTICE_RMS
            left &= ~same
            mean = shift[same].mean(0)
            atoms.append(fractional[first] + mean)
            numbers.append(species[first])
            squares += float((((shift[same] - mean) @ primitive) ** 2).sum())
            freedoms += 3 * (int(same.sum()) - 1)
    return np.array(atoms), np.array(numbers), (squares, freedoms)


def _noise(
    group: _Group, atoms: np.ndarray, numbers: np.ndarray, scatter: tuple[float, int]
) -> float:
    """Return the noise of a coordinate that is left when the atoms are symmetrised, Angstrom.

    Infinite where there is nothing to measure it by, or where an operation does not map each atom
    onto one other.
    """
    moves = np.zeros((len(atoms), 3))
    kept_free = 0.0
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        partner, way = match(atoms @ rotation.T + translation, atoms, numbers, group.primitive)
        if len(np.unique(partner)) < len(atoms):
            return float("inf")
        # Without its mean: the library fixes the origin only to its tolerance.
        moves[partner] -= (way - way.mean(0)) / len(group.rotations)
        kept_free += float(np.trace(rotation)) * (partner == np.arange(len(atoms))).sum()
    squares, freedoms = scatter
    squares += group.copies * float((moves**2).sum())
    # The character of the permutation times rotation counts the coordinates left free.
    freedoms += 3 * len(atoms) - round(kept_free / len(group.rotations))
    if freedoms == 0:
        # Nothing could contradict it: one atom, or the identity alone.
        return 0.0 if group.order > 1 else float("inf")
    return float(np.sqrt(squares / freedoms))


def _one_for_each_rotation(group: _Group) -> tuple[np.ndarray, np.ndarray]:
    """Return Cartesian rotations [n, 3, 3] and translations [n, 3], one a point operation."""
    primitive = group.primitive
    inverse = np.linalg.inv(primitive)
    rotations: list[np.ndarray] = []
    translations: list[np.ndarray] = []
    for rotation, translation in zip(group.rotations, group.translations, strict=True):
        cartesian = primitive.T @ rotation @ inverse.T
        if any(np.allclose(cartesian, known, atol=1e-2) for known in rotations):
            continue
        # The nearest orthogonal matrix: the averaged cell is symmetric only to its noise.
        u, _, v = np.linalg.svd(cartesian)
        rotations.append(u @ v)
        translations.append(translation @ primitive)
    return np.array(rotations), np.array(translations)
