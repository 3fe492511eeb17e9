"""Mean squared displacement, alpha2 and van Hove functions of a stream, in bounded memory.

Level l keeps the last records of every 2^l-th record and measures lags of 32 to 63 of them (level
0: of 1 to 63), so that any length needs a few megabytes and about twice the work of level 0.
Displacements are never averaged before they are squared: each lag is exact over its origins, which
are 2^l records apart, at most 1/32 of the lag. J. Ramirez et al., J. Chem. Phys. 133, 154103
(2010), describe the scheme for correlation functions.
"""

import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from mdgan_hpc.analysis.diffusion import diffusion_tree
from mdgan_hpc.analysis.dynamics import alpha2, log_slope, van_hove_tree
from mdgan_hpc.analysis.plan import DynamicsConfig, Plan
from mdgan_hpc.analysis.sums import BIN_WIDTH, BUNDLES, N_BINS, bin_counts

#: Records a level keeps, and the lags it measures in records of its own.
HISTORY = 63
_FIRST = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56)
_LATER = (32, 40, 48, 56)
#: Levels beyond what the length needs, for a run that is extended.
_SPARE_LEVELS = 3
_VAN_HOVE_SHARES = (1 / 160, 1 / 40, 1 / 10, 1 / 4)

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
            state["radial"][at] += bin_counts(np.sqrt(r2) / BIN_WIDTH, N_BINS)
            for axis in range(3):
                state["axial"][at, axis] += bin_counts(d[:, axis] / BIN_WIDTH + N_BINS, 2 * N_BINS)


class MultiTauAnalysis:
    """What `mdgan_hpc.generate` needs to analyse while it generates."""

    def plan(self, n_records: int) -> dict[str, Any]:
        """Choose levels and van Hove times for a run of `n_records` records."""
        levels = max(1, math.floor(math.log2(max(n_records / 64, 1))) + 1)
        lags = all_lags(levels)
        lags = lags[lags <= max(1, n_records // 2)]
        times = {int(lags[np.argmin(np.abs(lags - n_records * s))]) for s in _VAN_HOVE_SHARES}
        return {"levels": levels + _SPARE_LEVELS, "histogram_lags": sorted(times)}

    def accumulator(self, plan: Mapping[str, Any], n_particles: int) -> MultiTau:
        """Return an empty accumulator of one block."""
        return MultiTau(n_particles, plan["levels"], plan["histogram_lags"])

    def result(
        self,
        plan: Mapping[str, Any],
        states: Iterable[State],
        interval_ps: float,
        together: int,
    ) -> dict[str, Any]:
        """Add up the blocks, in their order; see `summarise`."""
        return summarise(plan, states, interval_ps, together)


def summarise(
    plan: Mapping[str, Any], states: Iterable[State], interval_ps: float, together: int
) -> dict[str, Any]:
    """Return the result tree of all blocks, of the form of `dynamics.summarise`, with D.

    Parameters
    ----------
    plan : mapping
        Of `MultiTauAnalysis.plan`.
    states : iterable of dict
        Of the blocks.
    interval_ps : float
        Time between two records.
    together : int
        Particles of one simulation, whose motion is not independent; a block holds whole ones.
    """
    names = ("origins", "tensor", "fourth", "radial", "axial")
    sums: dict[str, Any] = dict.fromkeys(names, 0)
    travels, n_records = [], 0
    lags = all_lags(plan["levels"])
    # Blocks in bundles, whose scatter tells how far ions of a simulation are independent.
    in_bundle = np.zeros(BUNDLES, np.int64)
    bundle_squares, bundle_origins = np.zeros((2, BUNDLES, len(lags)))
    for number, state in enumerate(states):
        for name in names:
            sums[name] = sums[name] + state[name]
        in_bundle[number % BUNDLES] += len(state["first"])
        bundle_squares[number % BUNDLES] += np.trace(state["tensor"], axis1=1, axis2=2)
        bundle_origins[number % BUNDLES] += state["origins"]
        travels.append(state["last"].astype(np.float64) - state["first"])
        n_records = int(state["records"][0])
    travel = np.concatenate(travels)
    n_particles = len(travel)
    measured = (sums["origins"] > 0) & (lags <= max(1, (n_records - 1) // 2))
    lags, origins = lags[measured], sums["origins"][measured]
    tensor = sums["tensor"][measured] / origins[:, None, None]
    fourth = sums["fourth"][measured] / origins
    msd_axis = np.diagonal(tensor, axis1=1, axis2=2)
    msd = msd_axis.sum(1)
    lag_ps = lags * interval_ps
    mean = travel.mean(0)
    error = travel.std(0) / math.sqrt(max(n_particles - 1, 1))
    histogram_lags = np.array(plan["histogram_lags"])
    tree: dict[str, Any] = {
        "label": "generated, analysed while generating",
        "record_interval_ps": interval_ps,
        "stride": 1,
        "n_particles": np.array([n_particles]),
        "n_records": np.array([n_records]),
        "span_ps": np.array([(n_records - 1) * interval_ps]),
        "curves": {
            "lag_ps": lag_ps,
            "msd": msd,
            "msd_axis": msd_axis,
            "slope": log_slope(lag_ps, msd),
            "n_independent": n_particles * n_records / lags,
            "alpha2": alpha2(msd, fourth),
            "fourth_moment": fourth,
        },
        "replicas": {"msd": msd[None]},
        "drift": {
            "mean": mean,
            "standard_error": error,
            "z": np.divide(mean, error, out=np.zeros(3), where=error > 0),
        },
    }
    filled = in_bundle > 0
    if together > 1 and filled.sum() > 1:
        tree["bundles"] = {
            "msd": bundle_squares[filled][:, measured] / bundle_origins[filled][:, measured],
            "n_particles": in_bundle[filled],
            "span_ps": np.full(filled.sum(), (n_records - 1) * interval_ps),
        }
    own = np.isin(all_lags(plan["levels"]), histogram_lags)
    run = SimpleNamespace(
        sums={"radial": sums["radial"], "axial": sums["axial"], "tensor": sums["tensor"][own]}
    )
    shape = Plan(interval_ps, lags, histogram_lags, 0, DynamicsConfig())
    tree["van_hove"] = van_hove_tree([run], shape)  # type: ignore[list-item]
    tree["diffusion"] = diffusion_tree(tree)
    return tree
