"""Figures of the motion: mean squared displacement, distributions, velocities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.plotting import GENERATED, MD, TRAINING_SPAN
from mdgan_hpc.report.figures.curves import (
    band_of,
    band_of_models,
    note,
    note_of_models,
    pair,
    with_baselines,
)
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.report.results import Comparison, Side

LAG = "lag time (ps)"


def draw_displacements(found: Comparison, folder: Path) -> list[Drawn]:
    """Draw how far ions move into `folder`."""
    return [msd(found, folder), msd_axes(found, folder), displacement(found, folder)]


def draw_distributions(found: Comparison, folder: Path) -> list[Drawn]:
    """Draw how displacements and velocities are distributed into `folder`."""
    return [alpha2(found, folder), van_hove(found, folder), velocities(found, folder)]


def _msd_of(side: Side) -> tuple[np.ndarray, np.ndarray]:
    return side.dynamics.curves.lag_ps, side.dynamics.curves.msd


def msd(found: Comparison, folder: Path) -> Drawn:
    """Mean squared displacement of both, and their ratio; the training span is grey."""
    span, ratio = found.training_span_ps, found.msd_ratio
    a, b = found.md.dynamics.curves, found.generated.dynamics.curves
    left, end = min(a.lag_ps[0], b.lag_ps[0]) * 0.8, max(a.lag_ps[-1], b.lag_ps[-1])

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        ax, below = axes
        band_of(ax, found, _msd_of, a.lag_ps)
        band_of_models(ax, found)
        ax.loglog(a.lag_ps, a.msd, label=found.md.label, **MD)
        ax.loglog(b.lag_ps, b.msd, label=found.generated.label, **GENERATED)
        guide = np.array([end / 30, end])
        top = max(a.msd.max(), b.msd.max())
        ax.loglog(guide, 2.5 * top * guide / end, color="0.5", lw=0.8, label="slope 1")
        _ratio(below, found)
        for each in axes:
            each.axvspan(left, span, color=TRAINING_SPAN, zorder=0, lw=0)
            each.axvline(span, color="0.5", lw=0.8, zorder=0)
        below.set_xlim(left, 1.1 * max(end, span))
        below.set_xlabel(LAG)
        ax.set_ylabel("mean squared\ndisplacement (Å²)")
        below.set_ylabel(f"generated\n/ {found.md.label}")
        label = f"training run, {span:.3g} ps"
        ax.plot([], [], "s", color=TRAINING_SPAN, mec="0.5", ms=8, label=label)
        ax.legend()

    return draw(
        plot,
        folder,
        "msd",
        "Mean squared displacement against lag time",
        f"Mean over ions and time origins, and below it {found.generated.label} over "
        f"{found.md.label} up to a quarter of an MD run: best at 1, farthest from it at "
        f"{ratio.worst_lag_ps:.3g} ps ({ratio.worst:.2f}). Grey: the length of the training "
        f"runs.{note(found)}{note_of_models(found)}",
        panels=2,
        columns=1,
        panel=(5.0, 2.3),
        heights=(3, 1.2),
        sharex=True,
    )


def _ratio(ax: Any, found: Comparison) -> None:
    """Generated over MD, and single MD runs over all of them."""
    ratio = found.msd_ratio
    whole = found.md.dynamics.curves

    def over_all(side: Side) -> tuple[np.ndarray, np.ndarray]:
        lag, values = _msd_of(side)
        inside = lag < (1 + 1e-6) * whole.lag_ps[-1]
        return lag[inside], values[inside] / np.interp(lag[inside], whole.lag_ps, whole.msd)

    band_of(ax, found, over_all, ratio.lag_ps)
    band_of_models(ax, found, over_md=True)
    ax.semilogx(ratio.lag_ps, ratio.ratio, **GENERATED)
    ax.axhline(1, **MD | {"linewidth": 0.8})
    low, high = ax.get_ylim()
    ax.set_ylim(max(0.0, min(low, 0.8)), max(high, 1.25))


def msd_axes(found: Comparison, folder: Path) -> Drawn:
    """Mean squared displacement along x, y and z."""

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for axis, ax in enumerate(axes):

            def along(side: Side, axis: int = axis) -> tuple[np.ndarray, np.ndarray]:
                curves = side.dynamics.curves
                return curves.lag_ps, curves.msd_axis[:, axis]

            band_of(ax, found, along, found.md.dynamics.curves.lag_ps)
            for name, side, style in pair(found):
                ax.loglog(*along(side), label=name, **style)
            ax.set_title(f"along {'xyz'[axis]}")
            ax.set_xlabel(LAG)
            ax.set_ylabel("mean squared\ndisplacement (Å²)")
        axes[0].legend()

    return draw(
        plot,
        folder,
        "msd_axes",
        "Mean squared displacement along each axis",
        "A motion that is equal in all directions gives three equal panels. The axes are those of "
        f"the cell as the MD has it.{note(found)}",
        panels=3,
        columns=3,
        panel=(2.6, 2.4),
        sharex=True,
        sharey=True,
    )


def displacement(found: Comparison, folder: Path, axis: int = 2) -> Drawn:
    """Displacement of each ion along one axis, MD beside generated."""
    both = [(s, style) for _, s, style in pair(found)]
    ends = [0.0 if s.displacements is None else s.displacements.time_ps[-1] for s, _ in both]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for ax, (side, style) in zip(axes, both, strict=True):
            if side.displacements is None:
                continue
            moved = side.displacements.displacement[:, :, axis]
            ax.plot(side.displacements.time_ps, moved, color=style["color"], lw=0.5)
            ax.axhline(0, color="black", lw=0.5)
            ax.set_xlim(0, min(ends))
            ax.set_title(f"{side.label}: {moved.shape[1]} ions")
            ax.set_xlabel("time (ps)")
            ax.set_ylabel(f"displacement\nalong {'xyz'[axis]} (Å)")

    name = "xyz"[axis]
    return draw(
        plot,
        folder,
        f"displacement_{name}",
        f"Displacement of single ions along {name}",
        "Each line is one ion, from where it starts: as many ions over the same time on both "
        "sides. Ions of runs that are shorter end earlier.",
        panels=2,
        sharex=True,
        sharey=True,
    )


def alpha2(found: Comparison, folder: Path) -> Drawn:
    """Non-Gaussian parameter against lag."""
    longest = 0.25 * float(np.min(found.md.dynamics.span_ps))

    def of(side: Side) -> tuple[np.ndarray, np.ndarray] | None:
        curves = side.dynamics.curves
        if curves.alpha2 is None:
            return None
        inside = curves.lag_ps <= longest
        return curves.lag_ps[inside], curves.alpha2[inside]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        (ax,) = axes
        lags = found.md.dynamics.curves.lag_ps
        band_of(ax, found, of, lags[lags <= longest])
        for name, side, style in with_baselines(found):
            curve = of(side)
            if curve is not None:
                ax.semilogx(*curve, label=name, **style)
        ax.axhline(0, color="black", lw=0.5)
        ax.set_xlabel(LAG)
        ax.set_ylabel("non-Gaussian parameter α₂")
        ax.legend()

    return draw(
        plot,
        folder,
        "alpha2",
        "Non-Gaussian parameter against lag time",
        "Zero for a Gaussian distribution of displacements, above zero where some ions have "
        "hopped and others have not. Block bootstrap and Gaussian process: baselines made from "
        f"the MD without a network.{note(found)}",
        panel=(5.0, 3.4),
    )


def van_hove(found: Comparison, folder: Path) -> Drawn:
    """Self van Hove function at four times."""
    measured = [(n, s, style) for n, s, style in pair(found) if s.dynamics.van_hove is not None]
    assert measured[0][1].dynamics.van_hove is not None
    times = measured[0][1].dynamics.van_hove.time_ps

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for index, ax in enumerate(axes):

            def of(side: Side, index: int = index) -> tuple[np.ndarray, np.ndarray] | None:
                hove = side.dynamics.van_hove
                return None if hove is None else _coarse(hove.r, hove.density[index], width[index])

            last = 0.0
            for name, side, style in measured:
                curve = of(side)
                assert curve is not None
                ax.plot(*curve, label=name, **style)
                r, density = curve
                nearly_all = np.searchsorted(np.cumsum(density), 0.998 * density.sum())
                last = max(last, float(r[min(int(nearly_all), len(r) - 1)]))
            first = of(measured[0][1])
            assert first is not None
            band_of(ax, found, of, first[0])
            ax.set_xlim(0, last)
            ax.set_ylim(bottom=0)
            ax.set_title(f"after {times[index]:.3g} ps")
            ax.set_xlabel("distance r (Å)")
            ax.set_ylabel("4πr² G$_s$(r, t) (1/Å)")
        axes[0].legend()

    hove = measured[0][1].dynamics.van_hove
    width = [_bins(hove.r, density) for density in hove.density]
    return draw(
        plot,
        folder,
        "van_hove",
        "Distribution of the distances moved",
        "Self part of the van Hove function: the share of ions that have moved so far after a "
        f"time.{note(found)}",
        panels=len(times),
        panel=(3.5, 2.5),
    )


def _bins(r: np.ndarray, density: np.ndarray) -> int:
    """Bins to join until one is a twentieth of the width of the distribution."""
    spread = float(np.sqrt((density * r**2).sum() / max(density.sum(), 1e-300)))
    return max(1, round(spread / 20 / float(r[1] - r[0])))


def _coarse(r: np.ndarray, density: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Join so many bins to one."""
    bins = min(bins, len(r))
    n = len(r) // bins * bins
    return r[:n].reshape(-1, bins).mean(1), density[:n].reshape(-1, bins).mean(1)


def velocities(found: Comparison, folder: Path) -> Drawn:
    """Velocity autocorrelation function and its spectrum."""

    def correlation(side: Side) -> tuple[np.ndarray, np.ndarray] | None:
        vacf = side.dynamics.vacf
        return None if vacf is None else (vacf.time_ps, vacf.value / (vacf.value[0] or 1.0))

    def power(side: Side) -> tuple[np.ndarray, np.ndarray] | None:
        spectrum = side.dynamics.spectrum
        return None if spectrum is None else (spectrum.frequency_thz, spectrum.value)

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for ax, of, share in zip(axes, (correlation, power), (0.03, 0.02), strict=True):
            for name, side, style in pair(found):
                curve = of(side)
                if curve is None:
                    continue
                ax.plot(*curve, label=name, **style)
                if side is found.md:
                    band_of(ax, found, of, curve[0])
                    ax.set_xlim(0, _last(curve[0], np.abs(curve[1]), share))
        left, right = axes
        left.axhline(0, color="black", lw=0.5)
        left.set_xlabel(LAG)
        left.set_ylabel("C(t) / C(0) of velocities")
        right.set_ylim(bottom=0)
        right.set_xlabel("frequency (THz)")
        right.set_ylabel("spectrum (Å²/ps)")
        left.legend()

    return draw(
        plot,
        folder,
        "velocities",
        "Velocity autocorrelation function and its spectrum",
        "Velocities are displacements between records over the time between them. Peaks of the "
        f"spectrum are the vibrations of the ions.{note(found)}",
        panels=2,
    )


def _last(x: np.ndarray, y: np.ndarray, share: float) -> float:
    """A little beyond the last x where y exceeds a share of its maximum."""
    last = int(np.flatnonzero(y > share * y.max()).max(initial=0))
    return float(x[min(len(x) - 1, round(1.3 * last) + 1)])
