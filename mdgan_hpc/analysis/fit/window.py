"""Where the motion is diffusive: the fit window, chosen by rule."""

import numpy as np

from mdgan_hpc.analysis.fit.covariance import (
    LINE_PROBABILITY,
    MeasuredMsd,
    Sampling,
    fit_lags,
    fit_line,
    msd_covariance,
)
from mdgan_hpc.analysis.fit.results import Choice
from mdgan_hpc.errors import DataError

#: The fit starts where the log-log slope over a factor of two in lag is this close to one ...
SLOPE_TOLERANCE = 0.2
#: ... and is known at least this well there;
START_ERROR = 0.07
#: it must stay near one at longer lags, as far as it is known this well.
SLOPE_ERROR = 0.1

#: Motion is ballistic above the one log-log slope, and in a cage below the other, each by two
#: standard errors.
BALLISTIC, CAGED = 1.2, 0.8
#: Without a cage the slope goes from two to one and never below. So many standard errors below one
#: it tells of a cage, however shallow: of a free walk hardly any of forty slopes is, by chance.
BELOW_ONE = 3.0
#: On its way from ballistic motion to a cage the slope passes one, and it rises slowly after. So
#: diffusion counts from so many times the last lag in the cage on, and so many times the lag of the
#: least slope; and only if the slope is known up to so many times that. Without a cage it must be
#: known up to so many times the last ballistic lag.
CAGE_LEFT, CAGE_FORGOTTEN, STRETCH, NO_CAGE = 2.0, 10.0, 3.0, 30.0


class NotDiffusiveError(DataError):
    """The motion is not diffusive within the run: there is no coefficient to give."""


def local_slope(
    lag_ps: np.ndarray, msd: np.ndarray, index: int, sampling: Sampling
) -> tuple[float, float, int]:
    """Return the log-log slope from a lag to about twice it, its error, and the second index."""
    other = int(np.argmin(np.abs(lag_ps - 2 * lag_ps[index])))
    if other <= index:
        return float("nan"), float("inf"), index
    pair = np.array([index, other])
    covariance = msd_covariance(lag_ps[pair], MeasuredMsd(lag_ps, msd), sampling)
    gradient = np.array([-1, 1]) / msd[pair] / np.log(lag_ps[other] / lag_ps[index])
    slope = np.log(msd[other] / msd[index]) / np.log(lag_ps[other] / lag_ps[index])
    variance = max(float(gradient @ covariance @ gradient), 1e-6)
    return float(slope), float(np.sqrt(variance)), other


def choose_window(
    lag_ps: np.ndarray, msd: np.ndarray, sampling: Sampling
) -> tuple[float, float, Choice]:
    """Choose the fit window by the log-log slope of the MSD.

    The window starts at the first lag where the slope over a factor of two in lag is within
    `SLOPE_TOLERANCE` of one and known to within `START_ERROR`, well beyond ballistic motion and a
    cage (`BALLISTIC`, `CAGED`), and from which on it stays there,
    give or take two standard errors, as far as it is known to within `SLOPE_ERROR`, and from which
    on a line fits (`LINE_PROBABILITY`; the best fit if none does): lags where the motion is on its
    way to diffusion would otherwise pull the slope, being known best. It ends at the longest lag:
    the covariance gives the noisy long lags the little weight they deserve.

    Returns
    -------
    start_ps, stop_ps : float
    choice : Choice
        What it rests on.

    Raises
    ------
    NotDiffusiveError
        If there is no such lag.
    """
    if not (msd > 0).any():
        raise NotDiffusiveError("the ions do not move; no diffusion coefficient")
    usable = np.flatnonzero((msd > 0) & (2 * lag_ps <= lag_ps[-1] * 1.05))
    thin = usable[:: max(1, len(usable) // 40)]
    rows = []
    for index in thin:
        slope, error, _ = local_slope(lag_ps, msd, int(index), sampling)
        rows.append((lag_ps[index], slope, error))
    if not rows:
        raise NotDiffusiveError(
            f"lags up to {lag_ps[-1]:.3g} ps are too few for a diffusion coefficient"
        )
    time, slope, error = np.array(rows).T
    known = error <= SLOPE_ERROR
    choice = Choice(time, slope, error)
    if not known.any():
        raise NotDiffusiveError(
            f"the log-log slope of the MSD is nowhere known to within {SLOPE_ERROR:g}: the run "
            "is too short or has too few ions for a diffusion coefficient"
        )
    off = np.abs(slope - 1)
    stays = off <= SLOPE_TOLERANCE + 2 * error
    stays |= ~known
    near = (off <= SLOPE_TOLERANCE) & (error <= START_ERROR)
    # A slope tells of lags up to twice its own.
    seen_ps = min(2 * float(time[known].max()), float(lag_ps[-1]))
    near &= time >= _earliest(time, slope, error, known, seen_ps)
    near &= STRETCH * time <= seen_ps
    starts = [i for i in np.flatnonzero(near) if stays[i:].all()]
    if not starts:
        at = int(np.flatnonzero(known).max())
        why = "not 1" if off[at] > SLOPE_TOLERANCE else "and not shown to be 1 over a stretch"
        raise NotDiffusiveError(
            f"the motion is not diffusive within the run: the log-log slope of the MSD is "
            f"{slope[at]:.2f} +- {error[at]:.2f} at {time[at]:.3g} ps, {why}; "
            "no diffusion coefficient"
        )
    first = _first_that_fits(lag_ps, msd, sampling, time[starts])
    return first, float(lag_ps[-1]), choice


def _earliest(
    time: np.ndarray, slope: np.ndarray, error: np.ndarray, known: np.ndarray, seen_ps: float
) -> float:
    """Return the lag in ps from which on diffusion can be told from ballistic motion and a cage.

    Parameters
    ----------
    time, slope, error : array, [n]
        Lags in ps, the log-log slope of the MSD there, and its standard error.
    known : array of bool, [n]
        Where it is known well enough.
    seen_ps : float
        Longest lag of which a slope that is known tells.

    Raises
    ------
    NotDiffusiveError
        If that is too short to tell.
    """
    ballistic = np.flatnonzero(known & (slope - 2 * error > BALLISTIC))
    below = np.flatnonzero(known & (slope + BELOW_ONE * error < 1))
    if len(below):
        # Of a flat plateau the beginning: its least slope is anywhere.
        flat = slope[below] <= slope[below].min() + 2 * error[below]
        last = deepest = below[np.flatnonzero(flat)[0]]
        caged = np.flatnonzero(known & (slope + 2 * error < CAGED))
        if len(caged):
            last = caged[-1]
        start_ps = max(CAGE_LEFT * float(time[last]), CAGE_FORGOTTEN * float(time[deepest]))
        if STRETCH * start_ps > seen_ps:
            raise NotDiffusiveError(
                f"the motion is not diffusive within the run: the ions are in a cage up to "
                f"{time[last]:.3g} ps (log-log slope of the MSD {slope[last]:.2f} +- "
                f"{error[last]:.2f}), so that the slope must be known up to "
                f"{STRETCH * start_ps:.3g} ps, and it is up to {seen_ps:.3g} ps; "
                "no diffusion coefficient"
            )
        return start_ps
    if len(ballistic):
        last_ps = float(time[ballistic[-1]])
        if NO_CAGE * last_ps > seen_ps:
            raise NotDiffusiveError(
                f"the motion is not diffusive within the run: it is ballistic up to {last_ps:.3g} "
                f"ps, and its slope, known up to {seen_ps:.3g} ps, does not show whether a cage or "
                "diffusion follows; no diffusion coefficient"
            )
        return last_ps
    return 0.0


def _first_that_fits(
    lag_ps: np.ndarray, msd: np.ndarray, sampling: Sampling, starts: np.ndarray
) -> float:
    """Return the first start (ps) from which on a line fits, or that of the best fit."""
    probabilities = []
    for start in starts:
        index = fit_lags(lag_ps, start, lag_ps[-1])
        if len(index) < 4:
            break
        probabilities.append(fit_line(lag_ps, msd, index, sampling).probability)
        if probabilities[-1] >= LINE_PROBABILITY:
            break
    return float(starts[int(np.argmax(probabilities)) if probabilities else 0])
