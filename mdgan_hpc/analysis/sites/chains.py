"""Jumps that belong together: an ion moves into the site that another one leaves."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.visits import Visits

#: Chains of more jumps than this count as of so many.
LONGEST = 8
#: Arrivals looked at before a departure, and after it.
_NEAR = 2


@dataclass(frozen=True)
class Cell:
    """The simulation cell, by which sites of the infinite lattice are the same.

    Attributes
    ----------
    vectors : array, [3, 3]
        Rows, Angstrom.
    """

    vectors: np.ndarray

    def sites(self, sites: Sites, label: np.ndarray) -> np.ndarray:
        """Return a number of the site of the simulation cell that each label [n] is a copy of."""
        unique, index = np.unique(label, return_inverse=True)
        fraction = sites.places(unique) @ np.linalg.inv(self.vectors)
        # To a thousandth: copies differ by rounding alone, sites by far more.
        grid = np.round((fraction - np.floor(fraction)) * 1000).astype(np.int64) % 1000
        number = np.unique(
            (grid[:, 0] * 1000 + grid[:, 1]) * 1000 + grid[:, 2], return_inverse=True
        )
        return np.asarray(number[1][index])


@dataclass(frozen=True)
class Chained:
    """Chains of n jumps.

    Attributes
    ----------
    chain : array of int, [n]
        Number of the chain of each jump; a jump alone is a chain of one.
    size : array of int, [C]
    square : array, [C]
        Squared sum of the displacements of its ions, Angstrom^2.
    """

    chain: np.ndarray
    size: np.ndarray
    square: np.ndarray

    @property
    def together(self) -> np.ndarray:
        """Whether each jump is one of several, [n]."""
        return np.asarray(self.size[self.chain] > 1)


@dataclass
class ChainCounts:
    """Chains by their number of jumps, in G blocks.

    Attributes
    ----------
    number, square : array, [G, LONGEST]
        Of chains of 1, 2, ... jumps, and the sums of their squared displacements, Angstrom^2.
    """

    number: np.ndarray
    square: np.ndarray

    @classmethod
    def empty(cls, n_blocks: int) -> "ChainCounts":
        """Return counts of nothing."""
        return cls(np.zeros((n_blocks, LONGEST)), np.zeros((n_blocks, LONGEST)))

    def add(self, chained: Chained, block: np.ndarray) -> None:
        """Add chains of jumps [n] that belong to blocks [n]; a chain to that of its first."""
        of_chain = np.zeros(len(chained.size), int)
        of_chain[chained.chain[::-1]] = block[::-1]
        at = of_chain, np.minimum(chained.size, LONGEST) - 1
        np.add.at(self.number, at, 1)
        np.add.at(self.square, at, chained.square)

    def merge(self, other: "ChainCounts") -> None:
        """Add the counts of another rank."""
        self.number += other.number
        self.square += other.square


def find_chains(
    visits: Visits, jump: np.ndarray, cell: np.ndarray, sites: Sites, box: Cell, window: int
) -> Chained:
    """Find chains: two jumps are linked if one ends where the other began, soon before or after.

    Parameters
    ----------
    visits : Visits
    jump : array of int, [n]
        Visits that end with a jump; it happens when the next visit begins.
    cell : array of int, [N]
        Cell of each ion: ions of different cells do not see each other.
    sites : Sites
    box : Cell
    window : int
        Records between two linked jumps, at most.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ion = visits.particle[jump]
    record = visits.record[jump + 1]
    place = box.sites(sites, visits.label)
    place = place + (place.max(initial=0) + 1) * cell[visits.particle]
    left, reached = place[jump], place[jump + 1]
    # In order of place and time, those that reached a place near a time follow each other.
    span = visits.n_records + 2 * window + 1
    arrival = reached * span + record
    order = np.argsort(arrival)
    departure = left * span + record
    ordered = arrival[order]
    # Of all who reach the place, the nearest in time: one of two is the ion itself, at most.
    at = np.searchsorted(ordered, departure)[:, None] + np.arange(-_NEAR, _NEAR)
    at = np.clip(at, 0, max(len(order) - 1, 0))
    near = np.abs(ordered[at] - departure[:, None]) <= window
    one, column = np.nonzero(near)
    other = order[at[one, column]]
    apart = ion[one] != ion[other]
    one, other = one[apart], other[apart]
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(jump), len(jump)))
    n_chains, chain = connected_components(links, directed=False)
    vector = sites.places(visits.label[jump + 1]) - sites.places(visits.label[jump])
    total = np.stack([np.bincount(chain, vector[:, k], n_chains) for k in range(3)], 1)
    return Chained(chain, np.bincount(chain, minlength=n_chains), (total**2).sum(1))
