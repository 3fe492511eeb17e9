"""From motion to the diffusion coefficient and the conductivity: the face of `fit`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.transport import conductivity, finite_size
from mdgan_hpc.analysis.results import (
    Collective,
    CollectiveEnsemble,
    Diffusion,
    Dynamics,
    Ensemble,
    GreenKubo,
)
from mdgan_hpc.crystal import stays_in_place
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.temperature import temperature_of

Found = TypeVar("Found", Collective, GreenKubo)


#: Part by which edges of a cubic cell, and cosines of its angles, may be off.
_CUBIC = 0.01


class Charges(TypedDict):
    """What the conductivity needs beside D."""

    n_ions: int
    volume_a3: float
    charge: float
    temperature_k: float


def diffusion(
    source: Dynamics | str | Path | Sequence[str | Path],
    *,
    window_ps: tuple[float, float] | None = None,
    charge: float | None = None,
    temperature_k: float | None = None,
    viscosity_mpa_s: float | None = None,
    accept_poor_model: bool = False,
    **options: Any,
) -> Diffusion:
    """Fit the diffusion coefficient of ions, with its error.

    Parameters
    ----------
    source : Dynamics, path or sequence of path
        What `dynamics.dynamics` measured, or trajectory files to measure first.
    window_ps : tuple of float, optional
        First and last lag of the fit; by rule if not given.
    charge : float, optional
        Of an ion, elementary charges: asks for the conductivity.
    temperature_k : float, optional
        For that and the next; if not given the target of the simulation, or else the mean of the
        first file.
    viscosity_mpa_s : float, optional
        mPa s: asks for D of an infinite liquid (`fit.transport.finite_size`).
    accept_poor_model : bool
        Give D also of a model that does not move as the MD does (``verdict`` tells).
    **options
        Fields of `DynamicsConfig` where files are given.

    Returns
    -------
    Diffusion
        ``total`` is D, or ``refused`` tells why there is none.

    Raises
    ------
    UsageError
        If the window holds fewer than three lags, or the conductivity lacks what it needs.
    """
    window_ps = _window(window_ps)
    if charge is not None and not isinstance(charge, int | float | np.number):
        raise UsageError(f"charge = {charge!r} must be a number, of elementary charges")
    if isinstance(source, Dynamics):
        if options:
            raise UsageError(f"{', '.join(options)}: only where files are given")
        found = source
    else:
        found = dynamics(source, **options)
    charges = liquid = None
    species = "" if found.species == "X" else found.species
    if (charge is not None or viscosity_mpa_s is not None) and not found.files:
        raise UsageError("motion in memory tells no cell, which charge and viscosity need")
    if found.files and charge is not None:
        charges = charges_of(found.files[0], species, charge, temperature_k)
    if found.files and viscosity_mpa_s is not None:
        liquid = liquid_of(found.files[0], species, viscosity_mpa_s, temperature_k)
    fitted = fit_diffusion(found, window_ps=window_ps, accept_poor_model=accept_poor_model)
    return with_finite_size(with_conductivity(fitted, charges), liquid)


def _window(asked: object) -> tuple[float, float] | None:
    """Return the two lags of a window."""
    if asked is None:
        return None
    lags = np.asarray(asked)
    if lags.shape != (2,) or lags.dtype.kind not in "iuf":
        raise UsageError(f"window_ps = {asked!r} must be two lags in ps", remedy="as in (2, 20)")
    return float(lags[0]), float(lags[1])


def with_conductivity(fitted: Diffusion, charges: Charges | None) -> Diffusion:
    """Return D with the conductivities that it means, where there is a D.

    Of several models they are those of their D, with its whole interval.
    """
    if charges is None or fitted.total is None:
        return fitted
    together, spectral = fitted.collective, fitted.green_kubo
    carried: CollectiveEnsemble | Collective | None = fitted.ensemble_collective
    whole = fitted.ensemble_collective or fitted.ensemble
    if carried is None and isinstance(together, Collective):
        carried = _with_errors(together, whole)
    return replace(
        fitted,
        nernst_einstein=conductivity(fitted.ensemble or fitted.total, **charges),
        conductivity=None if carried is None else conductivity(carried, **charges),
        conductivity_green_kubo=None
        if spectral is None
        else conductivity(_with_errors(spectral, whole), **charges),
    )


def _with_errors(found: Found, whole: Ensemble | None) -> Found:
    """Return a coefficient whose relative error and interval are at least those of the models."""
    if whole is None:
        return found
    scale = found.d_angstrom2_per_ps / whole.d_angstrom2_per_ps
    error, low, high = (
        scale * part
        for part in (
            whole.error_angstrom2_per_ps,
            whole.low_angstrom2_per_ps,
            whole.high_angstrom2_per_ps,
        )
    )
    return replace(
        found,
        error_angstrom2_per_ps=max(found.error_angstrom2_per_ps, error),
        low_angstrom2_per_ps=min(found.low_angstrom2_per_ps, low),
        high_angstrom2_per_ps=max(found.high_angstrom2_per_ps, high),
    )


class Liquid(TypedDict):
    """What the correction of D for the size of the cell needs beside D."""

    edge_angstrom: float
    viscosity_mpa_s: float
    temperature_k: float


def with_finite_size(fitted: Diffusion, liquid: Liquid | None) -> Diffusion:
    """Return D with that of an infinite liquid beside it, where there is a D."""
    if liquid is None or fitted.total is None:
        return fitted
    return replace(fitted, finite_size=finite_size(fitted.total, **liquid))


def liquid_of(
    path: str, species: str, viscosity_mpa_s: float, temperature_k: float | None
) -> Liquid:
    """Return what the correction for the size of the cell needs: its edge and temperature.

    Raises
    ------
    UsageError
        If the cell is not cubic, its other atoms stay in place, or no temperature is known.
    """
    with Trajectory(path, species or None, incomplete_ok=True) as trajectory:
        cell = trajectory.constant_cell
        solid = stays_in_place(trajectory.framework)
        told = temperature_of(trajectory).k
    if cell is None:
        raise DataError("has no constant cell, which --viscosity needs", where=path)
    edges = np.linalg.norm(cell, axis=1)
    cosines = cell @ cell.T / np.outer(edges, edges) - np.eye(3)
    if np.ptp(edges) > _CUBIC * edges.mean() or np.abs(cosines).max() > _CUBIC:
        raise UsageError("its cell is not cubic: --viscosity corrects D in cubic cells", where=path)
    if solid:
        raise UsageError(
            "its other atoms stay in place: --viscosity corrects D in liquids",
            where=path,
            remedy="leave it away",
        )
    return {
        "edge_angstrom": float(edges.mean()),
        "viscosity_mpa_s": viscosity_mpa_s,
        "temperature_k": _temperature(temperature_k, told),
    }


def _temperature(given: float | None, told: float | None) -> float:
    if given is None and told is None:
        raise UsageError("the files hold no temperature", remedy="give --temperature")
    return float(given if given is not None else told)  # type: ignore[arg-type]


def charges_of(path: str, species: str, charge: float, temperature_k: float | None) -> Charges:
    """Return what the conductivity needs beside D: ions, their charge, volume, temperature."""
    with Trajectory(path, species or None, incomplete_ok=True) as trajectory:
        ions = trajectory.ions_per_cell
        if trajectory.generated and ions == 1:
            raise UsageError(
                "ions generated one by one do not tell how many of them share a volume",
                where=path,
                remedy="give the MD trajectories",
            )
        cell = trajectory.constant_cell
        told = temperature_of(trajectory).k
    if cell is None:
        raise DataError("has no constant cell, so no volume", where=path)
    return {
        "n_ions": ions,
        "volume_a3": float(abs(np.linalg.det(cell))),
        "charge": charge,
        "temperature_k": _temperature(temperature_k, told),
    }
