"""The area under the receiver operating characteristic curve, and its error."""

import numpy as np


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values; ties share theirs."""
    from scipy.stats import rankdata  # slow to load, and few commands come here

    return np.asarray(rankdata(values))


def auc_of(low: np.ndarray, high: np.ndarray) -> float:
    """Return the probability that a score of `high` [n] is above one of `low` [m]; ties count half.

    J. A. Hanley, B. J. McNeil, Radiology 143, 29 (1982).
    """
    ranks = _ranks(np.concatenate([low, high]))
    above = ranks[len(low) :].sum() - len(high) * (len(high) + 1) / 2
    return float(above / (len(low) * len(high)))


def auc_error(
    low: np.ndarray, high: np.ndarray, low_groups: np.ndarray, high_groups: np.ndarray
) -> float:
    """Return the standard error of the AUC where scores of one group depend on each other.

    Parameters
    ----------
    low, high : array, [m], [n]
        Scores.
    low_groups, high_groups : array of int, [m], [n]
        Groups, independent of each other: two on each side at least, else the error is NaN.

    References
    ----------
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44, 837 (1988); with groups N. A.
    Obuchowski, Biometrics 53, 567 (1997).
    """
    every = _ranks(np.concatenate([low, high]))
    below = (every[len(low) :] - _ranks(high)) / len(low)  # of `low`, for each of `high`
    above = 1 - (every[: len(low)] - _ranks(low)) / len(high)  # of `high`, for each of `low`
    total = float(below.mean())
    return float(
        np.sqrt(_variance(above - total, low_groups) + _variance(below - total, high_groups))
    )


def _variance(deviations: np.ndarray, groups: np.ndarray) -> float:
    """Return the variance of the mean of deviations that are independent between groups."""
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, deviations)
    k = len(sums)
    return float(k / (k - 1) * (sums**2).sum() / len(deviations) ** 2) if k > 1 else float("nan")
