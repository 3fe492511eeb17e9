"""Runs brought into one frame of the lattice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.crystal.definitions import (
    CELL_SPREAD,
    EXPANSION,
    LATTICE_RMS,
    SAME_CELL,
    AveragedFramework,
    Crystal,
    NoCrystal,
)
from mdgan_hpc.crystal.matching import to_nearest
from mdgan_hpc.crystal.search import find_crystal
from mdgan_hpc.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How several runs are brought into one frame.

    Attributes
    ----------
    cell : array, [3, 3] or None
        The common cell (rows), Angstrom; None where the runs have none.
    maps : list of array [3, 3], or None
        Positions of run i in the common cell are ``positions @ maps[i] + shifts[i]``. None where
        all cells are the same.
    shifts : array, [n, 3]
        Angstrom; zeros where the frameworks have nothing in common.
    crystal : Crystal or NoCrystal
        Of the framework averaged over the runs.
    """

    cell: np.ndarray | None
    maps: list[np.ndarray] | None
    shifts: np.ndarray
    crystal: Crystal | NoCrystal

    def apply(self, run: int, positions: np.ndarray) -> np.ndarray:
        """Return positions [..., 3] of a run in the common frame."""
        moved = positions if self.maps is None else positions @ self.maps[run]
        return moved + self.shifts[run] if self.shifts[run].any() else moved

    @property
    def largest_strain(self) -> float:
        """Largest relative change of a length by the maps."""
        if self.maps is None:
            return 0.0
        return max(float(np.abs(np.linalg.svd(m, compute_uv=False) - 1).max()) for m in self.maps)


def align_frameworks(
    frameworks: Sequence[AveragedFramework | None],
    cells: Sequence[np.ndarray | None],
    temperature_k: Sequence[float] | None = None,
) -> Alignment:
    """Bring runs into one frame of the lattice and tell whether they are of one crystal.

    Parameters
    ----------
    frameworks : sequence of AveragedFramework or None
        One a run; the atoms of a crystal in the same order.
    cells : sequence of array [3, 3], or None
        One a run; None where it changes in time.
    temperature_k : sequence of float, optional
        One a run, where they are at several temperatures.

    Notes
    -----
    Cells that differ by at most `CELL_SPREAD`, as means of NPT runs do, are mapped to their mean;
    those at different temperatures by at most `EXPANSION`.
    Runs that each have a framework of their own, as quenches of a glass have, are not shifted.

    Raises
    ------
    DataError
        If the runs are of different crystals, or of one whose atoms are in another order, or if
        the cells of runs of one crystal differ too much.
    """
    none = np.zeros((len(cells), 3))
    boxes = [np.asarray(c, np.float64) for c in cells if c is not None]
    cell, maps = None, None
    if len(boxes) == len(cells):
        cell, maps = _common_cell(boxes, temperature_k)
    found = [find_crystal(f, c) for f, c in zip(frameworks, cells, strict=True)]
    disordered = [c for c in found if isinstance(c, NoCrystal)]
    known = [f for f in frameworks if f is not None]
    if cell is None and len(boxes) == len(cells):
        if len(disordered) < len(found):
            raise DataError(
                f"the cells of the runs differ by more than {CELL_SPREAD:.1%}"
                + (f" at one temperature, or {EXPANSION:.0%} in all" if temperature_k else ""),
                remedy="train on runs of one crystal in one cell"
                + ("" if temperature_k else "; if they are at several temperatures, give these"),
            )
        return Alignment(cell=None, maps=None, shifts=none, crystal=disordered[0])
    in_place = all(np.median(f.rms_displacement) <= LATTICE_RMS for f in known)
    if cell is None or len(known) < len(cells) or not in_place:
        return Alignment(cell=cell, maps=maps, shifts=none, crystal=disordered[0])
    places = [np.asarray(f.position, np.float64) for f in known]
    if maps is not None:
        places = [p @ m for p, m in zip(places, maps, strict=True)]
    try:
        shifts, mean = _one_frame(known, places, cell)
    except DataError:
        if len(disordered) < len(found):
            raise
        reason = "each run has a framework of its own, as quenches of a glass have"
        return Alignment(cell=cell, maps=maps, shifts=none, crystal=NoCrystal(reason))
    rms = np.max([np.asarray(f.rms_displacement) for f in known], axis=0)
    whole = find_crystal(_Averaged(np.asarray(known[0].species), mean, rms), cell)
    return Alignment(cell=cell, maps=maps, shifts=shifts, crystal=whole)


@dataclass(frozen=True)
class _Averaged:
    species: np.ndarray
    position: np.ndarray
    rms_displacement: np.ndarray


def _common_cell(
    cells: Sequence[np.ndarray], temperature_k: Sequence[float] | None = None
) -> tuple[np.ndarray | None, list[np.ndarray] | None]:
    """Return the common cell of runs and the maps to it; no cell if they differ too much."""
    if all(np.allclose(box, cells[0], atol=SAME_CELL) for box in cells):
        return cells[0], None
    mean, maps, strain = _to_mean(cells)
    if temperature_k is None:
        return (mean, maps) if strain <= CELL_SPREAD else (None, None)
    for kelvin in set(temperature_k):
        alike = [box for box, k in zip(cells, temperature_k, strict=True) if k == kelvin]
        if _to_mean(alike)[2] > CELL_SPREAD:
            return None, None
    return (mean, maps) if strain <= EXPANSION else (None, None)


def _to_mean(cells: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Return the mean of cells, the maps to it, and the largest relative change of a length."""
    mean = np.asarray(np.mean(cells, axis=0))
    maps = [np.linalg.inv(box) @ mean for box in cells]
    strain = max(float(np.abs(np.linalg.svd(m, compute_uv=False) - 1).max()) for m in maps)
    return mean, maps, strain


def _one_frame(
    frameworks: Sequence[AveragedFramework], places: Sequence[np.ndarray], cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return shifts [n, 3] of the runs onto the first, and the mean positions [M, 3].

    Raises
    ------
    DataError
        If the frameworks do not match.
    """
    reference = places[0]
    shifts, moved = [np.zeros(3)], [reference]
    for framework, place in zip(frameworks[1:], places[1:], strict=True):
        if not np.array_equal(framework.species, frameworks[0].species):
            raise DataError(
                "the frameworks of the runs are of different atoms",
                remedy="train on runs of one crystal whose atoms are in the same order",
            )
        shift = framework_shift(reference, place, cell)
        difference = (place + shift - reference) @ np.linalg.inv(cell)
        shifts.append(shift)
        moved.append(reference + to_nearest(difference) @ cell)
    return np.array(shifts), np.mean(moved, axis=0)


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
    rest = to_nearest(difference - shift) @ cell
    # The median: a few loose atoms are anywhere.
    if np.sqrt(np.median((rest**2).sum(1))) > LATTICE_RMS:
        raise DataError(
            "the frameworks of the runs do not match",
            remedy="train on runs of one crystal whose atoms are in the same order",
        )
    return np.asarray(shift @ cell)
