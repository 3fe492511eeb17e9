"""Diffusion coefficients of a `Dynamics`: in all directions, along axes, of all ions together."""

from dataclasses import replace
from typing import TypedDict

from mdgan_hpc.analysis.fit.coefficient import (
    fit_coefficient,
    independent_observations,
    widened_by_samples,
)
from mdgan_hpc.analysis.fit.collective import fit_collective
from mdgan_hpc.analysis.fit.covariance import Sampling, sampling_of
from mdgan_hpc.analysis.fit.ensemble import ensembles_of
from mdgan_hpc.analysis.fit.green_kubo import green_kubo
from mdgan_hpc.analysis.fit.results import Coefficient, Collective, Diffusion, Refused
from mdgan_hpc.analysis.fit.tensor import diffusion_tensor
from mdgan_hpc.analysis.fit.window import NotDiffusiveError, choose_window
from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.verdict import OPTION, Verdict


class Made(TypedDict):
    """What is known of what made the trajectories."""

    generated: bool
    verdict: Verdict | None


def fit_diffusion(
    dynamics: Dynamics,
    *,
    window_ps: tuple[float, float] | None = None,
    accept_poor_model: bool = False,
) -> Diffusion:
    """Return D in all directions and along each axis, or why there is none.

    Parameters
    ----------
    dynamics : Dynamics
    window_ps : tuple of float, optional
        First and last lag of the fit; by rule (`window.choose_window`) if not given.
    accept_poor_model : bool
        Give D also of a model that does not move as the MD does.

    Returns
    -------
    Diffusion
        ``total`` with its error widened by the scatter of independent samples: of the blocks of
        cells in a run, or else of the runs of MD. Of several models also `Ensemble`.

    Raises
    ------
    UsageError
        If the given window holds fewer than three lags.
    """
    made: Made = {"generated": dynamics.generated, "verdict": dynamics.verdict}
    if dynamics.verdict is not None and dynamics.verdict.is_poor and not accept_poor_model:
        return Diffusion(refused=f"none is given ({OPTION} gives it)", **made)
    curves, sampling = dynamics.curves, sampling_of(dynamics)
    lag, choice = curves.lag_ps, None
    try:
        if window_ps is None:
            start, stop, choice = choose_window(lag, curves.msd, sampling)
        else:
            start, stop = window_ps
        total = fit_coefficient(lag, curves.msd, sampling, window_ps=(start, stop))
    except NotDiffusiveError as error:
        return Diffusion(refused=error.what, **made)
    total = _widened(dynamics, total, sampling)
    counted = None
    if curves.fourth_moment is not None:
        counted = independent_observations(curves, sampling, (start, stop))
    collective: Collective | Refused | None = None
    together = None
    if dynamics.cells is not None and dynamics.cells.in_solid:
        collective = fit_collective(dynamics, total)
        if dynamics.current is not None:
            together = green_kubo(dynamics.current, sampling.anisotropy)
    x, y, z = (_along(dynamics, axis, (start, stop)) for axis in range(3))
    chosen = "by rule" if window_ps is None else "given"
    models, models_together = ensembles_of(dynamics, total)
    return Diffusion(
        replace(total, window_chosen=chosen),
        choice,
        counted,
        collective,
        *(x, y, z),
        tensor=diffusion_tensor(dynamics, total),
        green_kubo=together,
        ensemble=models,
        ensemble_collective=models_together,
        **made,
    )


def _widened(dynamics: Dynamics, total: Coefficient, sampling: Sampling) -> Coefficient:
    """Widen the error of D by the scatter of blocks or runs; models are another matter."""
    samples, parts = dynamics.replicas.msd, sampling
    if dynamics.blocks is not None:
        blocks = dynamics.blocks
        samples = blocks.msd
        parts = replace(sampling, n_particles=blocks.n_particles, span_ps=blocks.span_ps)
    elif dynamics.models is not None:
        return total
    return widened_by_samples(total, dynamics.curves.lag_ps, samples, parts)


def _along(dynamics: Dynamics, axis: int, window_ps: tuple[float, float]) -> Coefficient | Refused:
    curves = dynamics.curves
    try:
        return fit_coefficient(
            curves.lag_ps,
            curves.msd_axis[:, axis],
            sampling_of(dynamics, axis),
            window_ps=window_ps,
            dimensions=1,
        )
    except NotDiffusiveError as error:
        return Refused(error.what)
