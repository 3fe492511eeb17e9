"""Counts of the hops of each ion: what fidelity compares."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.visits import find_visits


@dataclass(frozen=True)
class Hops:
    """Counts of hops of each particle; sums of them over particles give the rates.

    Attributes
    ----------
    time_ps : array, [N]
        Observed.
    hops, pairs, back : array, [N]
        Hops; hops that follow another; and those of them that lead back where it came from.
    squared_length : array, [N]
        Sum of the squared hop lengths, between the sites' places, Angstrom^2.
    """

    time_ps: np.ndarray
    hops: np.ndarray
    pairs: np.ndarray
    back: np.ndarray
    squared_length: np.ndarray

    @property
    def length(self) -> float:
        """Root mean square length of a hop, Angstrom; zero where there is none."""
        return float(np.sqrt(self.squared_length.sum() / max(float(self.hops.sum()), 1)))


def joined_hops(parts: Sequence[Hops]) -> Hops:
    """Return the counts of several runs as one."""
    return Hops(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Hops)))


def count_hops(sites: Sites, positions: np.ndarray, interval_ps: float) -> Hops:
    """Count the hops of each particle, positions [T, N, 3] at `interval_ps`."""
    visits, n = find_visits(sites, positions), positions.shape[1]
    leaves = np.flatnonzero(visits.leaves)
    particle = visits.particle[leaves]
    before, after = visits.label[leaves], visits.label[leaves + 1]
    same = particle[1:] == particle[:-1]
    back = same & (after[1:] == before[:-1])
    vector = sites.places(after) - sites.places(before)
    return Hops(
        np.full(n, (visits.n_records - 1) * interval_ps),
        np.bincount(particle, minlength=n),
        np.bincount(particle[1:][same], minlength=n),
        np.bincount(particle[1:][back], minlength=n),
        np.bincount(particle, weights=(vector**2).sum(-1), minlength=n),
    )
