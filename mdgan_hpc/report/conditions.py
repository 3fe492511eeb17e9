"""How the trajectories of a report were made: what their files tell, as rows of a table."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.layout import GENERATION_TIME
from mdgan_hpc.trajectory.replicas import training_of
from mdgan_hpc.trajectory.temperature import temperature_of

_log = logging.getLogger(__name__)
#: Keys of the section ``data`` of a training configuration that are shown.
_OF_SAMPLES = ("records", "step_skip")


def facts_of(config: ReportConfig) -> dict[str, dict[str, Any]]:
    """Return what the files tell about how they were made; what they do not tell is left out."""
    md = _facts_of_md(config)
    with Trajectory(config.generated[0], config.species or None) as trajectory:
        provenance = trajectory.provenance
        training: dict[str, Any] = {}
        span = trajectory.number("training_span_ps")
        if span:
            training["span_ps"] = span
        trained = training_of(trajectory)
        settings = trained.get("config", {})
        training |= {k: v for k, v in settings.get("data", {}).items() if k in _OF_SAMPLES}
        steps = [part.get("steps") for part in settings.get("phase", [settings.get("train", {})])]
        if None not in steps:
            training["steps"] = sum(steps)
        if trained.get("training_time_s"):
            training["training_time_s"] = trained["training_time_s"]
        generation = {k: provenance[k] for k in ("seed", "ranks") if provenance.get(k) is not None}
        training["temperature_k"] = temperature_of(trajectory).k
    times = [_constant(path, GENERATION_TIME) for path in config.generated]
    if all(times):
        generation["time_s"] = sum(times)
    return {"md": md, "training": training, "generation": generation}


def _facts_of_md(config: ReportConfig) -> dict[str, Any]:
    found = []
    for path in config.md:
        with Trajectory(path, config.species or None) as trajectory:
            found.append(temperature_of(trajectory))
    targets = [t.target_k for t in found if t.target_k is not None]
    means = [t.mean_k for t in found if t.mean_k is not None]
    times = [_constant(path, "wall_time_s") for path in config.md]
    return {
        "target_k": float(np.mean(targets)) if targets else None,
        "mean_k": float(np.mean(means)) if means else None,
        "time_s": sum(times) if all(times) else None,
    }


def _constant(path: str, name: str) -> float:
    """Return a number of ``parameters/`` of a file; 0 where it has none."""
    with Trajectory(path) as trajectory:
        return trajectory.number(name) or 0.0


def conditions(
    md: Dynamics, generated: Dynamics, facts: Mapping[str, Mapping[str, Any]]
) -> list[list[str]]:
    """Return the rows of the table of conditions and times: quantity, MD, generated."""
    rows = [
        ["Ions", _counts(md.n_particles), _counts(generated.n_particles)],
        ["Records", _counts(md.n_records), _counts(generated.n_records)],
        [
            "Record interval (fs)",
            f"{1000 * md.record_interval_ps:g}",
            f"{1000 * generated.record_interval_ps:g}",
        ],
        [
            "Length (ps)",
            _each([f"{v:.4g}" for v in md.span_ps]),
            _each([f"{v:.4g}" for v in generated.span_ps]),
        ],
        [
            "Ion time in all (ns)",
            f"{float(md.span_ps @ md.n_particles) / 1000:.3g}",
            f"{float(generated.span_ps @ generated.n_particles) / 1000:.3g}",
        ],
    ]
    training, generation = facts["training"], facts["generation"]
    of_md = _kelvin(facts["md"]["target_k"], facts["md"]["mean_k"])
    if of_md or training["temperature_k"]:
        rows.append(["Temperature (K)", of_md or "-", _kelvin(training["temperature_k"]) or "-"])
    for key, name in (
        ("records", "Records in a training sample"),
        ("step_skip", "Step skip (stored steps)"),
        ("steps", "Training steps"),
    ):
        if key in training:
            rows.append([name, "-", str(training[key])])
    for name, of_simulation, of_model in (
        ("Time of the MD", facts["md"]["time_s"], None),
        ("Time of the training", None, training.get("training_time_s")),
        ("Time of the generation", None, generation.get("time_s")),
    ):
        if of_simulation or of_model:
            rows.append([name, _duration(of_simulation), _duration(of_model)])
    if "seed" in generation:
        rows.append(["Seed of generation", "-", str(generation["seed"])])
    return rows


def trained_on(config: ReportConfig, digests: Mapping[str, str]) -> list[list[str]]:
    """Return a row that tells how many of the MD runs the model was trained on.

    Parameters
    ----------
    config : ReportConfig
    digests : mapping
        SHA-256 of the files by their paths.
    """
    with Trajectory(config.generated[0], config.species or None) as trajectory:
        known = set(dict(training_of(trajectory).get("inputs", {})).values())
    if not known:
        return []
    runs = {digests[path] for path in config.md}
    if not runs & known:
        _log.warning(
            "None of the MD files is one that the model of %s was trained on: compare with MD of "
            "the same system.",
            config.generated[0],
        )
    return [["MD runs that were trained on", f"{len(runs & known)} of {len(runs)}", "-"]]


def _counts(values: np.ndarray) -> str:
    return _each([f"{int(value):,}".replace(",", " ") for value in values])


def _each(values: Sequence[str]) -> str:
    """Return what each file has: once, with their number, where all have the same."""
    if len(values) > 1 and len(set(values)) == 1:
        return f"{values[0]} × {len(values)}"
    return " + ".join(values)


def _kelvin(target_k: float | None, mean_k: float | None = None) -> str:
    """Return a temperature: what the thermostat was set to, and what was measured."""
    measured = "" if mean_k is None else f"{mean_k:.0f}"
    if target_k is None:
        return measured
    return f"{target_k:.0f}" + (f" (measured {measured})" if measured else "")


def _duration(seconds: float | None) -> str:
    """Return a time as people say it; a dash where it is not known."""
    if not seconds:
        return "-"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"
