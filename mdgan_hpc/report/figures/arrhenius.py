"""The Arrhenius plot: log D against 1000/T, the law through the points, and what it predicts."""

from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.command import ArrheniusPoints
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.plotting import GENERATED, MD, TRAINING_SPAN, figure


def draw_arrhenius(found: ArrheniusPoints, target: Path) -> None:
    """Draw D with 95 % intervals: MD and generated ions, the fit with its interval, predictions.

    Parameters
    ----------
    found : ArrheniusPoints
    target : path
        Its suffix says the format; the file appears whole.
    """
    points, predicted, fit = found.points, found.predicted, found.fit
    kelvin = points["temperature_k"]
    every = np.concatenate([kelvin, predicted["temperature_k"]])
    inverse = np.linspace((1 / every).min(), (1 / every).max(), 100)
    law = np.array([(fit.at(1 / x)[0], *fit.interval(1 / x)) for x in inverse])
    with figure(5.0, 3.8) as (fig, ax), written_whole(target) as partial:
        ax.fill_between(1000 * inverse, law[:, 1], law[:, 2], color=TRAINING_SPAN, lw=0)
        error = f"{fit.activation_ev:.3f} ± {fit.activation_error_ev:.3f} eV"
        ax.plot(1000 * inverse, law[:, 0], color="black", lw=1, label=f"$E_a$ = {error}")
        generated = points["generated"].astype(bool)
        for name, mine, style, mark in (
            ("MD", ~generated, MD, "o"),
            ("generated", generated, GENERATED, "s"),
        ):
            if mine.any():
                _marked(ax, points, mine, name, style["color"], mark)
        if len(predicted["temperature_k"]):
            all_of_them = np.ones(len(predicted["temperature_k"]), bool)
            _marked(ax, predicted, all_of_them, "predicted", "black", "D")
        ax.set_yscale("log")
        ax.set_xlabel("1000 / T (1/K)")
        ax.set_ylabel("D (Å²/ps = 10⁻⁴ cm²/s)")
        above = ax.secondary_xaxis("top")
        shown = np.unique(np.round(every))
        above.set_xticks(1000 / shown, [f"{k:.0f} K" for k in shown])
        ax.legend()
        fig.savefig(partial, format=target.suffix[1:])


def _marked(
    ax: object, columns: dict[str, np.ndarray], which: np.ndarray, name: str, color: str, mark: str
) -> None:
    """Draw points with their 95 % intervals."""
    d, low, high = (columns[f"{x}_angstrom2_per_ps"][which] for x in ("d", "low", "high"))
    ax.errorbar(  # type: ignore[attr-defined]
        1000 / columns["temperature_k"][which],
        d,
        yerr=[np.maximum(d - low, 0), np.maximum(high - d, 0)],
        fmt=mark,
        color=color,
        capsize=3,
        ms=5,
        mfc="none" if mark == "D" else color,
        label=name,
    )
