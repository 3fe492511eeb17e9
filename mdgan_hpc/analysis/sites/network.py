"""The sites of a lattice, and which of their cores a position is in.

A core is a sphere about a site; cores do not touch. Positions are looked up in a table of the cell:
each voxel names the one core that it may belong to, and the exact distance decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mdgan_hpc.analysis.sites.lattice import AROUND
from mdgan_hpc.errors import UsageError
from mdgan_hpc.trajectory.grid import grid_shape

#: Radius of a core: this share of the distance to the next site.
CORE = 0.4

#: Spacing of the table, at most and at least (Angstrom), and its largest size.
_COARSE, _FINE, _VOXELS = 0.25, 0.1, 2**22
#: Positions that are looked up at once: they fit into the cache of a core.
_AT_ONCE = 2**15
#: A label holds three cell numbers of so many bits, above the number of the site.
_OFFSET = 2**15


@dataclass(frozen=True)
class Sites:
    """Sites in one cell of a lattice.

    Attributes
    ----------
    lattice : array, [3, 3]
        Rows are the vectors, Angstrom.
    fraction : array, [S, 3]
        Places of the sites in the cell.
    core_radius : array, [S]
        Angstrom.
    """

    lattice: np.ndarray
    fraction: np.ndarray
    core_radius: np.ndarray

    @classmethod
    def of_places(
        cls,
        lattice: np.ndarray,
        fraction: np.ndarray,
        *,
        core: float = CORE,
        radius: float | None = None,
    ) -> "Sites":
        """Return sites whose cores are a share of the distance to the next one, or of one radius.

        Parameters
        ----------
        lattice : array, [3, 3]
        fraction : array, [S, 3]
        core : float
            Share of the distance to the nearest other site.
        radius : float, optional
            Of all cores, Angstrom.

        Raises
        ------
        UsageError
            If two cores overlap.
        """
        apart = neighbour_distances(lattice, fraction)
        radii = core * apart if radius is None else np.full(len(fraction), float(radius))
        if (radii > 0.5 * apart).any():
            worst = int(np.argmin(apart))
            raise UsageError(
                f"cores of {radii[worst]:.3g} Angstrom overlap: site {worst + 1} is "
                f"{apart[worst]:.3g} Angstrom from the next one",
                remedy="give a smaller radius, or sites farther apart",
            )
        return cls(np.asarray(lattice, float), np.asarray(fraction, float), radii)

    @property
    def count(self) -> int:
        """Number of sites S in the cell."""
        return len(self.fraction)

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return candidates of the voxels, and of the candidates place, label and radius squared.

        A position in a core is at most half a voxel from the centre of its voxel, so that the core
        nearest to the centre is the right one where voxels are smaller than the gaps.
        """
        gap = float((neighbour_distances(self.lattice, self.fraction) - 2 * self.core_radius).min())
        spacing = min(max(gap / np.sqrt(3), _FINE), _COARSE)
        spacing = max(spacing, (abs(np.linalg.det(self.lattice)) / _VOXELS) ** (1 / 3))
        shape = grid_shape(self.lattice, spacing)
        axes = [(np.arange(n) + 0.5) / n for n in shape]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) @ self.lattice
        places = (self.fraction[:, None] + AROUND).reshape(-1, 3)  # [S * 27, 3]
        radius = np.repeat(self.core_radius, len(AROUND))
        found = _nearest_surface(points, places @ self.lattice, radius)
        used, candidate = np.unique(found, return_inverse=True)
        site, image = np.divmod(used, len(AROUND))
        label = _label(AROUND[image], site, self.count) - _label(np.zeros(3, int), 0, self.count)
        return candidate.reshape(shape).astype(np.int32), places[used], label, radius[used] ** 2

    def cores(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of positions [3, n] are in a core, and the labels of these.

        A label names a site in a certain cell of the infinite lattice; label modulo S is the site
        of the cell.
        """
        starts = range(0, positions.shape[1], _AT_ONCE)
        pieces = [self._cores(positions[:, start : start + _AT_ONCE], start) for start in starts]
        index, label = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 1))
        return index, label

    def _cores(self, positions: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        # Each coordinate is an array of its own, so that NumPy works on whole vectors.
        table, places, labels, squares = self._table
        kind = positions.dtype
        fraction = _turned(list(positions), self._inverse.astype(kind))
        cell = [np.floor(f) for f in fraction]
        voxel: Any = 0
        for f, c, n in zip(fraction, cell, table.shape, strict=True):
            f -= c
            voxel = voxel * n + np.minimum((f * kind.type(n)).astype(np.int32), n - 1)
        candidate = table.ravel().take(voxel)
        for f, place in zip(fraction, places.astype(kind).T, strict=True):
            f -= place.take(candidate)
        way = _turned(fraction, self.lattice.astype(kind))
        square = way[0] * way[0] + way[1] * way[1] + way[2] * way[2]
        inside = np.flatnonzero(square < squares.astype(kind).take(candidate))
        home = _label(np.stack([c[inside] for c in cell], 1).astype(np.int64), 0, self.count)
        return inside + start, labels[candidate[inside]] + home

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.asarray(np.linalg.inv(self.lattice))

    def places(self, label: np.ndarray) -> np.ndarray:
        """Return where labelled sites [n] are in the infinite lattice, [n, 3] in Angstrom."""
        cell, site = self.parts(label)
        return np.asarray((cell + self.fraction[site]) @ self.lattice)

    def parts(self, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cells [n, 3] and sites [n] of labels [n]."""
        cell, site = np.divmod(label, self.count)
        rest, c = np.divmod(cell, 2 * _OFFSET)
        a, b = np.divmod(rest, 2 * _OFFSET)
        return np.stack([a, b, c], axis=-1) - _OFFSET, site


def neighbour_distances(lattice: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return the distance from each site [S] to the nearest other one or copy, Angstrom."""
    images = (fraction[None, :] + AROUND[:, None]).reshape(-1, 3) @ lattice
    nearest = np.empty(len(fraction))
    for s, place in enumerate(fraction @ lattice):
        distance = np.linalg.norm(images - place, axis=1)
        distance[distance < 1e-6] = np.inf
        nearest[s] = distance.min()
    return nearest


def _nearest_surface(points: np.ndarray, places: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return for each of points [n, 3] the sphere whose surface is nearest, or that holds it."""
    from scipy.spatial import cKDTree

    # Spheres of one size at a time: there the nearest centre has the nearest surface.
    best, found = np.full(len(points), np.inf), np.zeros(len(points), np.intp)
    for size in np.unique(radius):
        own = np.flatnonzero(radius == size)
        distance, nearest = cKDTree(places[own]).query(points)
        nearer = distance - size < best
        best[nearer], found[nearer] = (distance - size)[nearer], own[nearest[nearer]]
    return found


def _label(cell: np.ndarray, site: np.ndarray | int, n_sites: int) -> np.ndarray:
    a, b, c = np.moveaxis(np.asarray(cell, np.int64) + _OFFSET, -1, 0)
    return np.asarray(((a * 2 * _OFFSET + b) * 2 * _OFFSET + c) * n_sites + site)


def _turned(parts: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Return the three coordinates [n] of row vectors times a matrix [3, 3]."""
    x, y, z = parts
    return [x * matrix[0, k] + y * matrix[1, k] + z * matrix[2, k] for k in range(3)]


def names(kinds: Sequence[int]) -> list[str]:
    """Return what kinds of sites are called: S1, S2 ..."""
    return [f"S{kind + 1}" for kind in kinds]
