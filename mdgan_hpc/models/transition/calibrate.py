"""Noise calibration: free runs move as far in one record as the ions of the data do."""

from collections.abc import Callable

import torch
from torch import Tensor

from mdgan_hpc.models.base import FreeRun
from mdgan_hpc.models.transition.config import TransitionConfig


def calibrated_noise(
    config: TransitionConfig,
    free_run: FreeRun,
    set_log_noise: Callable[[float], object],
    *,
    log_mean_square: float,
    particles: int,
) -> float:
    """Return the logarithm of the noise at which free runs have the one-record MSD of the data.

    The MSD of one record is the mean squared displacement from one record to the next. That of free
    runs differs from the data by a percent or two, as errors of many steps add up, and the rate of
    hops by ten times as much. It is measured at two values of the noise; the result is where the
    line through both meets the data. The temperature of a cell fluctuates for hundreds of records,
    so the runs are long.

    Parameters
    ----------
    config : TransitionConfig
    free_run : FreeRun
        Of the generator, with the noise that was set last.
    set_log_noise : callable
    log_mean_square : float
        Of the displacements of the data in one record, Angstrom^2.
    particles : int
        In a sample.
    """
    most = config.calibration_range
    trials = torch.tensor([-most, most], dtype=torch.float64)
    samples = max(1, config.calibration_ions // particles)
    log_msd: list[Tensor] = []
    for trial in trials.tolist():
        set_log_noise(trial)
        path = free_run(samples, config.calibration_records, config.calibration_burn_in)
        log_msd.append(path.double().diff(dim=0).square().mean().log())
    excess = torch.stack(log_msd) - log_mean_square
    slope = float(trials @ excess / trials.square().sum())
    # Bounded, so that a network that is half trained is not hidden by a noise far from one.
    found = -float(excess.mean()) / slope if slope > 0 else 0.0
    return min(max(found, -2 * most), 2 * most)
