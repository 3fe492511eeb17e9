"""Noise calibration: one-record displacements of free runs are spread as those of the data are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import FreeRun
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.recoil import Recoil


class Target(NamedTuple):
    """What the free runs of some ions of a sample are to meet.

    Attributes
    ----------
    mean_square : float
        Of the displacements of the data in one record, Angstrom^2.
    alpha2 : float or None
        Their non-Gaussian parameter; None where a record does not resolve the velocity: the noise
        is then the same for all of these ions.
    ions : array of int, or slice
    """

    mean_square: float
    alpha2: float | None
    ions: np.ndarray | slice


def calibrated_noise(
    config: TransitionConfig,
    free_run: FreeRun,
    set_noise: Callable[[list[tuple[float, float]]], object],
    *,
    targets: Sequence[Target],
    particles: int,
    held: bool = False,
    recoil: Recoil | None = None,
) -> list[tuple[float, float]]:
    """Return the logarithm of the noise, and its change with the kinetic energy of an ion.

    Where a thermostat holds the free runs, the first is that of the kinetic energy it aims at.

    Free runs differ from the data by a percent or two in the mean squared displacement of one
    record, as errors of many steps add up, and a few fast ions are too fast; the rate of hops
    differs by several times as much. In equilibrium velocities are Gaussian whatever the place of
    an ion (equipartition), so that where a record is short against the vibrations two numbers tell
    all of their distribution: the mean squared displacement, and alpha2, which tells of the fast
    ones. Both are measured at values of the noise below and above; the result is where the lines
    through them meet the data. The temperature of a cell fluctuates for hundreds of records, so
    the runs are long.

    Parameters
    ----------
    config : TransitionConfig
    free_run : FreeRun
        Of the generator, with the noise that was set last.
    set_noise : callable
        Of the logarithm and its change, for each target.
    targets : sequence of Target
        Of all ions, or of those of each species, met together.
    particles : int
        In a sample.
    held : bool
    recoil : Recoil or None
        Where the targets are of displacements in the frame of all atoms.
    """
    first = config.thermostat_range if held else config.calibration_range
    most = torch.tensor([first, config.calibration_slope], dtype=torch.float64)
    samples = max(1, config.calibration_ions // particles)
    simple = targets[0].alpha2 is None
    signs = [[-1.0, 0.0], [1.0, 0.0]] if simple else [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    design = torch.tensor(signs, dtype=torch.float64)
    records = 2 * config.calibration_records // len(signs)
    measured: list[list[Tensor]] = [[] for _ in targets]
    for low, high in (design * most).tolist():
        set_noise([(low, high)] * len(targets))
        path = free_run(samples, records, config.calibration_burn_in)
        moved = path.double().diff(dim=0)
        moved = moved if recoil is None else recoil.inertial(moved)
        for number, (mean_square, alpha2, ions) in enumerate(targets):
            squared = moved[:, :, ions].square().sum(-1)
            mean = squared.mean()
            found = 0.6 * squared.square().mean() / mean**2 - 1 - (alpha2 or 0.0)
            measured[number].append(torch.stack([(mean / mean_square).log(), found]))
    # Bounded, so that a network that is half trained is not hidden by a noise far from one.
    return [
        tuple((_root(design, torch.stack(each)).clamp(-2, 2) * most).tolist()) for each in measured
    ]


def _root(design: Tensor, excess: Tensor) -> Tensor:
    """Return where planes through the excess [trials, 2] at the trials [trials, 2] are zero [2].

    Each number is set by the excess that it is meant for; one that was not tried, or answers in the
    wrong direction, stays zero.
    """
    slopes = design.T @ excess / len(design)  # [2 numbers, 2 measures]
    centre = excess.mean(0)
    found = torch.zeros(2, dtype=excess.dtype)
    if slopes[1, 1] > 0:
        found[1] = (-centre[1] / slopes[1, 1]).clamp(-2, 2)
    if slopes[0, 0] > 0:
        found[0] = -(centre[0] + found[1] * slopes[1, 0]) / slopes[0, 0]
    return found
