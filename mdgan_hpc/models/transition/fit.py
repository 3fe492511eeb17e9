"""What is measured in the data before a training: extrapolation, residuals, averages, rare moves.

Displacements are arrays [n, N, 3] from record to record in Angstrom, one for each run and phase.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Displacements = Sequence[np.ndarray]
#: Displacements of ions that are looked at for what their neighbours tell.
_SEEN = 100_000
#: Error of a ratio of mean square displacements that is known well, and records of a lag at least.
_WELL_KNOWN, _LEAST_LAG = 0.01, 12
#: Parts of a run whose scatter tells that error.
_PARTS = 8
#: Records in a step where inertia is resolved (`predictable`).
_RECORDS_PER_STEP = 2


def fit_extrapolation(displacements: Displacements, records_per_step: int) -> dict[str, Any]:
    """Fit the linear extrapolation of displacements, alike along x, y, z, by least squares.

    Parameters
    ----------
    displacements : sequence of array, [n, N, 3]
    records_per_step : int
        r.

    Returns
    -------
    dict
        The arguments `extrapolation`, `whitening`, `mean_bounds`, `combinations` and `one_record`
        of `TransitionGenerator`. The bound of the means is the root of 1 + alpha2 of a residual:
        rare and long moves, as hops within a record, need a mixture that holds them.
    """
    r = records_per_step
    p = max(12, 3 * r)
    moments = _moments(displacements, p + r)
    past, following = slice(p - 1, None, -1), slice(p, None)
    now = moments[past, past]
    weights = np.linalg.solve(now, moments[past, following]).T  # [r, p]
    residual = moments[following, following] - weights @ moments[past, following]
    values, vectors = np.linalg.eigh(residual)
    whitening = (vectors / np.sqrt(values)).T[::-1]
    squared = _squared_residuals(displacements, weights, whitening)
    bounds = np.sqrt(np.maximum(1.0, 0.6 * (squared**2).mean(0) / squared.mean(0) ** 2))

    # Principal components of the last displacements, the largest first: changes of the velocity
    # are small beside it, and the network is to see them as well.
    variances, components = np.linalg.eigh(now)
    combinations = (components / np.sqrt(variances)).T[::-1]
    return {
        "extrapolation": weights.tolist(),
        "whitening": whitening.tolist(),
        "mean_bounds": bounds.tolist(),
        "combinations": combinations.tolist(),
        "one_record": float(np.sqrt(now[0, 0])),
    }


def records_per_step(asked: int, displacements: Displacements) -> int:
    """Return the records of a step: as asked for, or 2 where inertia is resolved and else 1."""
    return asked or (_RECORDS_PER_STEP if predictable(displacements) else 1)


def inertia(asked: int, displacements: Displacements) -> list[float]:
    """Return the weights [p] of the last displacements in that which they lead to over a step."""
    weights = fit_extrapolation(displacements, records_per_step(asked, displacements))
    ahead: list[float] = np.sum(weights["extrapolation"], axis=0).tolist()
    return ahead


def one_record_alpha2(displacements: Displacements) -> float:
    """Return the non-Gaussian parameter of displacements [n, N, 3] of one record."""
    squared = np.concatenate([(d**2).sum(2).ravel() for d in displacements])
    return float(0.6 * (squared**2).mean() / squared.mean() ** 2 - 1)


def msd_target(
    groups: Sequence[Displacements], step_skip: int, longest: int
) -> dict[str, Any] | None:
    """Return the mean square displacement over several records, where it is known well.

    Over the longest lag at which its ratio to that over one record is known within a percent at
    each temperature, or of each species, or else over the shortest one that is looked at.

    Parameters
    ----------
    groups : sequence of sequence of array, [n, N, 3]
        Displacements at each temperature, or of each species.
    step_skip : int
        Phases of the same run that are in each group.
    longest : int
        Records.

    Returns
    -------
    dict or None
        ``records`` of the lag, of each group ``mean_square`` and the ``error`` of the logarithm of
        that ratio; None where runs or `longest` are too short.
    """
    longest = min(longest, *(len(d) // 4 for group in groups for d in group))
    paths = [[d.cumsum(0, dtype=float) for d in group] for group in groups]
    found = None
    for lag in (round(_LEAST_LAG * 2 ** (number / 2)) for number in range(16)):
        if lag > longest:
            break
        squares, errors = zip(*(_square(group, lag, step_skip) for group in paths), strict=True)
        if found is None or max(errors) < _WELL_KNOWN:
            found = {"records": lag, "mean_square": list(squares), "error": list(errors)}
    return found


def _square(paths: Sequence[np.ndarray], lag: int, step_skip: int) -> tuple[float, float]:
    """Return the mean square displacement of paths [n, N, 3] over a lag.

    And the relative error of its ratio to that over one record: runs are not equally warm.
    """

    def parts(lag: int) -> np.ndarray:
        far = [((path[lag:] - path[:-lag]) ** 2).sum(-1).mean(1) for path in paths]
        return np.array([part.mean() for run in far for part in np.array_split(run, _PARTS)])

    far = parts(lag)
    ratio = far / parts(1)
    error = ratio.std(ddof=1) / ratio.mean() * math.sqrt(step_skip / len(ratio))
    return float(far.mean()), float(error)


def variance_shells(
    displacements: Displacements, extrapolation: np.ndarray, whitening: np.ndarray
) -> np.ndarray:
    """Return lengths [32] of the slowest residual at equal shares of its variance.

    In its standard deviations. Of a Gaussian one all but a hundredth lies within four.

    Parameters
    ----------
    displacements : sequence of array, [n, N, 3]
    extrapolation, whitening : array, [r, p] and [r, r]
        What `fit_extrapolation` found in them.
    """
    squared = np.sort(_squared_residuals(displacements, extrapolation, whitening)[:, 0])
    levels = (np.arange(32) + 0.5) / 32
    shells: np.ndarray = np.sqrt(squared[np.searchsorted(squared.cumsum() / squared.sum(), levels)])
    return shells


def _squared_residuals(
    displacements: Displacements, weights: np.ndarray, whitening: np.ndarray
) -> np.ndarray:
    """Return the squared lengths [n, r] of the whitened residuals of all steps."""
    r, p = weights.shape
    past, following = slice(p - 1, None, -1), slice(p, None)
    squared = []
    for d in displacements:
        windows = np.lib.stride_tricks.sliding_window_view(d, p + r, axis=0)[::r]
        residual = windows[..., following] - windows[..., past] @ weights.T
        squared.append(((residual @ whitening.T) ** 2).sum(2).reshape(-1, r))
    return np.concatenate(squared)


def predictable(displacements: Displacements) -> bool:
    """Tell whether the last displacements [n, N, 3] tell more than half of the next one.

    They do where the record interval resolves the inertia of an ion. Where they do not, what
    happens within a step of several records is new at each record, and the steps are better short.
    """
    p = 6
    moments = _moments(displacements, p + 1)
    weights = np.linalg.solve(moments[:p, :p], moments[:p, p])
    return bool(weights @ moments[:p, p] > 0.5 * moments[p, p])


def told_by_neighbours(
    run: np.ndarray, describe: Callable[[np.ndarray], np.ndarray], step_skip: int
) -> float:
    """Return what the motion of neighbours during a record tells of the next one, as a share.

    Of the variance that an ion's own last displacements, and its neighbour descriptor a record ago,
    leave open in linear prediction, the part that the change of the descriptor since explains.

    Parameters
    ----------
    run : array, [T, N, 3]
        Positions, Angstrom; about 100 000 displacements of ions are looked at.
    describe : function
        The neighbour descriptor [T, N, A, 4] of positions [T, N, 3].
    step_skip : int
        Frames in a record.
    """
    p = 12
    positions = run[::step_skip][: p + 2 + _SEEN // run.shape[1]]
    if len(positions) < 4 * p:
        return 0.0
    moved = np.diff(positions, axis=0)
    vectors = describe(positions)[..., :3].astype(float).swapaxes(2, 3)
    now = np.arange(p, len(moved))
    own = np.stack([moved[now - 1 - lag] for lag in range(p)], -1)
    before, change = vectors[now - 1], vectors[now] - vectors[now - 1]
    following = moved[now].ravel()

    def left(*known: np.ndarray) -> float:
        inputs = np.concatenate(known, -1).reshape(len(following), -1)
        weights = np.linalg.lstsq(inputs, following, rcond=None)[0]
        return float(((following - inputs @ weights) ** 2).mean())

    return 1 - left(own, before, change) / left(own, before)


def _moments(displacements: Displacements, length: int) -> np.ndarray:
    """Return the mean products [length, length] in windows of displacements, oldest first."""
    moments, count = np.zeros((length, length)), 0
    for d in displacements:
        windows = np.lib.stride_tricks.sliding_window_view(d, length, axis=0)
        moments += np.tensordot(windows, windows, ((0, 1, 2), (0, 1, 2)))
        count += windows[..., 0].size
    return moments / count


def fit_averages(
    displacements: Displacements,
    records_per_step: int,
    decay_records: Sequence[float],
    decays_per_run: float,
) -> dict[str, list[float]]:
    """Measure how far an ion is from the exponential moving averages of its position.

    Parameters
    ----------
    displacements : sequence of array, [n, N, 3]
    records_per_step : int
        r.
    decay_records : sequence of float
        Decay times of the averages, records.
    decays_per_run : float
        Decay times of which fewer fit into the longest run are left out.

    Returns
    -------
    dict
        The arguments `ema_steps` and `ema_scales` of `TransitionGenerator`.
    """
    r = records_per_step
    longest = max(map(len, displacements))
    steps = [t / r for t in decay_records if t * decays_per_run <= longest]
    scales = []
    for decay in steps:
        keep, squares, count = math.exp(-1 / decay), 0.0, 0
        for d in displacements:
            offset = np.zeros_like(d[0])
            for number, moved in enumerate(d[: len(d) // r * r].reshape(-1, r, *d[0].shape).sum(1)):
                offset = keep * (offset + moved)
                if number >= decay:
                    squares, count = squares + (offset**2).sum(), count + offset.size
        scales.append(math.sqrt(squares / count))
    return {"ema_steps": steps, "ema_scales": scales}
