"""How the ions of one or several runs move: the way from trajectories to a `Dynamics`.

Replicas are never joined in time: sums over origins and numbers of origins are added, each run
for itself. Work is shared out over MPI ranks in blocks of particles.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.collective import CollectiveSums, mean_collective
from mdgan_hpc.analysis.observables.current import current_spectrum
from mdgan_hpc.analysis.observables.fourier import Scratch
from mdgan_hpc.analysis.observables.moments import alpha2, joined_blocks, mean_moments
from mdgan_hpc.analysis.observables.msd import drift, log_slope, mean_squares, total
from mdgan_hpc.analysis.observables.run import CollectiveRun, RunSums
from mdgan_hpc.analysis.observables.van_hove import densities
from mdgan_hpc.analysis.observables.velocities import mean_vacf, spectrum
from mdgan_hpc.analysis.parts import Part, parts_of
from mdgan_hpc.analysis.plan import Plan, make_plan, plan_lags
from mdgan_hpc.analysis.results import Cells, Curves, Dynamics, ParticleMsd
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.config import from_options
from mdgan_hpc.crystal import stays_in_place
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import Communicator, SingleProcess, share
from mdgan_hpc.progress import Progress
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.complete import CompletePart, complete_extent
from mdgan_hpc.trajectory.layout import IN_SOLID
from mdgan_hpc.trajectory.origin import verdict_of
from mdgan_hpc.trajectory.replicas import require_replicas
from mdgan_hpc.trajectory.species import atomic_numbers_of, composition
from mdgan_hpc.verdict import worst_of

_log = logging.getLogger(__name__)
#: Complete records of a file, and the particles that have them.
Extent = tuple[int, np.ndarray]

#: Bytes of positions read at once.
READ_BYTES = 400 * 2**20
#: What the SHA-256 of a file takes, of the time of its analysis: rank 0 computes it meanwhile.
FINGERPRINT_SHARE = 1 / 16


def dynamics(
    paths: str | Path | Sequence[str | Path],
    config: DynamicsConfig | None = None,
    *,
    label: str = "",
    **options: Any,
) -> Dynamics:
    """Measure how the ions in trajectory files move.

    Parameters
    ----------
    paths : path or sequence of path
        H5MD files of one system, of equal record interval; each is a replica.
    config : DynamicsConfig, optional
    label : str
        Name of the curves; what made the trajectories (`Trajectory.label`) if not given.
    **options
        Fields of `DynamicsConfig`, instead of `config`: ``species="Li"``, ``device="cuda"``.

    Returns
    -------
    Dynamics

    Raises
    ------
    DataError
        If the runs do not fit together or a file cannot be used.
    UsageError
        If a run is given twice, or a file holds several species and none is named.
    """
    if config is not None and options:
        raise UsageError(f"give either config or {', '.join(options)}")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise UsageError("no trajectory file is given")
    found = measure_dynamics(
        paths, config or from_options(DynamicsConfig, options), SingleProcess(), label=label
    )
    assert found is not None
    return found


def measure_dynamics(
    paths: Sequence[str | Path],
    config: DynamicsConfig,
    communicator: Communicator,
    *,
    label: str = "",
) -> Dynamics | None:
    """As `dynamics`, shared over the ranks; every rank must call it.

    Returns
    -------
    Dynamics or None
        On rank 0; None on the others.
    """
    extents = complete_extents(paths, config, communicator)
    with open_runs(paths, config.species, extents) as trajectories:
        plan = make_plan(trajectories, config)
        parts = [part for t in trajectories for part in parts_of(t)]
        runs = [_empty_sums(part, plan) for part in parts]
        label = label or trajectories[0].label
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        add_shared(runs, parts, communicator, f"analysis of {paths[0]}{more}")
        for sums in runs:
            sums.reduce(communicator)
        if communicator.rank != 0:
            return None
        found = summarise(
            runs,
            plan,
            label=label,
            species=trajectories[0].require_one_species(),
            in_solid=all(map(_in_solid, trajectories)),
            files=tuple(str(path) for path in paths),
        )
        return replace(found, **_made(trajectories, parts))


def _made(trajectories: Sequence[Trajectory], parts: Sequence[Part]) -> dict[str, Any]:
    """Return what is known of the models that made the trajectories."""
    if not all(t.generated for t in trajectories):
        return {}
    names = [part.model for part in parts]
    several = len(set(names)) > 1
    return {
        "generated": True,
        "verdict": worst_of(map(verdict_of, trajectories)),
        "models": np.array([sorted(set(names)).index(n) for n in names]) if several else None,
    }


def _empty_sums(part: Part, plan: Plan) -> RunSums:
    trajectory = part.trajectory
    return RunSums(
        trajectory.n_records,
        plan,
        n_particles=part.n_particles,
        ions_per_cell=trajectory.ions_per_cell,
        inverse_cell=_inverse_cell(trajectory),
        where=trajectory.path,
    )


def add_shared(
    runs: Sequence[RunSums] | Sequence[CollectiveRun],
    parts: Sequence[Part],
    communicator: Communicator,
    title: str,
) -> None:
    """Add this rank's share of the particles of all runs."""
    units = [(i, *unit) for i, part in enumerate(parts) for unit in part.units(READ_BYTES)]
    aside = _worth_of_fingerprints({p.trajectory.path: p.trajectory for p in parts}, len(units))
    mine = share(len(units), communicator.rank, communicator.size, aside=aside)
    n_particles = sum(part.n_particles for part in parts)
    scratch = Scratch()
    with Progress(title, n_particles, "particles", silent=communicator.rank != 0) as progress:
        for index in mine:
            run, part, number = units[index]
            t, n = parts[run].trajectory, part.stop - part.start
            buffer = scratch.array("positions", (t.n_records, n, 3), t.position_type)
            runs[run].add(t.positions(particles=part, out=buffer), number)
            progress.update(n * communicator.size)
        progress.finish()


def _worth_of_fingerprints(files: Mapping[Path, Trajectory], n_units: int) -> int:
    """Return the number of units that take as long as the fingerprints of the files."""
    hashed = sum(path.stat().st_size for path in files)
    # A file that only refers to its parts is small.
    read = sum(12 * t.n_particles * t.n_records for t in files.values())
    return round(FINGERPRINT_SHARE * n_units * min(1.0, hashed / read))


@contextmanager
def open_runs(
    paths: Sequence[str | Path],
    species: str | int | None = None,
    extents: Sequence[Extent] | None = None,
    *,
    several_temperatures: bool = False,
    several_species: bool = False,
) -> Iterator[list[Trajectory]]:
    """Give the trajectories in `paths`, each a replica of its own, of one species.

    Parameters
    ----------
    paths : sequence of path
    species : str or int, optional
    extents : sequence of (records, particles), optional
        What is read of each file (`complete_extents`); all of it, which must be complete, if not
        given.
    several_temperatures : bool
        They may be at different ones.
    several_species : bool
        `species` may name several, such as ``Na,Cl``.

    Raises
    ------
    UsageError
        If a run is given twice, a file holds several species and none is named, or another species
        than the first.
    DataError
        If they are not replicas of one system (`require_replicas`).
    """
    with ExitStack() as stack:
        trajectories: list[Trajectory] = []
        for number, path in enumerate(paths):
            if extents is None:
                opened = Trajectory(path, species or None)
            else:
                rows, particles = extents[number]
                opened = CompletePart(path, species or None, records=rows, particles=particles)
            trajectories.append(stack.enter_context(opened))
        if several_species and species and len(atomic_numbers_of(species)) > 1:
            names = [composition(t.species) for t in trajectories]
        else:
            names = [t.require_one_species() for t in trajectories]
        for path, name in zip(paths, names, strict=True):
            if name != names[0]:
                raise UsageError(
                    f"holds {name}, {paths[0]} {names[0]}",
                    where=path,
                    remedy="analyse them apart, or name one with --species",
                )
        require_replicas(trajectories, several_temperatures=several_temperatures)
        yield trajectories


def complete_extents(
    paths: Sequence[str | Path], config: DynamicsConfig, communicator: Communicator
) -> list[Extent] | None:
    """Return what is complete of each file, the same on all ranks; None: all must be complete.

    Raises
    ------
    DataError
        If a file holds no complete record.
    """
    if not config.incomplete:
        return None
    found = [complete_extent(path) for path in paths] if communicator.rank == 0 else None
    extents: list[Extent] = communicator.bcast(found)
    for path, (records, particles) in zip(paths, extents, strict=True):
        _log.info("%s: %d complete records of %d particles", path, records, len(particles))
    return extents


def lags_of(paths: Sequence[str | Path], config: DynamicsConfig) -> np.ndarray:
    """Return the lags in ps at which `dynamics` will measure."""
    extents = complete_extents(paths, config, SingleProcess())
    with open_runs(paths, config.species, extents) as trajectories:
        plan = make_plan(trajectories, config)
        return plan.lags * plan.interval_ps


def dynamics_of_arrays(
    runs: Sequence[np.ndarray],
    interval_ps: float,
    config: DynamicsConfig | None = None,
    *,
    label: str = "",
) -> Dynamics:
    """Measure how the ions of replicas in memory move.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Unwrapped positions of each replica, Angstrom.
    interval_ps : float
        Time between two records.
    config : DynamicsConfig, optional
    label : str
        Name of the curves.
    """
    config = config or DynamicsConfig()
    plan = plan_lags(min(map(len, runs)), interval_ps, config)
    sums = []
    for positions in runs:
        run = RunSums(len(positions), plan, n_particles=positions.shape[1])
        run.add(positions)
        sums.append(run)
    return summarise(sums, plan, label=label)


def _in_solid(trajectory: Trajectory) -> bool:
    """Tell whether the ions move among atoms that stand still, those of a crystal or a glass.

    In a liquid the other atoms give way, and the sum of the ions' displacements tells how, or what
    was taken off as drift.
    """
    if trajectory.generated:
        told = trajectory.parameter(IN_SOLID)  # files of before are of crystals
        return trajectory.ions_per_cell > 1 and (told is None or bool(told))
    return stays_in_place(trajectory.framework)


def _inverse_cell(trajectory: Trajectory) -> np.ndarray | None:
    cell = trajectory.constant_cell
    return None if cell is None or not np.linalg.det(cell) else np.linalg.inv(cell)


def summarise(
    runs: Sequence[RunSums],
    plan: Plan,
    *,
    label: str = "",
    species: str = "X",
    in_solid: bool = True,
    files: tuple[str, ...] = (),
) -> Dynamics:
    """Turn the sums of the replicas into their dynamics.

    Parameters
    ----------
    runs : sequence of RunSums
    plan : Plan
    label, species : str
    in_solid : bool
        Whether the other atoms stand still.
    files : tuple of str
    """
    msd_axis, by_run = mean_squares([run.msd for run in runs])
    msd, lag_ps = msd_axis.sum(1), plan.lags * plan.interval_ps
    n_particles = [run.n_particles for run in runs]
    n_records = np.array([run.n_records for run in runs])
    independent = total(n * t / plan.lags for n, t in zip(n_particles, n_records, strict=True))
    curves = {
        "lag_ps": lag_ps,
        "msd": msd,
        "msd_axis": msd_axis,
        "slope": log_slope(lag_ps, msd),
        "n_independent": independent.astype(float),
    }
    travel = (
        total(run.msd.sums[name] for run in runs)
        for name in ("first_to_last", "first_to_last_squared")
    )
    more: dict[str, Any] = {}
    if plan.config.per_particle:
        each = [part for run in runs for part in run.msd.per_particle]
        more["particles"] = ParticleMsd(np.concatenate(each))
    if plan.config.full:
        more |= _beyond_msd(runs, plan, curves, in_solid)
    return Dynamics(
        label=label,
        species=species,
        record_interval_ps=plan.interval_ps,
        stride=plan.config.stride,
        n_particles=np.array(n_particles),
        n_records=n_records,
        span_ps=(n_records - 1) * plan.interval_ps,
        curves=Curves(**curves),
        replicas=ParticleMsd(by_run),
        drift=drift(sum(n_particles), *travel),
        files=files or None,
        **more,
    )


def _collective_of_each(runs: Sequence[CollectiveSums]) -> np.ndarray | None:
    """Return the collective MSD [F, L] of each run; None where one of them has none."""
    each = [mean_collective([run]) for run in runs]
    return None if any(one is None for one in each) else np.array(each)


def _beyond_msd(
    runs: Sequence[RunSums], plan: Plan, curves: dict[str, np.ndarray], in_solid: bool
) -> dict[str, Any]:
    """Return the further parts of a `Dynamics`, and put their curves into `curves`."""
    n_particles = [run.n_particles for run in runs]
    beyond = [run.beyond for run in runs if run.beyond is not None]
    collective = [run.collective for run in beyond]
    second, fourth, cross = mean_moments([run.moments for run in beyond], n_particles)
    curves["msd_cross"] = cross
    curves["alpha2"], curves["fourth_moment"] = alpha2(second, fourth), fourth
    together = mean_collective(collective)
    cells = None
    if together is not None:
        curves["msd_collective"] = together
        cells = Cells(
            np.array([run.n_cells for run in collective]),
            np.array([run.ions_per_cell for run in collective]),
            in_solid,
            _collective_of_each(collective),
        )
    blocks = [run.moments.blocks(plan.interval_ps) for run in beyond if run.collective.n_cells > 1]
    vacf = mean_vacf([run.velocities for run in beyond], n_particles, plan.interval_ps)
    counts = {
        name: total(run.histograms.sums[name] for run in beyond)
        for name in ("radial", "axial", "tensor")
    }
    return {
        "cells": cells,
        "blocks": joined_blocks(blocks),
        "van_hove": densities(plan.histogram_lags * plan.interval_ps, **counts),
        "vacf": vacf,
        "spectrum": spectrum(vacf.value, plan.config.stride * plan.interval_ps),
        "current": current_spectrum(collective, plan.interval_ps),
    }
