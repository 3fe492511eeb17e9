"""The density of MD and of generated ions in one layer of the cell."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.results import Result
from mdgan_hpc.trajectory.grid import folded_density, grid_shape


@dataclass(frozen=True)
class DensitySlices(Result):
    """Densities of ions in one layer of the cell.

    Attributes
    ----------
    x, y : array, [A + 1, B + 1]
        Corners of the grid in the plane of the layer, Angstrom.
    layer, thickness : float
        Along the normal, Angstrom.
    md, generated : array, [A, B]
        Over the mean density in the whole cell.
    """

    x: np.ndarray
    y: np.ndarray
    layer: float
    thickness: float
    md: np.ndarray
    generated: np.ndarray


def density_slices(
    md: np.ndarray,
    generated: np.ndarray,
    cell: np.ndarray,
    lattice: Lattice,
    *,
    spacing: float = 0.35,
) -> DensitySlices:
    """Return the density of MD and of generated ions in the layer of the cell richest in ions.

    The layer is 1.5 Angstrom thick, parallel to the first two cell vectors, and chosen by the
    MD. Positions are spread evenly over the primitive cells of the cell, so that sets that
    started in different ones of them can be compared.

    Parameters
    ----------
    md, generated : array, [..., 3]
        Positions, Angstrom.
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    lattice : Lattice
    spacing : float
        Of the grid, Angstrom.
    """
    a, b = cell[:2]
    height = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(a, b))
    shape = grid_shape(cell, spacing)
    layers = max(1, round(1.5 / height * shape[2]))
    copies = round(abs(np.linalg.det(cell) / np.linalg.det(lattice.vectors)))
    rng = np.random.default_rng(0)
    densities = []
    for places in (md, generated):
        flat = places.reshape(-1, 3).astype(np.float64)
        # So many times each primitive vector, at random, reaches all copies equally often.
        flat = flat + rng.integers(0, copies, flat.shape) @ lattice.vectors
        densities.append(folded_density([flat], cell, shape))
    level = densities[0].mean((0, 1))
    first = int(np.argmax(np.sum([np.roll(level, -k) for k in range(layers)], axis=0)))
    rows = (first + np.arange(layers)) % shape[2]
    x, y = _corners(a, b, shape)
    return DensitySlices(
        x=x,
        y=y,
        layer=float((first + layers / 2) / shape[2] * height),
        thickness=float(layers / shape[2] * height),
        md=densities[0][:, :, rows].mean(2),
        generated=densities[1][:, :, rows].mean(2),
    )


def _corners(
    a: np.ndarray, b: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a grid over two cell vectors, along the first and across it."""
    i, j = np.meshgrid(
        np.arange(shape[0] + 1) / shape[0], np.arange(shape[1] + 1) / shape[1], indexing="ij"
    )
    along = a / np.linalg.norm(a)
    across = b - (b @ along) * along
    across /= np.linalg.norm(across)
    corner = i[..., None] * a + j[..., None] * b
    return corner @ along, corner @ across
