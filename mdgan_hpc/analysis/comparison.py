"""MD and generated trajectories side by side: what a report shows."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.baselines import block_bootstrap, gaussian_process, linear_extrapolation
from mdgan_hpc.analysis.covariance import runs_of
from mdgan_hpc.analysis.diffusion import diffusion_tree
from mdgan_hpc.analysis.dynamics import analyse, analyse_arrays, open_runs
from mdgan_hpc.analysis.fidelity import Reference
from mdgan_hpc.analysis.fit.coefficient import fit_coefficient
from mdgan_hpc.analysis.intervals import common_strides
from mdgan_hpc.analysis.paths import displacements, ion_paths
from mdgan_hpc.analysis.samples import windows_against_step_skip
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.analysis.sites import Lattice, count_hops, density_slices, joined_hops
from mdgan_hpc.analysis.transport import ensemble, information_ceiling
from mdgan_hpc.analysis.window import NotDiffusiveError
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import Communicator
from mdgan_hpc.trajectory import Trajectory

#: Ions drawn in the pictures of paths.
DRAWN = 36
PATH_PS = 1.0

#: Generated ions compared with MD path by path.
COMPARED = 512

#: Length of a hop where no sites are known, Angstrom.
HOP_ANGSTROM = 3.0


@dataclass(frozen=True)
class ReportConfig:
    """Inputs of a report.

    Attributes
    ----------
    md : tuple of path
        MD runs of one system, each a replica.
    generated : tuple of path
        Generated trajectories, each of its own model (bootstrap replica) if several.
    records : int
        Records in a training sample, if the generated file does not tell.
    """

    md: tuple[str, ...]
    generated: tuple[str, ...]
    records: int = 128

    def __post_init__(self) -> None:
        if not self.md or not self.generated:
            raise UsageError("a report needs at least one --md and one --generated file")


def fingerprint(config: ReportConfig) -> str:
    """Return a text that changes when the inputs or the configuration do."""
    files = {}
    for path in (*config.md, *config.generated):
        if not Path(path).exists():
            raise DataError("no such file", where=path)
        status = os.stat(path)
        files[str(path)] = [status.st_size, status.st_mtime_ns]
    return json.dumps({"config": asdict(config), "files": files}, sort_keys=True)


def compare(config: ReportConfig, communicator: Communicator) -> dict[str, Any] | None:
    """Analyse MD and generated trajectories at common lags; every rank must call it.

    Returns
    -------
    dict or None
        The result tree on rank 0: ``md``, ``generated`` (`dynamics.summarise`, with ``diffusion``
        and pictures' data), ``msd_ratio``, ``samples``, ``conditions``.
    """
    interval, md_span = _interval_and_span(config.md)
    generated_interval, _ = _interval_and_span(config.generated)
    md_stride, generated_stride = common_strides(interval, generated_interval)
    md = analyse(config.md, DynamicsConfig(stride=md_stride), communicator, label="MD")
    times = communicator.bcast(None if md is None else tuple(md["van_hove"]["time_ps"]))
    generated = analyse(
        config.generated,
        DynamicsConfig(stride=generated_stride, van_hove_ps=times),
        communicator,
        label="MD-GAN",
    )
    if md is None or generated is None:
        return None
    tree: dict[str, Any] = {"md": md, "generated": generated}
    for part, paths in ((md, config.md), (generated, config.generated)):
        part["diffusion"] = diffusion_tree(part)
        part["paths"] = ion_paths(paths, span_ps=PATH_PS, n_particles=DRAWN)
        part["displacements"] = displacements(paths, span_ps=md_span, n_particles=DRAWN)
    _add_common_window(md, generated)
    if len(config.generated) > 1:
        generated["models"] = _each_model(generated)
    tree["msd_ratio"] = msd_ratio(md, generated)
    tree |= _in_memory(config, md_stride, md, generated)
    facts = _facts(config)
    records = int(facts["training"].get("records", config.records))
    tree["samples"] = windows_against_step_skip(md["n_records"], md["n_particles"], records) | {
        "records": records,
        "used_step_skip": facts["training"].get("step_skip"),
    }
    tree["conditions"] = _conditions(md, generated, facts)
    tree["training_span_ps"] = facts["training"].get("span_ps", md_span)
    return tree


def _each_model(generated: Mapping[str, Any]) -> dict[str, Any]:
    """D of each generated trajectory alone, and their ensemble: one trajectory, one model."""
    curves = generated["curves"]
    values, refused = [], 0
    for k, msd in enumerate(generated["replicas"]["msd"]):
        alone = dict(generated) | {
            "n_particles": generated["n_particles"][k : k + 1],
            "n_records": generated["n_records"][k : k + 1],
            "span_ps": generated["span_ps"][k : k + 1],
        }
        try:
            one = fit_coefficient(curves["lag_ps"], msd, runs_of(alone))
            values.append(one.d_angstrom2_per_ps)
        except NotDiffusiveError:
            refused += 1
    tree: dict[str, Any] = {"d_angstrom2_per_ps": np.array(values), "refused": refused}
    if len(values) > 1:
        tree["ensemble"] = ensemble(values)
    return tree


def _in_memory(
    config: ReportConfig, md_stride: int, md: Mapping[str, Any], generated: Mapping[str, Any]
) -> dict[str, Any]:
    """What needs whole paths: fidelity, baselines, sites, densities; a part of large files."""
    runs, lattice, cell, interval = [], None, None, 0.0
    for path in config.md:
        with Trajectory(path) as trajectory:
            runs.append(trajectory.positions())
            interval = trajectory.record_interval_ps
            if lattice is None:
                cell = trajectory.constant_cell
                lattice = Lattice.of_framework(trajectory.framework, cell)
    shortest = min(map(len, runs))
    free, generated_interval = _mixed_models(config.generated, shortest * interval)
    reference = Reference(runs, interval, lattice)
    random = np.random.default_rng(0)
    made = {
        "block bootstrap": block_bootstrap(runs, shortest, COMPARED // 2, random),
        "Gaussian process": gaussian_process(runs, shortest, COMPARED // 2, random),
    }
    fidelity = {"MD-GAN": reference.compare(free, generated_interval).tree()}
    baselines: dict[str, Any] = {}
    dynamics = DynamicsConfig(stride=md_stride, van_hove_ps=tuple(md["van_hove"]["time_ps"]))
    for name, positions in made.items():
        fidelity[name] = reference.compare(positions, interval).tree()
        baselines[name] = analyse_arrays([positions], interval, dynamics, label=name)
        baselines[name]["diffusion"] = diffusion_tree(baselines[name])
    tree: dict[str, Any] = {"fidelity": fidelity, "baselines": baselines}
    total = md["diffusion"].get("total")
    if total is not None:
        lags = generated["curves"]["lag_ps"]
        lags = lags[lags >= total["window_ps"][0]]
        tree["extrapolation"] = linear_extrapolation(total, lags)
    hop = HOP_ANGSTROM
    sites = reference.sites
    if sites is not None:
        parts = {"md": (runs, interval), "generated": ([free], generated_interval)}
        counted = {}
        for key, (arrays, step_ps) in parts.items():
            hops = [count_hops(sites, a.astype(np.float64), step_ps) for a in arrays]
            counted[key] = joined_hops(hops).tree(step_ps)
        hop = float(counted["md"]["hop_length"]) or hop
        tree["sites"] = {
            "fraction": sites.fraction,
            "position": sites.fraction @ sites.lattice,
            "lattice": sites.lattice,
            **counted,
        }
    if cell is not None and lattice is not None:
        tree["density"] = density_slices(
            {"md": np.concatenate([r.reshape(-1, 3) for r in runs]), "generated": free},
            cell,
            lattice,
        )
    tree["ceiling"] = _ceiling(md, hop)
    return tree


def _mixed_models(paths: Sequence[str], span_ps: float) -> tuple[np.ndarray, float]:
    """Return positions [T, N, 3] of about `COMPARED` ions over `span_ps`, and their interval.

    As many of each file, in whole simulations.
    """
    with open_runs(paths) as trajectories:
        interval = trajectories[0].record_interval_ps
        records = min(round(span_ps / interval), *(t.n_records for t in trajectories))
        parts = []
        for t in trajectories:
            together = t.simulated_together if t.simulated_together < t.n_particles else 1
            share = math.ceil(COMPARED / len(paths) / together) * together
            parts.append(t.positions(slice(0, records), slice(0, share)))
    return np.concatenate(parts, 1), interval


def _ceiling(md: Mapping[str, Any], hop: float) -> dict[str, float]:
    """The relative error of D that the MD data allow at best."""
    ions = int(md["n_particles"].sum())
    total = md["diffusion"].get("total")
    span = float(np.mean(md["span_ps"]))
    longest = float(md["curves"]["msd"][-1])
    if total is not None:
        longest = total["intercept_angstrom2"] + 6 * total["d_angstrom2_per_ps"] * span
    n_effective, relative = information_ceiling(ions, longest, hop)
    return {"n_effective": n_effective, "relative_error": relative, "hop_length": hop}


def _interval_and_span(paths: Sequence[str]) -> tuple[float, float]:
    """Record interval of the first file, and length of the longest."""
    intervals, spans = [], []
    for path in paths:
        with Trajectory(path) as trajectory:
            intervals.append(trajectory.record_interval_ps)
            spans.append((trajectory.n_records - 1) * intervals[-1])
    return intervals[0], max(spans)


def msd_ratio(md: Mapping[str, Any], generated: Mapping[str, Any]) -> dict[str, Any]:
    """Return generated over MD mean squared displacement from one record to a quarter of the run.

    Returns
    -------
    dict
        ``lag_ps``, ``ratio`` [L], ``worst`` (the ratio farthest from one, on a log scale) and
        ``worst_lag_ps``.
    """
    a, b = md["curves"], generated["curves"]
    count = min(len(a["lag_ps"]), len(b["lag_ps"]))
    lag = a["lag_ps"][:count]
    if not np.allclose(lag, b["lag_ps"][:count], rtol=1e-3):
        raise DataError("lags of MD and generated trajectory differ")
    inside = lag <= 0.25 * float(np.min(md["span_ps"])) * (1 + 1e-9)
    ratio = b["msd"][:count][inside] / a["msd"][:count][inside]
    worst = int(np.argmax(np.abs(np.log(ratio))))
    return {
        "lag_ps": lag[inside],
        "ratio": ratio,
        "worst": float(ratio[worst]),
        "worst_lag_ps": float(lag[inside][worst]),
    }


def _add_common_window(md: dict[str, Any], generated: dict[str, Any]) -> None:
    """Give the generated trajectory's D also over the fit window of the MD."""
    total = md["diffusion"].get("total")
    if total is None:
        return
    start, stop = total["window_ps"]
    same = diffusion_tree(generated, window_ps=(float(start), float(stop)))
    generated["diffusion"]["window_of_md"] = same.get("total", same)


def _facts(config: ReportConfig) -> dict[str, dict[str, Any]]:
    """What the files tell about how they were made; what they do not tell is left out."""
    with Trajectory(config.md[0]) as trajectory:
        temperature = trajectory.observable("temperature")
        md = {
            "temperature_k": None if temperature is None else float(np.nanmean(temperature)),
            "species": int(trajectory.species[0]) if trajectory.species.any() else None,
        }
    with Trajectory(config.generated[0]) as trajectory:
        provenance = trajectory.provenance
        training: dict[str, Any] = {}
        span = trajectory.parameter("training_span_ps")
        if span:
            training["span_ps"] = float(span)
        model = trajectory.parameter("model_provenance")
        trained = json.loads(model) if isinstance(model, str) and model else {}
        settings = trained.get("config", {})
        for name, section in (("records", "data"), ("step_skip", "data"), ("steps", "train")):
            value = settings.get(section, {}).get(name)
            if value is not None:
                training[name] = value
        if trained.get("training_time_s"):
            training["training_time_s"] = trained["training_time_s"]
        generation = {k: provenance[k] for k in ("seed", "ranks") if provenance.get(k) is not None}
    return {"md": md, "training": training, "generation": generation}


def _conditions(
    md: Mapping[str, Any], generated: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    """Rows of the table of conditions and times: quantity, MD, MD-GAN."""

    def counts(values: np.ndarray) -> str:
        first = f"{int(values[0]):,}".replace(",", " ")
        same = (values == values[0]).all()
        if same:
            return first if len(values) == 1 else f"{first} x {len(values)}"
        return " + ".join(str(int(v)) for v in values)

    def duration(seconds: Any) -> str:
        seconds = float(seconds)
        return f"{seconds / 3600:.2g} h" if seconds >= 5400 else f"{seconds / 60:.2g} min"

    rows = [
        ["Ions", counts(md["n_particles"]), counts(generated["n_particles"])],
        ["Records", counts(md["n_records"]), counts(generated["n_records"])],
        [
            "Record interval (fs)",
            f"{1000 * md['record_interval_ps']:g}",
            f"{1000 * generated['record_interval_ps']:g}",
        ],
        [
            "Length (ps)",
            " + ".join(f"{v:.4g}" for v in md["span_ps"]),
            " + ".join(f"{v:.4g}" for v in generated["span_ps"]),
        ],
        [
            "Ion time in all (ns)",
            f"{float(md['span_ps'] @ md['n_particles']) / 1000:.3g}",
            f"{float(generated['span_ps'] @ generated['n_particles']) / 1000:.3g}",
        ],
    ]
    training, generation = facts["training"], facts["generation"]
    if facts["md"]["temperature_k"]:
        rows.append(["Temperature (K)", f"{facts['md']['temperature_k']:.0f}", "as trained"])
    for key, name in (
        ("records", "Records in a training sample"),
        ("step_skip", "Step skip (stored steps)"),
        ("steps", "Training steps"),
    ):
        if key in training:
            rows.append([name, "-", str(training[key])])
    if "training_time_s" in training:
        rows.append(["Training time", "-", duration(training["training_time_s"])])
    if "seed" in generation:
        rows.append(["Seed of generation", "-", str(generation["seed"])])
    return rows
