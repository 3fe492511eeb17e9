"""Translations that repeat a framework, in spite of noise and loose atoms."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np

from mdgan_hpc.crystal.definitions import LARGEST_NOISE, LATTICE_RMS, LEAST_NOISE
from mdgan_hpc.crystal.library import symmetry_dataset
from mdgan_hpc.crystal.matching import match, nearest, to_nearest
from mdgan_hpc.errors import DataError


def translation_groups(
    cell: np.ndarray, species: np.ndarray, positions: np.ndarray, n_loose: int
) -> Iterator[np.ndarray]:
    """Yield sets [n, 3] of translations (fractions of the cell) that repeat the framework.

    They differ in the noise that they allow. What the library finds comes first: with little noise
    it is all that is needed.
    """
    atoms = positions @ np.linalg.inv(cell)
    found = symmetry_dataset(cell, atoms, species, LARGEST_NOISE)
    known = set()
    if found is not None:
        same = (found.rotations == np.eye(3)).all((1, 2))
        known.add(int(same.sum()))
        yield found.translations[same]
    shifts, noises = _repeating_shifts(cell, species, atoms, n_loose)
    shifts, noises = shifts[np.argsort(noises)], np.sort(noises)
    # A set ends where the noise jumps: there false translations begin.
    above = np.append(noises[1:], np.inf)
    for n in np.flatnonzero(above > 1.25 * np.maximum(noises, LEAST_NOISE)) + 1:
        # Applied n times, each translation of a group of n is one of the cell.
        whole = np.round(n * shifts[:n]) / n % 1
        if np.abs(to_nearest(shifts[:n] - whole) @ cell).max() > LATTICE_RMS / 2:
            continue
        whole = whole[np.lexsort(whole.T[::-1])]
        if n not in known and _closed(whole):
            known.add(int(n))
            yield whole
    if 1 not in known:
        yield np.zeros((1, 3))


def _closed(shifts: np.ndarray) -> bool:
    """Tell whether the sum of any two translations is one of them, modulo the cell."""
    sums = (shifts[:, None] + shifts[None]).reshape(-1, 1, 3) - shifts
    return bool((np.abs(to_nearest(sums)).max(-1).min(1) < 1e-6).all())


def _repeating_shifts(
    cell: np.ndarray, species: np.ndarray, atoms: np.ndarray, n_loose: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return translations [n, 3] onto atoms of the same kind, and the noise [n] that they leave.

    Atoms and translations are fractions of the cell; zero comes first. A loose atom leaves two
    others without a partner.
    """
    inverse = np.linalg.inv(cell)
    kinds, counts = np.unique(species, return_counts=True)
    rare = atoms[species == kinds[counts.argmin()]]
    shifts, noises = [np.zeros(3)], [0.0]
    # From two atoms: the copy of one of them may be loose.
    for shift in (rare - rare[:2, None]).reshape(-1, 3):
        for _ in range(2):
            way = nearest(rare + shift, rare, cell)[1]
            shift = shift + np.median(way, axis=0) @ inverse
        way = nearest(rare + shift, rare, cell)[1]
        if np.median((way**2).sum(-1)) > LATTICE_RMS**2 or _is_among(shift, shifts, cell):
            continue
        way = match(atoms + shift, atoms, species, cell)[1]
        near = (way**2).sum(-1) < LATTICE_RMS**2
        if (~near).sum() > 2 * n_loose:
            continue
        mean = way[near].mean(0)
        shifts.append(shift + mean @ inverse)
        noises.append(float(np.sqrt(((way[near] - mean) ** 2).mean() / 2)))
    return np.array(shifts), np.array(noises)


def _is_among(shift: np.ndarray, known: Sequence[np.ndarray], cell: np.ndarray) -> bool:
    apart = to_nearest(np.array(known) - shift) @ cell
    return bool((apart**2).sum(-1).min() < LATTICE_RMS**2)


def shortest_vectors(translations: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the shortest right-handed lattice vectors [3, 3] of a cell with inner translations.

    Parameters
    ----------
    translations : array, [n, 3]
        Pure translations inside the cell, zero included, Angstrom.
    cell : array, [3, 3]
    """
    around = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    points = (translations[:, None] + around[None]).reshape(-1, 3)
    lengths = np.linalg.norm(points, axis=1)
    order = np.argsort(lengths, kind="stable")
    points = points[order][(lengths < 1e-6).sum() :]
    volume = abs(np.linalg.det(cell)) / len(translations)
    for reach in range(3, len(points) + 1):
        # The newest, longest vector with all pairs of shorter ones: the first fit is the shortest.
        for pair in combinations(range(reach - 1), 2):
            vectors = points[[*pair, reach - 1]]
            determinant = np.linalg.det(vectors)
            if abs(abs(determinant) - volume) < 0.01 * volume:
                return np.asarray(vectors if determinant > 0 else -vectors)
    raise DataError("the translations of the framework do not span a lattice")
