"""Jumps that belong together: an ion moves into the site that another one leaves."""

from dataclasses import dataclass, replace

import numpy as np

from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.visits import Visits

#: Chains of more jumps than this count as of so many.
LONGEST = 8
#: Arrivals looked at before a departure, and after it.
_NEAR = 2
#: Jumps whose neighbours are looked for at once.
_AT_ONCE = 2**18


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

    def add(self, chained: Chained, block: np.ndarray, weight: float = 1.0) -> None:
        """Add chains of jumps [n] that belong to blocks [n]; a chain to that of its first."""
        of_chain = np.zeros(len(chained.size), int)
        of_chain[chained.chain[::-1]] = block[::-1]
        at = of_chain, np.minimum(chained.size, LONGEST) - 1
        np.add.at(self.number, at, weight)
        np.add.at(self.square, at, weight * chained.square)

    def merge(self, other: "ChainCounts") -> None:
        """Add the counts of another rank."""
        self.number += other.number
        self.square += other.square


@dataclass(frozen=True)
class Moves:
    """The n jumps of the ions of some cells.

    Attributes
    ----------
    ion, record : array of int, [n]
        Who jumps, and when it is there.
    left, reached : array of int, [n]
        Numbers of sites of the simulation cells: ions of different cells do not see each other.
    vector : array, [n, 3]
        Angstrom.
    n_records : int
        T.
    """

    ion: np.ndarray
    record: np.ndarray
    left: np.ndarray
    reached: np.ndarray
    vector: np.ndarray
    n_records: int

    @classmethod
    def of_visits(
        cls, visits: Visits, jump: np.ndarray, cell: np.ndarray, sites: Sites, box: Cell
    ) -> "Moves":
        """Return the jumps that end the visits `jump` [n] of ions in the cells [N]."""
        place = box.sites(sites, visits.label)
        place = place + (place.max(initial=0) + 1) * cell[visits.particle]
        vector = np.empty((len(jump), 3))
        for start in range(0, len(jump), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            before, after = visits.label[jump[some]], visits.label[jump[some] + 1]
            vector[some] = sites.places(after) - sites.places(before)
        return cls(
            visits.particle[jump],
            visits.record[jump + 1],
            place[jump],
            place[jump + 1],
            vector,
            visits.n_records,
        )

    def shifted(self, rng: np.random.Generator) -> "Moves":
        """Return the jumps as of ions that know nothing of each other.

        The jumps of each ion are moved by a time of its own, and those that leave the end come in
        at the begin: what it does itself, how often and where to, stays.
        """
        index = np.append(0, np.cumsum(np.diff(self.ion) != 0))[: len(self.ion)]
        shift = rng.integers(0, self.n_records, int(index.max(initial=-1)) + 1)
        return replace(self, record=(self.record + shift[index]) % self.n_records)

    def chains(self, window: int) -> Chained:
        """Link two jumps if one ends where the other began, at most `window` records apart."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = self._links(window)
        n = len(self.ion)
        links = coo_array((np.ones(len(one), bool), (one, other)), shape=(n, n))
        n_chains, chain = connected_components(links, directed=False)
        square = np.zeros(n_chains)
        for k in range(3):
            square += np.bincount(chain, self.vector[:, k], n_chains) ** 2
        return Chained(chain, np.bincount(chain, minlength=n_chains), square)

    def _links(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which jumps are linked to which others."""
        # In order of place and time, those that reached a place near a time follow each other.
        span = self.n_records + 2 * window + 1
        arrival = self.reached * span + self.record
        order = np.argsort(arrival).astype(np.int32)
        ordered = arrival[order]
        pairs = []
        for start in range(0, len(order), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            departure = self.left[some] * span + self.record[some]
            # Of all who reach the place, the nearest in time: one of two is the ion itself.
            at = np.searchsorted(ordered, departure)[:, None] + np.arange(-_NEAR, _NEAR)
            at = np.clip(at, 0, len(order) - 1)
            near = np.abs(ordered[at] - departure[:, None]) <= window
            one, column = np.nonzero(near)
            other = order[at[one, column]]
            one = (one + start).astype(np.int32)
            apart = self.ion[one] != self.ion[other]
            pairs.append((one[apart], other[apart]))
        none = [(np.zeros(0, np.int32),) * 2]
        one, other = (np.concatenate([pair[k] for pair in pairs or none]) for k in (0, 1))
        return one, other
