"""The diffusion tensor: D along every direction, with principal axes and errors."""

import numpy as np
from scipy.special import chdtrc

from mdgan_hpc.analysis.fit.coefficient import lags_in_window
from mdgan_hpc.analysis.fit.covariance import fit_line, sampling_of, slope_weights
from mdgan_hpc.analysis.fit.results import Coefficient, DiffusionTensor
from mdgan_hpc.analysis.observables.moments import CROSS
from mdgan_hpc.analysis.results import Dynamics


def diffusion_tensor(dynamics: Dynamics, total: Coefficient) -> DiffusionTensor | None:
    """Return the tensor whose trace is 3 D: each component from the fit of D.

    The slope of the fitted line is a weighted sum of the MSD at its lags. The same weights, applied
    to the mean products of displacement components, <d_i d_j> = 2 D_ij t, give D_ij.

    Its errors are those of a Gaussian process, cov(D_ij, D_kl) ~ M_ik M_jl + M_il M_jk (Isserlis),
    where M are the mean products of displacements at the beginning of the window: of ions that
    diffuse they are as D, and along an axis on which ions stay where they are, where D is nought,
    they tell how well that is known. They are scaled so that the error of the trace is that of 3 D,
    which knows of hops, misfit and scatter. Axes and principal values follow to first order.

    Parameters
    ----------
    dynamics : Dynamics
    total : Coefficient
        D in all directions; its window is used.

    Returns
    -------
    DiffusionTensor or None
        None where the mean products are not known (results of older versions).
    """
    curves = dynamics.curves
    if curves.msd_cross is None:
        return None
    index = lags_in_window(curves.lag_ps, total.window_ps)
    line = fit_line(curves.lag_ps, curves.msd, index, sampling_of(dynamics))
    lags = curves.lag_ps[index]
    weights = slope_weights(np.stack([np.ones_like(lags), lags], axis=1), line.covariance)
    d = _symmetric(weights @ curves.msd_axis[index], weights @ curves.msd_cross[index]) / 2
    # The weights follow the covariance, which follows the line: equal but for the last digits.
    d *= 3 * total.d_angstrom2_per_ps / np.trace(d)
    principal, axes = np.linalg.eigh(d)
    principal, axes = principal[::-1], axes[:, ::-1]
    variance = total.error_angstrom2_per_ps**2
    moved = _symmetric(curves.msd_axis[index[0]], curves.msd_cross[index[0]])
    share = moved / np.trace(moved)
    scale = 9 * variance / (2 * float((share**2).sum()))
    diagonal = np.diag(share)
    each = scale * (np.outer(diagonal, diagonal) + share**2)
    shares = np.diag(axes.T @ share @ axes)
    return DiffusionTensor(
        d,
        np.sqrt(each),
        principal,
        np.sqrt(2 * scale) * shares,
        _signed(axes.T),
        _tilts(principal, scale * np.outer(shares, shares)),
        float(chdtrc(5, _deviation(d) / (3 * variance))),
    )


def _symmetric(diagonal: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Return the tensor [3, 3] with products along the axes [3] and between them (`CROSS`)."""
    tensor = np.diag(diagonal)
    for (i, j), value in zip(CROSS, cross, strict=True):
        tensor[i, j] = tensor[j, i] = value
    return tensor


def _signed(axes: np.ndarray) -> np.ndarray:
    """Return unit vectors [3, 3] with their largest components above zero."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return np.asarray(axes * np.sign(largest))


def _tilts(principal: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the standard errors of the directions of the axes [3], in degrees, at most 90."""
    gaps = principal[:, None] - principal[None, :]
    np.fill_diagonal(gaps, np.inf)
    squared = (variance / np.maximum(gaps**2, 1e-300)).sum(1)
    return np.asarray(np.minimum(np.degrees(np.sqrt(squared)), 90.0))


def _deviation(d: np.ndarray) -> float:
    """Return the sum of squares of what is left of a tensor without its isotropic part.

    Of an isotropic medium it is 3 var(D) times a chi-squared variable of five degrees of freedom.
    """
    return float(((d - np.eye(3) * np.trace(d) / 3) ** 2).sum())
