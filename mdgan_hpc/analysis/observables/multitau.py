"""Mean squared displacement, alpha2 and van Hove functions of a stream, in bounded memory.

Level l keeps the last records of every 2^l-th record and measures lags of 32 to 63 of them (level
0: of 1 to 63), so that any length needs a few megabytes and about twice the work of level 0.
Displacements are never averaged before they are squared: each lag is exact over its origins, which
are 2^l records apart, at most 1/32 of the lag. J. Ramirez et al., J. Chem. Phys. 133, 154103
(2010), describe the scheme for correlation functions.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.moments import BLOCKS, alpha2
from mdgan_hpc.analysis.observables.msd import drift, log_slope
from mdgan_hpc.analysis.observables.van_hove import N_BINS, count, densities
from mdgan_hpc.analysis.results import Blocks, Curves, Dynamics, ParticleMsd

#: Records a level keeps, and the lags it measures in records of its own.
HISTORY = 63
_FIRST = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56)
_LATER = (32, 40, 48, 56)

State = dict[str, np.ndarray]


def lags_of_level(level: int) -> tuple[int, ...]:
    """Return the lags of a level in records of the level."""
    return _LATER if level else _FIRST


def all_lags(levels: int) -> np.ndarray:
    """Return the lags of all levels, in records, [L] ascending."""
    return np.array([m << level for level in range(levels) for m in lags_of_level(level)])


class MultiTau:
    """Accumulates one block of particles.

    Parameters
    ----------
    n_particles : int
    levels : int
    histogram_lags : sequence of int
        Of `all_lags`, for the van Hove functions.

    Attributes
    ----------
    state : dict of arrays
        Everything that is known, in fixed shapes: store it, put it back, go on.
    """

    def __init__(self, n_particles: int, levels: int, histogram_lags: Iterable[int]) -> None:
        self.levels = levels
        self.lags = all_lags(levels)
        self.histogram_lags = tuple(histogram_lags)
        n_lags, n_times = len(self.lags), len(self.histogram_lags)
        self.state: State = {
            "records": np.zeros(1, np.int64),
            "first": np.zeros((n_particles, 3), np.float32),
            "last": np.zeros((n_particles, 3), np.float32),
            "history": np.zeros((levels, HISTORY, n_particles, 3), np.float32),
            "origins": np.zeros(n_lags, np.int64),
            "tensor": np.zeros((n_lags, 3, 3)),
            "fourth": np.zeros(n_lags),
            "radial": np.zeros((n_times, N_BINS), np.int64),
            "axial": np.zeros((n_times, 3, 2 * N_BINS), np.int64),
        }

    def accumulate(self, positions: np.ndarray) -> None:
        """Add the next records, positions [n, P, 3] float32 in Angstrom, unwrapped."""
        n = len(positions)
        if n == 0:
            return
        state = self.state
        before = int(state["records"][0])
        if before == 0:
            state["first"][:] = positions[0]
        state["last"][:] = positions[-1]
        index = 0
        for level in range(self.levels):
            stride = 1 << level
            seen = -(-before // stride)  # records of this level so far
            fresh = positions[seen * stride - before :: stride]
            lags = lags_of_level(level)
            if len(fresh):
                known = min(seen, HISTORY)
                history = state["history"][level]
                path = np.concatenate([history[HISTORY - known :], fresh]).astype(np.float64)
                for offset, lag in enumerate(lags):
                    self._add(index + offset, path, max(known, lag), lag)
                kept = min(len(path), HISTORY)
                history[HISTORY - kept :] = path[len(path) - kept :]
            index += len(lags)
        state["records"][0] = before + n

    def _add(self, index: int, path: np.ndarray, start: int, lag: int) -> None:
        """Add the displacements over `lag` that end at records `start` and later of `path`."""
        if start >= len(path):
            return
        d = (path[start:] - path[start - lag : len(path) - lag]).reshape(-1, 3)
        r2 = np.einsum("ni,ni->n", d, d)
        state = self.state
        state["origins"][index] += len(d)
        state["tensor"][index] += d.T @ d
        state["fourth"][index] += r2 @ r2
        if int(self.lags[index]) in self.histogram_lags:
            at = self.histogram_lags.index(int(self.lags[index]))
            radial, axial = count(d.T[None])
            state["radial"][at] += radial
            state["axial"][at] += axial


class MultiTauSums:
    """Sums of all blocks of a run.

    Parameters
    ----------
    levels : int
    histogram_lags : sequence of int
    """

    def __init__(self, levels: int, histogram_lags: Iterable[int]) -> None:
        self.lags = all_lags(levels)
        self.histogram_lags = np.array(list(histogram_lags))
        n_lags = len(self.lags)
        self.sums: dict[str, Any] = dict.fromkeys(
            ("origins", "tensor", "fourth", "radial", "axial"), 0
        )
        self.travel_sum, self.travel_squares = np.zeros((2, 3))
        self.n_blocks = self.n_records = 0
        # Their scatter tells how far ions of a cell are independent.
        self.block_particles = np.zeros(BLOCKS, np.int64)
        self.block_squares, self.block_origins = np.zeros((2, BLOCKS, n_lags))

    def add(self, state: State) -> None:
        """Add the next block."""
        for name in self.sums:
            self.sums[name] = self.sums[name] + state[name]
        at = self.n_blocks % BLOCKS
        self.block_particles[at] += len(state["first"])
        self.block_squares[at] += np.trace(state["tensor"], axis1=1, axis2=2)
        self.block_origins[at] += state["origins"]
        travel = state["last"].astype(np.float64) - state["first"]
        self.travel_sum += travel.sum(0)
        self.travel_squares += (travel**2).sum(0)
        self.n_blocks += 1
        self.n_records = int(state["records"][0])

    def dynamics(self, interval_ps: float, ions_per_cell: int, label: str) -> Dynamics:
        """Return the dynamics of the run.

        Parameters
        ----------
        interval_ps : float
            Time between two records.
        ions_per_cell : int
            Ions that saw each other, whose motion is not independent; a block holds whole cells.
        label : str
            What made the trajectory.
        """
        n_particles = int(self.block_particles.sum())
        longest = max(1, (self.n_records - 1) // 2)
        measured = (self.sums["origins"] > 0) & (self.lags <= longest)
        lags, origins = self.lags[measured], self.sums["origins"][measured]
        tensor = self.sums["tensor"][measured] / origins[:, None, None]
        fourth = self.sums["fourth"][measured] / origins
        msd_axis = np.diagonal(tensor, axis1=1, axis2=2)
        msd = msd_axis.sum(1)
        lag_ps = lags * interval_ps
        span_ps = (self.n_records - 1) * interval_ps
        filled, blocks = self.block_particles > 0, None
        if ions_per_cell > 1 and filled.sum() > 1:
            blocks = Blocks(
                self.block_squares[filled][:, measured] / self.block_origins[filled][:, measured],
                self.block_particles[filled],
                np.full(filled.sum(), span_ps),
            )
        at = np.isin(self.lags, self.histogram_lags)
        return Dynamics(
            label=label,
            record_interval_ps=interval_ps,
            stride=1,
            n_particles=np.array([n_particles]),
            n_records=np.array([self.n_records]),
            span_ps=np.array([span_ps]),
            curves=Curves(
                lag_ps=lag_ps,
                msd=msd,
                msd_axis=msd_axis,
                slope=log_slope(lag_ps, msd),
                n_independent=n_particles * self.n_records / lags,
                alpha2=alpha2(msd, fourth),
                fourth_moment=fourth,
            ),
            replicas=ParticleMsd(msd[None]),
            drift=drift(n_particles, self.travel_sum, self.travel_squares),
            blocks=blocks,
            van_hove=densities(
                self.histogram_lags * interval_ps,
                self.sums["radial"],
                self.sums["axial"],
                self.sums["tensor"][at],
            ),
        )
