"""MD and generated trajectories side by side: what a report shows."""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.baselines import block_bootstrap, gaussian_process, linear_extrapolation
from mdgan_hpc.analysis.dynamics import dynamics, dynamics_of_arrays, measure_dynamics, open_runs
from mdgan_hpc.analysis.fidelity import Fidelity, FidelityResult
from mdgan_hpc.analysis.fidelity.critic import CriticResult, train_share
from mdgan_hpc.analysis.fidelity.intervals import common_strides
from mdgan_hpc.analysis.fidelity.judge import judge
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.results import Coefficient, Diffusion, Refused
from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.analysis.runs import MdRuns, read_runs
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.analysis.sites.density import DensitySlices, density_slices
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.measure import find_place, measure_jumps
from mdgan_hpc.analysis.sites.settings import SitesConfig
from mdgan_hpc.crystal import Crystal, NoCrystal
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import Communicator
from mdgan_hpc.report.ceiling import ceiling_of
from mdgan_hpc.report.cells import by_cell
from mdgan_hpc.report.conditions import conditions, facts_of
from mdgan_hpc.report.lengths import beginnings, d_against_length
from mdgan_hpc.report.pairs import compare_pairs
from mdgan_hpc.report.paths import displacements, ion_paths
from mdgan_hpc.report.results import (
    Ceiling,
    Comparison,
    Extrapolation,
    Lengths,
    MsdRatio,
    Samples,
    Side,
    SitesCompared,
)
from mdgan_hpc.report.samples import windows_against_step_skip
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.report.system import System
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.replicas import require_different
from mdgan_hpc.verdict import Verdict

_log = logging.getLogger(__name__)

#: Ions drawn in the pictures of paths.
DRAWN = 36
PATH_PS = 1.0

#: Generated ions compared with MD path by path.
COMPARED = 512

#: Records of an MD run below which there is nothing to compare.
FEWEST_RECORDS = 32

#: Raised when a report holds what an older one does not.
_VERSION = 5

#: Name of several generators together.
SEVERAL = "generated"


def fingerprint(config: ReportConfig) -> str:
    """Return a text that changes when the inputs or the configuration do."""
    files = {}
    for path in (*config.md, *config.generated, *config.arrhenius):
        if not Path(path).exists():
            raise DataError("no such file", where=path)
        status = os.stat(path)
        files[str(path)] = [status.st_size, status.st_mtime_ns]
    told = {"config": asdict(config), "files": files, "version": _VERSION}
    return json.dumps(told, sort_keys=True)


def compare(config: ReportConfig, communicator: Communicator) -> Comparison | None:
    """Analyse MD and generated trajectories at common lags; every rank must call it.

    Returns
    -------
    Comparison or None
        On rank 0; None on the others.

    Raises
    ------
    UsageError
        If the files hold several species and none is named, or not the same one.
    DataError
        If a file cannot be used, or the record intervals have no common multiple.
    """
    _refuse_same_files(config)
    cells = by_cell(config.generated, config.md[0], config.species)
    config = replace(config, generated=next(iter(cells.values())))
    interval, md_span = _interval_and_span(config.md, config.species)
    generated_interval, _ = _interval_and_span(config.generated, config.species)
    strides = common_strides(interval, generated_interval)
    at_md = DynamicsConfig(species=config.species, stride=strides[0])
    md = measure_dynamics(config.md, at_md, communicator, label="MD")
    if md is not None:
        _refuse_too_little(md, config)
    times = None if md is None or md.van_hove is None else tuple(md.van_hove.time_ps)
    times = communicator.bcast(times)
    each_run = _each_run(config, replace(at_md, van_hove_ps=times or ()), communicator)
    at_generated = replace(at_md, stride=strides[1], van_hove_ps=times or ())
    label = _label(config.generated, config.species)
    generated = measure_dynamics(config.generated, at_generated, communicator, label=label)
    sites = _sites(config, label, communicator)
    others = _other_cells(cells, label, config, at_generated, communicator)
    if md is None or generated is None:
        return _helping(config, communicator)
    _refuse_other_species(md, generated)
    # As many ions of both over the same time, side by side in the pictures.
    ions = min(DRAWN, int(md.n_particles.sum()), int(generated.n_particles.sum()))
    span_ps = min(md_span, float(generated.span_ps.max()))
    left = _side(md, config.md, config.species, span_ps, ions)
    whole = _WholePaths(config, label)
    generated = replace(generated, verdict=_verdict(whole, generated.verdict))
    accepted = config.accept_poor_model
    right = _in_window_of_md(
        _side(generated, config.generated, config.species, span_ps, ions, accepted=accepted),
        left.diffusion.total,
        accepted=accepted,
    )
    baselines, fidelity = whole.baselines(replace(at_md, van_hove_ps=times or ()))
    facts = facts_of(config)
    training = facts["training"]
    return Comparison(
        system=System.of_runs(config.md, config.species),
        md=left,
        generated=right,
        runs=each_run,
        msd_ratio=msd_ratio(md, generated),
        fidelity=fidelity,
        baselines=baselines,
        other_cells=others,
        ions_seen=next(iter(cells)),
        ceiling=_ceiling(config, left, whole.reference.hop_angstrom),
        samples=_samples(md, training, config),
        lengths=whole.lengths(config, of_generated=right.diffusion.total is not None),
        training_span_ps=float(training.get("span_ps", md_span)),
        crystal=str(whole.md.crystal),
        conditions=conditions(md, generated, facts),
        extrapolation=_extrapolation(left.diffusion, generated.curves.lag_ps),
        sites=sites,
        density=whole.density(),
        pairs=compare_pairs(whole.md.positions, whole.md.cell, config.generated, config.species),
        verdict=generated.verdict,
        critic=whole.critic(communicator) if config.critic else None,
    )


def _helping(config: ReportConfig, communicator: Communicator) -> Comparison | None:
    """Do the share of another rank than the first, which alone has the result: return None."""
    if config.critic:
        train_share(communicator)
    return None


def _sites(config: ReportConfig, label: str, communicator: Communicator) -> SitesCompared | None:
    """Return the sites of a crystal and the jumps of both; None on the other ranks as well."""
    choices = SitesConfig(species=config.species)
    place = find_place(config.md, choices, communicator)
    if isinstance(place, NoCrystal):
        return None
    sides = [
        measure_jumps(paths, choices, communicator, place=place)
        for paths in (config.md, config.generated)
    ]
    md, generated = sides
    if md is None or generated is None:
        return None
    return SitesCompared(md=replace(md, label="MD"), generated=replace(generated, label=label))


def _samples(md: Dynamics, training: Mapping[str, Any], config: ReportConfig) -> Samples:
    """Return the samples of a training like that of the model."""
    records = int(training.get("records", config.records))
    skip = training.get("step_skip")
    return windows_against_step_skip(md.n_records, md.n_particles, records, skip)


def _ceiling(config: ReportConfig, md: Side, hop_angstrom: float) -> Ceiling:
    """Return the ceiling of the MD at every record: the same as of the advice before training."""
    every = md.dynamics
    if every.stride > 1:
        every = dynamics(config.md, species=config.species)
    fitted = md.diffusion if every is md.dynamics else fit_diffusion(every)
    return ceiling_of(every, fitted, hop_angstrom)


def _refuse_same_files(config: ReportConfig) -> None:
    """Refuse a run on both sides, and tell of what is no MD."""
    with ExitStack() as stack:
        opened = [
            stack.enter_context(Trajectory(path, config.species or None))
            for path in (*config.md, *config.generated)
        ]
        require_different(opened)
        if (md := opened[0]).generated:
            _log.warning("%s was generated by a model (%s): it is no MD.", md.path, md.label)


def _other_cells(
    cells: Mapping[str, Sequence[str]],
    label: str,
    config: ReportConfig,
    measured: DynamicsConfig,
    communicator: Communicator,
) -> dict[str, Side]:
    """Return what was generated in cells of other sizes than the first; every rank calls it."""
    found = {}
    for name, paths in list(cells.items())[1:]:
        own = measure_dynamics(paths, measured, communicator, label=f"{label}, {name}")
        if own is not None:
            accepted = config.accept_poor_model
            found[name] = Side(own, fit_diffusion(own, accept_poor_model=accepted))
    return found


def _label(paths: Sequence[str], species: str) -> str:
    """Return what made the generated trajectories."""
    with open_runs(paths, species) as trajectories:
        labels = {t.label if t.generated else SEVERAL for t in trajectories}
    return labels.pop() if len(labels) == 1 else SEVERAL


def _refuse_too_little(md: Dynamics, config: ReportConfig) -> None:
    shortest = int(np.argmin(md.n_records))
    if md.n_records[shortest] < FEWEST_RECORDS:
        raise DataError(
            f"a run of {md.n_records[shortest]} records is too short to compare with",
            where=config.md[shortest],
            remedy=f"give runs of {FEWEST_RECORDS} records at least",
        )
    if not (md.curves.msd > 0).any():
        raise DataError("the ions do not move: there is nothing to compare", where=config.md[0])


def _refuse_other_species(md: Dynamics, generated: Dynamics) -> None:
    if "X" not in (md.species, generated.species) and md.species != generated.species:
        raise UsageError(
            f"the MD runs are of {md.species}, the generated trajectories of {generated.species}",
            remedy="compare trajectories of one species (--species)",
        )


def _each_run(
    config: ReportConfig, measured: DynamicsConfig, communicator: Communicator
) -> dict[str, Side]:
    """Return each of several MD runs alone, for the scatter between them; every rank calls it."""
    if len(config.md) < 2:
        return {}
    found = {}
    for number, path in enumerate(config.md, 1):
        alone = measure_dynamics([path], measured, communicator, label=f"MD run {number}")
        if alone is not None:
            found[str(number)] = Side(alone, fit_diffusion(alone))
    return found


def _verdict(whole: "_WholePaths", of_training: Verdict | None) -> Verdict:
    """Return the verdict on the model by this MD, or that of its training where it is poor."""
    if of_training is not None and of_training.is_poor:
        return of_training
    return judge(
        whole.reference,
        whole.free,
        whole.free_interval_ps,
        against="these MD runs",
        ions_per_cell=whole.ions_per_cell,
        cell=whole.cell,
    )[0]


def _side(
    dynamics: Dynamics,
    paths: Sequence[str],
    species: str,
    span_ps: float,
    ions: int,
    *,
    accepted: bool = False,
) -> Side:
    return Side(
        dynamics,
        fit_diffusion(dynamics, accept_poor_model=accepted),
        paths=ion_paths(paths, species, span_ps=min(PATH_PS, span_ps), n_particles=ions),
        displacements=displacements(paths, species, span_ps=span_ps, n_particles=ions),
    )


def _in_window_of_md(side: Side, of_md: Coefficient | None, *, accepted: bool) -> Side:
    """Add D over the fit window of the MD."""
    if of_md is None:
        return side
    found = fit_diffusion(side.dynamics, window_ps=of_md.window_ps, accept_poor_model=accepted)
    return replace(side, window_of_md=found.total or Refused(found.refused or ""))


class _WholePaths:
    """What needs whole paths: fidelity, baselines, sites, densities; a part of large files."""

    def __init__(self, config: ReportConfig, label: str) -> None:
        self.label = label
        self.md: MdRuns = read_runs(config.md, config.species)
        crystal = self.md.crystal
        self.lattice = Lattice.of_crystal(crystal) if isinstance(crystal, Crystal) else None
        self.reference = Fidelity(
            self.md.positions, self.md.interval_ps, self.lattice, cell=self.md.cell
        )
        self.records = min(map(len, self.md.positions))
        self.free, self.free_interval_ps, self.ions_per_cell, self.cell = _mixed_models(
            config.generated, config.species, self.records * self.md.interval_ps
        )

    def critic(self, communicator: Communicator) -> CriticResult:
        """Return whether a classifier can tell the generated ions from the MD."""
        return self.reference.critic(
            self.free,
            self.free_interval_ps,
            ions_per_cell=self.ions_per_cell,
            cell=self.cell,
            communicator=communicator,
        )

    def baselines(
        self, config: DynamicsConfig
    ) -> tuple[dict[str, Side], dict[str, FidelityResult]]:
        """Return the baselines, and the fidelity of the generated ions and of the baselines."""
        rng = np.random.default_rng(0)
        runs, interval = self.md.positions, self.md.interval_ps
        made = {
            "block bootstrap": block_bootstrap(runs, self.records, COMPARED // 2, rng),
            "Gaussian process": gaussian_process(runs, self.records, COMPARED // 2, rng),
        }
        own = self.reference.compare(
            self.free,
            self.free_interval_ps,
            ions_per_cell=self.ions_per_cell,
            cell=self.cell,
        )
        fidelity = {self.label: own}
        sides = {}
        for name, positions in made.items():
            fidelity[name] = self.reference.compare(positions, interval)
            moved = dynamics_of_arrays([positions], interval, config, label=name)
            sides[name] = Side(moved, fit_diffusion(moved))
        return sides, fidelity

    def lengths(self, config: ReportConfig, *, of_generated: bool) -> Lengths:
        """Return D against the length of the trajectory of both, or of the MD alone."""
        made, interval_ps = beginnings(config.generated, config.species)
        return Lengths(
            d_against_length(self.md.positions, self.md.interval_ps),
            d_against_length(made if of_generated else [], interval_ps),
        )

    def density(self) -> DensitySlices | None:
        """Return the densities of both in a layer, in a crystal."""
        if self.md.cell is None or self.lattice is None:
            return None
        every = np.concatenate([run.reshape(-1, 3) for run in self.md.positions])
        return density_slices(every, self.free, self.md.cell, self.lattice)


def _extrapolation(diffusion: Diffusion, lag_ps: np.ndarray) -> Extrapolation | None:
    total = diffusion.total
    if total is None:
        return None
    return Extrapolation(**linear_extrapolation(total, lag_ps[lag_ps >= total.window_ps[0]]))


def _mixed_models(
    paths: Sequence[str], species: str, span_ps: float
) -> tuple[np.ndarray, float, int, np.ndarray | None]:
    """Return positions [T, N, 3] of about `COMPARED` ions over `span_ps`, and their interval.

    As many of each file, in whole cells, whose ions and vectors are told too; of large cells a
    part, as single ions.
    """
    with open_runs(paths, species) as trajectories:
        interval = trajectories[0].record_interval_ps
        records = min(round(span_ps / interval), *(t.n_records for t in trajectories))
        cell, parts = trajectories[0].constant_cell, []
        together = trajectories[0].ions_per_cell
        for t in trajectories:
            ions = t.ions_per_cell if t.ions_per_cell <= COMPARED // 2 else 1
            share = math.ceil(COMPARED / len(paths) / ions) * ions
            parts.append(t.positions(slice(0, records), slice(0, share)))
            together = min(together, ions)
    return np.concatenate(parts, 1), interval, together, cell


def _interval_and_span(paths: Sequence[str], species: str) -> tuple[float, float]:
    """Return the record interval of the first file, and the length of the longest."""
    with open_runs(paths, species) as trajectories:
        intervals = [t.record_interval_ps for t in trajectories]
        spans = [(t.n_records - 1) * i for t, i in zip(trajectories, intervals, strict=True)]
    return intervals[0], max(spans)


def msd_ratio(md: Dynamics, generated: Dynamics) -> MsdRatio:
    """Return generated over MD mean squared displacement.

    Raises
    ------
    DataError
        If they are known at different lags.
    """
    a, b = md.curves, generated.curves
    count = min(len(a.lag_ps), len(b.lag_ps))
    lag = a.lag_ps[:count]
    if not np.allclose(lag, b.lag_ps[:count], rtol=1e-3):
        raise DataError("lags of MD and generated trajectory differ")
    inside = lag <= 0.25 * float(np.min(md.span_ps)) * (1 + 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = b.msd[:count][inside] / a.msd[:count][inside]
        off = np.abs(np.log(ratio))
    worst = int(np.argmax(np.nan_to_num(off, nan=-1.0)))
    return MsdRatio(lag[inside], ratio, float(ratio[worst]), float(lag[inside][worst]))
