"""Against 1000/T: D and conductivity, rates of jumps and residence times, with their laws."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.arrhenius import ArrheniusResult
from mdgan_hpc.analysis.sites.results import Activation
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.plotting import GENERATED, MD, OTHERS, TRAINING_SPAN, figure
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.units import BOLTZMANN_EV_PER_K

#: Kinds of jumps, and of sites, that are drawn.
_SHOWN = 5
_SIZE = (5.0, 3.8)
#: Width of a label above the axis, over that of the axis.
_LABEL = 0.16
#: Errors of a 95 % interval.
_TWO_SIDED_95 = 1.96

Panel = Callable[[Any], None]


def draw_arrhenius(found: ArrheniusResult, target: Path) -> None:
    """Draw D and, where it is known, the conductivity, with 95 % intervals.

    Parameters
    ----------
    found : ArrheniusResult
    target : path
        Its suffix says the format; the file appears whole.
    """
    panels = _panels(found)
    width, height = _SIZE
    with (
        figure(width * len(panels), height, ncols=len(panels), squeeze=False) as (fig, axes),
        written_whole(target) as partial,
    ):
        for panel, ax in zip(panels, axes.flat, strict=True):
            panel(ax)
        fig.savefig(partial, format=target.suffix[1:])


def against_temperature(found: ArrheniusResult, folder: Path) -> Drawn:
    """Draw the same as a figure of the report."""
    panels = _panels(found)

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for panel, ax in zip(panels, axes, strict=True):
            panel(ax)

    return draw(
        plot,
        folder,
        "arrhenius",
        "Diffusion coefficient"
        + (" and conductivity" if len(panels) > 1 else "")
        + " against the temperature",
        "Points with 95 % intervals. Line and grey band: the law through all points and its 95 % "
        "interval, which is all that predictions (open) rest on.",
        panels=len(panels),
        panel=(3.5, 3.4) if len(panels) > 1 else _SIZE,
    )


def draw_activation(found: Activation, folder: Path) -> Drawn:
    """Draw rates of jumps and residence times into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    inverse = 1 / found.temperature_k
    simulated = np.array([label == "MD" for label in found.label])
    sets: list[tuple[str, Any]] = [("rate of an ion (1/ps)", _rates(found))]
    if found.residence is not None:
        sets.append(("residence time (ps)", _times(found)))

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for ax, (title, kinds) in zip(axes, sets, strict=True):
            for (name, value, error, prefactor, energy), color in zip(kinds, OTHERS, strict=False):
                law = prefactor * np.exp(energy * inverse / BOLTZMANN_EV_PER_K)
                ax.plot(1000 * inverse, law, color=color, lw=1, label=name)
                factor = np.exp(_TWO_SIDED_95 * error / value)
                around = np.array([value - value / factor, value * factor - value])
                for mine, mark in ((simulated, "o"), (~simulated, "s")):
                    if mine.any():
                        style = {"color": color, "fmt": mark, "capsize": 3, "ms": 5}
                        at = 1000 * inverse[mine]
                        ax.errorbar(at, value[mine], yerr=around[:, mine], **style)
            ax.set_ylabel(title)
            _finish(ax, found.temperature_k)

    return draw(
        plot,
        folder,
        "activation",
        "Jumps against the temperature",
        "Rates of the kinds of jumps and mean residence times of the kinds of sites, with 95 % "
        "intervals and the laws through them. Circles: MD; squares: generated ions.",
        panels=len(sets),
        panel=(3.5, 3.4) if len(sets) > 1 else _SIZE,
    )


def _rates(found: Activation) -> list[tuple[str, np.ndarray, np.ndarray, float, float]]:
    """Return name, values, errors, prefactor and slope of what is drawn."""
    energies = zip(found.activation_ev, found.activation_error_ev, strict=True)
    names = [
        f"{name} Å: {e:.3f} ± {de:.3f} eV"
        for name, (e, de) in zip(found.name, energies, strict=True)
    ]
    columns = (names, found.rate_per_ps, found.rate_error_per_ps, found.rate0_per_ps)
    return list(zip(*columns, -found.activation_ev, strict=True))[:_SHOWN]


def _times(found: Activation) -> list[tuple[str, np.ndarray, np.ndarray, float, float]]:
    times = found.residence
    if times is None:
        return []
    energies = zip(times.activation_ev, times.activation_error_ev, strict=True)
    names = [
        f"{name}: {e:.3f} ± {de:.3f} eV" for name, (e, de) in zip(times.name, energies, strict=True)
    ]
    columns = (names, times.time_ps, times.time_error_ps, times.time0_ps)
    return list(zip(*columns, times.activation_ev, strict=True))[:_SHOWN]


def _panels(found: ArrheniusResult) -> list[Panel]:
    panels: list[Panel] = [lambda ax: _plot_d(ax, found)]
    if found.arrhenius_conductivity is not None and found.points.sigma_s_per_cm is not None:
        panels.append(lambda ax: _plot_conductivity(ax, found))
    return panels


def _plot_d(ax: Any, found: ArrheniusResult) -> None:
    points, predicted, fit = found.points, found.predicted, found.arrhenius
    every = points.temperature_k
    if predicted is not None:
        every = np.concatenate([every, predicted.temperature_k])
    inverse = np.linspace((1 / every).min(), (1 / every).max(), 100)
    law = np.array([(fit.at(1 / x)[0], *fit.interval(1 / x)) for x in inverse])
    ax.fill_between(1000 * inverse, law[:, 1], law[:, 2], color=TRAINING_SPAN, lw=0)
    ax.plot(1000 * inverse, law[:, 0], color="black", lw=1, label=f"$E_a$ = {_energy(fit)}")
    for name, mine, style, mark in _sources(points.generated):
        alone = found.md if name == "MD" else found.generated
        label = name if alone is None else f"{name}: {_energy(alone)}"
        low, high = points.low_angstrom2_per_ps[mine], points.high_angstrom2_per_ps[mine]
        at, d = points.temperature_k[mine], points.d_angstrom2_per_ps[mine]
        _marked(ax, at, d, (low, high), label=label, color=style["color"], fmt=mark)
    if predicted is not None:
        ends = predicted.low_angstrom2_per_ps, predicted.high_angstrom2_per_ps
        style = {"label": "predicted", "color": "black", "fmt": "D", "mfc": "none"}
        _marked(ax, predicted.temperature_k, predicted.d_angstrom2_per_ps, ends, **style)
    ax.set_ylabel("D (Å²/ps = 10⁻⁴ cm²/s)")
    _finish(ax, every)


def _plot_conductivity(ax: Any, found: ArrheniusResult) -> None:
    points, law = found.points, found.arrhenius_conductivity
    assert law is not None
    assert points.sigma_s_per_cm is not None
    assert points.error_s_per_cm is not None
    kelvin = points.temperature_k
    inverse = np.linspace((1 / kelvin).min(), (1 / kelvin).max(), 100)
    sigma_t = law.prefactor_s_k_per_cm * np.exp(-law.activation_ev * inverse / BOLTZMANN_EV_PER_K)
    ax.plot(1000 * inverse, sigma_t, color="black", lw=1, label=f"$E_a$ = {_energy(law)}")
    value, error = kelvin * points.sigma_s_per_cm, kelvin * points.error_s_per_cm
    factor = np.exp(_TWO_SIDED_95 * error / value)
    for name, mine, style, mark in _sources(points.generated):
        ends = (value / factor)[mine], (value * factor)[mine]
        _marked(ax, kelvin[mine], value[mine], ends, label=name, color=style["color"], fmt=mark)
    of = "all ions together" if law.of == "collective" else "Nernst-Einstein"
    ax.set_ylabel(f"σ T (S K/cm), {of}")
    _finish(ax, kelvin)


def _sources(generated: np.ndarray) -> list[tuple[str, np.ndarray, dict[str, str], str]]:
    """Return name, points, style and mark of MD and of generated ions, where there are any."""
    both = (("MD", ~generated, MD, "o"), ("generated", generated, GENERATED, "s"))
    return [one for one in both if one[1].any()]


def _energy(law: Any) -> str:
    return f"{law.activation_ev:.3f} ± {law.activation_error_ev:.3f} eV"


def _marked(
    ax: Any,
    kelvin: np.ndarray,
    value: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    **style: Any,
) -> None:
    """Draw points with their 95 % intervals."""
    around = [np.maximum(value - ends[0], 0), np.maximum(ends[1] - value, 0)]
    ax.errorbar(1000 / kelvin, value, yerr=around, capsize=3, ms=5, **style)


def _finish(ax: Any, kelvin: np.ndarray) -> None:
    """Label the axes: 1000/T below, temperatures above."""
    ax.set_yscale("log")
    ax.set_xlabel("1000 / T (1/K)")
    above = ax.secondary_xaxis("top")
    shown = np.unique(np.round(kelvin))
    above.set_xticks(1000 / shown, [f"{k:.0f} K" if k in _apart(shown) else "" for k in shown])
    ax.legend()


def _apart(kelvin: np.ndarray) -> list[float]:
    """Return temperatures whose labels do not overlap, the highest first."""
    inverse = 1 / np.sort(kelvin)[::-1]
    kept = [inverse[0]]
    for one in inverse[1:]:
        if one - kept[-1] > _LABEL * (inverse[-1] - inverse[0]):
            kept.append(one)
    return [round(1 / one) for one in kept]
