"""Figures of the diffusion coefficient, and of the data that it is learned from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.plotting import GENERATED, MD, TRAINING_SPAN, figure
from mdgan_hpc.report.figures.curves import BASELINES
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.report.results import Comparison, Samples
from mdgan_hpc.report.text import Interval

D_AXIS = "diffusion coefficient D\n(Å²/ps = 10⁻⁴ cm²/s)"


def draw_coefficients(found: Comparison, folder: Path) -> list[Drawn]:
    """Draw all of them into `folder`."""
    return [coefficients(found, folder), against_length(found, folder)]


def _entries(found: Comparison) -> list[tuple[str, Interval, str]]:
    """Return name, D and colour of each row of the figure."""
    every: list[tuple[str, Interval | None, str]] = [
        ("MD (linear fit)", found.md.diffusion.total, MD["color"]),
        (found.generated.label, found.generated.diffusion.total, GENERATED["color"]),
    ]
    if found.generated.ensemble is not None:
        name = f"{found.generated.label},\nmodels"
        every.append((name, found.generated.ensemble, GENERATED["color"]))
    every += [(k, found.baselines[k].diffusion.total, c) for k, (c, _) in BASELINES.items()]
    return [(name, total, color) for name, total, color in every if total is not None]


def coefficients(found: Comparison, folder: Path) -> Drawn:
    """D with 95 % intervals, and what the MD data tell."""
    given, known = _entries(found), found.md.diffusion.total
    alone = [side.diffusion.total for side in found.runs.values()]
    relative = found.ceiling.relative_error

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        (ax,) = axes
        if known is not None:
            d = known.d_angstrom2_per_ps
            label = f"what the MD data tell,\nby the number of hops (± {100 * relative:.0f} %)"
            ends = d * (1 - relative), d * (1 + relative)
            ax.axvspan(*ends, color=TRAINING_SPAN, lw=0, zorder=0, label=label)
            fig.legend(loc="outside upper right")
        for row, (_, total, color) in enumerate(given):
            d = total.d_angstrom2_per_ps
            low, high = total.low_angstrom2_per_ps, total.high_angstrom2_per_ps
            ax.errorbar(d, row, xerr=[[d - low], [high - d]], fmt="o", color=color, capsize=3, ms=5)
        if known is not None:
            single = [one.d_angstrom2_per_ps for one in alone if one is not None]
            ax.plot(single, [0.25] * len(single), "o", color=MD["color"], mfc="none", ms=4)
        ax.set_yticks(range(len(given)), [name for name, _, _ in given])
        ax.set_ylim(len(given) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel(D_AXIS)

    single = " Open circles: each MD run alone." if any(one is not None for one in alone) else ""
    return draw(
        plot,
        folder,
        "diffusion_coefficients",
        "Diffusion coefficients with 95 % intervals",
        f"The interval of {found.generated.label} and of the baselines is that of their own ions; "
        f"it does not hold what the training data leave unknown.{single} Grey: the standard error "
        "that the number of hops in the MD allows (He et al. 2018).",
        panel=(5.0, 1.3 + 0.4 * max(len(given), 1)),
    )


def against_length(found: Comparison, folder: Path) -> Drawn:
    """D of the beginnings of the trajectories."""
    both = (
        (found.md.label, found.lengths.md, MD, 0.97),
        (found.generated.label, found.lengths.generated, GENERATED, 1.03),
    )

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        (ax,) = axes
        for name, curve, style, aside in both:
            d = curve.d_angstrom2_per_ps
            around = np.abs([d - curve.low_angstrom2_per_ps, curve.high_angstrom2_per_ps - d])
            marks = style | {"linewidth": 0.8, "label": f"{name}, {curve.n_particles} ions"}
            if len(d):  # none of motion that is not diffusive, or of a model that is refused
                ax.errorbar(
                    aside * curve.span_ps, d, yerr=around, fmt="o", capsize=3, ms=4, **marks
                )
        ax.set_xscale("log")
        # A trajectory rarely spans decades: powers of ten alone would be one label or none.
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(bottom=0)
        ax.set_xlabel("length of the trajectory (ps)")
        ax.set_ylabel("D (Å²/ps = 10⁻⁴ cm²/s)")
        if any(len(curve.span_ps) for _, curve, _, _ in both):
            ax.legend()

    return draw(
        plot,
        folder,
        "d_against_length",
        "D against the length of the trajectory",
        "Fitted to the beginning of each trajectory, with 95 % intervals. It should not change any "
        "more once the trajectory is long; what is too short to be diffusive is left out.",
        panel=(5.0, 3.2),
    )


def samples(found: Comparison, folder: Path) -> Drawn:
    """Number of training samples against step skip."""

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        _plot_samples(axes[0], found.samples)

    return draw(
        plot,
        folder,
        "samples_step_skip",
        "Training samples that the MD runs give",
        "The step skip is the number of stored MD frames from one record to the next: a larger one "
        "reaches longer times and leaves fewer samples.",
        panel=(5.0, 3.4),
    )


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
