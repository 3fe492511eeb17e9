"""Figures that show whether the motion, and not only the MSD, is that of the MD."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.plotting import DENSITY_MAP, GENERATED, MD, OTHERS, TRAINING_SPAN, figure, save

Tree = Mapping[str, Any]

MD_NAME, GENERATED_NAME = "MD", "MD-GAN"
_BASELINES = {"block bootstrap": (OTHERS[0], "-."), "Gaussian process": (OTHERS[1], ":")}


def _pair(tree: Tree) -> list[tuple[str, Tree, dict[str, Any]]]:
    return [(MD_NAME, tree["md"], MD), (GENERATED_NAME, tree["generated"], GENERATED)]


def _with_baselines(tree: Tree) -> list[tuple[str, Tree, dict[str, Any]]]:
    baselines = [
        (name, tree["baselines"][name], {"color": color, "linestyle": line, "linewidth": 1.0})
        for name, (color, line) in _BASELINES.items()
    ]
    return _pair(tree) + baselines


def alpha2(tree: Tree, folder: Path) -> str:
    """Non-Gaussian parameter against lag."""
    with figure() as (fig, ax):
        for name, part, style in _with_baselines(tree):
            curves = part["curves"]
            inside = curves["lag_ps"] <= 0.25 * float(np.min(tree["md"]["span_ps"]))
            ax.semilogx(curves["lag_ps"][inside], curves["alpha2"][inside], label=name, **style)
        ax.axhline(0, color="black", lw=0.5)
        ax.set_xlabel("lag time (ps)")
        ax.set_ylabel("non-Gaussian parameter α₂ (dimensionless)")
        ax.legend()
        return save(fig, folder, "alpha2")


def van_hove(tree: Tree, folder: Path) -> str:
    """Self van Hove function at four times."""
    times = tree["md"]["van_hove"]["time_ps"]
    with figure(7.0, 5.2, nrows=2, ncols=2) as (fig, axes):
        for index, ax in enumerate(axes.ravel()[: len(times)]):
            reach = 0.0
            for name, part, style in _pair(tree):
                hove = part["van_hove"]
                r, density = _coarse(hove["r"], hove["density"][index])
                ax.plot(r, density, label=name, **style)
                reach = max(
                    reach, float(r[np.searchsorted(np.cumsum(density), 0.998 * density.sum())])
                )
            ax.set_xlim(0, reach)
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
    n = len(r) // step * step
    return r[:n].reshape(-1, step).mean(1), density[:n].reshape(-1, step).mean(1)


def velocities(tree: Tree, folder: Path) -> str:
    """Velocity autocorrelation function and its spectrum."""
    with figure(7.0, 3.2, ncols=2) as (fig, (left, right)):
        for name, part, style in _pair(tree):
            vacf = part["vacf"]
            left.plot(vacf["time_ps"], vacf["value"] / vacf["value"][0], label=name, **style)
            spectrum = part["spectrum"]
            right.plot(spectrum["frequency_thz"], spectrum["value"], label=name, **style)
        shown = _last(tree["md"]["vacf"]["time_ps"], np.abs(tree["md"]["vacf"]["value"]), 0.03)
        left.set_xlim(0, shown)
        left.axhline(0, color="black", lw=0.5)
        left.set_xlabel("lag time (ps)")
        left.set_ylabel("C(t) / C(0) of velocities")
        spectrum = tree["md"]["spectrum"]
        right.set_xlim(0, _last(spectrum["frequency_thz"], spectrum["value"], 0.02))
        right.set_ylim(bottom=0)
        right.set_xlabel("frequency (THz)")
        right.set_ylabel("spectrum (Å²/ps)")
        left.legend()
        return save(fig, folder, "velocities")


def _last(x: np.ndarray, y: np.ndarray, share: float) -> float:
    """A little beyond the last x where y exceeds a share of its maximum."""
    last = int(np.flatnonzero(y > share * y.max()).max())
    return float(x[min(len(x) - 1, round(1.3 * last) + 1)])


def density(tree: Tree, folder: Path) -> str:
    """Density of the ions in one layer of the cell."""
    part = tree["density"]
    top = max(float(part["md"].max()), float(part["generated"].max()))
    shape = float(np.ptp(part["y"])) / float(np.ptp(part["x"]))
    # Long cells one above the other, square ones side by side: either way as large as the page.
    wide = shape < 0.6
    size = (6.0, 1.0 + 2 * 5.0 * shape) if wide else (7.0, 1.0 + 2.9 * shape)
    rows, columns = (2, 1) if wide else (1, 2)
    layout = {"nrows": rows, "ncols": columns, "sharex": True, "sharey": True}
    with figure(*size, **layout) as (fig, axes):
        from matplotlib.colors import PowerNorm

        for ax, key, name in zip(axes, ("md", "generated"), (MD_NAME, GENERATED_NAME), strict=True):
            image = ax.pcolormesh(
                part["x"],
                part["y"],
                part[key],
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


def coefficients(tree: Tree, folder: Path) -> str:
    """D of MD, MD-GAN and the baselines with their 95 % intervals."""
    entries = [
        (name, part["diffusion"].get("total"), style["color"])
        for name, part, style in _with_baselines(tree)
    ]
    ensemble = tree["generated"].get("models", {}).get("ensemble")
    if ensemble:
        entries.insert(2, (f"{GENERATED_NAME}, models", ensemble, GENERATED["color"]))
    entries = [e for e in entries if e[1] is not None]
    known = tree["md"]["diffusion"].get("total")
    with figure(5.0, 1.3 + 0.4 * max(len(entries), 1)) as (fig, ax):
        if known is not None:
            d, relative = known["d_angstrom2_per_ps"], float(tree["ceiling"]["relative_error"])
            ax.axvspan(
                d * (1 - relative),
                d * (1 + relative),
                color=TRAINING_SPAN,
                lw=0,
                zorder=0,
                label=f"what the MD data tell, by the number of hops (± {100 * relative:.0f} %)",
            )
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        for row, (_, total, color) in enumerate(entries):
            d, low, high = (total[f"{k}_angstrom2_per_ps"] for k in ("d", "low", "high"))
            ax.errorbar(d, row, xerr=[[d - low], [high - d]], fmt="o", color=color, capsize=3, ms=5)
        ax.set_yticks(range(len(entries)), [e[0] for e in entries])
        ax.set_ylim(len(entries) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel("diffusion coefficient D (Å²/ps = 10⁻⁴ cm²/s)")
        return save(fig, folder, "diffusion_coefficients")


def draw(tree: Tree, folder: Path) -> list[tuple[str, str]]:
    """Draw all of them into `folder`; return names and captions."""
    figures = [
        (
            coefficients(tree, folder),
            "Diffusion coefficients with 95 % intervals. The interval of MD-GAN and of the "
            "baselines is that of their own ions; it does not hold what the training data leave "
            "unknown. Grey: the standard error that the number of hops in the MD allows (He et al. "
            "2018).",
        ),
        (
            alpha2(tree, folder),
            "Non-Gaussian parameter: above zero where some ions have hopped and others have not.",
        ),
        (
            van_hove(tree, folder),
            "Distribution of the distances moved (self part of the van Hove function).",
        ),
        (
            velocities(tree, folder),
            "Velocity autocorrelation, from displacements between records, and its spectrum.",
        ),
    ]
    if "density" in tree:
        part = tree["density"]
        figures.append(
            (
                density(tree, folder),
                f"Density of the ions in a layer {float(part['thickness']):.2g} Å thick at "
                f"{float(part['layer']):.3g} Å along the normal of the a-b plane, averaged over "
                "the translations of the crystal; colours go with the square root.",
            )
        )
    return figures
