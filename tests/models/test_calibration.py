"""Noise calibration: free runs are as warm as the data, and diffuse as these do."""

import math

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.models.base import Window
from mdgan_hpc.models.transition.calibrate import Level, MsdTarget, Target, calibrated_noise
from mdgan_hpc.models.transition.config import TransitionConfig
from tests.support.transition import make, squared_noise, windows

CONFIG = TransitionConfig(calibration_ions=4096, calibration_records=400, calibration_burn_in=40)


class World:
    """Ions whose last displacement is kept by 0.9, with noise that fast ions get too much of."""

    def __init__(self, excess: float, kept: float = 0.9) -> None:
        self.excess, self.kept, self.noise = excess, kept, Level(0.0, 0.0)
        self.random = torch.Generator().manual_seed(1)

    def set_noise(self, levels: list[Level]) -> None:
        self.noise = levels[0]

    def free_run(self, samples: int, records: int, burn_in: int) -> torch.Tensor:
        log_noise, slope, friction = self.noise
        velocity = torch.randn(samples, 3, generator=self.random)
        path = [torch.zeros(samples, 1, 3)]
        for number in range(records + burn_in):
            energy = (velocity.square().sum(1, keepdim=True) / 3).clamp(max=6)
            factor = math.sqrt(1 - 0.9**2) * torch.exp(
                0.01 + log_noise + (self.excess + slope) * (energy - 1)
            )
            velocity = (self.kept - friction) * velocity + factor * torch.randn(
                samples, 3, generator=self.random
            )
            if number >= burn_in:
                path.append(path[-1] + velocity[:, None])
        return torch.stack(path)


def calibrated(world: World, *targets: Target) -> list[Level]:
    ions = len(targets)
    return calibrated_noise(
        CONFIG, world.free_run, world.set_noise, targets=targets, particles=ions
    )


class TwoSpecies(World):
    """Two ions in a sample, the second four times as slow, each with noise of its own."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.worlds = World(0.015), World(-0.01)

    def set_noise(self, levels: list[Level]) -> None:
        for world, level in zip(self.worlds, levels, strict=True):
            world.set_noise([level])

    def free_run(self, samples: int, records: int, burn_in: int) -> torch.Tensor:
        fast, slow = (w.free_run(samples, records, burn_in) for w in self.worlds)
        return torch.cat([fast, 0.25 * slow], 2)


def test_each_species_has_noise_of_its_own():
    fast, slow = Target(3.0, 0.0, np.array([0])), Target(3.0 / 16, 0.0, np.array([1]))
    found = calibrated(TwoSpecies(), fast, slow)
    assert found[0] == pytest.approx((-0.01, -0.015, 0), abs=5e-3)
    assert found[1] == pytest.approx((-0.01, 0.01, 0), abs=5e-3)


def test_two_numbers_make_the_spread_of_displacements_right():
    world = World(excess=0.015)
    (found,) = calibrated(world, Target(3.0, 0.0, slice(None)))
    assert found[:2] == pytest.approx((-0.01, -0.015), abs=4e-3)
    assert found.friction == 0


#: MSD of an ion whose last displacement, of variance one along each axis, is kept by c.
def msd(kept: float, records: int) -> float:
    lags = np.arange(1, records)
    return 3 * (records + 2 * float(((records - lags) * kept**lags).sum()))


@pytest.mark.parametrize("kept", [0.903, 0.896])
def test_ions_that_keep_their_velocity_too_long_or_briefly_are_put_right(kept: float):
    """The noise makes up for what the friction takes: the temperature stays."""
    world = World(excess=0.01, kept=kept)
    target = Target(3.0, 0.0, slice(None), MsdTarget(25, msd(0.9, 25), 0.005))
    (found,) = calibrated(world, target)
    assert found.friction == pytest.approx(kept - 0.9, abs=1.2e-3)
    world.set_noise([found])
    path = world.free_run(4096, 4 * CONFIG.calibration_records, 40)
    assert path.diff(dim=0).square().sum(-1).mean() / 3.0 == pytest.approx(1.0, abs=8e-3)
    far = (path[25:] - path[:-25]).square().sum(-1).mean()
    assert far / msd(0.9, 25) == pytest.approx(1.0, abs=0.012)


def test_what_the_data_hardly_know_sets_little_friction():
    world = World(excess=0.01, kept=0.903)
    (found,) = calibrated(world, Target(3.0, 0.0, slice(None), MsdTarget(25, msd(0.9, 25), 0.2)))
    assert abs(found.friction) < 1e-3


def test_ions_in_a_trap_get_no_friction_beyond_its_bound():
    """Their MSD does not answer to it."""

    class Trap(World):
        def free_run(self, samples: int, records: int, burn_in: int) -> torch.Tensor:
            path = super().free_run(samples, records, burn_in)
            return path.diff(dim=0, prepend=path[:1])

    found = calibrated(Trap(excess=0.0), Target(3.0, 0.0, slice(None), MsdTarget(25, 7.0, 0.01)))
    assert abs(found[0].friction) <= 6 * CONFIG.calibration_friction


def test_what_is_right_may_lie_far_from_what_is_tried_first():
    world = World(excess=0.06)
    (found,) = calibrated(world, Target(3.0, 0.0, slice(None)))
    assert found == pytest.approx((-0.01, -0.06, 0), abs=4e-3)


def test_a_free_run_with_the_noise_found_is_as_warm_as_the_data():
    """Half a percent of the temperature is two of the MSD of ions that hop."""
    world = World(excess=0.03)
    (found,) = calibrated(world, Target(3.0, 0.0, slice(None)))
    world.set_noise([found])
    path = world.free_run(4096, 4 * CONFIG.calibration_records, 40)
    assert path.diff(dim=0).square().sum(-1).mean() / 3.0 == pytest.approx(1.0, abs=6e-3)


@pytest.mark.parametrize(("number", "off"), [(2, 0.016), (5, 0.012)])
def test_free_runs_that_fly_once_leave_a_number(number: int, off: float):
    """In a trial, the noise stays as it was; behind the four trials, two rounds begin far away."""

    class Flies(World):
        runs = 0

        def free_run(self, samples: int, records: int, burn_in: int) -> torch.Tensor:
            self.runs += 1
            path = super().free_run(samples, records, burn_in)
            return path * torch.nan if self.runs == number else path

    world = Flies(excess=0.015)
    (found,) = calibrated(world, Target(3.0, 0.0, slice(None)))
    assert world.runs > 5
    assert found == pytest.approx((-0.01, -0.015, 0), abs=off)


def test_one_number_where_a_record_does_not_show_the_velocity():
    world = World(excess=0.0)
    (found,) = calibrated(world, Target(3.0, None, slice(None)))
    assert found[0] == pytest.approx(-0.01, abs=2e-3)
    assert found[1] == 0


def test_a_free_run_and_the_likelihood_have_the_same_noise():
    """With one Gaussian, the noise that was drawn is the whitened residual of the likelihood."""
    generator = make(Symmetry(), 1, components=1)
    generator._set_noise([Level(0.01, 0.02)])
    history = windows(generator, 60, 5)
    noise = torch.randn(3, 5, generator.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        moved, _ = generator.advance(generator.condition(history), noise)
        path = history.positions[:, -1:] + moved.swapaxes(0, 1).double().cumsum(1)
        whole = Window(torch.cat([history.positions, path], 1))
        found = squared_noise(generator, whole, 3)
    drawn = noise[..., 1:].square().sum(2).T
    torch.testing.assert_close(found, drawn, rtol=2e-3, atol=2e-3)
