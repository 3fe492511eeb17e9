"""Figures of the critic: how well it tells generated ions from MD, and where it sees that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdgan_hpc.analysis.fidelity.critic import CriticResult
from mdgan_hpc.plotting import GENERATED, MD, OTHERS
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.report.results import Comparison


def draw_critic(found: Comparison, folder: Path) -> list[Drawn]:
    """Draw both into `folder`, where there is a critic."""
    if found.critic is None or found.critic.refused:
        return []
    return [auc(found, found.critic, folder), windows(found, found.critic, folder)]


def auc(found: Comparison, critic: CriticResult, folder: Path) -> Drawn:
    """AUC against the length of the window."""
    curves = [
        (found.generated.label, critic.auc, critic.error, GENERATED),
        (
            f"{found.generated.label}, all ions of a cell",
            critic.cell_auc,
            critic.cell_error,
            {"color": OTHERS[0], "linestyle": "-."},
        ),
        ("one MD run against the others", critic.md_auc, critic.md_error, MD),
    ]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        (ax,) = axes
        for name, value, error, style in curves:
            if value is not None:
                ax.errorbar(
                    critic.span_ps, value, error, label=name, marker="o", ms=4, capsize=3, **style
                )
        ax.axhline(0.5, color="black", lw=0.5)
        ax.set_xscale("log")
        ax.set_xticks(critic.span_ps, [f"{span:.2g}" for span in critic.span_ps])
        ax.minorticks_off()
        ax.set_ylim(min(0.4, ax.get_ylim()[0]), 1.02)
        ax.set_xlabel("length of the window (ps)")
        ax.set_ylabel("AUC of the critic")
        ax.legend()

    return draw(
        plot,
        folder,
        "critic",
        "How well a classifier tells generated ions from those of the MD",
        "A small network is trained to tell generated windows from MD ones and judged on an MD "
        "run and generated ions that it never saw. AUC: how often it takes the generated one of a "
        "pair for generated: 0.5 where it cannot tell. Bars: standard errors.",
        panel=(5.0, 3.2),
    )


def windows(found: Comparison, critic: CriticResult, folder: Path) -> Drawn:
    """The generated windows least like MD, above typical MD windows."""
    span = list(critic.examples)[critic.best]
    shown = critic.examples[span]
    rows = [(found.generated.label, shown.generated), (found.md.label, shown.md)]
    columns = max(len(shown.generated), len(shown.md))
    low = min(float(x.min()) for _, x in rows)
    high = max(float(x.max()) for _, x in rows)
    margin = 0.05 * (high - low)

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for row, (name, each) in enumerate(rows):
            for number, moved in enumerate(each):
                ax = axes[row * columns + number]
                for axis, color in enumerate(("#0072B2", "#D55E00", "#009E73")):
                    ax.plot(shown.time_ps, moved[:, axis], color=color, lw=0.9, label="xyz"[axis])
                ax.set_title(name)
                ax.set_xlabel("time (ps)")
                ax.set_ylabel("displacement (Å)")
        axes[0].set_xlim(0, shown.time_ps[-1])
        axes[0].set_ylim(low - margin, high + margin)
        axes[0].legend()

    return draw(
        plot,
        folder,
        "critic_windows",
        "Where the critic looks",
        f"Above: of the generated windows of {span} ps, at which the critic tells best, those that "
        "looked least like MD, each of another ion. Below: MD windows in the middle of what it "
        "says of MD. Lines: displacement along x, y, z from the first record.",
        panels=2 * columns,
        columns=columns,
        panel=(2.5, 2.1),
        sharex=True,
        sharey=True,
    )
