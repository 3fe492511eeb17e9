"""Principal components of windows of displacements, for what makes and what judges windows.

Displacements of successive records are correlated, and their slow parts are small beside the fast
ones: in units of its own deviation each component counts alike.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def autocovariance(displacements: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Return the autocovariance [3, rows] of displacements along x, y, z, Angstrom^2.

    Parameters
    ----------
    displacements : sequence of array, [n, N, 3]
        Of one run or one phase of the step skip each, Angstrom; never joined.
    rows : int
        Lags, from zero on; zero where every run is shorter.
    """
    total, count = np.zeros((3, rows)), np.zeros(rows)
    mean = np.concatenate([moved.reshape(-1, 3) for moved in displacements]).mean(0)
    for moved in (run - mean for run in displacements):
        for lag in range(min(rows, len(moved))):
            pairs = moved[: len(moved) - lag] * moved[lag:]
            total[:, lag] += pairs.sum((0, 1))
            count[lag] += pairs.shape[0] * pairs.shape[1]
    return np.asarray(total / np.maximum(count, 1))


def principal_components(covariance: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the components of a stationary window along each axis.

    Parameters
    ----------
    covariance : array, [3, L]
        Autocovariance, Angstrom^2; that of a window is the matrix of Toeplitz' form with it.

    Returns
    -------
    vectors : Tensor, [3, L, L]
        Orthonormal columns.
    variances : Tensor, [3, L]
        In rising order, Angstrom^2; none below zero.
    """
    rows = covariance.shape[1]
    apart = np.abs(np.subtract.outer(np.arange(rows), np.arange(rows)))
    variances, vectors = np.linalg.eigh(covariance[:, apart])
    kept = torch.from_numpy(variances.clip(0.0)).float()
    return torch.from_numpy(vectors).float(), kept
