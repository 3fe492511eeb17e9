"""How the ions of one or several runs move: everything that one pass over the files gives.

Replicas are never joined in time: sums over origins and numbers of origins are added, each run
for itself. Work is shared out over MPI ranks in blocks of particles.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.correlation import (
    Scratch,
    autocorrelation,
    log_lags,
    padded_length,
    power,
    squared_displacements,
    summed_power,
)
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.parallel import Communicator, share
from mdgan_hpc.progress import Progress
from mdgan_hpc.trajectory import Trajectory

#: Width and number of histogram bins of displacements (Angstrom); what is beyond is counted last.
BIN_WIDTH = 0.05
N_BINS = 4096

#: Bytes of positions read at once, and float64 numbers worked on at once (fits a core's cache).
READ_BYTES = 400 * 2**20
WORK_NUMBERS = 2**17

#: Histograms need no more samples than this: origins are thinned in longer files.
HISTOGRAM_SAMPLES = 2e7

#: Origins of fourth moments are this share of the lag apart: closer ones add cost, no knowledge.
ORIGINS_PER_LAG = 16

#: Longest time of the velocity autocorrelation function.
VACF_PS = 2.0


@dataclass(frozen=True)
class DynamicsConfig:
    """What is computed.

    Attributes
    ----------
    every_lag : bool
        All lags instead of log-spaced ones.
    lags_per_decade : int
    max_fraction : float
        Longest lag as a share of the shortest run.
    stride : int
        Lags are multiples of this many records, and velocities differences over them: the way to
        compare with a trajectory of longer record interval.
    full : bool
        Also fourth moments, histograms, velocities and the collective motion.
    per_particle : bool
        Keep the mean squared displacement of each particle.
    van_hove_ps : tuple of float
        Times of the histograms; empty: four between a hundredth and a quarter of the run.
    """

    every_lag: bool = False
    lags_per_decade: int = 20
    max_fraction: float = 0.5
    stride: int = 1
    full: bool = True
    per_particle: bool = False
    van_hove_ps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.max_fraction < 1:
            raise UsageError(f"longest lag {self.max_fraction:g} of a run must be between 0 and 1")
        if self.stride < 1 or self.lags_per_decade < 1:
            raise UsageError("lags per decade and stride must be at least 1")


@dataclass(frozen=True)
class Plan:
    """Lags and times that all runs share, in records."""

    interval_ps: float
    lags: np.ndarray  # [L]
    histogram_lags: np.ndarray  # [K]
    velocity_lags: int
    config: DynamicsConfig


class RunSums:
    """Sums over particles and time origins of one run.

    Parameters
    ----------
    n_records : int
        T.
    plan : Plan
    n_particles : int
        Of the whole run: decides how origins of histograms are thinned.
    inverse_cell : array [3, 3], optional
        For the test that positions are unwrapped.
    where : str
        Name of the file, for messages.
    """

    def __init__(
        self,
        n_records: int,
        plan: Plan,
        *,
        n_particles: int,
        inverse_cell: np.ndarray | None = None,
        where: object = "",
    ) -> None:
        self.plan, self.n_records, self.where = plan, n_records, where
        longest = max(int(plan.lags[-1]), plan.velocity_lags * plan.config.stride)
        self.length = padded_length(n_records, longest + 1)
        self.ramp = np.arange(n_records) - 0.5 * (n_records - 1)
        self.inverse_cell = inverse_cell
        n_lags, n_times = len(plan.lags), len(plan.histogram_lags)
        self.origin_step = max(1, math.ceil(n_particles * n_records / HISTOGRAM_SAMPLES))
        self.sums: dict[str, np.ndarray] = {
            "particles": np.zeros(1),
            "power": np.zeros((3, self.length // 2 + 1)),
            "squares": np.zeros((3, n_records)),
            "trend": np.zeros((3, n_records)),
            "trend_squared": np.zeros(3),
            "first_to_last": np.zeros(3),
            "first_to_last_squared": np.zeros(3),
        }
        if plan.config.full:
            self.sums |= {
                "velocity_power": np.zeros(self.length // 2 + 1),
                "path": np.zeros((3, n_records)),
                "second": np.zeros(n_lags),
                "tensor": np.zeros((n_times, 3, 3)),
                "fourth": np.zeros(n_lags),
                "radial": np.zeros((n_times, N_BINS)),
                "axial": np.zeros((n_times, 3, 2 * N_BINS)),
            }
        self.per_particle: list[np.ndarray] = []
        self.scratch = Scratch()

    def add(self, positions: np.ndarray) -> None:
        """Add particles, positions [T, n, 3] in Angstrom, unwrapped.

        Raises
        ------
        DataError
            If positions are wrapped into the cell or not finite.
        """
        together = max(1, WORK_NUMBERS // (3 * self.n_records))
        for start, group in series(positions, self.scratch):
            for first in range(0, len(group), together):
                self._add(group[first : first + together], start + first)

    def _add(self, x: np.ndarray, first: int) -> None:
        if self.inverse_cell is not None:
            refuse_wrapped(x, self.inverse_cell, self.where)
        sums, stride = self.sums, self.plan.config.stride
        travel = x[:, :, -1] - x[:, :, 0]
        sums["particles"] += len(x)
        sums["first_to_last"] += travel.sum(0)
        sums["first_to_last_squared"] += (travel**2).sum(0)
        # The transform subtracts large numbers: it gets what is left beside the straight line
        # from the first to the last position, and the line is added exactly.
        velocity = travel / max(self.n_records - 1, 1)
        middle = 0.5 * (x[:, :, -1] + x[:, :, 0])
        # No linear algebra library here: its threads would wait for each other in small products.
        y = np.multiply(velocity[..., None], self.ramp, out=self.scratch.array("line", x.shape))
        y += middle[..., None]
        np.subtract(x, y, out=y)
        if self.plan.config.per_particle:
            powers = power(y, self.length, self.scratch)
            sums["power"] += powers.sum(0)
            self._add_each(y, powers.sum(1), velocity)
        else:
            sums["power"] += summed_power(y, self.length, self.scratch)
        squares = np.einsum("nit,nit->it", y, y)
        if not np.isfinite(squares.sum()):
            particle, _, record = np.argwhere(~np.isfinite(x))[0]
            raise DataError(
                f"position of particle {first + particle} in record {record} is not a number",
                where=self.where,
            )
        sums["squares"] += squares
        sums["trend"] += np.einsum("nit,ni->it", y, velocity)
        sums["trend_squared"] += (velocity**2).sum(0)
        if self.plan.config.full:
            x -= x.mean(-1, keepdims=True)
            sums["path"] += x.sum(0)
            steps = self.scratch.array("line", (*x.shape[:2], self.n_records - stride))
            np.subtract(x[..., stride:], x[..., :-stride], out=steps)
            sums["velocity_power"] += summed_power(steps, self.length, self.scratch).sum(0)
            self._add_moments(x)
            self._add_histograms(x)

    def _add_each(self, y: np.ndarray, powers: np.ndarray, velocity: np.ndarray) -> None:
        """Mean squared displacement of each particle."""
        lags = self.plan.lags
        total = squared_displacements(
            powers,
            np.einsum("nit,nit->nt", y, y),
            self.length,
            int(lags[-1]) + 1,
            np.einsum("nit,ni->nt", y, velocity),
            (velocity**2).sum(1),
        )  # [n, lag]
        self.per_particle.append(total[:, lags] / (self.n_records - lags))

    def _add_moments(self, x: np.ndarray) -> None:
        for index, lag in enumerate(self.plan.lags):
            step = max(1, int(lag) // ORIGINS_PER_LAG)
            late, early = x[..., lag::step], x[..., : x.shape[-1] - lag : step]
            d = np.subtract(late, early, out=self.scratch.array("line", late.shape))
            r2 = self.scratch.array("square", (len(d), d.shape[-1]))
            np.einsum("nit,nit->nt", d, d, out=r2)
            self.sums["second"][index] += r2.sum()
            self.sums["fourth"][index] += np.einsum("nt,nt->", r2, r2)

    def _add_histograms(self, x: np.ndarray) -> None:
        for index, lag in enumerate(self.plan.histogram_lags):
            step = self.origin_step
            d = (x[..., lag::step] - x[..., : x.shape[-1] - lag : step]) / BIN_WIDTH
            self.sums["tensor"][index] += np.einsum("nit,njt->ij", d, d)
            r = np.sqrt(np.einsum("nit,nit->nt", d, d))
            self.sums["radial"][index] += bin_counts(r, N_BINS)
            for axis in range(3):
                self.sums["axial"][index, axis] += bin_counts(d[:, axis] + N_BINS, 2 * N_BINS)

    def reduce(self, communicator: Communicator) -> None:
        """Add up what the ranks have; every rank must call it. Rank 0 holds the result."""
        for name in sorted(self.sums):
            self.sums[name] = communicator.sum_to_root(self.sums[name])
        pieces = communicator.gather(self.per_particle)
        if pieces is not None:
            self.per_particle = [part for rank in pieces for part in rank]

    @property
    def n_particles(self) -> int:
        """Particles added."""
        return int(self.sums["particles"][0])

    def origins(self, lags: np.ndarray) -> np.ndarray:
        """Number of time origins of each lag, over all particles."""
        return self.n_particles * (self.n_records - lags)

    def squared(self) -> np.ndarray:
        """Sums of squared displacements per axis, [3, lag] for all lags up to the longest."""
        return squared_displacements(
            self.sums["power"],
            self.sums["squares"],
            self.length,
            int(self.plan.lags[-1]) + 1,
            self.sums["trend"],
            self.sums["trend_squared"],
        )


def bin_counts(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Count values in bins [0, 1), [1, 2) ...; what is beyond goes into the first or last."""
    index = np.clip(values, 0, n_bins - 1).astype(np.intp)
    return np.bincount(index.ravel(), minlength=n_bins)


def series(positions: np.ndarray, scratch: Scratch) -> Iterator[tuple[int, np.ndarray]]:
    """Turn positions [T, N, 3] into time series, some particles at once.

    Yields
    ------
    first : int
        Number of the first particle.
    series : array, [n, 3, T]
        float64, time contiguous; overwritten by the next one.
    """
    n_records, n = positions.shape[:2]
    group = int(np.clip(10**6 // n_records, 4, 32))
    for first in range(0, n, group):
        part = positions[:, first : first + group]
        out = scratch.array("series", (part.shape[1], 3, n_records))
        # In tiles that fit the cache: a plain transposition touches a cache line per number.
        for t in range(0, n_records, 256):
            out[..., t : t + 256] = part[t : t + 256].transpose(1, 2, 0)
        yield first, out


def refuse_wrapped(x: np.ndarray, inverse_cell: np.ndarray, where: object = "") -> None:
    """Raise if particles jump across the cell while all of them stay within its bounds.

    Parameters
    ----------
    x : array, [n, 3, T]
        Positions, Angstrom.
    inverse_cell : array, [3, 3]
        Inverse of the matrix whose rows are the cell vectors.

    Raises
    ------
    DataError
        Naming the record.
    """
    # A jump of half a cell vector moves a particle by half the spacing of the lattice planes at
    # least: where no step is that long, the fractions need no look.
    spacing = 1 / np.linalg.norm(inverse_cell, axis=0)
    if np.abs(np.diff(x, axis=-1)).max(initial=0.0) < 0.5 * spacing.min() / np.sqrt(3):
        return
    fraction = np.einsum("nit,ij->njt", x, inverse_cell)
    inside = np.ptp(fraction, axis=(0, 2)) < 1 + 1e-3  # [3]
    bad = np.argwhere((np.abs(np.diff(fraction, axis=-1)) > 0.5) & inside[None, :, None])
    if len(bad):
        record = bad[0][2]
        raise DataError(
            f"particles jump across the cell, first between records {record} and {record + 1}: "
            "positions are wrapped into the cell",
            where=where,
            remedy="give unwrapped positions, or an image element beside them",
        )


def analyse(
    paths: Sequence[str | Path],
    config: DynamicsConfig,
    communicator: Communicator,
    *,
    label: str = "",
) -> dict[str, Any] | None:
    """Compute the dynamics of the replicas in `paths`, together over all ranks.

    Parameters
    ----------
    paths : sequence of path
        H5MD files of one system, of equal record interval; each is a replica.
    config : DynamicsConfig
    communicator : Communicator
    label : str
        Name of the system in the result.

    Returns
    -------
    dict or None
        The result tree (`summarise`) on rank 0, None on the others.

    Raises
    ------
    DataError
        If the runs do not fit together or a file cannot be used.
    """
    trajectories: list[Trajectory] = []
    try:
        for path in paths:
            trajectories.append(Trajectory(path))
        plan = make_plan(trajectories, config)
        runs = [
            RunSums(
                t.n_records,
                plan,
                n_particles=t.n_particles,
                inverse_cell=_inverse_cell(t),
                where=t.path,
            )
            for t in trajectories
        ]
        units = [(i, part) for i, t in enumerate(trajectories) for part in particle_units(t)]
        mine = share(len(units), communicator.rank, communicator.size)
        total = sum(t.n_particles for t in trajectories)
        with Progress(
            f"analysis of {label or paths[0]}",
            total,
            "particles",
            silent=communicator.rank != 0,
        ) as progress:
            for index in mine:
                run, part = units[index]
                runs[run].add(trajectories[run].positions(particles=part))
                progress.update((part.stop - part.start) * communicator.size)
        for sums in runs:
            sums.reduce(communicator)
        if communicator.rank != 0:
            return None
        result = summarise(runs, plan, label=label)
        result["files"] = [str(path) for path in paths]
        return result
    finally:
        for trajectory in trajectories:
            trajectory.close()


def analyse_arrays(
    runs: Sequence[np.ndarray], interval_ps: float, config: DynamicsConfig, *, label: str = ""
) -> dict[str, Any]:
    """Compute the dynamics of replicas in memory, positions [T, N, 3] in Angstrom."""
    plan = plan_lags(min(map(len, runs)), interval_ps, config)
    sums = []
    for positions in runs:
        run = RunSums(len(positions), plan, n_particles=positions.shape[1])
        run.add(positions)
        sums.append(run)
    return summarise(sums, plan, label=label)


def _inverse_cell(trajectory: Trajectory) -> np.ndarray | None:
    cell = trajectory.constant_cell
    return None if cell is None or not np.linalg.det(cell) else np.linalg.inv(cell)


def particle_units(trajectory: Trajectory) -> list[slice]:
    """Share the particles into the pieces that ranks read: storage blocks where they fit."""
    n = trajectory.n_particles
    fits = max(1, READ_BYTES // (12 * trajectory.n_records))
    together = min(fits, trajectory.chunk[1], max(1, math.ceil(n / 8)))
    return [slice(start, min(start + together, n)) for start in range(0, n, together)]


def make_plan(trajectories: Sequence[Trajectory], config: DynamicsConfig) -> Plan:
    """Choose lags that all runs have.

    Raises
    ------
    DataError
        If record intervals differ, or a run is too short.
    """
    intervals = [t.record_interval_ps for t in trajectories]
    for trajectory, interval in zip(trajectories, intervals, strict=True):
        if abs(interval - intervals[0]) > 1e-4 * intervals[0]:
            raise DataError(
                f"has records every {interval:g} ps, {trajectories[0].path} every "
                f"{intervals[0]:g} ps",
                where=trajectory.path,
                remedy="analyse them apart",
            )
    lengths = [t.n_records for t in trajectories]
    shortest = trajectories[int(np.argmin(lengths))]
    if min(lengths) < max(lengths) / 2:
        warnings.warn(
            f"{shortest.path} is less than half as long as the longest run: it limits the lags",
            DataWarning,
            stacklevel=2,
        )
    if shortest.n_records < 4 * config.stride:
        raise DataError(f"has only {shortest.n_records} records", where=shortest.path)
    return plan_lags(min(lengths), intervals[0], config)


def plan_lags(n_records: int, interval_ps: float, config: DynamicsConfig) -> Plan:
    """Choose the lags for runs of at least `n_records` records."""
    stride = config.stride
    strided = (n_records - 1) // stride + 1
    if config.every_lag:
        lags = np.arange(1, max(1, int((strided - 1) * config.max_fraction)) + 1)
    else:
        lags = log_lags(strided, per_decade=config.lags_per_decade, fraction=config.max_fraction)
    lags = lags * stride
    span = n_records * interval_ps
    times = config.van_hove_ps or tuple(span * share for share in (1 / 160, 1 / 40, 1 / 10, 1 / 4))
    nearest = [int(lags[np.argmin(np.abs(np.log(lags * interval_ps / t)))]) for t in times]
    return Plan(
        interval_ps,
        lags,
        np.unique(nearest) if not config.van_hove_ps else np.array(nearest),
        max(2, min(round(VACF_PS / interval_ps), n_records // 4) // stride),
        config,
    )


def summarise(runs: Sequence[RunSums], plan: Plan, *, label: str = "") -> dict[str, Any]:
    """Turn the sums of the replicas into the result tree.

    Returns
    -------
    dict
        ``curves`` holds columns over lags: ``lag_ps``, ``msd`` and ``msd_axis`` (Angstrom^2),
        ``slope`` (d log MSD / d log t), ``n_independent`` (particles x run length / lag), and,
        where computed, ``alpha2`` and ``msd_collective``. Further groups: ``van_hove``, ``vacf``,
        ``spectrum``, ``replicas``.
    """
    lags = plan.lags
    squared = [run.squared()[:, lags] for run in runs]  # [3, L] each
    origins = [run.origins(lags) for run in runs]
    msd_axis = (_total(squared) / _total(origins)).T  # [L, 3]
    msd = msd_axis.sum(1)
    lag_ps = lags * plan.interval_ps
    n_particles = [run.n_particles for run in runs]
    n_records = [run.n_records for run in runs]
    curves: dict[str, np.ndarray] = {
        "lag_ps": lag_ps,
        "msd": msd,
        "msd_axis": msd_axis,
        "slope": log_slope(lag_ps, msd),
        "n_independent": _total(
            n * t / lags for n, t in zip(n_particles, n_records, strict=True)
        ).astype(float),
    }
    replica_msd = np.array([s.sum(0) / o for s, o in zip(squared, origins, strict=True)])
    tree: dict[str, Any] = {
        "label": label,
        "record_interval_ps": plan.interval_ps,
        "stride": plan.config.stride,
        "n_particles": np.array(n_particles),
        "n_records": np.array(n_records),
        "span_ps": (np.array(n_records) - 1) * plan.interval_ps,
        "curves": curves,
        "replicas": {"msd": replica_msd},
        "drift": _drift(runs),
    }
    if plan.config.per_particle:
        tree["particles"] = {"msd": np.concatenate([p for run in runs for p in run.per_particle])}
    if plan.config.full:
        _add_full(tree, runs, plan)
    return tree


def log_slope(lag_ps: np.ndarray, msd: np.ndarray) -> np.ndarray:
    """Return d log MSD / d log t at each lag [L], a straight line over half a decade around it."""
    slope = np.full(len(msd), np.nan)
    x, y = np.log10(lag_ps), np.log10(np.where(msd > 0, msd, np.nan))
    for i in range(len(x)):
        near = np.abs(x - x[i]) <= 0.25
        near[max(0, i - 1) : i + 2] = True
        near &= np.isfinite(y)
        if near.sum() >= 2:
            slope[i] = np.polyfit(x[near], y[near], 1)[0]
    return slope


def _drift(runs: Sequence[RunSums]) -> dict[str, np.ndarray]:
    """Mean displacement from first to last record [3], its standard error, and their ratio."""
    n = _total(run.n_particles for run in runs)
    mean = _total(run.sums["first_to_last"] for run in runs) / n
    square = _total(run.sums["first_to_last_squared"] for run in runs) / n
    error = np.sqrt(np.maximum(square - mean**2, 0) / max(n - 1, 1))
    z = np.divide(mean, error, out=np.zeros(3), where=error > 0)
    return {"mean": mean, "standard_error": error, "z": z}


def _add_full(tree: dict[str, Any], runs: Sequence[RunSums], plan: Plan) -> None:
    lags, curves = plan.lags, tree["curves"]
    steps = np.maximum(1, lags // ORIGINS_PER_LAG)
    counts = _total(run.n_particles * -(-(run.n_records - lags) // steps) for run in runs)
    second = _total(run.sums["second"] for run in runs) / counts
    fourth = _total(run.sums["fourth"] for run in runs) / counts
    curves["alpha2"] = alpha2(second, fourth)
    curves["fourth_moment"] = fourth
    collective = _total(_collective(run)[lags] for run in runs)
    curves["msd_collective"] = collective / _total(
        run.n_particles * (run.n_records - lags) for run in runs
    )
    tree["van_hove"] = van_hove_tree(runs, plan)
    tree |= _velocities(runs, plan)


def alpha2(second: np.ndarray, fourth: np.ndarray) -> np.ndarray:
    """Return the non-Gaussian parameter 3 <r^4> / (5 <r^2>^2) - 1.

    References
    ----------
    A. Rahman, Phys. Rev. 136, A405 (1964), equation 14.
    """
    return 3 * fourth / (5 * np.where(second > 0, second, np.nan) ** 2) - 1


def _collective(run: RunSums) -> np.ndarray:
    """Sums over origins of the squared displacement of the sum of all positions, per lag."""
    path = run.sums["path"]
    n_lags = int(run.plan.lags[-1]) + 1
    return squared_displacements(power(path, run.length), path**2, run.length, n_lags).sum(0)


def _total(arrays: Iterable[Any]) -> np.ndarray:
    return np.asarray(np.sum(list(arrays), axis=0))


def van_hove_tree(runs: Sequence[RunSums], plan: Plan) -> dict[str, np.ndarray]:
    """Return self van Hove densities: of r (4 pi r^2 G_s, 1/Angstrom) and of each axis."""
    radial = _total(run.sums["radial"] for run in runs)  # [K, R]
    axial = _total(run.sums["axial"] for run in runs)  # [K, 3, X]
    tensor = _total(run.sums["tensor"] for run in runs)  # [K, 3, 3]
    last = int(np.flatnonzero(radial.any(0)).max(initial=1)) + 2
    last = min(last, N_BINS)
    radial, axial = radial[:, :last], axial[..., N_BINS - last : N_BINS + last]
    return {
        "time_ps": plan.histogram_lags * plan.interval_ps,
        "r": (np.arange(last) + 0.5) * BIN_WIDTH,
        "density": radial / (radial.sum(1, keepdims=True) * BIN_WIDTH),
        "displacement": (np.arange(-last, last) + 0.5) * BIN_WIDTH,
        # Displacement covariance, but for its scale: tells how anisotropic the motion is.
        "tensor": tensor / np.trace(tensor, axis1=1, axis2=2)[:, None, None],
        "axis_density": axial / (axial.sum(2, keepdims=True) * BIN_WIDTH),
    }


def _velocities(runs: Sequence[RunSums], plan: Plan) -> dict[str, Any]:
    """Velocity autocorrelation (Angstrom^2/ps^2) and its one-sided spectrum."""
    stride, n_lags = plan.config.stride, plan.velocity_lags
    lags = np.arange(n_lags) * stride
    step_ps = stride * plan.interval_ps
    total = _total(
        autocorrelation(run.sums["velocity_power"], run.length, int(lags[-1]) + 1)[lags]
        for run in runs
    )
    counts = _total(run.n_particles * (run.n_records - stride - lags) for run in runs)
    vacf = total / counts / step_ps**2
    frequency, spectrum = vacf_spectrum(vacf, step_ps)
    return {
        "vacf": {"time_ps": lags * plan.interval_ps, "value": vacf},
        "spectrum": {"frequency_thz": frequency, "value": spectrum},
    }


def vacf_spectrum(vacf: np.ndarray, interval_ps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies (THz) and the spectrum (Angstrom^2/ps) of a VACF [n].

    The cosine transform of the function times a Hann window that falls to zero at its last lag:
    S(f) = 2 integral C(t) cos(2 pi f t) dt over t >= 0, so that S(0)/6 is D for a window long
    enough.
    """
    n = len(vacf)
    window = 0.5 * (1 + np.cos(np.pi * np.arange(n) / n))
    windowed = vacf * window
    even = np.concatenate([windowed, [0.0], windowed[:0:-1]])  # length 2 n
    return np.fft.rfftfreq(2 * n, interval_ps), np.fft.rfft(even).real * interval_ps
