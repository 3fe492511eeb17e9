"""The covariance of a time-averaged MSD, and lines fitted with it.

Values at different lags come from the same path and are correlated. The covariance is computed:
exactly for a Gaussian process with the measured MSD, averaged over all overlapping time origins,
plus the excess that rare hops add.

References
----------
J. T. Bullerjahn, S. von Bülow, G. Hummer, J. Chem. Phys. 153, 024116 (2020), arXiv 2003.09193:
section II, the covariance of the time-averaged MSD of a random walk and the generalised least
squares fit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc

from mdgan_hpc.analysis.results import Dynamics

#: Ratio of neighbouring lags in a fit. Closer ones are so correlated that they add no knowledge,
#: but differences of them that generalised least squares would take at face value.
LAG_RATIO = 1.5

#: A line fits where its chi-squared, with the covariance of the MSD, has at least this probability.
LINE_PROBABILITY = 0.05

#: Gauss-Legendre quadrature between two kinks of the covariance's integrand.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True)
class Sampling:
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


def sampling_of(dynamics: Dynamics, axis: int | None = None) -> Sampling:
    """Return what the covariance of the MSD needs, or of the MSD along an axis (0, 1, 2)."""
    curves = dynamics.curves
    anisotropy, excess = 1 / 3, 0.0
    if axis is not None:
        anisotropy = 1.0
    elif curves.alpha2 is not None and dynamics.van_hove is not None:
        # The excess grows with the lag as hops do, a harmonic cage adds none: short lags tell it
        # best, as soon as the rattling has lost its memory.
        lag, msd = curves.lag_ps, curves.msd
        at = int(np.argmin(np.abs(np.log(lag / (lag[-1] / 25)))))
        tensor = dynamics.van_hove.tensor[-1]
        anisotropy = float((tensor**2).sum())
        fourth = (1 + curves.alpha2[at]) * 5 / 3 * msd[at] ** 2
        variance = fourth - msd[at] ** 2
        excess = max(0.0, float((variance - 2 * anisotropy * msd[at] ** 2) / lag[at]))
    return Sampling(
        np.asarray(dynamics.n_particles), np.asarray(dynamics.span_ps), anisotropy, excess
    )


def msd_covariance(
    lag_ps: np.ndarray, model: Callable[[np.ndarray], np.ndarray], sampling: Sampling
) -> np.ndarray:
    """Return the covariance [K, K] of the MSD at K lags, averaged over particles and origins.

    For displacements X from t to t + n and Y from t' to t' + m of a process with stationary
    increments, each pair of components has the covariance
    c(s) = [M(s + n) + M(s - m) - M(s) - M(s + n - m)] / 2 with s = t - t' and the even function
    M = MSD, times its share of the trace; for a Gaussian process cov(X^2, Y^2) = 2 g c^2 with g
    the `Sampling.anisotropy` (Isserlis). Rare hops add `Sampling.excess` times the overlap of the
    two intervals (the fourth cumulant of a compound Poisson process).
    """
    # All pairs n <= m at once: n, m, and all that depends on them, have one row for each.
    first, second = np.triu_indices(len(lag_ps))
    n, m = lag_ps[first, None], lag_ps[second, None]
    # The time average as an integral over s. The integrand is smooth between these places: where
    # intervals begin or cease to overlap, and where M leaves the diffusive line.
    kinks = np.hstack([-n, m - n, np.zeros_like(n), m])
    around = lag_ps[0] * np.array([-1.0, 0.0, 1.0])
    bounds = np.sort((kinks[..., None] + around).reshape(len(n), -1))
    half = np.diff(bounds)[..., None] / 2
    s = (bounds[:, :-1, None] + half + half * _NODES).reshape(len(n), -1)
    ds = (half * _WEIGHTS).reshape(s.shape)
    forth, back, same, ends = model(np.abs(np.stack([s + n, s - m, s, s + n - m])))
    c = 0.5 * (forth + back - same - ends)
    overlap = np.maximum(np.minimum(s + n, m) - np.maximum(s, 0.0), 0.0)
    integrand = (2 * sampling.anisotropy * c**2 + sampling.excess * overlap) * ds
    total = np.zeros((len(lag_ps), len(lag_ps)))
    origins = np.zeros(len(lag_ps))
    for span, particles in zip(sampling.span_ps, sampling.n_particles, strict=True):
        pairs = np.minimum(span - n, span - m + s) - np.maximum(0.0, s)
        total[first, second] += particles * (np.maximum(pairs, 0.0) * integrand).sum(1)
        origins += particles * (span - lag_ps)
    total = np.triu(total) + np.triu(total, 1).T
    return np.asarray(total / np.outer(origins, origins))


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
        return np.asarray(np.where(t < self.start_ps, early, line))


class MeasuredMsd:
    """The measured MSD, log-log interpolated, as a model of itself."""

    def __init__(self, lag_ps: np.ndarray, msd: np.ndarray) -> None:
        good = msd > 0
        self.x, self.y = np.log(lag_ps[good]), np.log(msd[good])

    def __call__(self, t: np.ndarray) -> np.ndarray:
        x = np.log(np.maximum(t, 1e-300))
        y = np.interp(x, self.x, self.y)
        # Beyond the last lag it goes on as diffusion, before the first as ballistic motion.
        y += np.maximum(x - self.x[-1], 0) + 2 * np.minimum(x - self.x[0], 0)
        return np.asarray(np.exp(y))


def gls(
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


def slope_weights(design: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return what the slope that `gls` fits to values [K] weights each of them with, [K]."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    white = vectors / np.sqrt(np.maximum(values, 1e-7 * values[-1])) / scale[:, None]
    a = white.T @ design
    return np.asarray(np.linalg.solve(a.T @ a, a.T @ white.T)[1])


def fit_lags(lag_ps: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Return the indices of lags within [start, stop], neighbours about `LAG_RATIO` apart."""
    inside = np.flatnonzero((lag_ps >= start * (1 - 1e-9)) & (lag_ps <= stop * (1 + 1e-9)))
    if len(inside) < 3:
        return inside
    first, last = lag_ps[inside[0]], lag_ps[inside[-1]]
    count = max(3, round(np.log(last / first) / np.log(LAG_RATIO)) + 1)
    wanted = np.geomspace(first, last, count)
    return np.unique([inside[np.argmin(np.abs(lag_ps[inside] - t))] for t in wanted])


class Line(NamedTuple):
    """A line fitted with its covariance."""

    parameters: np.ndarray  # intercept, rate
    errors: np.ndarray  # [2, 2]
    covariance: np.ndarray  # [K, K], of the MSD
    ordinary: np.ndarray  # the parameters of ordinary least squares
    reduced: float  # chi-squared over the degrees of freedom
    probability: float  # of a worse chi-squared

    @property
    def misfit(self) -> float:
        """Birge ratio, by which errors grow, where a line fits too badly to be chance; else 1."""
        return 1.0 if self.probability >= LINE_PROBABILITY else math.sqrt(self.reduced)


def fit_line(lag_ps: np.ndarray, msd: np.ndarray, index: np.ndarray, sampling: Sampling) -> Line:
    """Fit a line to the lags `index`; the covariance follows the line until both settle."""
    t, y = lag_ps[index], msd[index]
    design = np.stack([np.ones_like(t), t], axis=1)
    model = MsdModel(lag_ps, msd, t[0])
    ordinary, *_ = np.linalg.lstsq(design, y, rcond=None)
    parameters = ordinary
    for _ in range(20):
        previous = parameters
        model.set_line(*parameters)
        covariance = msd_covariance(t, model, sampling)
        parameters, errors, squared = gls(design, y, covariance)
        if np.allclose(parameters, previous, rtol=1e-4, atol=1e-8):
            break
    freedom = max(len(t) - 2, 1)
    probability = float(chdtrc(freedom, squared))
    return Line(parameters, errors, covariance, ordinary, squared / freedom, probability)
