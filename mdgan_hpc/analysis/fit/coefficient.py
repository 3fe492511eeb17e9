"""One diffusion coefficient from a mean squared displacement, with an error that can be believed.

Ordinary least squares takes the values at different lags as independent and understates the error
several times. A line MSD = c + 2 d D t is fitted by generalised least squares, with their
covariance (`covariance`).

References
----------
A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025), arXiv
2305.18244: covariance-aware fit of ion MSDs, from the number of independent observations.
"""

from dataclasses import replace

import numpy as np
from scipy.special import chdtri

from mdgan_hpc.analysis.fit.covariance import Sampling, fit_lags, fit_line, gls
from mdgan_hpc.analysis.fit.results import Coefficient, Counted
from mdgan_hpc.analysis.fit.window import NotDiffusiveError, choose_window
from mdgan_hpc.analysis.results import Curves
from mdgan_hpc.errors import UsageError

CONFIDENCE = 0.95


def lags_in_window(lag_ps: np.ndarray, window_ps: tuple[float, float]) -> np.ndarray:
    """Return the indices of the lags of a fit window.

    Raises
    ------
    UsageError
        If they are fewer than three.
    """
    start, stop = window_ps
    index = fit_lags(lag_ps, start, stop)
    if len(index) < 3:
        raise UsageError(
            f"the fit window {start:g} to {stop:g} ps holds {len(index)} lags, 3 are needed",
            remedy=f"lags go from {lag_ps[0]:g} to {lag_ps[-1]:g} ps",
        )
    return index


def fit_coefficient(
    lag_ps: np.ndarray,
    msd: np.ndarray,
    sampling: Sampling,
    *,
    window_ps: tuple[float, float] | None = None,
    dimensions: int = 3,
) -> Coefficient:
    """Fit MSD = c + 2 d D t with the covariance of the MSD.

    Where no line fits, as in sub-diffusive motion, the error is multiplied by the Birge ratio of
    the fit (`Coefficient.line_misfit`).

    Parameters
    ----------
    lag_ps, msd : array, [L]
        ps and Angstrom^2, lags ascending.
    sampling : Sampling
    window_ps : tuple of float, optional
        First and last lag; by rule (`choose_window`) if not given.
    dimensions : int
        3 for the whole MSD, 1 for that of one axis.

    Raises
    ------
    NotDiffusiveError
        If no window can be chosen.
    UsageError
        If the given window holds fewer than three lags.
    """
    chosen = "given" if window_ps else "by rule"
    if window_ps is None:
        start, stop, _ = choose_window(lag_ps, msd, sampling)
    else:
        start, stop = window_ps
    index = lags_in_window(lag_ps, (start, stop))
    t, y = lag_ps[index], msd[index]
    if not (y > 0).all():
        raise NotDiffusiveError("the ions do not move; no diffusion coefficient")
    line = fit_line(lag_ps, msd, index, sampling)
    rate, variance = line.parameters[1], line.errors[1, 1] * line.misfit**2
    if rate <= 0:
        raise NotDiffusiveError(
            f"the MSD does not rise between {t[0]:.3g} and {t[-1]:.3g} ps; no diffusion coefficient"
        )
    low, high = _interval(rate, variance)
    log_covariance = line.covariance / np.outer(y, y)
    power_law = np.stack([np.ones_like(t), np.log(t)], axis=1)
    slope, slope_errors, _ = gls(power_law, np.log(y), log_covariance)
    to_d = 1 / (2 * dimensions)
    return Coefficient(
        d_angstrom2_per_ps=float(rate * to_d),
        error_angstrom2_per_ps=float(np.sqrt(variance) * to_d),
        low_angstrom2_per_ps=float(low * to_d),
        high_angstrom2_per_ps=float(high * to_d),
        intercept_angstrom2=float(line.parameters[0]),
        dimensions=dimensions,
        window_ps=(float(t[0]), float(t[-1])),
        window_chosen=chosen,
        slope=float(slope[1]),
        slope_error=float(np.sqrt(slope_errors[1, 1])),
        n_independent=float((sampling.n_particles * sampling.span_ps).sum() / t[0]),
        d_ols_angstrom2_per_ps=float(line.ordinary[1] * to_d),
        error_ols_angstrom2_per_ps=_claimed_by_least_squares(t, y, line.ordinary) * to_d,
        line_misfit=line.misfit,
    )


def _claimed_by_least_squares(t: np.ndarray, y: np.ndarray, line: np.ndarray) -> float:
    """Return the error of the slope of a line that takes the values as independent."""
    design = np.stack([np.ones_like(t), t], axis=1)
    residual = y - design @ line
    variance = residual @ residual / max(len(t) - 2, 1) * np.linalg.inv(design.T @ design)
    return float(np.sqrt(variance[1, 1]))


def _interval(rate: float, variance: float) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of a rate.

    The estimate is a sum of squares: chi-squared with as many degrees of freedom as its relative
    variance says, which bounds the interval away from zero and skews it upwards.
    """
    freedom = 2 * rate**2 / variance
    tail = (1 - CONFIDENCE) / 2
    low, high = chdtri(freedom, [tail, 1 - tail])
    return float(rate * freedom / low), float(rate * freedom / high)


def widened_by_samples(
    total: Coefficient, lag_ps: np.ndarray, sample_msd: np.ndarray, sampling: Sampling
) -> Coefficient:
    """Widen the error where samples scatter more than the motion of single ions explains.

    Ions of one run share their surroundings, so that they are fewer independent samples than they
    are ions. The runs, or blocks of the cells in a run, tell: with D_f +- e_f of each alone, the
    error is multiplied by the Birge ratio sqrt(sum ((D_f - D) / e_f)^2 / (F - 1)) if that is above
    one.

    Parameters
    ----------
    total : Coefficient
        Of all samples together.
    lag_ps : array, [L]
    sample_msd : array, [F, L]
        Angstrom^2.
    sampling : Sampling

    Returns
    -------
    Coefficient
        With its `birge_ratio`; one where there is a single sample.

    References
    ----------
    R. T. Birge, Phys. Rev. 40, 207 (1932); Review of Particle Physics, introduction, 5.2.2.
    """
    if len(sample_msd) < 2:
        return replace(total, birge_ratio=1.0)
    d, squares = total.d_angstrom2_per_ps, []
    for number, msd in enumerate(sample_msd):
        alone = replace(
            sampling,
            n_particles=sampling.n_particles[[number]],
            span_ps=sampling.span_ps[[number]],
        )
        try:
            one = fit_coefficient(lag_ps, msd, alone, window_ps=total.window_ps)
        except NotDiffusiveError:
            continue
        alone_error = one.error_angstrom2_per_ps / (one.line_misfit or 1.0)
        squares.append(((one.d_angstrom2_per_ps - d) / alone_error) ** 2)
    ratio = float(np.sqrt(np.sum(squares) / max(len(squares) - 1, 1)))
    # A line that fits badly tells of the same: the larger of both counts.
    counted = total.line_misfit or 1.0
    if ratio <= counted:
        return replace(total, birge_ratio=ratio)
    error = total.error_angstrom2_per_ps * ratio / counted
    low, high = _interval(d, error**2)
    return replace(
        total,
        error_angstrom2_per_ps=error,
        low_angstrom2_per_ps=low,
        high_angstrom2_per_ps=high,
        birge_ratio=ratio,
    )


def independent_observations(
    curves: Curves, sampling: Sampling, window_ps: tuple[float, float]
) -> Counted:
    """Fit MSD = c + 6 D t as if only displacements that do not overlap were observed.

    At a lag t there are n(t) = particles x run length / t of them. The MSD has the variance of r^2
    over n(t), and its covariance with that at a longer lag t' is the variance times n(t) / n(t'):
    n(t) MSD(t) is a process of independent increments. Overlapping origins tell more than that: of
    a random walk the error is too large by sqrt(3/2).

    Parameters
    ----------
    curves : Curves
        With fourth moments.
    sampling : Sampling
    window_ps : tuple of float

    Returns
    -------
    Counted
        To compare with what counts so: kinisi.

    References
    ----------
    A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025), arXiv
    2305.18244.
    """
    if curves.fourth_moment is None:
        raise ValueError("needs fourth moments")
    lag, msd = curves.lag_ps, curves.msd
    count = (sampling.n_particles * sampling.span_ps).sum() / lag
    variance = count * (curves.fourth_moment - msd**2)  # of n(t) MSD(t)
    inside = (lag >= window_ps[0] * (1 - 1e-9)) & (lag <= window_ps[1] * (1 + 1e-9))
    # It cannot fall: a lag where noise says so is left out.
    highest = np.maximum.accumulate(np.where(inside, variance, 0.0))
    used = np.flatnonzero(inside & (np.diff(highest, prepend=0.0) > 0))
    values = (count * np.stack([np.ones_like(lag), lag, msd]))[:, used]
    increments = np.diff(values, prepend=0.0) / np.sqrt(np.diff(variance[used], prepend=0.0))
    inverse = np.linalg.inv(increments[:2] @ increments[:2].T)
    rate = (inverse @ (increments[:2] @ increments[2]))[1]
    return Counted(float(rate / 6), float(np.sqrt(inverse[1, 1]) / 6))
