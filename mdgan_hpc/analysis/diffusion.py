"""The diffusion coefficient from a mean squared displacement, with an error that can be believed.

Ordinary least squares takes the values at different lags as independent and understates the error
several times. A line MSD = c + 2 d D t is fitted by generalised least squares, with their
covariance (`covariance`).

References
----------
A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025), arXiv
2305.18244: covariance-aware fit of ion MSDs, from the number of independent observations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtri

from mdgan_hpc.analysis.covariance import Runs, fit_lags, fit_line, gls, runs_of
from mdgan_hpc.analysis.window import NotDiffusiveError, choose_window
from mdgan_hpc.errors import UsageError
from mdgan_hpc.units import CM2_PER_S, M2_PER_S

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Diffusion:
    """A diffusion coefficient with everything needed to judge it.

    Attributes
    ----------
    d : float
        Angstrom^2/ps.
    error : float
        Standard error.
    low, high : float
        Bounds of the 95 % interval.
    intercept : float
        c of MSD = c + 2 d D t, Angstrom^2.
    dimensions : int
        3, or 1 for one axis.
    window_ps : tuple of float
        First and last lag of the fit.
    chosen : str
        ``by rule`` or ``given``.
    slope, slope_error : float
        Exponent of the MSD over the window, by the same covariance.
    n_independent : float
        Particles x run length / first lag of the fit.
    d_ols, error_ols : float
        Ordinary least squares over the same lags, and the error it claims: for comparison only.
    """

    d: float
    error: float
    low: float
    high: float
    intercept: float
    dimensions: int
    window_ps: tuple[float, float]
    chosen: str
    slope: float
    slope_error: float
    n_independent: float
    d_ols: float
    error_ols: float

    def tree(self) -> dict[str, Any]:
        """Return the result tree, with the units in the names."""
        return {
            "d_angstrom2_per_ps": self.d,
            "error_angstrom2_per_ps": self.error,
            "low_angstrom2_per_ps": self.low,
            "high_angstrom2_per_ps": self.high,
            "d_cm2_per_s": self.d * CM2_PER_S,
            "error_cm2_per_s": self.error * CM2_PER_S,
            "d_m2_per_s": self.d * M2_PER_S,
            "error_m2_per_s": self.error * M2_PER_S,
            "intercept_angstrom2": self.intercept,
            "dimensions": self.dimensions,
            "window_ps": np.array(self.window_ps),
            "window_chosen": self.chosen,
            "slope": self.slope,
            "slope_error": self.slope_error,
            "n_independent": self.n_independent,
            "d_ols_angstrom2_per_ps": self.d_ols,
            "error_ols_angstrom2_per_ps": self.error_ols,
        }


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


def fit_diffusion(
    lag_ps: np.ndarray,
    msd: np.ndarray,
    runs: Runs,
    *,
    window_ps: tuple[float, float] | None = None,
    dimensions: int = 3,
) -> Diffusion:
    """Fit MSD = c + 2 d D t with the covariance of the MSD.

    Parameters
    ----------
    lag_ps, msd : array, [L]
        ps and Angstrom^2, lags ascending.
    runs : Runs
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
        start, stop, _ = choose_window(lag_ps, msd, runs)
    else:
        start, stop = window_ps
    index = lags_in_window(lag_ps, (start, stop))
    t, y = lag_ps[index], msd[index]
    design = np.stack([np.ones_like(t), t], axis=1)
    parameters, errors, covariance, ols, _ = fit_line(lag_ps, msd, index, runs)
    rate, variance = parameters[1], errors[1, 1]
    if rate <= 0:
        raise NotDiffusiveError(
            f"the MSD does not rise between {t[0]:.3g} and {t[-1]:.3g} ps; no diffusion coefficient"
        )
    low, high = _interval(rate, variance)
    log_covariance = covariance / np.outer(y, y)
    power_law = np.stack([np.ones_like(t), np.log(t)], axis=1)
    slope, slope_errors, _ = gls(power_law, np.log(y), log_covariance)
    residual = y - design @ ols
    ols_variance = residual @ residual / max(len(t) - 2, 1) * np.linalg.inv(design.T @ design)
    to_d = 1 / (2 * dimensions)
    return Diffusion(
        d=float(rate * to_d),
        error=float(np.sqrt(variance) * to_d),
        low=float(low * to_d),
        high=float(high * to_d),
        intercept=float(parameters[0]),
        dimensions=dimensions,
        window_ps=(float(t[0]), float(t[-1])),
        chosen=chosen,
        slope=float(slope[1]),
        slope_error=float(np.sqrt(slope_errors[1, 1])),
        n_independent=float((runs.n_particles * runs.span_ps).sum() / t[0]),
        d_ols=float(ols[1] * to_d),
        error_ols=float(np.sqrt(ols_variance[1, 1]) * to_d),
    )


def _interval(rate: float, variance: float) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of a rate.

    The estimate is a sum of squares: chi-squared with as many degrees of freedom as its relative
    variance says, which bounds the interval away from zero and skews it upwards.
    """
    freedom = 2 * rate**2 / variance
    tail = (1 - CONFIDENCE) / 2
    low, high = chdtri(freedom, [tail, 1 - tail])
    return float(rate * freedom / low), float(rate * freedom / high)


def widened_by_replicas(
    total: Diffusion, lag_ps: np.ndarray, replica_msd: np.ndarray, runs: Runs
) -> tuple[Diffusion, float]:
    """Widen the error where replicas scatter more than the motion of single ions explains.

    Ions of one run share their surroundings, so that they are fewer independent witnesses than
    they are ions. The replicas, runs or bundles of the simulations in a run, tell: with D_f +- e_f
    of each alone, the error is multiplied by the Birge ratio
    sqrt(sum ((D_f - D) / e_f)^2 / (F - 1)) if that is above one.

    Parameters
    ----------
    total : Diffusion
        Of all replicas together.
    lag_ps : array, [L]
    replica_msd : array, [F, L]
        Angstrom^2.
    runs : Runs

    Returns
    -------
    Diffusion
    ratio : float
        The Birge ratio; one where there is a single replica.

    References
    ----------
    R. T. Birge, Phys. Rev. 40, 207 (1932); Review of Particle Physics, introduction, 5.2.2.
    """
    if len(replica_msd) < 2:
        return total, 1.0
    squares = []
    for number, msd in enumerate(replica_msd):
        alone = replace(
            runs, n_particles=runs.n_particles[[number]], span_ps=runs.span_ps[[number]]
        )
        try:
            one = fit_diffusion(lag_ps, msd, alone, window_ps=total.window_ps)
        except NotDiffusiveError:
            continue
        squares.append(((one.d - total.d) / one.error) ** 2)
    ratio = float(np.sqrt(np.sum(squares) / max(len(squares) - 1, 1)))
    if ratio <= 1:
        return total, ratio
    error = total.error * ratio
    low, high = _interval(total.d, error**2)
    return replace(total, error=error, low=low, high=high), ratio


def independent_observations(
    curves: Mapping[str, np.ndarray], runs: Runs, window_ps: tuple[float, float]
) -> dict[str, float]:
    """Fit MSD = c + 6 D t as if only displacements that do not overlap were observed.

    At a lag t there are n(t) = particles x run length / t of them. The MSD has the variance of r^2
    over n(t), and its covariance with that at a longer lag t' is the variance times n(t) / n(t'):
    n(t) MSD(t) is a process of independent increments. Overlapping origins tell more than that: of
    a random walk the error is too large by sqrt(3/2).

    Parameters
    ----------
    curves : mapping
        ``lag_ps``, ``msd`` and ``fourth_moment``, each [L].
    runs : Runs
    window_ps : tuple of float

    Returns
    -------
    dict
        D and its standard error, to compare with what counts so: kinisi.

    References
    ----------
    A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025), arXiv
    2305.18244.
    """
    lag, msd = curves["lag_ps"], curves["msd"]
    count = (runs.n_particles * runs.span_ps).sum() / lag
    variance = count * (curves["fourth_moment"] - msd**2)  # of n(t) MSD(t)
    inside = (lag >= window_ps[0] * (1 - 1e-9)) & (lag <= window_ps[1] * (1 + 1e-9))
    # It cannot fall: a lag where noise says so is left out.
    highest = np.maximum.accumulate(np.where(inside, variance, 0.0))
    used = np.flatnonzero(inside & (np.diff(highest, prepend=0.0) > 0))
    values = (count * np.stack([np.ones_like(lag), lag, msd]))[:, used]
    increments = np.diff(values, prepend=0.0) / np.sqrt(np.diff(variance[used], prepend=0.0))
    inverse = np.linalg.inv(increments[:2] @ increments[:2].T)
    rate = (inverse @ (increments[:2] @ increments[2]))[1]
    return {
        "d_angstrom2_per_ps": float(rate / 6),
        "error_angstrom2_per_ps": float(np.sqrt(inverse[1, 1]) / 6),
    }


def collective_diffusion(dynamics: Mapping[str, Any], total: Diffusion) -> dict[str, Any]:
    """Return D of the motion of all ions of a simulation together, and the Haven ratio.

    The summed displacement of the N ions of a simulation, squared, over N, grows as 6 D_c t; the
    charge they carry diffuses so. The Haven ratio is D / D_c: below one where ions move on behind
    each other.

    Parameters
    ----------
    dynamics : mapping
        Of `dynamics.summarise`, with ``msd_collective``.
    total : Diffusion
        D of single ions; its window is used.

    Returns
    -------
    dict
        `Diffusion.tree` of D_c with ``haven_ratio`` and its standard error ``haven_error``, or
        ``refused``, a sentence.

    References
    ----------
    G. E. Murch, Solid State Ionics 7, 177 (1982), the Haven ratio.
    """
    curves, simulations = dynamics["curves"], dynamics["simulations"]
    # One witness a simulation; a sum over many ions is as good as Gaussian.
    runs = Runs(np.asarray(simulations["number"]), np.asarray(dynamics["span_ps"]))
    try:
        together = fit_diffusion(
            curves["lag_ps"], curves["msd_collective"], runs, window_ps=total.window_ps
        )
    except NotDiffusiveError as refused:
        return {"refused": refused.what}
    ratio = total.d / together.d
    error = ratio * np.hypot(total.error / total.d, together.error / together.d)
    return together.tree() | {"haven_ratio": ratio, "haven_error": float(error)}


def diffusion_tree(
    dynamics: Mapping[str, Any], *, window_ps: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return D of a dynamics tree in all directions and along each axis, or why there is none.

    Returns
    -------
    dict
        ``total`` (`Diffusion.tree`) and ``x``, ``y``, ``z`` over the same window, ``choice`` (the
        local slopes), ``independent_observations`` (where fourth moments are known),
        ``collective`` (of ions simulated together in a crystal); or ``refused``, a sentence.
    """
    curves = dynamics["curves"]
    lag, msd = curves["lag_ps"], curves["msd"]
    runs = runs_of(dynamics)
    tree: dict[str, Any] = {}
    try:
        start, stop, shown = (
            (*window_ps, None) if window_ps else choose_window(lag, msd, runs)  # type: ignore[misc]
        )
        total = fit_diffusion(lag, msd, runs, window_ps=(start, stop))
    except NotDiffusiveError as error:
        return {"refused": error.what}
    # Simulations within a run, or else the runs.
    bundles = dynamics.get("bundles")
    if bundles is None:
        witnesses, parts = dynamics["replicas"]["msd"], runs
    else:
        witnesses = bundles["msd"]
        parts = replace(runs, n_particles=bundles["n_particles"], span_ps=bundles["span_ps"])
    total, ratio = widened_by_replicas(total, lag, witnesses, parts)
    tree["total"] = total.tree() | {
        "window_chosen": "given" if window_ps else "by rule",
        "birge_ratio": ratio,
    }
    if shown is not None:
        tree["choice"] = shown
    if "fourth_moment" in curves:
        tree["independent_observations"] = independent_observations(curves, runs, (start, stop))
    if dynamics.get("simulations", {}).get("in_crystal"):
        tree["collective"] = collective_diffusion(dynamics, total)
    for axis, name in enumerate("xyz"):
        try:
            along = fit_diffusion(
                lag,
                curves["msd_axis"][:, axis],
                runs_of(dynamics, axis),
                window_ps=(start, stop),
                dimensions=1,
            )
            tree[name] = along.tree()
        except NotDiffusiveError as error:
            tree[name] = {"refused": error.what}
    return tree
