"""What is compared: averages of each ion over time, and observables of many ions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.observables.arrays import series
from mdgan_hpc.analysis.observables.displacements import (
    displacements,
    origin_steps,
    squared_lengths,
)
from mdgan_hpc.analysis.observables.fourier import Scratch
from mdgan_hpc.analysis.observables.moments import alpha2, moments
from mdgan_hpc.analysis.observables.pairs import nearest_distances
from mdgan_hpc.analysis.observables.velocities import spectrum, vacf
from mdgan_hpc.analysis.sites.hops import count_hops
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.trajectory.grid import folded_voxels

#: Numbers of a group of ions that are worked on at once.
_WORK = 2**15
#: Distances between ions that are looked at, at most.
_DISTANCES = 2 * 10**7
#: Levels of the distribution of the distance of MD ions to the nearest other one. Ions that come
#: too close are rare, and the lowest levels tell; below the first one no MD ion is.
NEAREST_LEVELS = np.array([0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9])

#: Averages over time, first axis ions [N, ...]; or over ions as well.
Means = dict[str, np.ndarray]


@dataclass(frozen=True)
class Plan:
    """Records of the observables at one record interval."""

    interval_ps: float
    stride: int
    lags: np.ndarray  # [L], in records
    times: np.ndarray  # [K], in records
    names: tuple[str, ...]  # of the van Hove functions at these times
    velocity_lags: int
    edges: np.ndarray  # [K, len(LEVELS)], Angstrom
    sites: Sites | None
    voxels: tuple[int, int, int]
    nearest: np.ndarray | None = None  # [len(NEAREST_LEVELS)], Angstrom


@dataclass(frozen=True)
class Cell:
    """Ions, following each other, that saw each other, and the vectors [3, 3] of their cell."""

    ions: int
    vectors: np.ndarray | None

    @property
    def known(self) -> bool:
        """Whether the distance from an ion to the nearest other one is."""
        return self.ions > 1 and self.vectors is not None


def join(parts: Sequence[Means]) -> Means:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def mean(ions: Means, weights: np.ndarray | None) -> Means:
    """Averages over ions [N, ...] of their sums or means."""
    if weights is None:
        return {name: values.mean(0) for name, values in ions.items()}
    share = weights / weights.sum()
    return {name: np.tensordot(share, values, 1) for name, values in ions.items()}


def per_ion(positions: np.ndarray, plan: Plan, cell: Cell) -> Means:
    """Time averages of each ion, first axis N, of what the observables are made of."""
    n_records = len(positions)
    parts: list[Means] = []
    at_once = max(1, _WORK // n_records)
    for _, group in series(positions, Scratch()):
        for start in range(0, len(group), at_once):
            some = group[start : start + at_once].astype(np.float64)
            parts.append(_some_ions(some, plan))
    ions = join(parts)
    if plan.sites is not None:
        ions |= _site_sums(positions, plan)
    if plan.nearest is not None and cell.known:
        apart = distances_to_nearest(positions, cell)
        below = [(apart < edge).mean(0) for edge in plan.nearest]
        ions["nearest"] = np.stack(below, axis=1)
    return ions


def distances_to_nearest(positions: np.ndarray, cell: Cell) -> np.ndarray:
    """Return the distance of each ion to the nearest other one of its cell, [t, N], Angstrom.

    Positions [T, N, 3] are of whole cells; of the T records so many that the work is bounded.
    """
    assert cell.vectors is not None
    n_records, n_ions = positions.shape[:2]
    seen = positions[:: max(1, n_records * n_ions * cell.ions // _DISTANCES)].astype(np.float64)
    each = [
        nearest_distances(seen[:, i : i + cell.ions], cell.vectors, 1)
        for i in range(0, n_ions, cell.ions)
    ]
    return np.concatenate(each, axis=1)[..., 0]


def _some_ions(x: np.ndarray, plan: Plan) -> Means:
    n = len(x)
    second, fourth = np.empty((n, len(plan.lags))), np.empty((n, len(plan.lags)))
    below = np.empty((n, len(plan.times), plan.edges.shape[1]))
    reversal = np.empty((n, len(plan.times), 2))
    for index, (lag, step) in enumerate(zip(plan.lags, origin_steps(plan.lags), strict=True)):
        second[:, index], fourth[:, index] = moments(x, lag, step)
        for at in np.flatnonzero(plan.times == lag):
            below[:, at] = _shares_below(x, int(lag), int(step), plan.edges[at])
            reversal[:, at] = _reversal(x, int(lag), int(step))
    travel = x[..., -1] - x[..., 0]
    return {
        "second": second,
        "fourth": fourth,
        "below": below,
        "reversal": reversal,
        "vacf": vacf(x, plan.velocity_lags, plan.interval_ps, plan.stride),
        "travel": travel,
        "travel_squared": (travel**2).mean(1),
    }


def _shares_below(x: np.ndarray, lag: int, step: int, edges: np.ndarray) -> np.ndarray:
    """Return the shares of the displacements of each ion that are below distances: [n, E]."""
    r2 = squared_lengths(displacements(x, lag, step))
    n, count = r2.shape
    which = np.searchsorted(edges**2, r2.ravel(), side="right")
    levels = len(edges) + 1
    flat = np.repeat(np.arange(n), count) * levels + which
    counts = np.bincount(flat, minlength=n * levels).reshape(n, levels)
    return np.asarray(counts.cumsum(1)[:, :-1] / count)


def _reversal(x: np.ndarray, lag: int, step: int) -> np.ndarray:
    """Averages of two successive displacements a, b: (|a|^2 - |b|^2) a.b, and |a|^4 + |b|^4.

    Run backwards, a becomes -b and b becomes -a: the first changes sign.
    """
    early, middle, late = x[..., : -2 * lag : step], x[..., lag:-lag:step], x[..., 2 * lag :: step]
    a, b = middle - early, late - middle
    aa, bb = np.einsum("nit,nit->nt", a, a), np.einsum("nit,nit->nt", b, b)
    ab = np.einsum("nit,nit->nt", a, b)
    return np.stack([((aa - bb) * ab).mean(1), (aa**2 + bb**2).mean(1)], axis=1)


def _site_sums(positions: np.ndarray, plan: Plan) -> Means:
    assert plan.sites is not None
    # Visits last many records: every stride-th shows them all, at the same times in MD and model.
    seen = positions[:: plan.stride].astype(np.float64)
    hops = count_hops(plan.sites, seen, plan.stride * plan.interval_ps)
    n_voxels = int(np.prod(plan.voxels))
    flat = folded_voxels(seen, plan.sites.lattice, plan.voxels)  # [T, N]
    n = positions.shape[1]
    counts = np.bincount((flat + n_voxels * np.arange(n)).ravel(), minlength=n * n_voxels)
    return {
        "time": hops.time_ps,
        "hops": hops.hops.astype(float),
        "pairs": hops.pairs.astype(float),
        "back": hops.back.astype(float),
        "voxels": counts.reshape(n, n_voxels) / len(seen),
    }


UNITS = {
    "MSD": "(log)",
    "residence time": "(log)",
    "drift": "(of rms)",
}


def observables(mean: Means, plan: Plan) -> dict[str, np.ndarray]:
    """What is compared, from averages over ions. Noise makes no observable blow up."""
    result: dict[str, np.ndarray] = {
        "MSD": np.log(np.maximum(mean["second"], 1e-300)),
        "alpha2": np.nan_to_num(alpha2(mean["second"], mean["fourth"])),
    }
    result |= dict(zip(plan.names, mean["below"], strict=True))
    velocities = mean["vacf"]
    result["VACF"] = velocities / max(velocities[0], 1e-300)
    values = spectrum(velocities, plan.stride * plan.interval_ps).value
    result["VACF spectrum"] = values / max(np.abs(values).mean(), 1e-300)
    if "hops" in mean:
        # The small number keeps the logarithm of a run without hops finite.
        per_time = (mean["hops"] + 1e-3) / mean["time"]
        result["residence time"] = -np.log(per_time)[None]
        result["back jumps"] = (mean["back"] / max(float(mean["pairs"]), 1e-12))[None]
        result["site density"] = np.sqrt(mean["voxels"])
    if "nearest" in mean:
        result["nearest ion"] = np.sqrt(mean["nearest"][1:])
    result["drift"] = mean["travel"] / np.sqrt(max(float(mean["travel_squared"]), 1e-300))
    # Not at the longest time: two such displacements fit into half of the run only.
    odd, scale = mean["reversal"][:-1].T
    result["time reversal"] = odd / np.maximum(scale, 1e-300)
    return result


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the root mean square difference of an observable."""
    return float(np.sqrt(np.mean((a - b) ** 2)))
