"""The diffusion coefficient from a mean squared displacement, with an error that can be believed.

Values of a time-averaged MSD at different lags come from the same path and are correlated;
ordinary least squares takes them as independent and understates the error several times. Here the
covariance is computed: exactly for a Gaussian process with the measured MSD, averaged over all
overlapping time origins, plus the excess that rare hops add. A line MSD = c + 2 d D t is fitted
with it by generalised least squares.

References
----------
J. T. Bullerjahn, S. von Bülow, G. Hummer, J. Chem. Phys. 153, 024116 (2020), arXiv 2003.09193:
section II, the covariance of the time-averaged MSD of a random walk and the generalised least
squares fit. A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025),
arXiv 2305.18244: covariance-aware fit of ion MSDs. X. He, Y. Zhu, A. Epstein, Y. Mo, npj Comput.
Mater. 4, 18 (2018): error from the number of effective hops.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.units import (
    BOLTZMANN_EV_PER_K,
    BOLTZMANN_J_PER_K,
    CM2_PER_S,
    ELEMENTARY_CHARGE_C,
    M2_PER_S,
)

CONFIDENCE = 0.95

#: The fit starts where the log-log slope over a factor of two in lag is this close to one ...
SLOPE_TOLERANCE = 0.2
#: ... and is known at least this well there;
START_ERROR = 0.07
#: it must stay near one at longer lags, as far as it is known this well.
SLOPE_ERROR = 0.1

#: Of the starts that pass, the first is taken from which on a line fits: the chi-squared of the
#: fit, with its covariance, has at least this probability. Lags where the motion is on its way to
#: diffusion would otherwise pull the slope, being known best.
LINE_PROBABILITY = 0.05

#: Ratio of neighbouring lags in a fit. Closer ones are so correlated that they add no knowledge,
#: but differences of them that generalised least squares would take at face value.
LAG_RATIO = 1.5

#: Points of Gauss-Legendre quadrature between two kinks of the covariance's integrand.
_NODES = 6


class NotDiffusiveError(DataError):
    """The motion is not diffusive within the run: there is no coefficient to give."""


@dataclass(frozen=True)
class Runs:
    """What the covariance of an MSD depends on, beside the MSD.

    Attributes
    ----------
    n_particles : array of int, [F]
        Independent particles of each run.
    span_ps : array, [F]
        Length of each run.
    anisotropy : float
        Sum of squares of the elements of the displacement covariance, divided by its squared
        trace: 1/3 if isotropic, 1 along one axis.
    excess : float
        Rate at which the variance of r^2 grows beyond that of a Gaussian process, Angstrom^4/ps.
    """

    n_particles: np.ndarray
    span_ps: np.ndarray
    anisotropy: float = 1 / 3
    excess: float = 0.0


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


def msd_covariance(
    lag_ps: np.ndarray, model: Callable[[np.ndarray], np.ndarray], runs: Runs
) -> np.ndarray:
    """Return the covariance [K, K] of the MSD at K lags, averaged over particles and origins.

    For displacements X from t to t + n and Y from t' to t' + m of a process with stationary
    increments, each pair of components has the covariance
    c(s) = [M(s + n) + M(s - m) - M(s) - M(s + n - m)] / 2 with s = t - t' and the even function
    M = MSD, times its share of the trace; for a Gaussian process cov(X^2, Y^2) = 2 g c^2 with g
    the `Runs.anisotropy` (Isserlis). Rare hops add `Runs.excess` times the overlap of the two
    intervals (the fourth cumulant of a compound Poisson process).
    """
    k = len(lag_ps)
    total = np.zeros((k, k))
    spans = np.asarray(runs.span_ps, float)[:, None]
    particles = np.asarray(runs.n_particles, float)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    near = lag_ps[0]
    for i, n in enumerate(lag_ps):
        for j, m in enumerate(lag_ps[i:], start=i):
            # The time average as an integral over s. The integrand is smooth between these places:
            # where intervals begin or cease to overlap, and where M leaves the diffusive line.
            kinks = np.array([-n, m - n, 0.0, m])
            bounds = np.unique(kinks[:, None] + np.array([-near, 0.0, near]))
            half = np.diff(bounds) / 2
            s = (bounds[:-1] + half)[:, None] + half[:, None] * nodes
            s, ds = s.ravel(), (half[:, None] * weights).ravel()
            forth, back, same, ends = model(np.abs(np.stack([s + n, s - m, s, s + n - m])))
            c = 0.5 * (forth + back - same - ends)
            overlap = np.maximum(np.minimum(s + n, m) - np.maximum(s, 0.0), 0.0)
            integrand = 2 * runs.anisotropy * c**2 + runs.excess * overlap
            pairs = np.minimum(spans - n, spans - m + s) - np.maximum(0.0, s)  # [F, s]
            by_run = np.maximum(pairs, 0.0) @ (integrand * ds)
            total[i, j] = total[j, i] = particles @ by_run
    origins = particles @ (spans - lag_ps)  # [K]
    return total / np.outer(origins, origins)


class MsdModel:
    """An MSD for all times: the measured one at short lags, a line from `start_ps` on."""

    def __init__(self, lag_ps: np.ndarray, msd: np.ndarray, start_ps: float) -> None:
        early = lag_ps < start_ps
        self.times = np.concatenate([[0.0], lag_ps[early]])
        self.values = np.concatenate([[0.0], msd[early]])
        self.start_ps = start_ps
        self.intercept, self.rate = 0.0, 1.0

    def set_line(self, intercept: float, rate: float) -> None:
        """Set the line ``intercept + rate * t`` that holds from `start_ps` on."""
        self.intercept, self.rate = intercept, max(rate, 1e-12)

    def __call__(self, t: np.ndarray) -> np.ndarray:
        line = self.intercept + self.rate * t
        start = max(self.intercept + self.rate * self.start_ps, 0.0)
        early = np.interp(t, np.append(self.times, self.start_ps), np.append(self.values, start))
        return np.where(t < self.start_ps, early, line)


class _Power:
    """The measured MSD, log-log interpolated, as a model of itself."""

    def __init__(self, lag_ps: np.ndarray, msd: np.ndarray) -> None:
        good = msd > 0
        self.x, self.y = np.log(lag_ps[good]), np.log(msd[good])

    def __call__(self, t: np.ndarray) -> np.ndarray:
        x = np.log(np.maximum(t, 1e-300))
        y = np.interp(x, self.x, self.y)
        # Beyond the last lag it goes on as diffusion, before the first as ballistic motion.
        y += np.maximum(x - self.x[-1], 0) + 2 * np.minimum(x - self.x[0], 0)
        return np.exp(y)


def _gls(
    design: np.ndarray, y: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return parameters [P], their covariance [P, P], and chi-squared."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    # Neighbouring lags are almost fully correlated: what is below round-off carries no knowledge.
    white = vectors / np.sqrt(np.maximum(values, 1e-7 * values[-1]))
    a = white.T @ (design / scale[:, None])
    b = white.T @ (y / scale)
    inverse = np.linalg.inv(a.T @ a)
    parameters = inverse @ (a.T @ b)
    return parameters, inverse, float(((b - a @ parameters) ** 2).sum())


def fit_lags(lag_ps: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Return the indices of lags within [start, stop], neighbours about `LAG_RATIO` apart."""
    inside = np.flatnonzero((lag_ps >= start * (1 - 1e-9)) & (lag_ps <= stop * (1 + 1e-9)))
    if len(inside) < 3:
        return inside
    first, last = lag_ps[inside[0]], lag_ps[inside[-1]]
    count = max(3, round(np.log(last / first) / np.log(LAG_RATIO)) + 1)
    wanted = np.geomspace(first, last, count)
    return np.unique([inside[np.argmin(np.abs(lag_ps[inside] - t))] for t in wanted])


def local_slope(
    lag_ps: np.ndarray, msd: np.ndarray, index: int, runs: Runs
) -> tuple[float, float, int]:
    """Return the log-log slope from a lag to about twice it, its error, and the second index."""
    other = int(np.argmin(np.abs(lag_ps - 2 * lag_ps[index])))
    if other <= index:
        return float("nan"), float("inf"), index
    pair = np.array([index, other])
    covariance = msd_covariance(lag_ps[pair], _Power(lag_ps, msd), runs)
    gradient = np.array([-1, 1]) / msd[pair] / np.log(lag_ps[other] / lag_ps[index])
    slope = np.log(msd[other] / msd[index]) / np.log(lag_ps[other] / lag_ps[index])
    variance = max(float(gradient @ covariance @ gradient), 1e-6)
    return float(slope), float(np.sqrt(variance)), other


def choose_window(
    lag_ps: np.ndarray, msd: np.ndarray, runs: Runs
) -> tuple[float, float, dict[str, np.ndarray]]:
    """Choose the fit window by the log-log slope of the MSD.

    The window starts at the first lag where the slope over a factor of two in lag is within
    `SLOPE_TOLERANCE` of one and known to within `START_ERROR`, and from which on it stays there,
    give or take two standard errors, as far as it is known to within `SLOPE_ERROR`, and from which
    on a line fits (`LINE_PROBABILITY`; the best fit if none does). It ends at the
    longest lag: the covariance gives the noisy long lags the little weight they deserve.

    Returns
    -------
    start_ps, stop_ps : float
    shown : dict
        ``lag_ps``, ``slope``, ``slope_error``: what the choice rests on.

    Raises
    ------
    NotDiffusiveError
        If there is no such lag.
    """
    usable = np.flatnonzero((msd > 0) & (2 * lag_ps <= lag_ps[-1] * 1.05))
    thin = usable[:: max(1, len(usable) // 40)]
    rows = []
    for index in thin:
        slope, error, _ = local_slope(lag_ps, msd, int(index), runs)
        rows.append((lag_ps[index], slope, error))
    if not rows:
        raise NotDiffusiveError("the run is too short for a diffusion coefficient")
    time, slope, error = np.array(rows).T
    known = error <= SLOPE_ERROR
    shown = {"lag_ps": time, "slope": slope, "slope_error": error}
    if not known.any():
        raise NotDiffusiveError(
            f"the log-log slope of the MSD is nowhere known to within {SLOPE_ERROR:g}: the run "
            "is too short or has too few ions for a diffusion coefficient"
        )
    off = np.abs(slope - 1)
    stays = off <= SLOPE_TOLERANCE + 2 * error
    stays |= ~known
    near = (off <= SLOPE_TOLERANCE) & (error <= START_ERROR)
    starts = [i for i in np.flatnonzero(near) if stays[i:].all()]
    if not starts:
        at = int(np.flatnonzero(known).max())
        raise NotDiffusiveError(
            f"the motion is not diffusive within the run: the log-log slope of the MSD is "
            f"{slope[at]:.2f} +- {error[at]:.2f} at {time[at]:.3g} ps, not 1; "
            "no diffusion coefficient"
        )
    probabilities = []
    for first in starts:
        index = fit_lags(lag_ps, time[first], lag_ps[-1])
        if len(index) < 4:
            break
        probabilities.append(_fit_line(lag_ps, msd, index, runs).probability)
        if probabilities[-1] >= LINE_PROBABILITY:
            break
    best = starts[int(np.argmax(probabilities))] if probabilities else starts[0]
    return float(time[best]), float(lag_ps[-1]), shown


class _Line(NamedTuple):
    """A line fitted with its covariance."""

    parameters: np.ndarray  # intercept, rate
    errors: np.ndarray  # [2, 2]
    covariance: np.ndarray  # [K, K], of the MSD
    ordinary: np.ndarray  # the parameters of ordinary least squares
    probability: float  # of a worse chi-squared


def _fit_line(lag_ps: np.ndarray, msd: np.ndarray, index: np.ndarray, runs: Runs) -> _Line:
    """Fit a line to the lags `index`; the covariance follows the line until both settle."""
    t, y = lag_ps[index], msd[index]
    design = np.stack([np.ones_like(t), t], axis=1)
    model = MsdModel(lag_ps, msd, t[0])
    ordinary, *_ = np.linalg.lstsq(design, y, rcond=None)
    parameters = ordinary
    for _ in range(20):
        previous = parameters
        model.set_line(*parameters)
        covariance = msd_covariance(t, model, runs)
        parameters, errors, squared = _gls(design, y, covariance)
        if np.allclose(parameters, previous, rtol=1e-4, atol=1e-8):
            break
    probability = float(stats.chi2.sf(squared, max(len(t) - 2, 1)))
    return _Line(parameters, errors, covariance, ordinary, probability)


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
    index = fit_lags(lag_ps, start, stop)
    if len(index) < 3:
        raise UsageError(
            f"the fit window {start:g} to {stop:g} ps holds {len(index)} lags, 3 are needed",
            remedy=f"lags go from {lag_ps[0]:g} to {lag_ps[-1]:g} ps",
        )
    t, y = lag_ps[index], msd[index]
    design = np.stack([np.ones_like(t), t], axis=1)
    parameters, errors, covariance, ols, _ = _fit_line(lag_ps, msd, index, runs)
    rate, variance = parameters[1], errors[1, 1]
    if rate <= 0:
        raise NotDiffusiveError(
            f"the MSD does not rise between {t[0]:.3g} and {t[-1]:.3g} ps; no diffusion coefficient"
        )
    low, high = _interval(rate, variance)
    log_covariance = covariance / np.outer(y, y)
    power_law = np.stack([np.ones_like(t), np.log(t)], axis=1)
    slope, slope_errors, _ = _gls(power_law, np.log(y), log_covariance)
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
    low, high = stats.chi2.ppf([1 - tail, tail], freedom)
    return float(rate * freedom / low), float(rate * freedom / high)


def widened_by_replicas(
    total: Diffusion, lag_ps: np.ndarray, replica_msd: np.ndarray, runs: Runs
) -> tuple[Diffusion, float]:
    """Widen the error where replicas scatter more than the motion of single ions explains.

    Ions of one run share their surroundings, so that they are fewer independent witnesses than
    they are ions. The replicas tell: with D_f +- e_f of each alone, the error is multiplied by
    the Birge ratio sqrt(sum ((D_f - D) / e_f)^2 / (F - 1)) if that is above one.

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


def runs_of(dynamics: Mapping[str, Any], axis: int | None = None) -> Runs:
    """Return what the covariance needs from the result tree of `dynamics.summarise`."""
    curves = dynamics["curves"]
    anisotropy, excess = 1 / 3, 0.0
    if axis is not None:
        anisotropy = 1.0
    if "alpha2" in curves and axis is None:
        # The excess grows with the lag as hops do, a harmonic cage adds none: short lags tell it
        # best, as soon as the rattling has lost its memory.
        lag, msd = curves["lag_ps"], curves["msd"]
        at = int(np.argmin(np.abs(np.log(lag / (lag[-1] / 25)))))
        tensor = dynamics["van_hove"]["tensor"][-1]
        anisotropy = float((tensor**2).sum())
        fourth = (1 + curves["alpha2"][at]) * 5 / 3 * msd[at] ** 2
        variance = fourth - msd[at] ** 2
        excess = max(0.0, float((variance - 2 * anisotropy * msd[at] ** 2) / lag[at]))
    return Runs(
        np.asarray(dynamics["n_particles"]), np.asarray(dynamics["span_ps"]), anisotropy, excess
    )


def diffusion_tree(
    dynamics: Mapping[str, Any], *, window_ps: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return D of a dynamics tree in all directions and along each axis, or why there is none.

    Returns
    -------
    dict
        ``total`` (`Diffusion.tree`) and ``x``, ``y``, ``z`` over the same window, ``choice`` (the
        local slopes); or ``refused``, a sentence.
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
    total, ratio = widened_by_replicas(total, lag, dynamics["replicas"]["msd"], runs)
    tree["total"] = total.tree() | {
        "window_chosen": "given" if window_ps else "by rule",
        "birge_ratio": ratio,
    }
    if shown is not None:
        tree["choice"] = shown
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


def information_ceiling(
    n_particles: int, longest_msd: float, hop_length: float
) -> tuple[float, float]:
    """Return the number of effective hops, and the relative error of D they allow at best.

    Parameters
    ----------
    n_particles : int
        Ions of all training runs.
    longest_msd : float
        MSD over the length of a run, Angstrom^2.
    hop_length : float
        Distance between neighbouring sites, Angstrom.

    References
    ----------
    X. He et al., npj Comput. Mater. 4, 18 (2018): relative standard deviation
    3.43 / sqrt(N_eff) + 0.04.
    """
    n_effective = n_particles * longest_msd / hop_length**2
    return n_effective, 3.43 / np.sqrt(n_effective) + 0.04


def ensemble(values: Sequence[float], errors: Sequence[float] | None = None) -> dict[str, float]:
    """Return mean, error and 95 % interval of D over models trained on bootstrap replicas.

    The spread over the models is the error: it comes from the data the models saw, not from the
    number of generated ions. The statistical error of each model's own D is part of that spread.
    """
    d = np.asarray(values, float)
    if len(d) < 2:
        raise UsageError("an ensemble needs the D of at least two models")
    error = float(d.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(d) - 1)) * error
    return {
        "n_models": len(d),
        "d_angstrom2_per_ps": float(d.mean()),
        "error_angstrom2_per_ps": error,
        "low_angstrom2_per_ps": max(0.0, float(d.mean()) - half),
        "high_angstrom2_per_ps": float(d.mean()) + half,
    }


@dataclass(frozen=True)
class Arrhenius:
    """D = D0 exp(-Ea / kT) through coefficients at several temperatures.

    Attributes
    ----------
    activation_ev, activation_error_ev : float
    d0, log_d0_error : float
        Angstrom^2/ps, and the standard error of its logarithm.
    covariance : array, [2, 2]
        Of (log D0, Ea).
    """

    activation_ev: float
    activation_error_ev: float
    d0: float
    log_d0_error: float
    covariance: np.ndarray

    def at(self, temperature_k: float) -> tuple[float, float]:
        """Return D at a temperature and its standard error, in Angstrom^2/ps."""
        beta = 1 / (BOLTZMANN_EV_PER_K * temperature_k)
        d = self.d0 * np.exp(-self.activation_ev * beta)
        gradient = np.array([1.0, -beta])
        return float(d), float(d * np.sqrt(gradient @ self.covariance @ gradient))

    def tree(self) -> dict[str, Any]:
        """Return the result tree."""
        return asdict(self)


def arrhenius(
    temperature_k: Sequence[float], d: Sequence[float], error: Sequence[float]
) -> Arrhenius:
    """Fit log D against 1/T, each point weighted by its own relative error.

    Raises
    ------
    UsageError
        With fewer than two different temperatures.
    """
    t, d_, e = (np.asarray(v, float) for v in (temperature_k, d, error))
    if len(np.unique(t)) < 2:
        raise UsageError("an Arrhenius fit needs at least two temperatures")
    design = np.stack([np.ones_like(t), -1 / (BOLTZMANN_EV_PER_K * t)], axis=1)
    parameters, covariance, _ = _gls(design, np.log(d_), np.diag((e / d_) ** 2))
    return Arrhenius(
        float(parameters[1]),
        float(np.sqrt(covariance[1, 1])),
        float(np.exp(parameters[0])),
        float(np.sqrt(covariance[0, 0])),
        covariance,
    )


def nernst_einstein(
    d: float, *, n_ions: int, volume_a3: float, charge: float, temperature_k: float
) -> float:
    """Return the Nernst-Einstein estimate of the conductivity in S/cm.

    n q^2 D / (k T): what the conductivity would be if ions moved independently of each other.

    Parameters
    ----------
    d : float
        Angstrom^2/ps.
    n_ions : int
        Mobile ions in the volume.
    volume_a3 : float
        Angstrom^3.
    charge : float
        In elementary charges.
    temperature_k : float
    """
    density_per_m3 = n_ions / (volume_a3 * 1e-30)
    q = charge * ELEMENTARY_CHARGE_C
    siemens_per_m = density_per_m3 * q**2 * d * M2_PER_S / (BOLTZMANN_J_PER_K * temperature_k)
    return siemens_per_m / 100
