"""Distances between the mobile ions of a cell: radial distribution function, nearest ions."""

import numpy as np

#: Width of the bins, and the longest distance where the cell allows it (Angstrom).
BIN_WIDTH = 0.1
LONGEST = 8.0
#: Distances that are looked at: records are left out beyond.
DISTANCES = 4e7
#: Ions in a cell of which all pairs are looked at.
_ALL_PAIRS = 512

#: Vectors between ions held at once.
_VECTORS = 2_000_000

_SHIFTS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)


def longest_distance(cell: np.ndarray) -> float:
    """Return the distance up to which the images next to a cell [3, 3] hold all pairs."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return float(min(LONGEST, heights.min()))


def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of two ions of each pair of n; of very many, those of some ions."""
    if n <= _ALL_PAIRS:
        first, second = np.triu_indices(n, 1)
        return first, second
    some = np.arange(0, n, -(-2 * n * n // _ALL_PAIRS**2))
    first, second = np.repeat(some, n), np.tile(np.arange(n), len(some))
    return first[first != second], second[first != second]


def radial_distribution(
    positions: np.ndarray, cell: np.ndarray, ions_per_cell: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the radial distribution function of ions that share a cell.

    Pairs of an ion with its own images are left out; the function goes to one where places do not
    depend on each other.

    Parameters
    ----------
    positions : array, [T, N, 3]
        Angstrom; N a multiple of `ions_per_cell`, ions of a cell beside each other.
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    ions_per_cell : int
        Two or more.

    Returns
    -------
    r, g : array, [R]
        Centres of the bins in Angstrom, and the function.
    """
    n, groups = ions_per_cell, positions.shape[1] // ions_per_cell
    edges = np.arange(0.0, longest_distance(cell) + 1e-9, BIN_WIDTH)
    pairs = _pairs(n)
    work = len(pairs[0]) * groups * len(_SHIFTS)
    seen = positions[:: max(1, int(len(positions) * work / DISTANCES))]
    inverse, counts = np.linalg.inv(cell), np.zeros(len(edges) - 1)
    for record in seen:
        places = record.reshape(groups, n, 3).astype(np.float64)
        fraction = (places[:, pairs[0]] - places[:, pairs[1]]) @ inverse
        fraction -= np.round(fraction)
        apart = (fraction[..., None, :] + _SHIFTS) @ cell  # [G, P, 27, 3]
        counts += np.histogram(np.linalg.norm(apart, axis=-1), edges)[0]
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    density = 1 / abs(np.linalg.det(cell))
    ideal = len(seen) * groups * len(pairs[0]) * density * shells
    return (edges[1:] + edges[:-1]) / 2, counts / ideal


def nearest_distances(x: np.ndarray, cell: np.ndarray, count: int) -> np.ndarray:
    """Return the distances [T, n, count] of the nearest other ions of a cell, ascending.

    Parameters
    ----------
    x : array, [T, n, 3]
        Angstrom.
    cell : array, [3, 3]
        Rows are the cell vectors. The image of an ion is that of rounded fractional differences:
        the nearest within half of the least height of the cell.
    count : int
        Less than n.
    """
    inverse, n = np.linalg.inv(cell), x.shape[1]
    found = np.empty((len(x), n, count))
    at_once = max(1, _VECTORS // n**2)
    for start in range(0, len(x), at_once):
        places = x[start : start + at_once] @ inverse
        apart = places[:, :, None] - places[:, None]
        apart -= np.round(apart)
        apart = apart @ cell
        squares = np.einsum("tnmi,tnmi->tnm", apart, apart)
        squares[:, np.arange(n), np.arange(n)] = np.inf
        nearest = np.partition(squares, count - 1, axis=2)[:, :, :count]
        nearest.sort(axis=2)
        found[start : start + at_once] = np.sqrt(nearest)
    return found
