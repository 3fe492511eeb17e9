"""How the trajectories of a report were made: what their files tell, as rows of a table."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.trajectory import Trajectory

#: Keys of the section ``data`` of a training configuration that are shown.
_OF_SAMPLES = ("records", "step_skip")


def facts_of(config: ReportConfig) -> dict[str, dict[str, Any]]:
    """Return what the files tell about how they were made; what they do not tell is left out."""
    with Trajectory(config.md[0], config.species or None) as trajectory:
        temperature = trajectory.observable("temperature")
        md = {
            "temperature_k": None if temperature is None else float(np.nanmean(temperature)),
        }
    with Trajectory(config.generated[0], config.species or None) as trajectory:
        provenance = trajectory.provenance
        training: dict[str, Any] = {}
        span = trajectory.parameter("training_span_ps")
        if span:
            training["span_ps"] = float(span)
        model = trajectory.parameter("model_provenance")
        trained = json.loads(model) if isinstance(model, str) and model else {}
        settings = trained.get("config", {})
        training |= {k: v for k, v in settings.get("data", {}).items() if k in _OF_SAMPLES}
        steps = [part.get("steps") for part in settings.get("phase", [settings.get("train", {})])]
        if None not in steps:
            training["steps"] = sum(steps)
        if trained.get("training_time_s"):
            training["training_time_s"] = trained["training_time_s"]
        generation = {k: provenance[k] for k in ("seed", "ranks") if provenance.get(k) is not None}
    return {"md": md, "training": training, "generation": generation}


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
            " + ".join(f"{v:.4g}" for v in md.span_ps),
            " + ".join(f"{v:.4g}" for v in generated.span_ps),
        ],
        [
            "Ion time in all (ns)",
            f"{float(md.span_ps @ md.n_particles) / 1000:.3g}",
            f"{float(generated.span_ps @ generated.n_particles) / 1000:.3g}",
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
        rows.append(["Training time", "-", _duration(training["training_time_s"])])
    if "seed" in generation:
        rows.append(["Seed of generation", "-", str(generation["seed"])])
    return rows


def _counts(values: np.ndarray) -> str:
    first = f"{int(values[0]):,}".replace(",", " ")
    if (values == values[0]).all():
        return first if len(values) == 1 else f"{first} × {len(values)}"
    return " + ".join(str(int(v)) for v in values)


def _duration(seconds: Any) -> str:
    seconds = float(seconds)
    return f"{seconds / 3600:.2g} h" if seconds >= 5400 else f"{seconds / 60:.2g} min"
