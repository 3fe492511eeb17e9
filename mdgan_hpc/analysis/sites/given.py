"""Sites that the user gives, in a structure file that ASE reads."""

from itertools import product
from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory.species import atomic_number, composition

#: Lengths and angles of the cell of the file and of the simulation differ by at most these.
_LENGTHS, _ANGLES = 0.03, 1.5
#: Places that the lattice takes onto each other within this distance are one, Angstrom.
_SAME = 0.5


def given_sites(
    path: str | Path,
    species: str,
    cell: np.ndarray,
    lattice: Lattice | None,
    *,
    core: float,
    radius: float | None,
) -> Sites:
    """Read the sites of a species from a structure file, such as CIF or POSCAR.

    Fractions of the cell of the file are taken over, so that its origin must be that of the
    trajectory. The cell is that of the simulation, or the simulation holds a whole number of it
    along each vector.

    Parameters
    ----------
    path : path
    species : str
        Symbol, or ``X`` for all atoms of the file.
    cell : array, [3, 3]
        Of the simulation, Angstrom.
    lattice : Lattice, optional
        Of the crystal: sites that it takes onto each other are one, if it does so with all.
    core, radius : float
        See `Sites.of_places`.

    Raises
    ------
    DataError
        If the file cannot be read or has no cell.
    UsageError
        If it holds no atom of the species, or its cell does not fit.
    """
    import ase.io

    try:
        atoms = ase.io.read(path)
    except FileNotFoundError:
        raise DataError("no such file", where=path) from None
    except Exception as error:  # readers of ASE raise whatever they meet
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"ASE cannot read it ({told})", where=path, remedy="give a CIF or a POSCAR"
        ) from error
    if isinstance(atoms, list):
        atoms = atoms[-1]
    if abs(np.linalg.det(atoms.cell)) < 1e-6:
        raise DataError("has no cell", where=path)
    chosen = np.ones(len(atoms), bool)
    if species != "X":
        chosen = atoms.numbers == atomic_number(species)
    if not chosen.any():
        raise UsageError(
            f"holds no {species}, so no sites", where=path, remedy=_held(atoms.numbers)
        )
    copies = _copies(_lengths_and_angles(np.asarray(atoms.cell)), cell, path)
    inner = np.array(list(product(*(range(n) for n in copies))))
    fraction = (atoms.positions @ np.linalg.inv(atoms.cell))[chosen] % 1
    fraction = ((fraction[:, None] + inner) / copies).reshape(-1, 3)
    if lattice is not None:
        folded = _folded(fraction @ cell, lattice.vectors, cell)
        if folded is not None:
            return Sites.of_places(lattice.vectors, folded, core=core, radius=radius)
    return Sites.of_places(cell, fraction % 1, core=core, radius=radius)


def _held(numbers: np.ndarray) -> str:
    return f"it holds {composition(numbers)}"


def _copies(of_file: np.ndarray, cell: np.ndarray, path: str | Path) -> np.ndarray:
    """Return how often the cell of the file lies in that of the simulation along each vector."""
    simulated = _lengths_and_angles(cell)
    copies = np.maximum(1, np.round(simulated[:3] / of_file[:3])).astype(int)
    strain = np.abs(simulated[:3] / (copies * of_file[:3]) - 1).max()
    if strain > _LENGTHS or np.abs(simulated[3:] - of_file[3:]).max() > _ANGLES:
        shown = (" ".join(f"{v:.4g}" for v in c) for c in (of_file, simulated))
        raise UsageError(
            "has the cell {} (Angstrom, degrees), the simulation {}".format(*shown),
            where=path,
            remedy="give the sites in the cell of the simulation, or in one that it repeats",
        )
    return np.asarray(copies)


def _lengths_and_angles(cell: np.ndarray) -> np.ndarray:
    """Return a, b, c in Angstrom and alpha, beta, gamma in degrees, [6]."""
    lengths = np.linalg.norm(cell, axis=1)
    cosines = [cell[i] @ cell[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def _folded(places: np.ndarray, vectors: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """Return the sites of a primitive cell as fractions; None where copies are missing."""
    copies = round(abs(np.linalg.det(cell) / np.linalg.det(vectors)))
    left, kept = places @ np.linalg.inv(vectors), []
    while len(left):
        way = left - left[0]
        way -= np.round(way)
        same = np.linalg.norm(way @ vectors, axis=1) < _SAME
        if same.sum() != copies:
            return None
        kept.append((left[0] + way[same].mean(0)) % 1)
        left = left[~same]
    return np.array(kept)
