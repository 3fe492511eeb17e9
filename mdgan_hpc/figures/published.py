"""The figures of the published example, drawn from the result tree of a comparison."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.plotting import GENERATED, MD, TRAINING_SPAN, figure, save

Tree = Mapping[str, Any]

MD_NAME, GENERATED_NAME = "MD", "MD-GAN"


def ion_paths(tree: Tree, folder: Path) -> str:
    """Ion paths over about 1 ps, MD beside MD-GAN, seen along z and along y, at one scale."""
    parts = ((MD_NAME, tree["md"], MD), (GENERATED_NAME, tree["generated"], GENERATED))
    # The two start at different places of the lattice: same span, each about its own middle.
    bounds = [np.array(_bounds(part["paths"]["position"])) for _, part, _ in parts]
    half = 0.52 * np.max([high - low for low, high in bounds], axis=0)  # [3]
    shapes = [half[1] / half[0], half[2] / half[0]]
    height = min(1.2 + 2.9 * sum(shapes), 9.0)
    grid = {"height_ratios": shapes}
    with figure(7.0, height, nrows=2, ncols=2, gridspec_kw=grid) as (fig, axes):
        for column, ((name, part, style), (low, high)) in enumerate(
            zip(parts, bounds, strict=True)
        ):
            time, position = part["paths"]["time_ps"], part["paths"]["position"]
            middle = (low + high) / 2
            for row, (i, j) in enumerate(((0, 1), (0, 2))):
                ax = axes[row, column]
                for ion in range(position.shape[1]):
                    ax.plot(position[:, ion, i], position[:, ion, j], color=style["color"], lw=0.5)
                ax.plot(*position[0, :, [i, j]], ".", color="black", ms=3)
                ax.set_xlim(middle[i] - half[i], middle[i] + half[i])
                ax.set_ylim(middle[j] - half[j], middle[j] + half[j])
                ax.set_xlabel(f"{'xyz'[i]} (Å)")
                ax.set_ylabel(f"{'xyz'[j]} (Å)")
                ax.set_aspect("equal")
            axes[0, column].set_title(
                f"{name}: {position.shape[1]} ions over {time[-1]:.2g} ps (dot: start)"
            )
        return save(fig, folder, "ion_paths")


def _bounds(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates [3] of positions [T, N, 3]."""
    return position.min((0, 1)), position.max((0, 1))


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
    """Mean squared displacement of MD and MD-GAN, and their ratio; the training span is grey."""
    md, generated = tree["md"], tree["generated"]
    span = float(tree["training_span_ps"])
    grid = {"height_ratios": (3, 1)}
    with figure(5.0, 4.6, nrows=2, sharex=True, gridspec_kw=grid) as (fig, (ax, below)):
        a, b = md["curves"], generated["curves"]
        for replica in md["replicas"]["msd"]:
            ax.loglog(a["lag_ps"], replica, color=MD["color"], lw=0.4, alpha=0.6)
        ax.loglog(a["lag_ps"], a["msd"], label=_named(MD_NAME, "thin: single runs", md), **MD)
        ax.loglog(b["lag_ps"], b["msd"], label=GENERATED_NAME, **GENERATED)
        end = max(a["lag_ps"][-1], b["lag_ps"][-1])
        guide = np.array([end / 30, end])
        top = max(a["msd"].max(), b["msd"].max())
        ax.loglog(guide, 2.5 * top * guide / end, color="0.5", lw=0.8, label="slope 1")
        left = min(a["lag_ps"][0], b["lag_ps"][0]) * 0.8
        below.semilogx(tree["msd_ratio"]["lag_ps"], tree["msd_ratio"]["ratio"], **GENERATED)
        below.axhline(1, **MD | {"linewidth": 0.8})
        low, high = below.get_ylim()
        below.set_ylim(min(low, 0.8), max(high, 1.25))
        for panel in (ax, below):
            panel.axvspan(left, span, color=TRAINING_SPAN, zorder=0, lw=0)
            panel.axvline(span, color="0.5", lw=0.8, zorder=0)
        below.set_xlim(left, 1.1 * max(end, span))
        below.set_xlabel("lag time (ps)")
        ax.set_ylabel("mean squared displacement (Å²)")
        below.set_ylabel(f"{GENERATED_NAME} / {MD_NAME}")
        label = f"{span:.3g} ps, the length of a training run"
        ax.plot([], [], "s", color=TRAINING_SPAN, mec="0.5", ms=8, label=label)
        ax.legend()
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
            "Mean squared displacement over all time origins, and MD-GAN over MD. From one record "
            "to a quarter of the MD run the ratio is farthest from 1 at "
            f"{ratio['worst_lag_ps']:.3g} ps: {ratio['worst']:.2f}. Grey: the length of the "
            "training runs.",
        ),
        (
            displacement(tree, folder),
            "Displacement of each ion along z from its start, over the length of the MD run.",
        ),
        (
            ion_paths(tree, folder),
            f"Paths of the ions over {span:.2g} ps, seen along z and y, at one scale.",
        ),
        (
            samples(tree, folder),
            "Training samples that the MD runs give, against the step skip.",
        ),
    ]
