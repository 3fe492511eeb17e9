"""The density of ions on a grid of the cell, as VESTA and OVITO open it: CHGCAR and cube."""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from mdgan_hpc.convert.export.excerpt import Excerpt, require_cells
from mdgan_hpc.errors import UsageError
from mdgan_hpc.trajectory.grid import folded_voxels, grid_shape
from mdgan_hpc.trajectory.species import symbol
from mdgan_hpc.units import ANGSTROM_PER_BOHR


@dataclass(frozen=True)
class Density:
    """Number density of ions in a cell, and the atoms to draw beside it.

    Attributes
    ----------
    values : array, [A, B, C]
        1/Angstrom^3, over voxels that begin at the corner of the cell; their sum times the volume
        of a voxel is the number of ions of a cell (1 of ions that were generated one by one).
    cell : array, [3, 3]
        Angstrom, the mean where it changes.
    species : array of int, [M]
        Of the framework; of the ions of the first record where it is not known.
    fractions : array, [M, 3]
        Of the cell, in 0 to 1.
    """

    values: np.ndarray
    cell: np.ndarray
    species: np.ndarray
    fractions: np.ndarray


def density_of(excerpt: Excerpt) -> Density:
    """Return the density of the ions of an excerpt, folded into the cell of each record.

    Raises
    ------
    UsageError
        Without a cell.
    DataError
        If a record tells no cell.
    """
    source = excerpt.trajectory
    if not source.has_cell:
        raise UsageError("has no cell, so no density in it", where=source.path)
    cell = excerpt.cells().mean(0)
    shape = grid_shape(cell, excerpt.config.spacing_angstrom)
    counts = np.zeros(int(np.prod(shape)))
    for piece in excerpt.pieces(motion=False):
        inverse = np.linalg.inv(require_cells(piece, source))
        voxels = folded_voxels(piece.positions @ inverse, np.eye(3), shape)
        counts += np.bincount(voxels.ravel(), minlength=len(counts))
    cells = source.n_particles / source.ions_per_cell
    voxel = abs(float(np.linalg.det(cell))) / len(counts)
    species, places = _drawn(excerpt)
    return Density(
        counts.reshape(shape) / (len(excerpt.records) * cells * voxel),
        cell,
        species,
        (places @ np.linalg.inv(cell)) % 1.0,
    )


def _drawn(excerpt: Excerpt) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers [M] and positions [M, 3] of the atoms to draw."""
    source = excerpt.trajectory
    if source.framework is not None:
        return source.framework.species, source.framework.position
    first = next(excerpt.pieces(motion=False))
    shown = slice(0, min(source.ions_per_cell, excerpt.n_atoms))
    return excerpt.species[shown], first.positions[0, shown].astype(np.float64)


def export_chgcar(excerpt: Excerpt, path: Path) -> None:
    """Write a CHGCAR: the density times the volume of the cell, x fastest.

    Source: page "CHGCAR" of the VASP wiki.
    """
    found = density_of(excerpt)
    order = np.argsort(found.species, kind="stable")
    numbers, counts = np.unique(found.species, return_counts=True)
    volume = abs(float(np.linalg.det(found.cell)))
    with open(path, "w", encoding="ascii") as out:
        out.write("density of ions by mdgan_hpc\n   1.0\n")
        out.writelines("".join(f" {x:16.10f}" for x in row) + "\n" for row in found.cell)
        out.write(" ".join(symbol(z) for z in numbers) + "\n")
        out.write(" ".join(map(str, counts)) + "\nDirect\n")
        out.writelines("".join(f" {x:.10f}" for x in row) + "\n" for row in found.fractions[order])
        out.write("\n" + " ".join(map(str, found.values.shape)) + "\n")
        _write_rows(out, found.values.ravel(order="F") * volume, 5)


def export_cube(excerpt: Excerpt, path: Path) -> None:
    """Write a Gaussian cube: lengths in Bohr, the density in 1/Bohr^3, z fastest.

    Source: "cubegen" of the manual of Gaussian.
    """
    found = density_of(excerpt)
    places = found.fractions @ found.cell / ANGSTROM_PER_BOHR
    with open(path, "w", encoding="ascii") as out:
        out.write("density of ions by mdgan_hpc\nions in a cubic Bohr, z fastest\n")
        out.write(f"{len(found.species):5d}" + f"{0.0:12.6f}" * 3 + "\n")
        for n, vector in zip(found.values.shape, found.cell, strict=True):
            out.write(f"{n:5d}" + "".join(f"{x / n / ANGSTROM_PER_BOHR:16.10f}" for x in vector))
            out.write("\n")
        for number, place in zip(found.species, places, strict=True):
            out.write(f"{number:5d}{float(number):12.6f}")
            out.write("".join(f"{x:16.10f}" for x in place) + "\n")
        for line in found.values.reshape(-1, found.values.shape[2]) * ANGSTROM_PER_BOHR**3:
            _write_rows(out, line, 6)


def _write_rows(out: TextIO, values: np.ndarray, columns: int) -> None:
    """Write numbers, so many in a line."""
    for start in range(0, len(values), columns):
        row = values[start : start + columns].tolist()
        out.write("".join(f" {x:17.10E}" for x in row) + "\n")
