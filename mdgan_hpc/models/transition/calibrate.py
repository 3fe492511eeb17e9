"""Noise calibration: free runs are as warm as the data, and diffuse as these do."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import FreeRun
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.recoil import Recoil

#: Free runs at what those before say, after the first trials; these have a quarter of the records.
#: In the last two of them the friction is what it is: it moves the temperature much.
_ROUNDS, _LAST, _TRIAL = 4, 2, 4
#: Units within which the last two agree.
_AGREE = 1.0
#: In units of what the first trials differ by: what is set at most, and changed at most at once.
_MOST, _MOST_AT_ONCE = 4.0, 2.0
#: The same of the friction: what is expected, and set at most.
_USUAL, _MOST_FRICTION = 5.0, 6.0
#: The four trials: below and above of the noise, of its change, and of the friction.
_TRIALS = ((-1, -1, 1), (1, -1, -1), (-1, 1, -1), (1, 1, 1))


class Level(NamedTuple):
    """What is calibrated, of all ions, or of those of a species.

    Attributes
    ----------
    log_noise : float
        Logarithm of the noise; where a thermostat holds the free runs, that of the kinetic energy
        it aims at.
    slope : float
        Change of that with the kinetic energy of an ion (`NoiseByEnergy`).
    friction : float
        Of `Friction`.
    """

    log_noise: float
    slope: float
    friction: float = 0.0


class MsdTarget(NamedTuple):
    """The mean square displacement of the data over several records.

    Attributes
    ----------
    records : int
        The lag.
    mean_square : float
        Angstrom^2.
    error : float
        Of the logarithm of its ratio to that over one record.
    """

    records: int
    mean_square: float
    error: float


def msd_targets(found: Mapping[str, Any] | None, levels: int) -> list[MsdTarget | None]:
    """Return what `fit.msd_target` found, at each temperature or of each species."""
    if found is None:
        return [None] * levels
    each = zip(found["mean_square"], found["error"], strict=True)
    return [MsdTarget(found["records"], *pair) for pair in each]


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
    msd : MsdTarget or None
        None where there is to be no friction.
    """

    mean_square: float
    alpha2: float | None
    ions: np.ndarray | slice
    msd: MsdTarget | None = None


def calibrated_noise(
    config: TransitionConfig,
    free_run: FreeRun,
    set_noise: Callable[[list[Level]], object],
    *,
    targets: Sequence[Target],
    particles: int,
    held: bool = False,
    recoil: Recoil | None = None,
) -> list[Level]:
    """Return the noise and the friction with which free runs meet targets.

    Free runs differ from the data by a percent or two in the mean squared displacement of one
    record, as errors of many steps add up, and a few fast ions are too fast; the rate of hops
    differs by several times as much. In equilibrium velocities are Gaussian whatever the place of
    an ion (equipartition), so that where a record is short against the vibrations two numbers tell
    all of their distribution: the mean squared displacement, and alpha2, which tells of the fast
    ones. The third number is a friction, which lets ions move as far as those of the data over many
    records, where the data know that within a percent or so (`MsdTarget`); what the data leave open
    of it is decided for little friction. All are measured at values below and above, half of the
    combinations, which tells how they answer. Then free runs at what was found so far tell how far
    that is off, the last two with the friction as it is. The result is the mean of what these say
    where they agree, since the temperature of a cell fluctuates for hundreds of records, and half a
    percent of it is two of the MSD; else what the last one says.

    Parameters
    ----------
    config : TransitionConfig
    free_run : FreeRun
        Of the generator, with the noise that was set last.
    set_noise : callable
        Of a level for each target.
    targets : sequence of Target
        Of all ions, or of those of each species, met together.
    particles : int
        In a sample.
    held : bool
    recoil : Recoil or None
        Where the targets are of displacements in the frame of all atoms.
    """
    first = config.thermostat_range if held else config.calibration_range
    tried = [first, config.calibration_slope, config.calibration_friction]
    unit = torch.tensor(tried, dtype=torch.float64)
    samples = max(1, config.calibration_ions // particles)

    def excess(levels: Tensor, records: int) -> Tensor:
        """Return by how much the measures exceed those of the data, for each target [n, 3]."""
        set_noise(_plain(levels * unit))
        path = free_run(samples, records, config.calibration_burn_in)
        moved = path.double().diff(dim=0)
        moved = moved if recoil is None else recoil.inertial(moved)
        return torch.stack([_excess(moved, target) for target in targets])

    design = torch.tensor(_TRIALS, dtype=torch.float64)
    if targets[0].alpha2 is None:
        design = torch.tensor([[-1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    elif targets[0].msd is None:
        design[:, 2] = 0
    records = max(1, config.calibration_records // _TRIAL)
    # An expected friction counts like a measurement.
    doubt = [0.0 if target.msd is None else target.msd.error / _USUAL for target in targets]
    trials = torch.stack([excess(trial.expand(len(targets), 3), records) for trial in design], 1)
    answers = design.T @ trials / len(design)  # [n, numbers, measures]
    at = before = _corrected(torch.zeros(len(targets), 3), trials.mean(1), answers, doubt)
    for number in range(_ROUNDS):
        off, last = excess(at, config.calibration_records), number >= _ROUNDS - _LAST
        before, at = at, _corrected(at, off, answers, doubt, last=last)
    agree = (at - before).abs() < _AGREE
    return _plain(torch.where(agree, (at + before) / 2, at) * unit)


def longest_lag(config: TransitionConfig) -> int:
    """Return the longest lag of a `MsdTarget`, in records: a quarter of a trial."""
    return max(1, config.calibration_records // _TRIAL // 4)


def _plain(levels: Tensor) -> list[Level]:
    return [Level(*level) for level in levels.tolist()]


def _excess(moved: Tensor, target: Target) -> Tensor:
    """Return by how much displacements [T, B, k, 3] exceed a target [3].

    Logarithm of the mean square, alpha2, and logarithm of the mean square over several records.
    """
    moved = moved[:, :, target.ions]
    squared = moved.square().sum(-1)
    mean = squared.mean()
    alpha2 = 0.6 * squared.square().mean() / mean**2 - 1
    found = [(mean / target.mean_square).log(), alpha2 - (target.alpha2 or 0.0)]
    if target.msd is not None:
        path, lag = moved.cumsum(0), target.msd.records
        far = (path[lag:] - path[:-lag]).square().sum(-1).mean()
        found.append((far / target.msd.mean_square).log())
    else:
        found.append(torch.zeros_like(mean))
    # Free runs that fly are too hot.
    return torch.stack(found).nan_to_num(nan=torch.inf, posinf=torch.inf)


def _corrected(
    at: Tensor, excess: Tensor, answers: Tensor, doubt: Sequence[float], *, last: bool = False
) -> Tensor:
    """Return where the excess [n, 3] at the levels [n, 3] would be zero; friction stays at last.

    Each number is set by the excess that it is meant for; one that was not tried, answers in the
    wrong direction, or flew when it was tried, stays. Bounded, so that a network that is half
    trained is not hidden by a noise far from one.
    """
    levels = []
    for own, off, answer, unsure in zip(at.tolist(), excess, answers.tolist(), doubt, strict=True):
        noise, slope, friction = own
        warm, fast, far = off.tolist()
        by_noise, by_slope, by_friction = answer
        if 0 < by_slope[1] < math.inf:
            change = _within(-fast / by_slope[1], _MOST_AT_ONCE)
            warm, far = warm + change * by_slope[0], far + change * by_slope[2]
            slope = _within(slope + change, _MOST)
        if 0 < by_noise[0] < math.inf:
            given = 0.0  # noise that makes up for a unit of friction
            change = _within(-warm / by_noise[0], _MOST if last else _MOST_AT_ONCE)
            if by_friction[0] < 0 and math.isfinite(by_noise[2]):
                given = -by_friction[0] / by_noise[0]
                slower = by_friction[2] + given * by_noise[2]  # at one temperature
                far -= warm / by_noise[0] * by_noise[2]
                if not last and -math.inf < slower < 0 and math.isfinite(far):
                    wanted = slower * (slower * friction - far) / (slower**2 + unsure**2)
                    step = _within(wanted - friction, _MOST_AT_ONCE)
                    before, friction = friction, _within(friction + step, _MOST_FRICTION)
                    change += given * (friction - before)
            # What it makes up for is known within a third.
            most = _MOST + given * abs(friction) / 3
            noise = _within(noise + change - given * friction, most) + given * friction
        levels.append([noise, slope, friction])
    return torch.tensor(levels, dtype=at.dtype)


def _within(value: float, bound: float) -> float:
    return max(-bound, min(bound, value))
