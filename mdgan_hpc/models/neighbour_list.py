"""Neighbour lists: which ions of a cell are near each other, at a cost linear in their number.

In a small cell all pairs are looked at; in a large one ions are sorted into bins, and only bins
near each other are searched. All within the cutoff and a skin are kept until an ion has moved by
half the skin, so that none within the cutoff is missed (L. Verlet, Phys. Rev. 159, 98 (1967);
M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids, 2nd ed., section 5.3).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Ions of a cell and their images up to which all pairs are looked at, which then is faster.
_ALL_PAIRS = 2048
#: Ions in a bin, on average.
_IONS_PER_BIN = 1.5
#: Times that the distance of two bins is made less along each cell vector.
_SWEEPS = 30


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of ions, as many places for each as the one with most needs.

    Attributes
    ----------
    index : Tensor, [n, M]
        Numbers of the neighbours.
    shifts : Tensor, [3, n, M]
        Lattice translations to be added to them, Angstrom; a place that is not needed is far away.
    """

    index: Tensor
    shifts: Tensor

    def apart(self, positions: Tensor) -> Tensor:
        """Return the vectors [3, n, M] from ions at `positions` [3, n], Angstrom, to neighbours."""
        there = _columns(positions, self.index.flatten()).view(3, *self.index.shape)
        return there.add_(self.shifts).sub_(positions[:, :, None])


class AllPairsSearch:
    """Finds all pairs of ions within a distance, images included, by looking at every pair.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    radius : float
        Angstrom.
    """

    def __init__(self, cell: np.ndarray, radius: float) -> None:
        self.cell, self.radius = np.asarray(cell, float), radius
        self.images = images_within(self.cell, radius)
        self._nowhere = int(np.flatnonzero((self.images == 0).all(1))[0])

    def __call__(self, places: Tensor) -> Neighbours:
        """Return the neighbours of ions at fractional places [3, B, k], k sharing a cell."""
        _, batch, k = places.shape
        cell = torch.tensor(self.cell, device=places.device, dtype=places.dtype)
        images = torch.tensor(self.images, device=places.device, dtype=places.dtype)
        shifts = images @ cell  # [s, 3]
        apart = places[:, :, None, :] - places[:, :, :, None]  # to the last ion from the other
        turns = apart.round()
        apart = cell.T @ (apart - turns).flatten(1)  # [3, B k k]
        # |d + t|^2 of every pair and every image is one product, single precision enough for it.
        one = torch.ones_like(apart[:1])
        pairs = torch.cat([apart, one, apart.square().sum(0, keepdim=True)]).float()
        one = torch.ones_like(shifts[:, :1])
        every = torch.cat([2 * shifts, shifts.square().sum(1, keepdim=True), one], 1).float()
        squared = pairs.T @ every.T  # [B k k, s]
        itself = torch.arange(k, device=places.device) * (k + 1)
        squared.view(batch, k * k, -1)[:, itself, self._nowhere] = torch.inf
        near = torch.nonzero(squared.flatten() < self.radius**2)[:, 0]
        pair = near.div(len(images), rounding_mode="floor")
        image = near - pair * len(images)
        shift = _columns(shifts.T, image) - cell.T @ _columns(turns.flatten(1), pair)
        other = pair // (k * k) * k + pair % k
        return _table(batch * k, pair // k, other, shift, self.radius)


class BinnedSearch:
    """Finds all pairs of ions within a distance, in a cell of any size, images included.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    radius : float
        Angstrom.
    n_ions : int
        In the cell; the bins are made for so many.
    """

    def __init__(self, cell: np.ndarray, radius: float, n_ions: int) -> None:
        self.cell, self.radius = np.asarray(cell, float), radius
        heights = 1 / np.linalg.norm(np.linalg.inv(self.cell), axis=0)
        width = (_IONS_PER_BIN * abs(np.linalg.det(self.cell)) / n_ions) ** (1 / 3)
        self.bins = np.maximum(1, np.floor(heights / width)).astype(int)
        reach = np.ceil(radius * self.bins / heights - 1e-9).astype(int)
        offsets = np.array(list(itertools.product(*[range(-n, n + 1) for n in reach])))
        # From somewhere in a bin to somewhere in another: a box two bins wide.
        self.offsets = offsets[_least_distances(self.cell / self.bins[:, None], offsets) < radius]

    def __call__(self, places: Tensor) -> Neighbours:
        """Return the neighbours of ions at fractional places [3, B, k], k sharing a cell."""
        _, batch, k = places.shape
        device, n, n_bins = places.device, batch * k, int(self.bins.prod())
        bins = torch.tensor(self.bins, device=device)[:, None]
        offsets = torch.tensor(self.offsets.T.copy(), device=device)[:, None]  # [3, 1, o]
        cell = torch.tensor(self.cell, device=device, dtype=places.dtype)
        turns = places.reshape(3, n).floor()
        inside = places.reshape(3, n) - turns
        positions = cell.T @ inside
        own = torch.minimum((inside * bins).long(), bins - 1)  # [3, n]
        sample = torch.arange(n, device=device) // k * n_bins
        number = _bin_number(own, bins) + sample
        counts = torch.bincount(number, minlength=batch * n_bins)
        first, by_bin = counts.cumsum(0) - counts, number.argsort(stable=True)

        there = own[:, :, None] + offsets  # [3, n, o]
        images = there.div(bins[..., None], rounding_mode="floor")
        searched = _bin_number(there - images * bins[..., None], bins[..., None])
        searched = (searched + sample[:, None]).flatten()  # [n o]
        images = images.to(places.dtype).flatten(1)
        shift = (cell.T @ images).view(3, n, -1)
        # All pairs of an ion and one in a bin that it searches, by the ion.
        found = counts[searched]
        begin = first[searched] - (found.cumsum(0) - found)
        other = torch.repeat_interleave(begin, found)
        other += torch.arange(len(other), device=device)
        search = torch.repeat_interleave(torch.arange(len(found), device=device), found)
        apart = _columns(positions[:, by_bin], other)
        apart += _columns((shift - positions[:, :, None]).flatten(1), search)
        near = torch.nonzero(apart.square().sum(0) < self.radius**2)[:, 0]
        other, search = by_bin[other[near]], search[near]
        here, image = search // offsets.shape[2], _columns(images, search)
        others = torch.nonzero((other != here) | (image != 0).any(0))[:, 0]
        other, here, image = other[others], here[others], _columns(image, others)
        # The ions may be outside the cell: the images beside the ion itself.
        image += _columns(turns, here) - _columns(turns, other)
        return _table(n, here, other, cell.T @ image, self.radius)


class TrackedNeighbours:
    """The neighbours of ions that move on step by step: searched again when one has moved far.

    Where one moves so far in every step, lists are of the cutoff alone: shorter, for one step each.

    Parameters
    ----------
    cell : Tensor, [3, 3]
        Rows are the cell vectors, Angstrom.
    cutoff, skin : float
        Angstrom.
    """

    def __init__(self, cell: Tensor, cutoff: float, skin: float) -> None:
        self.cell, self.cutoff, self.skin = cell, cutoff, skin
        self._searches: dict[float, AllPairsSearch | BinnedSearch] = {}
        self.forget()

    def forget(self) -> None:
        """Search anew next time: what follows does not depend on what was before."""
        self._found: tuple[Tensor, Tensor, Neighbours] | None = None
        self._skin, self._served = self.skin, False

    def apart(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors [3, B k, M] to neighbours, Angstrom, and who these are [B k, M].

        They hold all within the cutoff.

        Parameters
        ----------
        places : Tensor, [3, B, k]
            Fractional, k sharing a cell; a lattice translation more or less makes no difference.
        """
        if self._found is not None and self._skin:
            begin, positions, neighbours = self._found
            moved = places - begin
            moved = self.cell.T @ (moved - moved.round()).flatten(1)
            if float(moved.square().sum(0).max()) <= (0.5 * self._skin) ** 2:
                self._served = True
                return neighbours.apart(positions + moved), neighbours.index
            if not self._served:
                self._skin = 0.0
        if self._skin not in self._searches:
            cell, reach = self.cell.double().cpu().numpy(), self.cutoff + self._skin
            self._searches[self._skin] = search_for(cell, reach, places.shape[2])
        neighbours = self._searches[self._skin](places)
        positions, self._served = self.cell.T @ places.flatten(1), False
        self._found = places, positions, neighbours
        return neighbours.apart(positions), neighbours.index


def search_for(cell: np.ndarray, radius: float, n_ions: int) -> AllPairsSearch | BinnedSearch:
    """Return the search that is faster for so many ions in a cell [3, 3]."""
    every = AllPairsSearch(cell, radius)
    if n_ions * len(every.images) <= _ALL_PAIRS:
        return every
    return BinnedSearch(cell, radius, n_ions)


def images_within(cell: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the lattice translations [s, 3] that bring a rounded difference within `cutoff`."""
    from scipy.optimize import lsq_linear

    most = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0) + 0.5).astype(int)
    every = np.array(list(itertools.product(*[range(-n, n + 1) for n in most])), float)
    # From the rounded differences, a box in fractions, to the image of the origin.
    least = [2 * lsq_linear(cell.T, -shift @ cell, (-0.5, 0.5)).cost for shift in every]
    return every[np.array(least) < cutoff**2]


def _table(n: int, here: Tensor, other: Tensor, shift: Tensor, radius: float) -> Neighbours:
    """Put pairs in the order of their first ion [p] into the rows of `Neighbours`."""
    counts = torch.bincount(here, minlength=n)
    most = max(1, int(counts.max()))
    slot = torch.arange(len(here), device=here.device) - (counts.cumsum(0) - counts)[here]
    place = here * most + slot
    index = torch.arange(n, device=here.device).repeat_interleave(most).scatter_(0, place, other)
    shifts = shift.new_zeros(3, n * most)
    shifts[0] = 10 * radius
    shifts.scatter_(1, place.expand(3, -1), shift)
    return Neighbours(index.view(n, most), shifts.view(3, n, most))


def _columns(table: Tensor, numbers: Tensor) -> Tensor:
    """Return columns of a table [r, n]; on a CPU in a third of the time of index_select."""
    return table.gather(1, numbers.expand(len(table), -1))


def _bin_number(place: Tensor, bins: Tensor) -> Tensor:
    """Return the numbers of bins at [3, ...] of `bins` along the cell vectors."""
    return (place[0] * bins[1] + place[1]) * bins[2] + place[2]


def _least_distances(vectors: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return bounds below the distances [n] of two points in bins that are `shifts` [n, 3] apart.

    The least length of shift + s in the `vectors` (rows), |s_i| <= 1, by minimising along one
    vector after another; a convex function is nowhere in the box lower than its tangent there.
    """
    metric = vectors @ vectors.T
    s = np.zeros(shifts.shape)
    for axis in itertools.chain.from_iterable(itertools.repeat(range(3), _SWEEPS)):
        slope = (shifts + s) @ metric[:, axis]
        s[:, axis] = np.clip(s[:, axis] - slope / metric[axis, axis], -1, 1)
    slope = 2 * (shifts + s) @ metric
    squared = ((shifts + s) @ metric * (shifts + s)).sum(1)
    bound = squared - (np.abs(slope) + slope * s).sum(1)
    return np.asarray(np.sqrt(bound.clip(min=0)))
