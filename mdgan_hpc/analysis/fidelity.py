"""How far generated motion is from MD, in units of how far MD runs are from each other.

For each observable the distance from the generated ions, all together, to the pool of all MD runs
is divided by the distance another MD run would have. That is estimated from the replicas, each
against the pool of the others, or from runs drawn from the ions of the pool, whichever is larger: a
few replicas may agree by chance. One more MD run scores about 1. Many generated ions average their
own noise out; what remains is how far the model is off, and the noise of the pool: a perfect
generator scores about (1 + R)^(-1/2) with R runs, one half with three.

Beside it stands the same for generated ions in groups *the size of an MD run*. There a perfect
generator scores about 1, and one whose runs differ more from each other than MD runs do more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mdgan_hpc.analysis.correlation import Scratch, padded_length, power
from mdgan_hpc.analysis.dynamics import vacf_spectrum
from mdgan_hpc.analysis.intervals import common_strides
from mdgan_hpc.analysis.sites import Lattice, Sites, count_hops, find_sites, folded_voxels
from mdgan_hpc.analysis.sums import series
from mdgan_hpc.errors import DataError

#: Lags (log-spaced), from one record to this share of a run.
LAGS = 24
LONGEST_LAG = 0.25

#: Times of van Hove functions and of the reversal test, as shares of a run.
TIME_SHARES = (1 / 160, 1 / 40, 1 / 10, 1 / 4)
#: Levels of the distribution of MD displacements at which distributions are compared.
LEVELS = np.linspace(0.05, 0.95, 19)

VACF_PS = 1.0
VOXEL = 1.5  # Angstrom, of the site density

#: Origins of a lag are at most this many to a lag: closer ones add cost, no knowledge.
ORIGINS_PER_LAG = 16

#: Runs drawn from the ions of the pool.
DRAWS = 100

#: From this number of groups on their scatter tells the error of a mean.
MANY_GROUPS = 16

_WORK = 2**15

Means = dict[str, np.ndarray]


@dataclass(frozen=True)
class FidelityResult:
    """A generated trajectory against MD.

    Attributes
    ----------
    ratios : dict of str to float
        Distance generated to MD over distance among MD runs, by observable.
    run_ratios : dict of str to float
        The same for generated ions in groups the size of an MD run (root mean square).
    distances, references : dict of str to float
        The two distances.
    units : dict of str to str
        What the distances are.
    msd_ratio : float
        MSD of all generated ions over that of the MD at the longest lag, a quarter of an MD run.
    msd_ps : float
        That lag.
    drift_z : array, [3]
        Mean displacement from first to last record over its standard error, each axis; where
        there are many groups the size of an MD run, from those: ions of one cell move together.
    """

    ratios: dict[str, float]
    run_ratios: dict[str, float]
    distances: dict[str, float]
    references: dict[str, float]
    units: dict[str, str]
    msd_ratio: float
    msd_ps: float
    drift_z: np.ndarray

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return float(np.median(list(self.ratios.values())))

    @property
    def run_median(self) -> float:
        """Median of the ratios of groups the size of an MD run."""
        return float(np.median(list(self.run_ratios.values())))

    @property
    def root_mean_square(self) -> float:
        """Root mean square of the ratios: low only if none is far off."""
        return float(np.sqrt(np.mean(np.square(list(self.ratios.values())))))

    @property
    def worst(self) -> tuple[str, float]:
        """Name and ratio of the observable that is farthest off."""
        name = max(self.ratios, key=lambda key: self.ratios[key])
        return name, self.ratios[name]

    def table(self) -> list[list[str]]:
        """Return rows of text: observable, distance, among MD runs, ratio, that of one run."""
        rows = [["observable", "generated to MD", "among MD runs", "ratio", "one run"]]
        for name, ratio in self.ratios.items():
            unit = self.units[name]
            rows.append(
                [
                    name,
                    f"{self.distances[name]:.3g} {unit}".strip(),
                    f"{self.references[name]:.3g} {unit}".strip(),
                    f"{ratio:.2f}",
                    f"{self.run_ratios[name]:.2f}",
                ]
            )
        return rows

    def tree(self) -> dict[str, Any]:
        """Return the result tree."""
        return {
            "ratios": self.ratios,
            "run_ratios": self.run_ratios,
            "distances": self.distances,
            "references": self.references,
            "median": self.median,
            "run_median": self.run_median,
            "worst": self.worst[1],
            "worst_observable": self.worst[0],
            "msd_ratio": self.msd_ratio,
            "msd_ps": self.msd_ps,
            "drift_z": self.drift_z,
            "table": self.table(),
        }


@dataclass(frozen=True)
class _Plan:
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


class Reference:
    """MD replicas to which generated trajectories are compared; use `from_arrays`.

    Parameters
    ----------
    replicas : sequence of array, [T, N, 3]
        Unwrapped positions of each run, Angstrom.
    interval_ps : float
        Between two records.
    lattice : Lattice, optional
        With it sites are found and compared as well.
    """

    def __init__(
        self, replicas: Sequence[np.ndarray], interval_ps: float, lattice: Lattice | None = None
    ) -> None:
        if not replicas:
            raise DataError("a reference needs at least one MD run")
        self.replicas = [np.asarray(r) for r in replicas]
        self.interval_ps = interval_ps
        self.lattice = lattice
        self._prepared: dict[tuple[int, int], _Prepared] = {}

    @classmethod
    def from_arrays(
        cls,
        replicas: Sequence[np.ndarray],
        interval_ps: float,
        lattice: "np.ndarray | Lattice | None" = None,
    ) -> "Reference":
        """Make a reference from positions in memory.

        Parameters
        ----------
        replicas : sequence of array, [T, N, 3]
            Unwrapped positions of each MD run, Angstrom.
        interval_ps : float
        lattice : array [3, 3] or Lattice, optional
            Primitive lattice vectors (rows, Angstrom), or with the symmetry operations.
        """
        if lattice is not None and not isinstance(lattice, Lattice):
            lattice = Lattice.of_vectors(np.asarray(lattice))
        return cls(replicas, interval_ps, lattice)

    @cached_property
    def sites(self) -> Sites | None:
        """Sites found in the density of the MD runs, if there is a lattice with more than none."""
        if self.lattice is None:
            return None
        step = max(1, sum(r.shape[0] * r.shape[1] for r in self.replicas) // 10**6)
        return find_sites([r[::step].astype(np.float64) for r in self.replicas], self.lattice)

    def compare(self, positions: np.ndarray, interval_ps: float) -> FidelityResult:
        """Compare a generated trajectory with the MD runs.

        Parameters
        ----------
        positions : array, [T, N, 3]
            Unwrapped, Angstrom; any number of ions, at least a quarter as long as an MD run.
        interval_ps : float

        Raises
        ------
        DataError
            If it is too short, or the record intervals have no common multiple.
        """
        strides = common_strides(self.interval_ps, interval_ps)
        if strides not in self._prepared:
            self._prepared[strides] = _Prepared(self, strides[0])
        return self._prepared[strides].compare(np.asarray(positions), interval_ps, strides[1])


class _Prepared:
    """The observables of the MD runs at the lags shared with one generated record interval."""

    def __init__(self, reference: Reference, stride: int) -> None:
        replicas = reference.replicas
        interval = reference.interval_ps
        shortest = min(map(len, replicas))
        self.span = shortest * interval
        units = max(2, int((shortest - 1) * LONGEST_LAG) // stride)
        lags = np.unique(np.round(np.geomspace(1, units, LAGS)).astype(int)) * stride
        nearest = [int(np.argmin(np.abs(np.log(lags / (shortest * s))))) for s in TIME_SHARES]
        at, first = np.unique(nearest, return_index=True)
        times = lags[at]
        names = tuple(f"van Hove at {self.span * TIME_SHARES[i]:.2g} ps" for i in first)
        sites = reference.sites
        voxels = (1, 1, 1)
        if sites is not None:
            lengths = np.linalg.norm(sites.lattice, axis=1)
            a, b, c = (max(2, round(float(v) / VOXEL)) for v in lengths)
            voxels = (a, b, c)
        edges = np.stack(
            [
                np.quantile(
                    np.concatenate(
                        [
                            np.linalg.norm(r[t:] - r[:-t], axis=-1)[:: max(1, t // 4)].ravel()
                            for r in replicas
                        ]
                    ),
                    LEVELS,
                )
                for t in times
            ]
        )
        count = max(4, round(min(VACF_PS, 0.1 * self.span) / (stride * interval)))
        self.plan = _Plan(interval, stride, lags, times, names, count, edges, sites, voxels)
        self.ions = [_per_ion(r, self.plan) for r in replicas]
        self.pool = _join(self.ions)
        self.observables = _observables(_mean(self.pool, None), self.plan)
        self.size = float(np.mean([r.shape[0] * r.shape[1] for r in replicas])) * interval
        self.references = self._references()

    def _references(self) -> dict[str, float]:
        """Distance another MD run would have to the pool, by observable."""
        n_runs = len(self.ions)
        squares: dict[str, list[float]] = {name: [] for name in self.observables}
        # A run against a pool of R - 1 others is farther than a new run against all R.
        larger = (1 + 1 / n_runs) / (1 + 1 / max(n_runs - 1, 1))
        if n_runs > 1:
            for k in range(n_runs):
                others = _join([ions for i, ions in enumerate(self.ions) if i != k])
                rest = _observables(_mean(others, None), self.plan)
                own = _observables(_mean(self.ions[k], None), self.plan)
                for name in squares:
                    squares[name].append(larger * _distance(own[name], rest[name]) ** 2)
        among = {name: float(np.mean(v)) if v else 0.0 for name, v in squares.items()}
        total = len(next(iter(self.pool.values())))
        draw = max(1, total // n_runs)
        random = np.random.default_rng(0)
        sums = dict.fromkeys(self.observables, 0.0)
        for _ in range(DRAWS):
            weights = np.bincount(random.integers(0, total, draw), minlength=total)
            own = _observables(_mean(self.pool, weights), self.plan)
            for name in sums:
                sums[name] += _distance(own[name], self.observables[name]) ** 2 / DRAWS
        # Draws scatter about the pool itself, and a pool of n ions by (n - 1) / n too little.
        chance = {k: v * total / max(total - 1, 1) * (1 + 1 / n_runs) for k, v in sums.items()}
        return {name: float(np.sqrt(max(among[name], chance[name]))) for name in sums}

    def compare(self, positions: np.ndarray, interval_ps: float, stride: int) -> FidelityResult:
        scale = interval_ps / self.plan.interval_ps
        records = round(self.span / interval_ps)
        lags = np.round(self.plan.lags / scale).astype(int)
        if len(positions) <= lags[-1] + stride:
            raise DataError(
                f"the generated trajectory has {len(positions)} records of {interval_ps:g} ps; to "
                f"compare with MD runs of {self.span:.3g} ps it needs more than {lags[-1] + stride}"
            )
        plan = _Plan(
            interval_ps,
            stride,
            lags,
            np.round(self.plan.times / scale).astype(int),
            self.plan.names,
            self.plan.velocity_lags,
            self.plan.edges,
            self.plan.sites,
            self.plan.voxels,
        )
        # Pieces as long as an MD run; what is left over at the end is not used.
        length = min(records, len(positions))
        together = min(positions.shape[1], max(1, round(self.size / (length * interval_ps))))
        pieces = [
            _per_ion(positions[start : start + length], plan)
            for start in range(0, len(positions) - length + 1, length)
        ]
        ions = _join(pieces)
        distances = self._distances(ions)
        runs = [
            self._distances({name: v[start : start + together] for name, v in piece.items()})
            for piece in pieces
            for start in range(0, positions.shape[1] - together + 1, together)
        ]
        run_distances = {
            name: float(np.sqrt(np.mean([run[name] ** 2 for run in runs]))) for name in distances
        }
        return FidelityResult(
            self._ratios(distances),
            self._ratios(run_distances),
            distances,
            self.references,
            {name: _UNITS.get(name.split(" at ")[0], "") for name in distances},
            float(ions["second"][:, -1].mean() / self.pool["second"][:, -1].mean()),
            float(self.plan.lags[-1] * self.plan.interval_ps),
            _drift_z(positions, together),
        )

    def _distances(self, ions: Means) -> dict[str, float]:
        """Distances of the mean over ions to the pool, by observable."""
        own = _observables(_mean(ions, None), self.plan)
        return {name: _distance(own[name], pool) for name, pool in self.observables.items()}

    def _ratios(self, distances: Mapping[str, float]) -> dict[str, float]:
        return {name: d / max(self.references[name], 1e-300) for name, d in distances.items()}


def _drift_z(positions: np.ndarray, together: int) -> np.ndarray:
    travel = positions[-1].astype(np.float64) - positions[0]
    if len(travel) >= MANY_GROUPS * together:
        whole = len(travel) // together * together
        travel = travel[:whole].reshape(-1, together, 3).mean(1)
    error = travel.std(0, ddof=1) / np.sqrt(len(travel)) if len(travel) > 1 else np.ones(3)
    return np.divide(travel.mean(0), error, out=np.zeros(3), where=error > 0)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _join(parts: Sequence[Means]) -> Means:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mean(ions: Means, weights: np.ndarray | None) -> Means:
    """Averages over ions [N, ...] of their sums or means."""
    if weights is None:
        return {name: values.mean(0) for name, values in ions.items()}
    share = weights / weights.sum()
    return {name: np.tensordot(share, values, 1) for name, values in ions.items()}


def _per_ion(positions: np.ndarray, plan: _Plan) -> Means:
    """Time averages of each ion, first axis N, of what the observables are made of."""
    n_records = len(positions)
    parts: list[Means] = []
    together = max(1, _WORK // n_records)
    for _, group in series(positions, Scratch()):
        for start in range(0, len(group), together):
            some = group[start : start + together].astype(np.float64)
            parts.append(_some_ions(some, plan))
    ions = _join(parts)
    if plan.sites is not None:
        ions |= _site_sums(positions, plan)
    return ions


def _some_ions(x: np.ndarray, plan: _Plan) -> Means:
    n, _, n_records = x.shape
    second = np.empty((n, len(plan.lags)))
    fourth = np.empty((n, len(plan.lags)))
    below = np.empty((n, len(plan.times), plan.edges.shape[1]))
    reversal = np.empty((n, len(plan.times), 2))
    for index, lag in enumerate(plan.lags):
        step = max(1, int(lag) // ORIGINS_PER_LAG)
        d = x[..., lag::step] - x[..., : n_records - lag : step]
        r2 = np.einsum("nit,nit->nt", d, d)
        second[:, index] = r2.mean(1)
        fourth[:, index] = np.einsum("nt,nt->n", r2, r2) / r2.shape[1]
        at = np.flatnonzero(plan.times == lag)
        if len(at):
            which = np.searchsorted(plan.edges[at[0]] ** 2, r2.ravel(), side="right")
            levels = plan.edges.shape[1] + 1
            flat = np.repeat(np.arange(n), r2.shape[1]) * levels + which
            counts = np.bincount(flat, minlength=n * levels).reshape(n, levels)
            below[:, at[0]] = counts.cumsum(1)[:, :-1] / r2.shape[1]
            reversal[:, at[0]] = _reversal(x, int(lag), step)
    u = x[..., plan.stride :] - x[..., : -plan.stride]
    steps = np.arange(plan.velocity_lags) * plan.stride
    length = padded_length(u.shape[-1], int(steps[-1]) + 1)
    total = np.fft.irfft(power(u, length).sum(1), n=length)[:, steps]
    vacf = total / (u.shape[-1] - steps) / (plan.stride * plan.interval_ps) ** 2
    return {
        "second": second,
        "fourth": fourth,
        "below": below,
        "reversal": reversal,
        "vacf": vacf,
        "travel": x[..., -1] - x[..., 0],
        "travel_squared": ((x[..., -1] - x[..., 0]) ** 2).mean(1),
    }


def _reversal(x: np.ndarray, lag: int, step: int) -> np.ndarray:
    """Averages of two successive displacements a, b: (|a|^2 - |b|^2) a.b, and |a|^4 + |b|^4.

    Run backwards, a becomes -b and b becomes -a: the first changes sign.
    """
    early, middle, late = x[..., : -2 * lag : step], x[..., lag:-lag:step], x[..., 2 * lag :: step]
    a, b = middle - early, late - middle
    aa, bb = np.einsum("nit,nit->nt", a, a), np.einsum("nit,nit->nt", b, b)
    ab = np.einsum("nit,nit->nt", a, b)
    return np.stack([((aa - bb) * ab).mean(1), (aa**2 + bb**2).mean(1)], axis=1)


def _site_sums(positions: np.ndarray, plan: _Plan) -> Means:
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


_UNITS = {
    "MSD": "(log)",
    "residence time": "(log)",
    "drift": "(of rms)",
}


def _observables(mean: Means, plan: _Plan) -> dict[str, np.ndarray]:
    """What is compared, from averages over ions. Noise makes no observable blow up."""
    interval = plan.interval_ps
    result: dict[str, np.ndarray] = {
        "MSD": np.log(np.maximum(mean["second"], 1e-300)),
        "alpha2": 3 * mean["fourth"] / (5 * np.maximum(mean["second"], 1e-300) ** 2) - 1,
    }
    result |= dict(zip(plan.names, mean["below"], strict=True))
    vacf = mean["vacf"]
    result["VACF"] = vacf / max(vacf[0], 1e-300)
    _, spectrum = vacf_spectrum(vacf, plan.stride * interval)
    result["VACF spectrum"] = spectrum / max(np.abs(spectrum).mean(), 1e-300)
    if "hops" in mean:
        # The small number keeps the logarithm of a run without hops finite.
        per_time = (mean["hops"] + 1e-3) / mean["time"]
        result["residence time"] = -np.log(per_time)[None]
        result["back jumps"] = (mean["back"] / max(float(mean["pairs"]), 1e-12))[None]
        result["site density"] = np.sqrt(mean["voxels"])
    result["drift"] = mean["travel"] / np.sqrt(max(float(mean["travel_squared"]), 1e-300))
    # Not at the longest time: two such displacements fit into half of the run only.
    odd, scale = mean["reversal"][:-1].T
    result["time reversal"] = odd / np.maximum(scale, 1e-300)
    return result
