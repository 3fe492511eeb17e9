"""Runs of one crystal are put into one frame: one cell, and frameworks on top of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc import crystal
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import Framework

#: Cells that differ by less are equal, Angstrom.
_EQUAL_ANGSTROM = 1e-3
#: Cells of one crystal, means of runs at constant pressure, differ by no more (relative).
_SAME_CRYSTAL = 0.005


@dataclass(frozen=True)
class Alignment:
    """The runs as they are trained on.

    Attributes
    ----------
    positions : list of array, [T, N, 3]
        Angstrom.
    cell : array [3, 3] or None
    framework : tuple of species [M] and mean positions [M, 3], or None
        None where there is no crystal.
    no_crystal : str
        Why there is none.
    told : tuple of str
        What a user should know.
    """

    positions: list[np.ndarray]
    cell: np.ndarray | None
    framework: tuple[np.ndarray, np.ndarray] | None = None
    no_crystal: str = ""
    told: tuple[str, ...] = ()


def align(
    names: Sequence[str],
    runs: Sequence[np.ndarray],
    frameworks: Sequence[Framework | None],
    cells: Sequence[np.ndarray | None],
) -> Alignment:
    """Move runs of one crystal so that their averaged frameworks coincide.

    Parameters
    ----------
    names : sequence of str
        Of the files.
    runs : sequence of array, [T, N, 3]
        Angstrom.
    frameworks, cells : sequences
        Of each run, as far as they are known; cells are [3, 3], Angstrom.

    Raises
    ------
    DataError
        If the runs are of crystals with different cells or framework atoms.
    """
    known = [f for f in frameworks if f is not None and len(f.species)]
    boxes = [c for c in cells if c is not None]
    if len(known) < len(runs) or len(boxes) < len(runs):
        return _disordered(runs, cells, "the runs hold no framework and constant cell")
    if any(np.median(f.rms_displacement) > crystal.LATTICE_RMS for f in known):
        return _disordered(runs, cells, "the framework does not stay on its sites")
    for name, other in zip(names, known, strict=True):
        if not np.array_equal(other.species, known[0].species):
            raise DataError(f"has another framework than {names[0]}", where=name)
    cell, told = _common_cell(names, boxes)
    moved, places = [], []
    for run, framework, box in zip(runs, known, boxes, strict=True):
        # As it is where the cells are equal, to the bit.
        strain = np.eye(3) if cell is boxes[0] else np.linalg.inv(box) @ cell
        moved.append(run if cell is boxes[0] else run @ strain)
        places.append(framework.position if cell is boxes[0] else framework.position @ strain)
    try:
        shifts = [crystal.framework_shift(places[0], place, cell) for place in places[1:]]
    except DataError:
        why = "each run has a framework of its own (a disordered solid)"
        return _disordered(runs, cells, why, f"{why}: its symmetry is taken to be isotropic")
    inverse = np.linalg.inv(cell)
    mean = [places[0]]
    for number, shift in enumerate(shifts, 1):
        moved[number] = moved[number] + shift
        difference = (places[number] + shift - places[0]) @ inverse
        mean.append(places[0] + (difference - np.round(difference)) @ cell)
    framework_of_all = (known[0].species, np.mean(mean, axis=0))
    return Alignment(moved, cell, framework_of_all, told=told)


def _common_cell(
    names: Sequence[str], cells: Sequence[np.ndarray]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the cell [3, 3] of all runs, and what is to be told of it.

    Raises
    ------
    DataError
        If the cells differ by more than those of one crystal.
    """
    if all(np.allclose(cell, cells[0], atol=_EQUAL_ANGSTROM) for cell in cells):
        return cells[0], ()
    spread, farthest = _spread(cells)
    if spread > _SAME_CRYSTAL:
        raise DataError(
            f"has another cell than {names[0]}, by {100 * spread:.2g} %",
            where=names[farthest],
            remedy=f"train on runs whose cells differ by {100 * _SAME_CRYSTAL:g} % at most",
        )
    told = f"the cells of the runs differ by {100 * spread:.2g} %: all are mapped to the mean cell"
    return np.mean(cells, axis=0), (told,)


def _spread(cells: Sequence[np.ndarray]) -> tuple[float, int]:
    """Return the largest relative difference of two cells, and which is farthest from the first."""
    strains = np.linalg.inv(np.mean(cells, axis=0)) @ np.array(cells)  # [R, 3, 3]
    farthest = int(np.abs(strains - strains[0]).max((1, 2)).argmax())
    return float(np.ptp(strains, axis=0).max()), farthest


def _disordered(
    runs: Sequence[np.ndarray], cells: Sequence[np.ndarray | None], why: str, *told: str
) -> Alignment:
    """Runs without a common lattice: displacements are all that is compared."""
    boxes = [cell for cell in cells if cell is not None]
    cell = cells[0] if len(boxes) < len(cells) or _spread(boxes)[0] <= _SAME_CRYSTAL else None
    if cell is None and len(boxes) == len(cells):
        told = (*told, "the cells of the runs differ: the model is stored without one")
    return Alignment(list(runs), cell, no_crystal=why, told=tuple(told))
