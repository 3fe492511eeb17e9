"""Numbers with their errors and units, as lines a scientist reads."""

from collections.abc import Mapping
from typing import Any

from mdgan_hpc.units import CM2_PER_S, M2_PER_S


def with_error(value: float, error: float, low: float, high: float) -> str:
    """Return D in Angstrom^2/ps, cm2/s and m2/s with standard error and 95 % interval."""
    return (
        f"{value:.3g} +- {error:.2g} A^2/ps (95 %: {low:.3g} to {high:.3g})"
        f" = {value * CM2_PER_S:.3g} +- {error * CM2_PER_S:.2g} cm2/s"
        f" = {value * M2_PER_S:.3g} +- {error * M2_PER_S:.2g} m2/s"
    )


def diffusion_lines(tree: Mapping[str, Any], name: str = "D") -> list[str]:
    """Return what to print of a `diffusion.diffusion_tree`."""
    if "refused" in tree:
        return [f"{name}: {tree['refused']}"]
    total = tree["total"]
    start, stop = total["window_ps"]
    compared = (
        f"ordinary least squares {total['d_ols_angstrom2_per_ps']:.3g} +- "
        f"{total['error_ols_angstrom2_per_ps']:.2g}"
    )
    if "independent_observations" in tree:
        counted = tree["independent_observations"]
        compared += (
            f", independent observations (as kinisi) {counted['d_angstrom2_per_ps']:.3g} +- "
            f"{counted['error_angstrom2_per_ps']:.2g}"
        )
    lines = [
        f"{name} = "
        + with_error(
            total["d_angstrom2_per_ps"],
            total["error_angstrom2_per_ps"],
            total["low_angstrom2_per_ps"],
            total["high_angstrom2_per_ps"],
        ),
        f"  fitted from {start:.3g} to {stop:.3g} ps ({total['window_chosen']}); log-log slope "
        f"{total['slope']:.2f} +- {total['slope_error']:.2f}; about "
        f"{total['n_independent']:.0f} independent observations",
        f"  to compare with other programs, A^2/ps: {compared}",
    ]
    collective = tree.get("collective")
    if collective is not None:
        lines.append(f"  {haven_line(collective)}")
    return lines


def haven_line(collective: Mapping[str, Any]) -> str:
    """Return what to print of a `diffusion.collective_diffusion`."""
    if "refused" in collective:
        return f"Haven ratio: {collective['refused']}"
    return (
        f"Haven ratio {collective['haven_ratio']:.2f} +- {collective['haven_error']:.2g}: the ions "
        f"of a simulation together diffuse with {collective['d_angstrom2_per_ps']:.3g} +- "
        f"{collective['error_angstrom2_per_ps']:.2g} A^2/ps"
    )


def diffusion_cells(total: Mapping[str, Any]) -> list[str]:
    """Return D, interval, D in cm2/s, window and slope as cells of a table row."""
    if "refused" in total:
        return [total["refused"], "", "", "", ""]
    d, error, low, high = (
        total[f"{name}_angstrom2_per_ps"] for name in ("d", "error", "low", "high")
    )
    start, stop = total["window_ps"]
    return [
        f"{d:.3g} ± {error:.2g}",
        f"{low:.3g} to {high:.3g}",
        f"{d * CM2_PER_S:.3g} ± {error * CM2_PER_S:.2g}",
        f"{start:.3g} to {stop:.3g}",
        f"{total['slope']:.2f} ± {total['slope_error']:.2f}",
    ]


def ensemble_cells(ensemble: Mapping[str, Any]) -> list[str]:
    """Return the D of an ensemble of models as cells of a table row."""
    d, error, low, high = (
        ensemble[f"{name}_angstrom2_per_ps"] for name in ("d", "error", "low", "high")
    )
    return [
        f"{d:.3g} ± {error:.2g}",
        f"{low:.3g} to {high:.3g}",
        f"{d * CM2_PER_S:.3g} ± {error * CM2_PER_S:.2g}",
        "",
        "",
    ]
