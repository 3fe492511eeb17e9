"""What figures of curves share: styles, and the band between the lowest and highest MD run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mdgan_hpc.plotting import GENERATED, MD, OTHERS
from mdgan_hpc.report.results import Comparison, Side

#: Part of a caption where the band is drawn.
BAND = "Shaded: from the lowest to the highest of the MD runs."

#: Colour and line of the baselines, in the order in which they are shown.
BASELINES = {"block bootstrap": (OTHERS[0], "-."), "Gaussian process": (OTHERS[1], ":")}

#: Relative difference of lags that are the same.
_ROUND_OFF = 1e-6

#: Name, what is drawn, and its style.
Curve = tuple[str, Side, dict[str, Any]]

#: Gives abscissa and ordinate of a curve, or None where it was not measured.
Ordinate = Callable[[Side], tuple[np.ndarray, np.ndarray] | None]


def pair(found: Comparison) -> list[Curve]:
    """Return MD and what was generated."""
    return [
        (found.md.label, found.md, MD),
        (found.generated.label, found.generated, GENERATED),
    ]


def with_baselines(found: Comparison) -> list[Curve]:
    """Return MD, what was generated, and the baselines."""
    baselines: list[Curve] = [
        (name, found.baselines[name], {"color": color, "linestyle": line, "linewidth": 1.0})
        for name, (color, line) in BASELINES.items()
    ]
    return pair(found) + baselines


def band(
    ax: Any,
    runs: Sequence[tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    color: str = MD["color"],
) -> None:
    """Shade the range of the curves of single runs, or models, where all of them are known.

    Parameters
    ----------
    ax : Axes
    runs : sequence of (array, array)
        Abscissa, ascending, and ordinate of each.
    x : array
        Where the band is drawn.
    color : str
    """
    if len(runs) < 2:
        return
    first, last = max(a[0] for a, _ in runs), min(a[-1] for a, _ in runs)
    inside = x[(x > (1 - _ROUND_OFF) * first) & (x < (1 + _ROUND_OFF) * last)]
    every = np.array([np.interp(inside, a, b) for a, b in runs])
    low, high = every.min(0), every.max(0)
    ax.fill_between(inside, low, high, color=color, alpha=0.25, lw=0, zorder=1)


def band_of(ax: Any, found: Comparison, ordinate: Ordinate, x: np.ndarray) -> None:
    """Shade the range of the MD runs of a comparison."""
    each = [ordinate(side) for side in found.runs.values()]
    band(ax, [curve for curve in each if curve is not None], x)


def band_of_models(ax: Any, found: Comparison, *, over_md: bool = False) -> None:
    """Shade the range of the MSD of the models of an ensemble, or of it over that of MD."""
    dynamics, md = found.generated.dynamics, found.md.dynamics.curves
    lag, curves = dynamics.curves.lag_ps, list(dynamics.msd_of_models().values())
    if over_md:
        inside = lag < (1 + _ROUND_OFF) * found.msd_ratio.lag_ps[-1]
        lag, below = lag[inside], np.interp(lag[inside], md.lag_ps, md.msd)
        curves = [msd[inside] / below for msd in curves]
    band(ax, [(lag, msd) for msd in curves], lag, GENERATED["color"])


def note_of_models(found: Comparison) -> str:
    """Return the sentence about that band, with a space before it, where there is one."""
    count = len(found.generated.dynamics.msd_of_models())
    return (
        f" Shaded too: from the lowest to the highest of the {count} models." if count > 1 else ""
    )


def note(found: Comparison) -> str:
    """Return the sentence about the band, with a space before it, where there is one."""
    return f" {BAND}" if len(found.runs) > 1 else ""
