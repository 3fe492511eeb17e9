"""MD and generated trajectories side by side: what a report shows."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.diffusion import diffusion_tree
from mdgan_hpc.analysis.dynamics import DynamicsConfig, analyse
from mdgan_hpc.analysis.intervals import common_strides
from mdgan_hpc.analysis.paths import displacements, ion_paths
from mdgan_hpc.analysis.samples import windows_against_step_skip
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import Communicator
from mdgan_hpc.trajectory import Trajectory

#: Ions drawn in the pictures of paths.
DRAWN = 36
PATH_PS = 1.0


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
    tree["msd_ratio"] = msd_ratio(md, generated)
    facts = _facts(config)
    records = int(facts["training"].get("records", config.records))
    tree["samples"] = windows_against_step_skip(md["n_records"], md["n_particles"], records) | {
        "records": records,
        "used_step_skip": facts["training"].get("step_skip"),
    }
    tree["conditions"] = _conditions(md, generated, facts)
    tree["training_span_ps"] = facts["training"].get("span_ps", md_span)
    return tree


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
        made_from = trajectory.parameter("model_provenance") or provenance.get("model") or {}
        if isinstance(made_from, str):
            try:
                made_from = json.loads(made_from)
            except json.JSONDecodeError:
                made_from = {}
        training |= _found(made_from, ("records", "step_skip", "steps", "training_time_s", "seed"))
        generation = _found(provenance, ("seed", "ranks", "generation_time_s"))
    return {"md": md, "training": training, "generation": generation}


def _found(tree: Any, names: Sequence[str]) -> dict[str, Any]:
    """Look for keys at any depth of a provenance record; the outermost value holds."""
    found: dict[str, Any] = {}
    level = [tree]
    while level:
        deeper: list[Any] = []
        for node in level:
            if isinstance(node, Mapping):
                for name in names:
                    if name in node and name not in found and node[name] is not None:
                        found[name] = node[name]
                deeper += list(node.values())
        level = deeper
    return found


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
    if "generation_time_s" in generation:
        rows.append(["Generation time", "-", duration(generation["generation_time_s"])])
    if "seed" in generation:
        rows.append(["Seed of generation", "-", str(generation["seed"])])
    return rows
