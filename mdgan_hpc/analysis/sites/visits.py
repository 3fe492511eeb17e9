"""When each ion is at which site, from its positions, read in pieces of any length.

An ion is at a site from when it enters its core until it enters the core of another site: a look
over the border between two sites is no jump, however often it is repeated. These are the core
sets, or milestones, of the literature.

References
----------
N.-V. Buchete and G. Hummer, J. Phys. Chem. B 112, 6057 (2008): transition-based assignment.
C. Schütte, F. Noé, J. Lu, M. Sarich and E. Vanden-Eijnden, J. Chem. Phys. 134, 204105 (2011).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mdgan_hpc.analysis.sites.network import Sites

#: Positions worked on at once.
_AT_ONCE = 2**18


@dataclass(frozen=True)
class Visits:
    """Visits of ions to sites, by particle and then by time.

    Attributes
    ----------
    particle, record : array of int, [V]
        The visit begins at this record. An ion is at the first site that it gets to from the
        first record on.
    label : array of int, [V]
        Of the site in the infinite lattice (`Sites.places`).
    n_records : int
        T.
    """

    particle: np.ndarray
    record: np.ndarray
    label: np.ndarray
    n_records: int

    @property
    def leaves(self) -> np.ndarray:
        """Whether the end of each visit is seen: the ion goes to the site of the next one, [V]."""
        return np.append(self.particle[1:] == self.particle[:-1], False)

    @property
    def first(self) -> np.ndarray:
        """Whether a visit is the first of its ion, [V]."""
        return np.concatenate([[True], self.particle[1:] != self.particle[:-1]])[: len(self.label)]

    @property
    def length(self) -> np.ndarray:
        """Records of each visit, [V]."""
        begin = np.where(self.first, 0, self.record)
        end = np.where(self.leaves, np.append(self.record[1:], 0), self.n_records)
        return np.asarray(end - begin)

    def pieces(self, most: int) -> list[slice]:
        """Return stretches of about so many visits, each of all visits of its ions."""
        starts, count = np.flatnonzero(self.first), len(self.label)
        edges = np.append(starts, count)
        cuts = np.unique(edges[np.searchsorted(edges, np.arange(0, count, most))])
        return [slice(a, b) for a, b in pairwise([*cuts.tolist(), count]) if a < b]

    def part(self, piece: slice) -> "Visits":
        """Return some of the visits."""
        return Visits(self.particle[piece], self.record[piece], self.label[piece], self.n_records)


class VisitFinder:
    """Finds the visits of N ions while their positions are read.

    Parameters
    ----------
    sites : Sites
    n_particles : int
    """

    def __init__(self, sites: Sites, n_particles: int) -> None:
        self.sites, self.n_particles, self.n_records = sites, n_particles, 0
        self._last = np.full(n_particles, -1, np.int64)
        self._pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, positions: np.ndarray) -> np.ndarray:
        """Take in the next records, positions [t, N, 3] in Angstrom.

        Returns
        -------
        array, [N, S]
            Records of these in the core of each site.
        """
        inside = np.zeros((self.n_particles, self.sites.count), np.int64)
        step = max(1, _AT_ONCE // self.n_particles)
        for start in range(0, len(positions), step):
            inside += self._add(positions[start : start + step])
        return inside

    def _add(self, positions: np.ndarray) -> np.ndarray:
        t, n = len(positions), self.n_particles
        series = np.ascontiguousarray(positions.transpose(2, 1, 0)).reshape(3, -1)
        index, label = self.sites.cores(series)
        particle, record = np.divmod(index, t)
        starts = np.flatnonzero(np.append(True, particle[1:] != particle[:-1])[: len(particle)])
        before = np.append(-1, label[:-1])[: len(label)]
        before[starts] = self._last[particle[starts]]
        new = np.flatnonzero(label != before)
        # Half as wide as labels: all visits of a large cell are held at once.
        when = (record[new] + self.n_records).astype(np.int32)
        self._pieces.append((particle[new].astype(np.int32), when, label[new]))
        ends = np.append(starts[1:], len(particle))[: len(starts)] - 1
        self._last[particle[ends]] = label[ends]
        self.n_records += t
        count = self.sites.count
        counts = np.bincount(particle * count + label % count, minlength=n * count)
        return counts.reshape(n, count)

    def result(self) -> Visits:
        """Return the visits seen so far."""
        if not self._pieces:
            none = np.zeros(0, np.int64)
            return Visits(none, none, none, self.n_records)
        particle, record, label = (
            np.concatenate([piece[k] for piece in self._pieces]) for k in range(3)
        )
        order = np.argsort(particle, kind="stable")
        return Visits(particle[order], record[order], label[order], self.n_records)


def find_visits(sites: Sites, positions: np.ndarray) -> Visits:
    """Return the visits of ions, positions [T, N, 3] in Angstrom."""
    finder = VisitFinder(sites, positions.shape[1])
    finder.add(positions)
    return finder.result()
