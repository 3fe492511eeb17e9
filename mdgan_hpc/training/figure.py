"""A training while it goes: losses and the comparison of free runs with MD, against the step."""

from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc import plotting as style
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.training.metrics import read_metrics

_LOSSES = {
    "likelihood_loss": "neg. log likelihood (weighted, nats)",
    "critic_loss": "critic",
    "generator_loss": "generator",
}
_KEPT_OUT = "validation_loss"


def draw_training(metrics: Path, target: Path) -> None:
    """Draw the metrics of a training, if there are any yet.

    Parameters
    ----------
    metrics : Path
        ``metrics.jsonl`` of the run folder.
    target : Path
        PNG to write; it appears whole.
    """
    if not metrics.exists():
        return
    rows = read_metrics(metrics)
    losses = [name for name in _LOSSES if any(name in row for row in rows)]
    judged = [row for row in rows if "score" in row]
    if not losses:
        return
    panels = len(losses) + bool(judged)
    with style.figure(6.0, 1.9 * panels, nrows=panels, sharex=True, squeeze=False) as (fig, axes):
        for axis, name in zip(axes[:, 0], losses, strict=False):
            shown = [(row["step"], row[name]) for row in rows if name in row]
            steps, values = np.array(shown).T
            width = max(1, len(values) // 20)
            if width > 1:
                axis.plot(steps, values, color="0.75", linewidth=0.8, label="as logged")
            smooth = np.convolve(values, np.ones(width) / width, "valid")
            label = f"mean of the last {width}" if width > 1 else "training data"
            axis.plot(steps[len(steps) - len(smooth) :], smooth, **style.GENERATED, label=label)
            kept_out = [(row["step"], row[_KEPT_OUT]) for row in judged if _KEPT_OUT in row]
            if name == "likelihood_loss" and kept_out:
                axis.plot(*np.array(kept_out).T, marker="o", **style.MD, label="data kept out")
            axis.legend(loc="upper right")
            axis.set_title(_LOSSES[name], loc="left")
        if judged:
            _draw_fidelity(axes[-1, 0], judged)
        axes[-1, 0].set_xlabel("training step")
        with written_whole(target) as partial:
            fig.savefig(partial, format="png")


def _draw_fidelity(axis: Any, judged: list[dict[str, Any]]) -> None:
    """Draw the distance of free runs to MD in each observable, against the step."""
    steps = [row["step"] for row in judged]
    kinds = [k for k in judged[-1] if k.startswith("fidelity ")]
    for kind in kinds:
        label = "each observable" if kind == kinds[0] else None
        ratios = [row.get(kind, np.nan) for row in judged]
        axis.plot(steps, ratios, color="0.75", linewidth=0.8, label=label)
    scores = [row["score"] for row in judged]
    axis.plot(steps, scores, marker="o", **style.GENERATED, label="root mean square")
    axis.axhline(1, **style.MD, linewidth=0.8, label="another MD run")
    if kinds:
        worst = max(kinds, key=lambda kind: judged[-1][kind])
        axis.annotate(
            worst.removeprefix("fidelity "),
            (steps[-1], judged[-1][worst]),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_title("distance of free runs to MD over that of another MD run", loc="left")
    axis.legend(ncols=3, loc="upper right")
