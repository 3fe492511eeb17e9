"""Noise calibration: one-record displacements of free runs are spread as those of the data are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import FreeRun
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.recoil import Recoil

#: Free runs at what those before say, after the first trials; these have a quarter of the records.
_ROUNDS, _TRIAL = 3, 4
#: In units of what the first trials differ by: what is set at most, and changed at most at once.
_MOST, _MOST_AT_ONCE = 4.0, 2.0


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
    ones. Both are measured at values of the noise below and above, which tells how they answer to
    it. Then free runs at what was found so far tell how far that is off, and the result is the mean
    of what the last two say: the temperature of a cell fluctuates for hundreds of records, and half
    a percent of it is two of the MSD.

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
    unit = torch.tensor([first, config.calibration_slope], dtype=torch.float64)
    samples = max(1, config.calibration_ions // particles)

    def excess(levels: Tensor, records: int) -> Tensor:
        """Return by how much both measures exceed those of the data, for each target [n, 2]."""
        set_noise(_plain(levels * unit))
        path = free_run(samples, records, config.calibration_burn_in)
        moved = path.double().diff(dim=0)
        moved = moved if recoil is None else recoil.inertial(moved)
        return torch.stack([_excess(moved, target) for target in targets])

    simple = targets[0].alpha2 is None
    signs = [[-1, 0], [1, 0]] if simple else [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    design = torch.tensor(signs, dtype=torch.float64)
    records = max(1, config.calibration_records // _TRIAL)
    tried = [excess(trial.expand(len(targets), 2), records) for trial in design]
    trials = torch.stack(tried, 1)  # [n, trials, 2]
    answers = design.T @ trials / len(design)  # [n, numbers, measures]
    at, said = _corrected(torch.zeros(len(targets), 2), trials.mean(1), answers), []
    for _ in range(_ROUNDS):
        said.append(_corrected(at, excess(at, config.calibration_records), answers))
        at = torch.stack(said[1:] or said).mean(0)  # the first may begin far from there
    return _plain(at * unit)


def _plain(levels: Tensor) -> list[tuple[float, float]]:
    return [(log_noise, slope) for log_noise, slope in levels.tolist()]


def _excess(moved: Tensor, target: Target) -> Tensor:
    """Return by how much displacements [T, B, k, 3] exceed a target, log mean square and alpha2."""
    squared = moved[:, :, target.ions].square().sum(-1)
    mean = squared.mean()
    alpha2 = 0.6 * squared.square().mean() / mean**2 - 1
    found = torch.stack([(mean / target.mean_square).log(), alpha2 - (target.alpha2 or 0.0)])
    return found.nan_to_num(nan=torch.inf, posinf=torch.inf)  # free runs that fly are too hot


def _corrected(at: Tensor, excess: Tensor, answers: Tensor) -> Tensor:
    """Return where the excess [n, 2] at the levels [n, 2] would be zero.

    Each number is set by the excess that it is meant for; one that was not tried, answers in the
    wrong direction, or flew when it was tried, stays. Bounded, so that a network that is half
    trained is not hidden by a noise far from one.
    """
    step = torch.zeros_like(excess)
    for own, off, answer in zip(step, excess, answers, strict=True):
        if 0 < answer[1, 1] < torch.inf:
            own[1] = (-off[1] / answer[1, 1]).clamp(-_MOST_AT_ONCE, _MOST_AT_ONCE)
        if 0 < answer[0, 0] < torch.inf:
            wanted = -(off[0] + own[1] * answer[1, 0]) / answer[0, 0]
            own[0] = wanted.clamp(-_MOST_AT_ONCE, _MOST_AT_ONCE)
    return (at + step).clamp(-_MOST, _MOST)
