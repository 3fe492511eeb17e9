"""Numbers with their errors and units, as lines and cells that a scientist reads."""

from typing import Protocol

from mdgan_hpc.analysis.fit.results import Coefficient, Collective, Diffusion, Refused
from mdgan_hpc.units import CM2_PER_S, M2_PER_S
from mdgan_hpc.verdict import verdict_line


class Interval(Protocol):
    """A diffusion coefficient with its standard error and 95 % interval, Angstrom^2/ps."""

    @property
    def d_angstrom2_per_ps(self) -> float: ...

    @property
    def error_angstrom2_per_ps(self) -> float: ...

    @property
    def low_angstrom2_per_ps(self) -> float: ...

    @property
    def high_angstrom2_per_ps(self) -> float: ...


def with_error(found: Interval) -> str:
    """Return D in Angstrom^2/ps, cm2/s and m2/s with standard error and 95 % interval."""
    d, error = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    low, high = found.low_angstrom2_per_ps, found.high_angstrom2_per_ps
    return (
        f"{d:.3g} +- {error:.2g} A^2/ps (95 %: {low:.3g} to {high:.3g})"
        f" = {d * CM2_PER_S:.3g} +- {error * CM2_PER_S:.2g} cm2/s"
        f" = {d * M2_PER_S:.3g} +- {error * M2_PER_S:.2g} m2/s"
    )


def short(found: Interval) -> str:
    """Return D in Angstrom^2/ps with its 95 % interval."""
    return (
        f"{found.d_angstrom2_per_ps:.3g} A^2/ps (95 %: {found.low_angstrom2_per_ps:.3g} to "
        f"{found.high_angstrom2_per_ps:.3g})"
    )


def diffusion_lines(diffusion: Diffusion, name: str = "D") -> list[str]:
    """Return what to print of a diffusion coefficient."""
    total, judged = diffusion.total, judgement(diffusion)
    if total is None:
        return [*judged, f"{name}: {diffusion.refused}"]
    start, stop = total.window_ps
    compared = (
        f"ordinary least squares {total.d_ols_angstrom2_per_ps:.3g} +- "
        f"{total.error_ols_angstrom2_per_ps:.2g}"
    )
    counted = diffusion.independent_observations
    if counted is not None:
        compared += (
            f", independent observations (as kinisi) {counted.d_angstrom2_per_ps:.3g} +- "
            f"{counted.error_angstrom2_per_ps:.2g}"
        )
    lines = [
        *judged,
        *ensemble_lines(diffusion, name),
        f"{name} = {with_error(total)}{_of_ions(diffusion)}",
        f"  fitted from {start:.3g} to {stop:.3g} ps ({total.window_chosen}); log-log slope "
        f"{total.slope:.2f} +- {total.slope_error:.2f}; about "
        f"{total.n_independent:.0f} independent observations",
        f"  to compare with other programs, A^2/ps: {compared}",
    ]
    if diffusion.collective is not None:
        lines.append(f"  {haven_line(diffusion.collective)}")
    return lines


def judgement(diffusion: Diffusion) -> list[str]:
    """Return the verdict on the model that made the trajectories, if one did."""
    return [verdict_line(diffusion.verdict)] if diffusion.generated else []


def ensemble_lines(diffusion: Diffusion, name: str = "D") -> list[str]:
    """Return D over several models with its whole interval, if there are."""
    found = diffusion.ensemble
    if found is None:
        return []
    low, high = found.low68_angstrom2_per_ps, found.high68_angstrom2_per_ps
    refused = f", {found.refused} more give none" if found.refused else ""
    return [
        f"{name} of {found.n_models} models = {with_error(found)}",
        f"  68 %: {low:.3g} to {high:.3g} A^2/ps; of the error, data and training "
        f"{found.models_error_angstrom2_per_ps:.2g}, number of generated ions "
        f"{found.ions_error_angstrom2_per_ps:.2g}{refused}",
    ]


def _of_ions(diffusion: Diffusion) -> str:
    """Return what the error of D leaves out."""
    if not diffusion.generated:
        return ""
    if diffusion.ensemble is not None:
        return ", all models as one: error of the number of generated ions alone"
    return ", error of the number of generated ions alone: no interval of the data (--replicas)"


def haven_line(collective: Collective | Refused) -> str:
    """Return what to print of the motion of all ions together."""
    if isinstance(collective, Refused):
        return f"Haven ratio: {collective.refused}"
    return (
        f"Haven ratio {collective.haven_ratio:.2f} +- {collective.haven_error:.2g}: the ions "
        f"of a simulation together diffuse with {collective.d_angstrom2_per_ps:.3g} +- "
        f"{collective.error_angstrom2_per_ps:.2g} A^2/ps"
    )


def diffusion_cells(found: Interval | Diffusion | Refused) -> list[str]:
    """Return D, interval, D in cm2/s, window and slope as cells of a table row."""
    if isinstance(found, Diffusion):
        found = found.total or Refused(found.refused or "")
    if isinstance(found, Refused):
        return [found.refused, "", "", "", ""]
    d, error = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    window, slope = "", ""
    if isinstance(found, Coefficient):
        window = f"{found.window_ps[0]:.3g} to {found.window_ps[1]:.3g}"
        slope = f"{found.slope:.2f} ± {found.slope_error:.2f}"
    return [
        f"{d:.3g} ± {error:.2g}",
        f"{found.low_angstrom2_per_ps:.3g} to {found.high_angstrom2_per_ps:.3g}",
        f"{d * CM2_PER_S:.3g} ± {error * CM2_PER_S:.2g}",
        window,
        slope,
    ]
