"""Second and fourth moments of the displacement: alpha2, the tensor, blocks of cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays
from mdgan_hpc.analysis.observables.displacements import displacements, ends, squared_lengths
from mdgan_hpc.analysis.observables.msd import total
from mdgan_hpc.analysis.results import Blocks

#: Cells of one run are shared out over this many blocks: independent samples, whose scatter tells
#: how far the ions of a cell are independent.
BLOCKS = 24
#: Pairs of axes whose components are multiplied: y and z, x and z, x and y.
CROSS = ((1, 2), (0, 2), (0, 1))
#: Origins of these products are this share of the lag apart, which costs 3 % of what they tell.
_CROSS_PER_LAG = 4


def alpha2(second: np.ndarray, fourth: np.ndarray) -> np.ndarray:
    """Return the non-Gaussian parameter 3 <r^4> / (5 <r^2>^2) - 1.

    References
    ----------
    A. Rahman, Phys. Rev. 136, A405 (1964), equation 14.
    """
    return np.asarray(3 * fourth / (5 * np.where(second > 0, second, np.nan) ** 2) - 1)


def moments(x: np.ndarray, lag: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return <r^2> and <r^4> [n] of each particle [n, 3, T] over a lag."""
    r2 = squared_lengths(displacements(x, lag, step))
    return r2.mean(1), np.einsum("nt,nt->n", r2, r2) / r2.shape[1]


class MomentSums:
    """Sums of r^2 and r^4 of one run, those of r^2 also by block of cells.

    Parameters
    ----------
    n_records : int
    lags, steps : array of int, [L]
        Lags, and records between two origins at each.
    ions_per_cell : int
    """

    def __init__(
        self, n_records: int, lags: np.ndarray, steps: np.ndarray, ions_per_cell: int
    ) -> None:
        self.n_records, self.lags, self.steps = n_records, lags, steps
        self.ions_per_cell = ions_per_cell
        self._skips = np.maximum(1, np.asarray(lags) // (_CROSS_PER_LAG * np.asarray(steps)))
        self.sums: dict[str, np.ndarray] = {
            "second": np.zeros(len(lags)),
            "fourth": np.zeros(len(lags)),
            "cross": np.zeros((len(lags), 3)),
            "block_particles": np.zeros(BLOCKS),
            "block_squares": np.zeros((BLOCKS, len(lags))),
        }

    def add(self, arrays: Arrays, x: Any, first: int) -> None:
        """Add particles [n, 3, T], of which `first` is the number in the run."""
        blocks = (first + np.arange(len(x))) // self.ions_per_cell % BLOCKS
        np.add.at(self.sums["block_particles"], blocks, 1)
        for index, (lag, step) in enumerate(zip(self.lags, self.steps, strict=True)):
            d = arrays.difference(*ends(x, lag, step))
            some = d[..., :: int(self._skips[index])]
            for number, (i, j) in enumerate(CROSS):
                product = arrays.einsum("nt,nt->", some[:, i], some[:, j])
                self.sums["cross"][index, number] += float(product)
            r2 = arrays.squared_lengths(d)
            each = arrays.host(r2.sum(1))
            self.sums["second"][index] += each.sum()
            np.add.at(self.sums["block_squares"][:, index], blocks, each)
            self.sums["fourth"][index] += float(arrays.einsum("nt,nt->", r2, r2))

    @property
    def origins(self) -> np.ndarray:
        """Origins of one particle at each lag, [L]."""
        return np.asarray(-(-(self.n_records - self.lags) // self.steps))

    @property
    def cross_origins(self) -> np.ndarray:
        """Origins of one particle at each lag of the products of components, [L]."""
        return np.asarray(-(-self.origins // self._skips))

    def blocks(self, interval_ps: float) -> Blocks:
        """Return the MSD of the blocks of cells that hold particles."""
        particles = self.sums["block_particles"]
        filled = particles > 0
        return Blocks(
            self.sums["block_squares"][filled] / (particles[filled, None] * self.origins),
            particles[filled],
            np.full(filled.sum(), (self.n_records - 1) * interval_ps),
        )


def mean_moments(
    runs: Sequence[MomentSums], n_particles: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return <r^2> and <r^4> [L] of all runs, and <yz>, <xz>, <xy> [L, 3]."""
    counts = total(n * run.origins for n, run in zip(n_particles, runs, strict=True))
    second = total(run.sums["second"] for run in runs) / counts
    fewer = total(n * run.cross_origins for n, run in zip(n_particles, runs, strict=True))
    cross = total(run.sums["cross"] for run in runs) / fewer[:, None]
    return second, total(run.sums["fourth"] for run in runs) / counts, cross


def joined_blocks(parts: Sequence[Blocks]) -> Blocks | None:
    """Return the blocks of several runs as one, or None where there are none."""
    if not parts:
        return None
    return Blocks(
        np.concatenate([part.msd for part in parts]),
        np.concatenate([part.n_particles for part in parts]),
        np.concatenate([part.span_ps for part in parts]),
    )
