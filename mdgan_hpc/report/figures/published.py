"""The figures of the published example, drawn from a comparison."""

from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.plotting import GENERATED, MD, TRAINING_SPAN, figure, save
from mdgan_hpc.report.results import Comparison, Samples, Side

_STYLES = (MD, GENERATED)


def ion_paths(found: Comparison, folder: Path) -> str:
    """Ion paths over about 1 ps, MD beside generated, seen along z and along y, at one scale."""
    drawn = [(side.label, side.paths) for side in (found.md, found.generated) if side.paths]
    # The two start at different places of the lattice: same span, each about its own middle.
    bounds = [np.array(_bounds(paths.position)) for _, paths in drawn]
    half = 0.52 * np.max([high - low for low, high in bounds], axis=0)  # [3]
    half = np.maximum(half, 1e-3)  # ions that stand still
    shapes = [half[1] / half[0], half[2] / half[0]]
    height = min(1.2 + 2.9 * sum(shapes), 9.0)
    grid = {"height_ratios": shapes}
    with figure(7.0, height, nrows=2, ncols=2, gridspec_kw=grid) as (fig, axes):
        for column, ((name, paths), (low, high)) in enumerate(zip(drawn, bounds, strict=True)):
            position, color = paths.position, _STYLES[column]["color"]
            middle = (low + high) / 2
            for row, (i, j) in enumerate(((0, 1), (0, 2))):
                ax = axes[row, column]
                for ion in range(position.shape[1]):
                    ax.plot(position[:, ion, i], position[:, ion, j], color=color, lw=0.5)
                ax.plot(*position[0, :, [i, j]], ".", color="black", ms=3)
                ax.set_xlim(middle[i] - half[i], middle[i] + half[i])
                ax.set_ylim(middle[j] - half[j], middle[j] + half[j])
                ax.set_xlabel(f"{'xyz'[i]} (Å)")
                ax.set_ylabel(f"{'xyz'[j]} (Å)")
                ax.set_aspect("equal")
            span = paths.time_ps[-1]
            axes[0, column].set_title(
                f"{name}: {position.shape[1]} ions over {span:.2g} ps (dot: start)"
            )
        return save(fig, folder, "ion_paths")


def _bounds(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates [3] of positions [T, N, 3]."""
    return position.min((0, 1)), position.max((0, 1))


def samples(found: Comparison, folder: Path) -> str:
    """Number of training samples against step skip."""
    with figure() as (fig, ax):
        _plot_samples(ax, found.samples)
        return save(fig, folder, "samples_step_skip")


def draw_samples(counted: Samples, target: Path) -> None:
    """Draw the number of training samples against step skip alone, before any training.

    Parameters
    ----------
    counted : Samples
    target : path
        Its suffix says the format; the file appears whole.
    """
    with figure() as (fig, ax), written_whole(target) as partial:
        _plot_samples(ax, counted, used="suggested")
        fig.savefig(partial, format=target.suffix[1:])


def _plot_samples(ax: Any, counted: Samples, used: str = "used") -> None:
    skip = counted.step_skip
    ax.loglog(skip, counted.overlapping, color="black", label="from every start")
    independent = np.where(counted.independent > 0, counted.independent, np.nan)
    ax.loglog(skip, independent, color="black", linestyle=":", label="that do not overlap in time")
    number = counted.used_step_skip
    if number:
        ax.axvline(number, color=GENERATED["color"], lw=1, label=f"{used}: {number}")
    ax.set_xlabel("step skip (stored steps between records)")
    ax.set_ylabel(f"samples of {counted.records} records (number)")
    ax.legend()


def displacement(found: Comparison, folder: Path, axis: int = 2) -> str:
    """Displacement of each particle along one axis, MD beside generated."""
    with figure(7.0, 3.4, ncols=2, sharey=True) as (fig, axes):
        for ax, side, style in zip(axes, (found.md, found.generated), _STYLES, strict=True):
            if side.displacements is None:
                continue
            moved = side.displacements.displacement[:, :, axis]
            ax.plot(side.displacements.time_ps, moved, color=style["color"], lw=0.5)
            ax.axhline(0, color="black", lw=0.5)
            ax.set_title(f"{side.label}: {moved.shape[1]} ions")
            ax.set_xlabel("time (ps)")
        axes[0].set_ylabel(f"displacement along {'xyz'[axis]} (Å)")
        return save(fig, folder, f"displacement_{'xyz'[axis]}")


def msd(found: Comparison, folder: Path) -> str:
    """Mean squared displacement of both, and their ratio; the training span is grey."""
    span, ratio = found.training_span_ps, found.msd_ratio
    md, generated = found.md.label, found.generated.label
    a, b = found.md.dynamics.curves, found.generated.dynamics.curves
    left = min(a.lag_ps[0], b.lag_ps[0]) * 0.8
    end = max(a.lag_ps[-1], b.lag_ps[-1])
    grid = {"height_ratios": (3, 1)}
    with figure(5.0, 4.6, nrows=2, sharex=True, gridspec_kw=grid) as (fig, (ax, below)):
        for replica in found.md.dynamics.replicas.msd:
            ax.loglog(a.lag_ps, replica, color=MD["color"], lw=0.4, alpha=0.6)
        ax.loglog(a.lag_ps, a.msd, label=_named(found.md, "thin: single runs"), **MD)
        ax.loglog(b.lag_ps, b.msd, label=generated, **GENERATED)
        guide = np.array([end / 30, end])
        top = max(a.msd.max(), b.msd.max())
        ax.loglog(guide, 2.5 * top * guide / end, color="0.5", lw=0.8, label="slope 1")
        below.semilogx(ratio.lag_ps, ratio.ratio, **GENERATED)
        below.axhline(1, **MD | {"linewidth": 0.8})
        low, high = below.get_ylim()
        below.set_ylim(min(low, 0.8), max(high, 1.25))
        for panel in (ax, below):
            panel.axvspan(left, span, color=TRAINING_SPAN, zorder=0, lw=0)
            panel.axvline(span, color="0.5", lw=0.8, zorder=0)
        below.set_xlim(left, 1.1 * max(end, span))
        below.set_xlabel("lag time (ps)")
        ax.set_ylabel("mean squared displacement (Å²)")
        below.set_ylabel(_quotient(generated, md))
        label = f"{span:.3g} ps, the length of a training run"
        ax.plot([], [], "s", color=TRAINING_SPAN, mec="0.5", ms=8, label=label)
        ax.legend()
        return save(fig, folder, "msd")


def _named(side: Side, note: str) -> str:
    return f"{side.label} ({note})" if len(side.dynamics.replicas.msd) > 1 else side.label


def _quotient(above: str, below: str) -> str:
    """A long name would not fit beside the lower panel on one line."""
    return f"{above} / {below}" if len(above) < 12 else "\n".join([*above.split(), f"/ {below}"])


def draw(found: Comparison, folder: Path) -> list[tuple[str, str]]:
    """Draw all of them into `folder`; return names and captions."""
    ratio, name = found.msd_ratio, found.generated.label
    span = 0.0 if found.md.paths is None else found.md.paths.time_ps[-1]
    return [
        (
            msd(found, folder),
            f"Mean squared displacement over all time origins, and {name} over MD. From one record "
            "to a quarter of the MD run the ratio is farthest from 1 at "
            f"{ratio.worst_lag_ps:.3g} ps: {ratio.worst:.2f}. Grey: the length of the "
            "training runs.",
        ),
        (
            displacement(found, folder),
            "Displacement of each ion along z from its start, over the length of the MD run.",
        ),
        (
            ion_paths(found, folder),
            f"Paths of the ions over {span:.2g} ps, seen along z and y, at one scale.",
        ),
        (
            samples(found, folder),
            "Training samples that the MD runs give, against the step skip.",
        ),
    ]
