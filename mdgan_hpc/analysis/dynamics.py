"""How the ions of one or several runs move: curves over lags from the sums of each run.

Replicas are never joined in time: sums over origins and numbers of origins are added, each run
for itself. Work is shared out over MPI ranks in blocks of particles.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.correlation import Scratch, autocorrelation
from mdgan_hpc.analysis.plan import DynamicsConfig, Plan, make_plan, plan_lags
from mdgan_hpc.analysis.sums import BIN_WIDTH, N_BINS, RunSums
from mdgan_hpc.crystal import Crystal, find_crystal
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import Communicator, share
from mdgan_hpc.progress import Progress
from mdgan_hpc.trajectory import Trajectory

#: Bytes of positions read at once.
READ_BYTES = 400 * 2**20
#: What the SHA-256 of a file takes, of the time of its analysis: rank 0 computes it meanwhile.
FINGERPRINT_SHARE = 1 / 16


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
    UsageError
        If a file is given twice.
    """
    with open_runs(paths, config.species) as trajectories:
        plan = make_plan(trajectories, config)
        runs = [
            new_sums(
                t.n_records,
                plan,
                n_particles=t.n_particles,
                together=t.ions_per_cell,
                inverse_cell=_inverse_cell(t),
                where=t.path,
            )
            for t in trajectories
        ]
        units = [(i, part) for i, t in enumerate(trajectories) for part in particle_units(t)]
        aside = _worth_of_fingerprints(trajectories, len(units))
        mine = share(len(units), communicator.rank, communicator.size, aside=aside)
        total = sum(t.n_particles for t in trajectories)
        with Progress(
            f"analysis of {label or paths[0]}",
            total,
            "particles",
            silent=communicator.rank != 0,
        ) as progress:
            scratch = Scratch()
            for index in mine:
                run, part = units[index]
                t, n = trajectories[run], part.stop - part.start
                buffer = scratch.array("positions", (t.n_records, n, 3), t.position_type)
                runs[run].add(t.positions(particles=part, out=buffer), part.start)
                progress.update(n * communicator.size)
        for sums in runs:
            sums.reduce(communicator)
        if communicator.rank != 0:
            return None
        result = summarise(runs, plan, label=label, in_crystal=all(map(_in_crystal, trajectories)))
        result["files"] = [str(path) for path in paths]
        return result


def _worth_of_fingerprints(trajectories: Sequence[Trajectory], n_units: int) -> int:
    """Return the number of units that take as long as the fingerprints of the files."""
    hashed = sum(Path(t.path).stat().st_size for t in trajectories)
    # A file that only refers to its parts is small.
    read = sum(12 * t.n_particles * t.n_records for t in trajectories)
    return round(FINGERPRINT_SHARE * n_units * min(1.0, hashed / read))


@contextmanager
def open_runs(
    paths: Sequence[str | Path], species: str | int | None = None
) -> Iterator[list[Trajectory]]:
    """Give the trajectories in `paths`, each a replica of its own, of one species.

    Raises
    ------
    UsageError
        If a file is given twice, holds several species and none is named, or another species than
        the first.
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise UsageError("the same file is given twice", remedy="each replica counts once")
    with ExitStack() as stack:
        trajectories = [stack.enter_context(Trajectory(path, species or None)) for path in paths]
        names = [t.require_one_species() for t in trajectories]
        for path, name in zip(paths, names, strict=True):
            if name != names[0]:
                raise UsageError(
                    f"holds {name}, {paths[0]} {names[0]}",
                    where=path,
                    remedy="analyse them apart, or name one with --species",
                )
        yield trajectories


def lags_of(paths: Sequence[str | Path], config: DynamicsConfig) -> np.ndarray:
    """Return the lags in ps at which `analyse` will measure; reads no positions."""
    with open_runs(paths, config.species) as trajectories:
        plan = make_plan(trajectories, config)
        return plan.lags * plan.interval_ps


def analyse_arrays(
    runs: Sequence[np.ndarray], interval_ps: float, config: DynamicsConfig, *, label: str = ""
) -> dict[str, Any]:
    """Compute the dynamics of replicas in memory, positions [T, N, 3] in Angstrom."""
    plan = plan_lags(min(map(len, runs)), interval_ps, config)
    sums = []
    for positions in runs:
        run = new_sums(len(positions), plan, n_particles=positions.shape[1])
        run.add(positions)
        sums.append(run)
    return summarise(sums, plan, label=label)


def new_sums(n_records: int, plan: Plan, **options: Any) -> RunSums:
    """Return empty sums of a run, by NumPy or on the device of the plan."""
    if not plan.config.device:
        return RunSums(n_records, plan, **options)
    from mdgan_hpc.analysis.device import DeviceSums

    return DeviceSums(n_records, plan, **options)


def _in_crystal(trajectory: Trajectory) -> bool:
    """Tell whether the ions move in a crystal that stands still.

    In a liquid the other atoms give way, and the sum of the ions' displacements tells how, or what
    was taken off as drift.
    """
    if trajectory.parameter("simulated_together"):  # generated
        return trajectory.ions_per_cell > 1
    found = find_crystal(trajectory.framework, trajectory.constant_cell)
    return isinstance(found, Crystal)


def _inverse_cell(trajectory: Trajectory) -> np.ndarray | None:
    cell = trajectory.constant_cell
    return None if cell is None or not np.linalg.det(cell) else np.linalg.inv(cell)


def particle_units(trajectory: Trajectory) -> list[slice]:
    """Share the particles into the pieces that ranks read: storage blocks where they fit."""
    n = trajectory.n_particles
    fits = max(1, READ_BYTES // (12 * trajectory.n_records))
    unit = min(fits, trajectory.chunk[1], max(1, math.ceil(n / 8)))
    together = trajectory.ions_per_cell
    if together < n:
        unit = max(unit // together, 1) * together
    return [slice(start, min(start + unit, n)) for start in range(0, n, unit)]


def summarise(
    runs: Sequence[RunSums], plan: Plan, *, label: str = "", in_crystal: bool = True
) -> dict[str, Any]:
    """Turn the sums of the replicas into the result tree; `in_crystal` joins ``simulations``.

    Returns
    -------
    dict
        ``curves`` holds columns over lags: ``lag_ps``, ``msd`` and ``msd_axis`` (Angstrom^2),
        ``slope`` (d log MSD / d log t), ``n_independent`` (particles x run length / lag), and,
        where computed, ``alpha2`` and ``msd_collective`` (of the summed displacement of ions that
        were simulated together, by their number). Further groups: ``van_hove``, ``vacf``,
        ``spectrum``, ``replicas``, ``simulations`` (their number and size in each run),
        ``bundles`` (of them, where a run holds several).
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
        if "simulations" in tree:
            tree["simulations"]["in_crystal"] = in_crystal
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
    counts = _total(
        run.n_particles * -(-(run.n_records - lags) // run.moment_steps) for run in runs
    )
    second = _total(run.sums["second"] for run in runs) / counts
    fourth = _total(run.sums["fourth"] for run in runs) / counts
    curves["alpha2"] = alpha2(second, fourth)
    curves["fourth_moment"] = fourth
    simulations = np.array([int(run.sums["simulations"][0]) for run in runs])
    together = np.array([run.together for run in runs])
    if simulations.any() and (together > 1).any():
        counts = _total(
            n * k * (run.n_records - lags)
            for n, k, run in zip(simulations, together, runs, strict=True)
        )
        curves["msd_collective"] = _total(run.collective()[lags] for run in runs) / counts
        tree["simulations"] = {"number": simulations, "particles": together}
    bundles = [_bundles(run) for run in runs if run.sums["simulations"][0] > 1]
    if bundles:
        tree["bundles"] = {name: np.concatenate([b[name] for b in bundles]) for name in bundles[0]}
    tree["van_hove"] = van_hove_tree(runs, plan)
    tree |= _velocities(runs, plan)


def _bundles(run: RunSums) -> dict[str, np.ndarray]:
    """MSD [B, L] of bundles of the simulations of a run, their particles and length (ps)."""
    particles = run.sums["bundle_particles"]
    filled = particles > 0
    origins = -(-(run.n_records - run.plan.lags) // run.moment_steps)
    return {
        "msd": run.sums["bundle_squares"][filled] / (particles[filled, None] * origins),
        "n_particles": particles[filled],
        "span_ps": np.full(filled.sum(), (run.n_records - 1) * run.plan.interval_ps),
    }


def alpha2(second: np.ndarray, fourth: np.ndarray) -> np.ndarray:
    """Return the non-Gaussian parameter 3 <r^4> / (5 <r^2>^2) - 1.

    References
    ----------
    A. Rahman, Phys. Rev. 136, A405 (1964), equation 14.
    """
    return 3 * fourth / (5 * np.where(second > 0, second, np.nan) ** 2) - 1


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
        "tensor": tensor / np.maximum(np.trace(tensor, axis1=1, axis2=2), 1e-300)[:, None, None],
        "axis_density": axial / (axial.sum(2, keepdims=True) * BIN_WIDTH),
    }


def _velocities(runs: Sequence[RunSums], plan: Plan) -> dict[str, Any]:
    """Velocity autocorrelation (Angstrom^2/ps^2) and its one-sided spectrum."""
    stride, n_lags = plan.config.stride, plan.velocity_lags
    lags = np.arange(n_lags) * stride
    step_ps = stride * plan.interval_ps
    total = _total(
        autocorrelation(run.sums["velocity_power"], run.velocity_length, int(lags[-1]) + 1)[lags]
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
