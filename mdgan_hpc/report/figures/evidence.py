"""Figures that show whether the motion, and not only the MSD, is that of the MD."""

from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.sites import DensitySlices
from mdgan_hpc.plotting import DENSITY_MAP, GENERATED, MD, OTHERS, TRAINING_SPAN, figure, save
from mdgan_hpc.report.results import Comparison, Side
from mdgan_hpc.report.text import Interval

_BASELINES = {"block bootstrap": (OTHERS[0], "-."), "Gaussian process": (OTHERS[1], ":")}

#: Name, what is drawn, and its style.
Curve = tuple[str, Side, dict[str, Any]]


def _pair(found: Comparison) -> list[Curve]:
    return [
        (found.md.label, found.md, MD),
        (found.generated.label, found.generated, GENERATED),
    ]


def _with_baselines(found: Comparison) -> list[Curve]:
    baselines: list[Curve] = [
        (name, found.baselines[name], {"color": color, "linestyle": line, "linewidth": 1.0})
        for name, (color, line) in _BASELINES.items()
    ]
    return _pair(found) + baselines


def alpha2(found: Comparison, folder: Path) -> str:
    """Non-Gaussian parameter against lag."""
    with figure() as (fig, ax):
        for name, side, style in _with_baselines(found):
            curves = side.dynamics.curves
            if curves.alpha2 is None:
                continue
            inside = curves.lag_ps <= 0.25 * float(np.min(found.md.dynamics.span_ps))
            ax.semilogx(curves.lag_ps[inside], curves.alpha2[inside], label=name, **style)
        ax.axhline(0, color="black", lw=0.5)
        ax.set_xlabel("lag time (ps)")
        ax.set_ylabel("non-Gaussian parameter α₂ (dimensionless)")
        ax.legend()
        return save(fig, folder, "alpha2")


def van_hove(found: Comparison, folder: Path) -> str:
    """Self van Hove function at four times."""
    curves = [
        (name, side.dynamics.van_hove, style)
        for name, side, style in _pair(found)
        if side.dynamics.van_hove is not None
    ]
    times = curves[0][1].time_ps
    with figure(7.0, 5.2, nrows=2, ncols=2) as (fig, axes):
        for index, ax in enumerate(axes.ravel()[: len(times)]):
            last = 0.0
            for name, hove, style in curves:
                r, density = _coarse(hove.r, hove.density[index])
                ax.plot(r, density, label=name, **style)
                nearly_all = np.searchsorted(np.cumsum(density), 0.998 * density.sum())
                last = max(last, float(r[min(int(nearly_all), len(r) - 1)]))
            ax.set_xlim(0, last)
            ax.set_ylim(bottom=0)
            ax.set_title(f"after {times[index]:.3g} ps")
            ax.set_xlabel("distance r (Å)")
            ax.set_ylabel("4πr² G$_s$(r, t) (1/Å)")
        for ax in axes.ravel()[len(times) :]:
            ax.set_visible(False)
        axes.flat[0].legend()
        return save(fig, folder, "van_hove")


def _coarse(r: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join bins until one holds a hundredth of the width of the distribution."""
    spread = float(np.sqrt((density * r**2).sum() / max(density.sum(), 1e-300)))
    step = max(1, round(spread / 20 / (r[1] - r[0])))
    step = min(step, len(r))
    n = len(r) // step * step
    return r[:n].reshape(-1, step).mean(1), density[:n].reshape(-1, step).mean(1)


def velocities(found: Comparison, folder: Path) -> str:
    """Velocity autocorrelation function and its spectrum."""
    with figure(7.0, 3.2, ncols=2) as (fig, (left, right)):
        for name, side, style in _pair(found):
            vacf, spectrum = side.dynamics.vacf, side.dynamics.spectrum
            if vacf is None or spectrum is None:
                continue
            left.plot(vacf.time_ps, vacf.value / (vacf.value[0] or 1.0), label=name, **style)
            right.plot(spectrum.frequency_thz, spectrum.value, label=name, **style)
            if side is found.md:
                left.set_xlim(0, _last(vacf.time_ps, np.abs(vacf.value), 0.03))
                right.set_xlim(0, _last(spectrum.frequency_thz, spectrum.value, 0.02))
        left.axhline(0, color="black", lw=0.5)
        left.set_xlabel("lag time (ps)")
        left.set_ylabel("C(t) / C(0) of velocities")
        right.set_ylim(bottom=0)
        right.set_xlabel("frequency (THz)")
        right.set_ylabel("spectrum (Å²/ps)")
        left.legend()
        return save(fig, folder, "velocities")


def _last(x: np.ndarray, y: np.ndarray, share: float) -> float:
    """A little beyond the last x where y exceeds a share of its maximum."""
    last = int(np.flatnonzero(y > share * y.max()).max())
    return float(x[min(len(x) - 1, round(1.3 * last) + 1)])


def density(found: Comparison, part: DensitySlices, folder: Path) -> str:
    """Density of the ions in one layer of the cell."""
    top = max(float(part.md.max()), float(part.generated.max()))
    shape = float(np.ptp(part.y)) / float(np.ptp(part.x))
    # Long cells one above the other, square ones side by side: either way as large as the page.
    wide = shape < 0.6
    size = (6.0, 1.0 + 2 * 5.0 * shape) if wide else (7.0, 1.0 + 2.9 * shape)
    rows, columns = (2, 1) if wide else (1, 2)
    layout = {"nrows": rows, "ncols": columns, "sharex": True, "sharey": True}
    shown = ((part.md, found.md.label), (part.generated, found.generated.label))
    with figure(*size, **layout) as (fig, axes):
        from matplotlib.colors import PowerNorm

        for ax, (values, name) in zip(axes, shown, strict=True):
            image = ax.pcolormesh(
                part.x,
                part.y,
                values,
                cmap=DENSITY_MAP,
                norm=PowerNorm(0.5, 0, top),  # shows the paths between the sites as well
                rasterized=True,
            )
            ax.set_aspect("equal")
            ax.set_title(name)
        for ax in axes[-1:] if wide else axes:
            ax.set_xlabel("along a (Å)")
        for ax in axes if wide else axes[:1]:
            ax.set_ylabel("across a (Å)")
        fig.colorbar(image, ax=axes, label="density / mean density", shrink=0.9)
        return save(fig, folder, "density")


def coefficients(found: Comparison, folder: Path) -> str:
    """D of MD, of what was generated and of the baselines with their 95 % intervals."""
    entries: list[tuple[str, Interval | None, str]] = [
        (name, side.diffusion.total, style["color"]) for name, side, style in _with_baselines(found)
    ]
    if found.generated.ensemble is not None:
        name = f"{found.generated.label}, models"
        entries.insert(2, (name, found.generated.ensemble, GENERATED["color"]))
    given = [(name, total, color) for name, total, color in entries if total is not None]
    known = found.md.diffusion.total
    with figure(5.0, 1.3 + 0.4 * max(len(given), 1)) as (fig, ax):
        if known is not None:
            d, relative = known.d_angstrom2_per_ps, found.ceiling.relative_error
            ax.axvspan(
                d * (1 - relative),
                d * (1 + relative),
                color=TRAINING_SPAN,
                lw=0,
                zorder=0,
                label=f"what the MD data tell, by the number of hops (± {100 * relative:.0f} %)",
            )
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        for row, (_, total, color) in enumerate(given):
            d = total.d_angstrom2_per_ps
            low, high = total.low_angstrom2_per_ps, total.high_angstrom2_per_ps
            ax.errorbar(d, row, xerr=[[d - low], [high - d]], fmt="o", color=color, capsize=3, ms=5)
        ax.set_yticks(range(len(given)), [name for name, _, _ in given])
        ax.set_ylim(len(given) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel("diffusion coefficient D (Å²/ps = 10⁻⁴ cm²/s)")
        return save(fig, folder, "diffusion_coefficients")


def draw(found: Comparison, folder: Path) -> list[tuple[str, str]]:
    """Draw all of them into `folder`; return names and captions."""
    figures = [
        (
            coefficients(found, folder),
            "Diffusion coefficients with 95 % intervals. The interval of "
            f"{found.generated.label} and of the baselines is that of their own ions; it does not "
            "hold what the training data leave unknown. Grey: the standard error that "
            "the number of hops in the MD allows (He et al. 2018).",
        ),
        (
            alpha2(found, folder),
            "Non-Gaussian parameter: above zero where some ions have hopped and others have not.",
        ),
        (
            van_hove(found, folder),
            "Distribution of the distances moved (self part of the van Hove function).",
        ),
        (
            velocities(found, folder),
            "Velocity autocorrelation, from displacements between records, and its spectrum.",
        ),
    ]
    part = found.density
    if part is not None:
        figures.append(
            (
                density(found, part, folder),
                f"Density of the ions in a layer {part.thickness:.2g} Å thick at "
                f"{part.layer:.3g} Å along the normal of the a-b plane, averaged over "
                "the translations of the crystal; colours go with the square root.",
            )
        )
    return figures
