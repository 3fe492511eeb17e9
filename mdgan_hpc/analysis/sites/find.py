"""Sites found as the maxima of the density of the ions.

Positions are folded into a cell of the lattice (best the primitive one): all its copies add to one
density. A place that ions only pass through is no maximum, and must be given (`given`).
"""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from mdgan_hpc.analysis.sites.lattice import AROUND, Lattice
from mdgan_hpc.analysis.sites.network import CORE, Sites
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.grid import folded_density, grid_shape

#: Spacing of the density grid, and width of the Gaussian it is smoothed with (Angstrom).
SPACING = 0.25
SMOOTHING = 0.45

#: A maximum is a site if its density is at least this share of the mean density ...
LEAST_DENSITY = 1.0
#: ... and no denser maximum is this near (Angstrom).
LEAST_DISTANCE = 1.2


def find_sites(
    pieces: Iterable[np.ndarray],
    lattice: Lattice,
    *,
    core: float = CORE,
    radius: float | None = None,
) -> Sites:
    """Find the sites of ions from their positions [..., 3].

    The density is averaged over the symmetry operations of the lattice, so that equivalent sites
    are found together.

    Raises
    ------
    DataError
        If the density has no maximum that stands out.
    """
    vectors = lattice.vectors
    shape = grid_shape(vectors, SPACING)
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
    for place in places[order]:
        fraction = (place + 0.5) / shape
        near = [np.linalg.norm((fraction - k + AROUND) @ vectors, axis=1).min() for k in kept]
        if not near or min(near) >= LEAST_DISTANCE:
            kept.append(_summit(smooth, place))
    if not kept:
        raise DataError("the density of the ions has no maxima: no sites")
    return Sites.of_places(vectors, np.array(kept), core=core, radius=radius)


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
