"""Noise calibration: free runs as hot as the data."""

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
    """Return the logarithm of the noise at which free runs are as hot as the data.

    How hot an ion is, is the mean square of its displacement in one record. Free runs stray from
    that of the data by a percent or two, as errors of many steps add up, and the rate of hops by
    ten times as much. One number is found: where a line through free runs at two values of it meets
    the data. The temperature of a cell wanders for hundreds of records, so the runs are long.

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
    hot: list[Tensor] = []
    for trial in trials.tolist():
        set_log_noise(trial)
        path = free_run(samples, config.calibration_records, config.calibration_burn_in)
        hot.append(path.double().diff(dim=0).square().mean().log())
    excess = torch.stack(hot) - log_mean_square
    slope = float(trials @ excess / trials.square().sum())
    # A network that is far off still is to be seen as it is: in half-trained ones for example.
    found = -float(excess.mean()) / slope if slope > 0 else 0.0
    return min(max(found, -2 * most), 2 * most)
