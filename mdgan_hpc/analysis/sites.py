"""Sites of a lattice, found from the density of the ions, and the hops between them.

Positions are folded into a cell of the lattice (best the primitive one): all its copies add to one
density, whose maxima are the sites. An ion is at a site from when it enters its core until it
enters the core of another, so that a look over the border is no hop.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy import ndimage

from mdgan_hpc.crystal import Crystal
from mdgan_hpc.errors import DataError
from mdgan_hpc.results import Result

#: Spacing of the density grid, and width of the Gaussian it is smoothed with (Angstrom).
SPACING = 0.25
SMOOTHING = 0.45

#: A maximum is a site if its density is at least this share of the mean density ...
LEAST_DENSITY = 1.0
#: ... and no denser maximum is this near (Angstrom).
LEAST_DISTANCE = 1.2

#: Radius of a core: this share of the distance to the next site.
CORE = 0.4

_OFFSET = 2**15


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


@dataclass(frozen=True)
class Sites:
    """Sites in one cell of a lattice.

    Attributes
    ----------
    lattice : array, [3, 3]
        Rows are the vectors, Angstrom.
    fraction : array, [S, 3]
        Places of the sites in the cell, densest first.
    density : array, [S]
        Density at the sites over the mean density.
    """

    lattice: np.ndarray
    fraction: np.ndarray
    density: np.ndarray

    @cached_property
    def neighbour_distance(self) -> np.ndarray:
        """Distance from each site [S] to the nearest other one, Angstrom."""
        shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
        difference = self.fraction[:, None, None] - self.fraction[None, :, None] + shifts
        distance = np.linalg.norm(difference @ self.lattice, axis=-1)
        distance[distance < 1e-6] = np.inf
        return np.asarray(distance.min((1, 2)))

    @cached_property
    def _map(self) -> tuple[np.ndarray, np.ndarray]:
        """For each grid point of the cell: nearest site as one number, and whether in its core."""
        shape = _grid_shape(self.lattice, SPACING)
        axes = [(np.arange(n) + 0.5) / n for n in shape]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
        images = (self.fraction[:, None] + shifts).reshape(-1, 3)  # [S * 27, 3]
        from scipy.spatial import cKDTree

        distance, nearest = cKDTree(images @ self.lattice).query(points @ self.lattice)
        site, image = np.divmod(nearest, len(shifts))
        label = _label(shifts[image], site, len(self.fraction))
        core = distance < CORE * self.neighbour_distance[site]
        return label.reshape(shape), core.reshape(shape)

    def labels(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for positions [..., 3] the nearest site and whether they are in its core.

        A label names a site in a certain cell of the infinite lattice; label modulo S is the site
        of the cell.
        """
        label, core = self._map
        fraction = positions @ np.linalg.inv(self.lattice)
        cell = np.floor(fraction)
        shape = np.array(label.shape)
        index = np.minimum(((fraction - cell) * shape).astype(np.intp), shape - 1)
        at = tuple(np.moveaxis(index, -1, 0))
        home = _label(cell.astype(np.int64), 0, len(self.fraction)) - _label(
            np.zeros(3, np.int64), 0, len(self.fraction)
        )
        return label[at] + home, core[at]

    def visits(self, positions: np.ndarray) -> np.ndarray:
        """Return the site each particle is at in each record, [T, N], from positions [T, N, 3]."""
        label, core = self.labels(positions)
        index = np.where(core, np.arange(len(label))[:, None], -1)
        last = np.maximum.accumulate(index, axis=0)
        # Before its first core a particle is where it first gets to.
        first = np.argmax(core, axis=0)
        return np.asarray(np.take_along_axis(label, np.where(last < 0, first, last), axis=0))


def _grid_shape(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    a, b, c = (max(4, math.ceil(float(v) / spacing)) for v in np.linalg.norm(lattice, axis=1))
    return a, b, c


def _label(cell: np.ndarray, site: np.ndarray | int, n_sites: int) -> np.ndarray:
    a, b, c = np.moveaxis(cell + _OFFSET, -1, 0)
    return np.asarray(((a * 2 * _OFFSET + b) * 2 * _OFFSET + c) * n_sites + site)


def folded_voxels(
    positions: np.ndarray, lattice: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return the flat index of the grid voxel that each of positions [..., 3] folds into."""
    fraction = positions @ np.linalg.inv(lattice)
    fraction -= np.floor(fraction)
    index = np.minimum((fraction * shape).astype(np.intp), np.array(shape) - 1)
    return np.asarray((index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2])


def folded_density(
    pieces: Iterable[np.ndarray], lattice: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return the density of positions [..., 3] folded into a cell, over its mean; `shape`."""
    counts = np.zeros(math.prod(shape))
    for positions in pieces:
        counts += np.bincount(
            folded_voxels(positions, lattice, shape).ravel(), minlength=len(counts)
        )
    return np.asarray(counts.reshape(shape) / max(float(counts.mean()), 1e-300))


def find_sites(pieces: Iterable[np.ndarray], lattice: Lattice) -> Sites:
    """Find the sites of ions from their positions [..., 3].

    The density is averaged over the symmetry operations of the lattice, so that equivalent sites
    are found together.

    Raises
    ------
    DataError
        If the density has no maximum that stands out.
    """
    vectors = lattice.vectors
    shape = _grid_shape(vectors, SPACING)
    operations = list(zip(lattice.rotations, lattice.translations, strict=True))
    density = folded_density(
        (piece.reshape(-1, 3) @ r + t for piece in pieces for r, t in operations), vectors, shape
    )
    spacing = np.linalg.norm(vectors, axis=1) / shape
    smooth = ndimage.gaussian_filter(density, SMOOTHING / spacing, mode="wrap")
    peak = (smooth == ndimage.maximum_filter(smooth, size=3, mode="wrap")) & (
        smooth >= LEAST_DENSITY
    )
    places = np.argwhere(peak)
    order = np.argsort(-smooth[peak], kind="stable")
    kept: list[np.ndarray] = []
    heights: list[float] = []
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    for place in places[order]:
        fraction = (place + 0.5) / shape
        near = [np.linalg.norm((fraction - k + shifts) @ vectors, axis=1).min() for k in kept]
        if not near or min(near) >= LEAST_DISTANCE:
            kept.append(_summit(smooth, place))
            heights.append(float(smooth[tuple(place)]))
    if not kept:
        raise DataError("the density of the ions has no maxima: no sites")
    return Sites(vectors, np.array(kept), np.array(heights))


def _summit(smooth: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Fractional place of a maximum between grid points, by a parabola along each axis."""
    summit = place + 0.5
    for axis in range(3):
        low, high = place.copy(), place.copy()
        low[axis] -= 1
        high[axis] = (high[axis] + 1) % smooth.shape[axis]
        a, b, c = smooth[tuple(low)], smooth[tuple(place)], smooth[tuple(high)]
        if a + c < 2 * b:
            summit[axis] += 0.5 * (a - c) / (a + c - 2 * b)
    return summit / smooth.shape


@dataclass(frozen=True)
class Hops:
    """Counts of hops of each particle; sums of them over particles give the rates.

    Attributes
    ----------
    time_ps : array, [N]
        Observed.
    hops, pairs, back : array, [N]
        Hops; hops that follow another; and those of them that lead back where it came from.
    site_time : array, [N, S]
        Records spent at each site of the cell.
    site_hops : array, [N, S]
        Hops that leave each site of the cell.
    squared_length : array, [N]
        Sum of the squared hop lengths, between the sites' places, Angstrom^2.
    """

    time_ps: np.ndarray
    hops: np.ndarray
    pairs: np.ndarray
    back: np.ndarray
    site_time: np.ndarray
    site_hops: np.ndarray
    squared_length: np.ndarray

    @property
    def length(self) -> float:
        """Root mean square length of a hop, Angstrom; zero where there is none."""
        return float(np.sqrt(self.squared_length.sum() / max(float(self.hops.sum()), 1)))

    def statistics(self, interval_ps: float) -> "HopStatistics":
        """Return what they mean, of records `interval_ps` apart."""
        time, hops = float(self.time_ps.sum()), float(self.hops.sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            return HopStatistics(
                occupancy=self.site_time.sum(0) / self.site_time.sum(),
                residence_ps=self.site_time.sum(0) * interval_ps / self.site_hops.sum(0),
                mean_residence_ps=time / hops if hops else float("inf"),
                hop_rate_per_ps=hops / time,
                back_jump_probability=float(self.back.sum() / max(self.pairs.sum(), 1)),
                hop_length=self.length,
                n_hops=hops,
            )


@dataclass(frozen=True)
class HopStatistics(Result):
    """How ions hop between S sites of a cell.

    Attributes
    ----------
    occupancy : array, [S]
        Share of the time at each site.
    residence_ps : array, [S]
        Mean time of a visit.
    mean_residence_ps : float
        Over all sites.
    hop_rate_per_ps : float
        Of an ion.
    back_jump_probability : float
        That a hop leads back where the one before came from.
    hop_length : float
        Root mean square, Angstrom.
    n_hops : float
        Hops seen.
    """

    occupancy: np.ndarray
    residence_ps: np.ndarray
    mean_residence_ps: float
    hop_rate_per_ps: float
    back_jump_probability: float
    hop_length: float
    n_hops: float


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


def joined_hops(parts: Sequence[Hops]) -> Hops:
    """Return the counts of several runs as one."""
    return Hops(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Hops)))


def count_hops(sites: Sites, positions: np.ndarray, interval_ps: float) -> Hops:
    """Count the hops of each particle, positions [T, N, 3] at `interval_ps`.

    The mean residence time is the observed time divided by the number of hops: the maximum
    likelihood estimate, for which visits cut by the ends of a run are no bias.
    """
    visit = sites.visits(positions)  # [T, N]
    n_records, n = visit.shape
    n_sites = len(sites.fraction)
    kind = visit % n_sites
    site_time = np.stack([(kind == s).sum(0) for s in range(n_sites)], axis=1)
    particle, record = np.nonzero((visit[1:] != visit[:-1]).T)
    before, after = visit[record, particle], visit[record + 1, particle]
    hops = np.bincount(particle, minlength=n)
    same = particle[1:] == particle[:-1]
    back = same & (after[1:] == before[:-1])
    site_hops = np.zeros((n, n_sites))
    np.add.at(site_hops, (particle, before % n_sites), 1)
    vector = (_place(sites, after) - _place(sites, before)) @ sites.lattice
    return Hops(
        np.full(n, (n_records - 1) * interval_ps),
        hops,
        np.bincount(particle[1:][same], minlength=n),
        np.bincount(particle[1:][back], minlength=n),
        site_time,
        site_hops,
        np.bincount(particle, weights=(vector**2).sum(-1), minlength=n),
    )


def _place(sites: Sites, label: np.ndarray) -> np.ndarray:
    """Fractional coordinates of labelled sites in the infinite lattice."""
    n_sites = len(sites.fraction)
    cell, site = np.divmod(label, n_sites)
    rest, c = np.divmod(cell, 2 * _OFFSET)
    a, b = np.divmod(rest, 2 * _OFFSET)
    return np.asarray(np.stack([a, b, c], axis=-1) - _OFFSET + sites.fraction[site])


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
    shape = _grid_shape(cell, spacing)
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
