"""What is computed of runs, and at which lags: those that all of them share."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.observables.fourier import log_lags
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.trajectory import Trajectory

#: Longest time of the velocity autocorrelation function.
VACF_PS = 2.0


#: Velocities in a spectrum of the current at most, and at least.
CURRENT_POINTS = (64, 8192)

#: Times of the van Hove functions, as shares of a run.
VAN_HOVE_SHARES = (1 / 160, 1 / 40, 1 / 10, 1 / 4)


@dataclass(frozen=True)
class Plan:
    """Lags and times that all runs share, in records."""

    interval_ps: float
    lags: np.ndarray  # [L]
    histogram_lags: np.ndarray  # [K]
    velocity_lags: int
    config: DynamicsConfig
    current_points: int = 0  # velocities in a spectrum of the current; 0: there is none
    current_stride: int = 1  # records over which each of them is a difference


def make_plan(trajectories: Sequence[Trajectory], config: DynamicsConfig) -> Plan:
    """Choose lags that all runs have.

    Raises
    ------
    DataError
        If a run is too short.
    """
    lengths = [t.n_records for t in trajectories]
    shortest = trajectories[int(np.argmin(lengths))]
    if min(lengths) < max(lengths) / 2:
        warnings.warn(
            f"{shortest.path} is less than half as long as the longest run: it limits the lags",
            DataWarning,
            stacklevel=2,
        )
    if shortest.n_records < 4 * config.stride:
        raise DataError(f"has only {shortest.n_records} records", where=shortest.path)
    return plan_lags(min(lengths), trajectories[0].record_interval_ps, config)


def plan_lags(n_records: int, interval_ps: float, config: DynamicsConfig) -> Plan:
    """Choose the lags for runs of at least `n_records` records."""
    stride = config.stride
    strided = (n_records - 1) // stride + 1
    if config.every_lag:
        lags = np.arange(1, max(1, int((strided - 1) * config.max_fraction)) + 1)
    else:
        lags = log_lags(strided, per_decade=config.lags_per_decade, fraction=config.max_fraction)
    lags = lags * stride
    span = n_records * interval_ps
    times = config.van_hove_ps or tuple(span * share for share in VAN_HOVE_SHARES)
    nearest = [int(lags[np.argmin(np.abs(np.log(lags * interval_ps / t)))]) for t in times]
    least, most = CURRENT_POINTS
    apart = stride * max(1, -(-(n_records - 1) // (most * stride)))
    points = (n_records - 1) // apart // 2 * 2
    return Plan(
        interval_ps,
        lags,
        np.unique(nearest) if not config.van_hove_ps else np.array(nearest),
        max(2, min(round(VACF_PS / interval_ps), n_records // 4) // stride),
        config,
        points if points >= least else 0,
        apart,
    )
