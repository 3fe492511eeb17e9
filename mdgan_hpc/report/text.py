"""Numbers with their errors and units, as lines and cells that a scientist reads.

Signs are those of print (Å², ±); `numbers.plain_text` gives what a terminal shows.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mdgan_hpc.analysis.fit.results import (
    Coefficient,
    Collective,
    CollectiveEnsemble,
    Conductivity,
    Diffusion,
    DiffusionTensor,
    FiniteSize,
    GreenKubo,
    Onsager,
    OnsagerConductivity,
    Refused,
)
from mdgan_hpc.report.numbers import between, measured
from mdgan_hpc.units import CM2_PER_S, M2_PER_S
from mdgan_hpc.verdict import verdict_line

#: An isotropic medium looks as anisotropic as that, or more, with this probability.
_ISOTROPIC = 0.01
#: Transference numbers are told no finer than this: masses may give them to many digits.
_DIGITS = 0.001


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
        f"{measured(d, error)} Å²/ps (95 %: {between(low, high, error)})"
        f" = {measured(d * CM2_PER_S, error * CM2_PER_S)} cm²/s"
        f" = {measured(d * M2_PER_S, error * M2_PER_S)} m²/s"
    )


def short(found: Interval) -> str:
    """Return D in Angstrom^2/ps with its 95 % interval."""
    d, error = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    low, high = found.low_angstrom2_per_ps, found.high_angstrom2_per_ps
    return f"{measured(d, error)} Å²/ps (95 %: {between(low, high, error)})"


def carried(found: Conductivity) -> str:
    """Return a conductivity in S/cm, with its 95 % interval where that is known."""
    value, error = found.sigma_s_per_cm, found.error_s_per_cm
    told = f"{measured(value, error)} S/cm"
    low, high = found.low_s_per_cm, found.high_s_per_cm
    return told if low is None or high is None else f"{told} (95 %: {between(low, high, error)})"


def diffusion_lines(diffusion: Diffusion, name: str = "D") -> list[str]:
    """Return what to print of a diffusion coefficient."""
    total, judged = diffusion.total, judgement(diffusion)
    if total is None:
        return [*judged, f"{name}: {diffusion.refused}"]
    start, stop = total.window_ps
    compared = (
        "ordinary least squares "
        f"{measured(total.d_ols_angstrom2_per_ps, total.error_ols_angstrom2_per_ps)}"
    )
    counted = diffusion.independent_observations
    if counted is not None:
        compared += (
            ", independent observations (as kinisi) "
            f"{measured(counted.d_angstrom2_per_ps, counted.error_angstrom2_per_ps)}"
        )
    lines = [
        *judged,
        *ensemble_lines(diffusion, name),
        f"{name} = {with_error(total)}{_of_ions(diffusion)}",
        f"  fitted from {start:.3g} to {stop:.3g} ps ({total.window_chosen}); log-log slope "
        f"{measured(total.slope, total.slope_error)}; about "
        f"{total.n_independent:.0f} independent observations",
        f"  to compare with other programs, Å²/ps: {compared}",
        *misfit_lines(total),
    ]
    if diffusion.tensor is not None:
        lines.append(f"  {tensor_line(diffusion.tensor)}")
    if diffusion.collective is not None:
        lines.append(f"  {haven_line(diffusion.collective)}")
    if diffusion.green_kubo is not None:
        lines.append(f"  {green_kubo_line(diffusion.green_kubo)}")
    if diffusion.finite_size is not None:
        lines.append(f"  {finite_size_line(diffusion.finite_size)}")
    return lines


def tensor_line(tensor: DiffusionTensor) -> str:
    """Return the principal values of the tensor, with their axes where they are no chance."""
    if tensor.isotropy_probability >= _ISOTROPIC:
        return (
            "diffusion tensor: as of an isotropic medium, within its errors "
            f"(probability {tensor.isotropy_probability:.2g})"
        )
    found = zip(
        tensor.principal_angstrom2_per_ps,
        tensor.principal_error_angstrom2_per_ps,
        tensor.axes,
        tensor.axes_error_degrees,
        strict=True,
    )
    told = [
        f"{measured(d, error)} along ({', '.join(f'{c:.2f}' for c in axis)}) ± {tilt:.0f}°"
        for d, error, axis, tilt in found
    ]
    return f"principal axes of the diffusion tensor, Å²/ps: {'; '.join(told)}"


def green_kubo_line(found: GreenKubo) -> str:
    """Return what to print of D of all ions together by Green-Kubo."""
    return (
        "the same from the spectrum of the current (Green-Kubo, cepstral): "
        f"{measured(found.d_angstrom2_per_ps, found.error_angstrom2_per_ps)} Å²/ps"
    )


def finite_size_line(found: FiniteSize) -> str:
    """Return what to print of D of an infinite liquid."""
    d, error = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    added = f"{found.correction_angstrom2_per_ps:.2g} added for a cell of"
    return (
        f"D of an infinite liquid: {measured(d, error)} Å²/ps ({added} "
        f"{found.edge_angstrom:.4g} Å and {found.viscosity_mpa_s:g} mPa s)"
    )


def misfit_lines(found: Coefficient) -> list[str]:
    """Return a warning where the MSD is no line in the fit window."""
    if found.line_misfit is None or found.line_misfit <= 1:
        return []
    slope = measured(found.slope, found.slope_error)
    kind = "sub-diffusive" if found.slope < 1 else "super-diffusive"
    return [
        f"  the MSD is not a line in this window (log-log slope {slope}: {kind}): D would be "
        f"another at longer times; its error is {found.line_misfit:.2g} times that of a line"
    ]


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
        f"  68 %: {between(low, high, found.error_angstrom2_per_ps)} Å²/ps; of the error, data "
        "and training "
        f"{found.models_error_angstrom2_per_ps:.2g}, number of generated ions "
        f"{found.ions_error_angstrom2_per_ps:.2g}{refused}",
        *_haven_of_models(diffusion.ensemble_collective),
    ]


def _haven_of_models(found: CollectiveEnsemble | None) -> list[str]:
    if found is None:
        return []
    value, error = found.haven_ratio, found.haven_error
    return [
        f"  Haven ratio of {found.n_models} models {measured(value, error)} (95 %: "
        f"{between(found.haven_low, found.haven_high, error)}; 68 %: "
        f"{between(found.haven_low68, found.haven_high68, error)})"
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
        f"Haven ratio {measured(collective.haven_ratio, collective.haven_error)}: the ions of a "
        "simulation together diffuse with "
        f"{measured(collective.d_angstrom2_per_ps, collective.error_angstrom2_per_ps)} Å²/ps"
    )


def onsager_lines(found: Onsager | Refused, *, generated: bool) -> list[str]:
    """Return what to print of how several species move together, simulated or generated."""
    if isinstance(found, Refused):
        return [f"Onsager coefficients: {found.refused}"]
    pairs = [(i, j) for i in range(len(found.species)) for j in range(i, len(found.species))]
    name = {pair: "-".join(found.species[i] for i in pair) for pair in pairs}

    def listed(values: np.ndarray, errors: np.ndarray) -> str:
        return "; ".join(f"{name[p]} {measured(values[p], errors[p])}" for p in pairs)

    start, stop = found.window_ps
    lines = [
        "Onsager coefficients as k T V L_ij / sqrt(N_i N_j), Å²/ps (zero between species that move "
        f"independently), {start:.3g} to {stop:.3g} ps: "
        + listed(found.d_angstrom2_per_ps, found.error_angstrom2_per_ps)
    ]
    per_volume, errors = found.l_per_joule_metre_second, found.l_error_per_joule_metre_second
    if per_volume is not None and errors is not None:
        lines.append(f"  L_ij, 1/(J m s): {listed(per_volume, errors)}")
    if found.conductivity is not None:
        lines += _carried(found.species, found.conductivity)
    if generated:
        lines.append("  these errors are those of the number of generated ions alone")
    return lines


def _carried(species: Sequence[str], found: OnsagerConductivity) -> list[str]:
    shares = zip(species, found.transference, found.transference_error, strict=True)
    sigma = measured(found.sigma_s_per_cm, found.error_s_per_cm)
    lines = [
        f"  conductivity from the motion of all ions together: {sigma} S/cm at "
        f"{found.temperature_k:.0f} K; transference numbers "
        + ", ".join(f"{name} {measured(t, max(error, _DIGITS))}" for name, t, error in shares)
    ]
    if found.haven_ratio is not None and found.haven_error is not None:
        lines.append(
            f"  Haven ratio (Nernst-Einstein over that): "
            f"{measured(found.haven_ratio, found.haven_error)}"
        )
    return lines


def diffusion_cells(found: Interval | Diffusion | Refused) -> list[str]:
    """Return D and interval in Angstrom^2/ps, window and slope as cells of a table row."""
    if isinstance(found, Diffusion):
        found = found.total or Refused(found.refused or "")
    if isinstance(found, Refused):
        return [found.refused, "", "", ""]
    d, error = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    window, slope = "", ""
    if isinstance(found, Coefficient):
        window = f"{found.window_ps[0]:.3g} to {found.window_ps[1]:.3g}"
        slope = measured(found.slope, found.slope_error)
        if found.line_misfit is not None and found.line_misfit > 1:
            slope += f", no line: error x {found.line_misfit:.2g}"
    return [
        measured(d, error),
        between(found.low_angstrom2_per_ps, found.high_angstrom2_per_ps, error),
        window,
        slope,
    ]
