"""The figures of the published example, drawn from the result tree of a comparison."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.figures.style import GENERATED, MD, TRAINING_SPAN, figure, save
from mdgan_hpc.outputs import written_whole

Tree = Mapping[str, Any]

MD_NAME, GENERATED_NAME = "MD", "MD-GAN"


def ion_paths(tree: Tree, folder: Path) -> str:
    """Ion paths over about 1 ps, MD beside MD-GAN, seen along z and along y."""
    parts = ((MD_NAME, tree["md"], MD), (GENERATED_NAME, tree["generated"], GENERATED))
    with figure(7.0, 6.4, nrows=2, ncols=2) as (fig, axes):
        for column, (name, part, style) in enumerate(parts):
            time, position = part["paths"]["time_ps"], part["paths"]["position"]
            for row, (i, j) in enumerate(((0, 1), (0, 2))):
                ax = axes[row, column]
                for ion in range(position.shape[1]):
                    ax.plot(position[:, ion, i], position[:, ion, j], color=style["color"], lw=0.5)
                    ax.plot(*position[0, ion, [i, j]], ".", color="black", ms=3)
                ax.set_xlabel(f"{'xyz'[i]} (Å)")
                ax.set_ylabel(f"{'xyz'[j]} (Å)")
                ax.set_aspect("equal", adjustable="datalim")
            axes[0, column].set_title(
                f"{name}: {position.shape[1]} ions over {time[-1]:.2g} ps (dot: start)"
            )
        return save(fig, folder, "ion_paths")


def samples(tree: Tree, folder: Path) -> str:
    """Number of training samples against step skip."""
    with figure() as (fig, ax):
        _plot_samples(ax, tree["samples"])
        return save(fig, folder, "samples_step_skip")


def draw_samples(part: Tree, target: Path) -> None:
    """Draw the number of training samples against step skip alone, before any training.

    Parameters
    ----------
    part : mapping
        Of `analysis.samples.windows_against_step_skip`, with ``records`` and ``used_step_skip``.
    target : path
        Its suffix says the format; the file appears whole.
    """
    with figure() as (fig, ax), written_whole(target) as partial:
        _plot_samples(ax, part, used="suggested")
        fig.savefig(partial, format=target.suffix[1:])


def _plot_samples(ax: Any, part: Tree, used: str = "used") -> None:
    skip = part["step_skip"]
    ax.loglog(skip, part["overlapping"], color="black", label="from every start")
    independent = np.where(part["independent"] > 0, part["independent"], np.nan)
    ax.loglog(skip, independent, color="black", linestyle=":", label="that do not overlap in time")
    if part.get("used_step_skip"):
        number = int(part["used_step_skip"])
        ax.axvline(number, color=GENERATED["color"], lw=1, label=f"{used}: {number}")
    ax.set_xlabel("step skip (stored steps between records)")
    ax.set_ylabel(f"samples of {int(part['records'])} records (number)")
    ax.legend()


def displacement(tree: Tree, folder: Path, axis: int = 2) -> str:
    """Displacement of each particle along one axis, MD beside MD-GAN."""
    parts = ((MD_NAME, tree["md"], MD), (GENERATED_NAME, tree["generated"], GENERATED))
    with figure(7.0, 3.4, ncols=2, sharey=True) as (fig, axes):
        for ax, (name, part, style) in zip(axes, parts, strict=True):
            moved = part["displacements"]["displacement"][:, :, axis]
            ax.plot(part["displacements"]["time_ps"], moved, color=style["color"], lw=0.5)
            ax.axhline(0, color="black", lw=0.5)
            ax.set_title(f"{name}: {moved.shape[1]} ions")
            ax.set_xlabel("time (ps)")
        axes[0].set_ylabel(f"displacement along {'xyz'[axis]} (Å)")
        return save(fig, folder, f"displacement_{'xyz'[axis]}")


def msd(tree: Tree, folder: Path) -> str:
    """Mean squared displacement of MD and MD-GAN; the training span is grey."""
    md, generated = tree["md"], tree["generated"]
    with figure() as (fig, ax):
        a, b = md["curves"], generated["curves"]
        for replica in md["replicas"]["msd"]:
            ax.loglog(a["lag_ps"], replica, color=MD["color"], lw=0.4, alpha=0.6)
        ax.loglog(a["lag_ps"], a["msd"], label=_named(MD_NAME, "thin: single runs", md), **MD)
        ax.loglog(b["lag_ps"], b["msd"], label=GENERATED_NAME, **GENERATED)
        left = min(a["lag_ps"][0], b["lag_ps"][0]) * 0.8
        ax.axvspan(left, tree["training_span_ps"], color=TRAINING_SPAN, zorder=0, lw=0)
        ax.set_xlim(left=left)
        top = max(a["msd"].max(), b["msd"].max())
        end = max(a["lag_ps"][-1], b["lag_ps"][-1])
        guide = np.array([end / 30, end])
        ax.loglog(guide, 2.5 * top * guide / end, color="0.5", lw=0.8, label="slope 1")
        ax.set_xlabel("lag time (ps)")
        ax.set_ylabel("mean squared displacement (Å²)")
        handles, labels = ax.get_legend_handles_labels()
        from matplotlib.patches import Patch

        ax.legend(
            [*handles, Patch(facecolor=TRAINING_SPAN, edgecolor="0.5")],
            [*labels, "length of the training runs"],
        )
        return save(fig, folder, "msd")


def _named(name: str, note: str, part: Tree) -> str:
    return f"{name} ({note})" if len(part["replicas"]["msd"]) > 1 else name


def draw(tree: Tree, folder: Path) -> list[tuple[str, str]]:
    """Draw all of them into `folder`; return names and captions."""
    ratio = tree["msd_ratio"]
    span = tree["md"]["paths"]["time_ps"][-1]
    return [
        (
            msd(tree, folder),
            "Mean squared displacement over all time origins. From one record to a quarter of the "
            f"MD run, MD-GAN over MD is farthest from 1 at {ratio['worst_lag_ps']:.3g} ps: "
            f"{ratio['worst']:.2f}. Grey: the length of the training runs.",
        ),
        (
            displacement(tree, folder),
            "Displacement of each ion along z from its start, over the length of the MD run.",
        ),
        (ion_paths(tree, folder), f"Paths of the ions over {span:.2g} ps, seen along z and y."),
        (
            samples(tree, folder),
            "Training samples that the MD runs give, against the step skip.",
        ),
    ]
