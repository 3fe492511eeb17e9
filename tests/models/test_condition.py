"""A generator that is told the temperature: what physics fixes, and what is interpolated."""

import math

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import DataSummary, Window
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.models.transition.by_level import at
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.generator import TransitionGenerator
from tests.support.runs import underdamped
from tests.support.training import SMALL_MODEL
from tests.support.transition import make, squared_noise, windows

CELLS = np.stack([8.0 * np.eye(3), 8.2 * np.eye(3)])
TOLD = Temperatures((1500.0, 2000.0), CELLS, 8.1 * np.eye(3))
#: Without maps to cells.
PLAIN = Temperatures((1500.0, 2000.0)).to_plain()


def test_what_is_told_is_centred_and_speeds_are_those_of_maxwell():
    told = [TOLD.inverse(kelvin) for kelvin in TOLD.kelvin]
    assert told == pytest.approx([1.0, -1.0])
    assert TOLD.speed(2000.0) / TOLD.speed(1500.0) == pytest.approx(math.sqrt(2000 / 1500))
    assert TOLD.speed(TOLD.reference_k) == pytest.approx(1.0)


def test_cells_are_linear_in_the_temperature_and_noise_in_its_inverse():
    np.testing.assert_allclose(TOLD.cell(1750.0), 8.1 * np.eye(3))
    np.testing.assert_allclose(TOLD.cell(2100.0), 8.24 * np.eye(3))
    np.testing.assert_allclose(TOLD.strain(1500.0), 8.0 / 8.1 * np.eye(3))
    three = Temperatures((1000.0, 1500.0, 2000.0))
    levels = torch.tensor([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0]])
    asked = torch.tensor([[1000.0, 1200.0], [2000.0, 2100.0]])
    found = three.between(asked, levels)
    torch.testing.assert_close(found[:, 0], levels[[0, 2]])
    torch.testing.assert_close(found[0, 1], torch.tensor([1.5, 0.5]))
    torch.testing.assert_close(found[1, 1], levels[2])  # no further beyond


def test_a_temperature_is_asked_for_and_one_far_away_refused():
    assert TOLD.require(1650.0) == 1650.0
    assert not TOLD.is_beyond(1650.0)
    assert TOLD.is_beyond(TOLD.require(1400.0))
    with pytest.raises(UsageError, match="trained at 1500 and 2000 K"):
        TOLD.require(None)
    for far in (1300.0, 2300.0):
        with pytest.raises(UsageError, match="too far"):
            TOLD.require(far)


def sloping(generator: TransitionGenerator) -> TransitionGenerator:
    """Give the mixtures slopes with the temperature that are not zero."""
    random = torch.Generator().manual_seed(2)
    for name, weight in generator.network.named_parameters():
        if name.endswith("_slope"):
            torch.nn.init.normal_(weight, std=0.5, generator=random)
    return generator


@pytest.mark.parametrize("is_input", [True, False])
@pytest.mark.parametrize("told", [PLAIN, TOLD.to_plain()])
def test_a_free_run_at_a_temperature_is_what_the_likelihood_sees_there(told, is_input):
    """With one Gaussian, the noise that was drawn is the whitened residual of the likelihood."""
    levels = [(1.0, 0.0)] * 2
    scales = [[0.3, 0.5], [0.6, 0.8]]
    more = {"ema_steps": [4.0, 12.0], "ema_scales": [0.4, 0.6], "ema_levels": scales}
    more |= {"temperatures": told, "levels": levels, "temperature_is_input": is_input}
    generator = sloping(make(Symmetry(), 1, components=1, **more))
    generator.noise_levels.copy_(torch.tensor([[0.01, 0.02, 0.0], [-0.03, 0.01, 0.0]]))
    generator.set_temperature(1700.0)
    kelvin = torch.full((5,), 1700.0)
    history = Window(windows(generator, 60, 5).positions, temperature_k=kelvin)
    noise = torch.randn(3, 5, generator.noise_size, generator=torch.Generator().manual_seed(1))
    strain = generator.temperatures.strain(1700.0)
    with torch.no_grad():
        moved, _ = generator.advance(generator.condition(history), noise)
        moved = moved.swapaxes(0, 1).double()
        if strain is not None:
            moved = moved @ torch.linalg.inv(torch.from_numpy(strain))
        path = history.positions[:, -1:] + moved.cumsum(1)
        whole = Window(torch.cat([history.positions, path], 1), temperature_k=kelvin)
        found = squared_noise(generator, whole, 3)
    drawn = noise[..., 1:].square().sum(2).T
    torch.testing.assert_close(found, drawn, rtol=3e-3, atol=3e-3)


def test_rates_are_linear_in_the_inverse_temperature_and_lengths_in_that_of_its_root():
    more = {"temperatures": PLAIN, "levels": [(1.0, 0.0)] * 2, "temperature_is_input": False}
    generator = sloping(make(Symmetry(), 1, components=2, **more))
    weights, k = generator.network.dense_weights(), generator.network.components
    of = generator.temperatures, k
    low, middle, high = (at(weights, *of, t) for t in (1500.0, 1700.0, 2000.0))
    share = {
        power: (1700.0**-power - 2000.0**-power) / (1500.0**-power - 2000.0**-power)
        for power in (1.0, 0.5)
    }
    for name in ("out", "out_bias"):
        for rows, power in ((slice(2 * k), 1.0), (slice(2 * k, None), 0.5)):
            between = torch.lerp(high[name][:, rows], low[name][:, rows], share[power])
            torch.testing.assert_close(middle[name][:, rows], between)
        assert (low[name] - high[name]).abs().min() > 1e-6


def test_windows_of_several_temperatures_are_each_seen_at_its_own():
    more = {"temperatures": PLAIN, "levels": [(1.0, 0.0)] * 2, "temperature_is_input": False}
    generator = sloping(make(Symmetry(), 2, **more))
    kelvin = torch.tensor([1500.0, 2000.0, 2000.0, 1500.0])
    positions = windows(generator, 30, 4).positions
    together, each = (
        [generator.negative_log_likelihood(Window(p, temperature_k=k), warm_up=4) for p, k in pairs]
        for pairs in (
            [(positions, kelvin)],
            zip(positions.split(1), kelvin.split(1), strict=True),
        )
    )
    torch.testing.assert_close(together[0], torch.stack(each).mean())
    swapped = Window(positions, temperature_k=kelvin.flip(0).roll(1))
    assert (generator.negative_log_likelihood(swapped, warm_up=4) - together[0]).abs() > 1e-4


def summary(scale: float) -> DataSummary:
    """Runs of one process at two temperatures, whose displacements are thermal times `scale`."""
    each = [
        scale * TOLD.speed(k) * np.diff(underdamped(400, 4, seed), axis=0)
        for seed, k in enumerate(TOLD.kelvin)
    ]
    return DataSummary(
        displacements=each,
        symmetry=Symmetry(),
        cell=None,
        ions_per_run=4,
        temperatures=Temperatures(TOLD.kelvin),
        temperature_k=list(TOLD.kelvin),
    )


def test_extrapolation_and_whitening_are_of_thermal_displacements():
    config = TransitionConfig(hidden=8, head=8, **SMALL_MODEL)
    generator = TransitionGenerator.from_data(config, summary(1.0), None)
    for (one_record, _), moved in zip(
        generator.arguments["levels"], summary(1.0).displacements, strict=True
    ):
        assert one_record == pytest.approx(float(np.sqrt((moved**2).mean())))
    twice = TransitionGenerator.from_data(config, summary(2.0), None)
    torch.testing.assert_close(twice.extrapolation, generator.extrapolation)
    torch.testing.assert_close(twice.whitening, generator.whitening / 2)
    assert generator.capabilities.conditions == ("temperature",)
    assert np.shape(generator.arguments["ema_levels"]) == (2, len(generator.arguments["ema_steps"]))


def test_moving_averages_do_not_tell_the_temperature():
    """Of one process whose motion is thermal, their inputs are alike at all temperatures."""
    config = TransitionConfig(hidden=8, head=8, ema_records=[10.0, 30.0], **SMALL_MODEL)
    generator = TransitionGenerator.from_data(config, summary(1.0), None)
    row = generator.features.rows["averages"]
    steps = torch.from_numpy(summary(1.0).displacements[0]).float().swapaxes(0, 1)
    speeds = [TOLD.speed(k) / TOLD.speed(TOLD.kelvin[0]) for k in TOLD.kelvin]
    seen = []
    for kelvin, speed in zip(TOLD.kelvin, speeds, strict=True):
        told = torch.full((len(steps),), kelvin)
        offset, activity = row.averages(speed * steps, row._scales(told))
        seen.append((offset.square().mean(), activity.mean()))
        scales = generator.arguments["ema_levels"][TOLD.kelvin.index(kelvin)]
        assert row._scales(told)[0].tolist() == pytest.approx(scales)
    assert float(seen[1][1] / seen[0][1]) == pytest.approx(1.0, rel=0.3)


def test_starts_are_of_the_nearest_temperature_with_rescaled_speeds():
    generator = make(Symmetry(), 1, temperatures=PLAIN, levels=[(1.0, 0.0)] * 2)
    n = generator.start_windows
    generator.start_temperature.copy_(torch.tensor([1500.0, 2000.0]).repeat(n // 2))
    generator.start_displacements.copy_(generator.start_temperature[:, None, None] / 1000)
    uniform = torch.linspace(0, 0.999, 50)[:, None]
    for asked, nearest in ((1500.0, 1500.0), (1650.0, 1500.0), (1900.0, 2000.0)):
        generator.set_temperature(asked)
        state, _ = generator.start(uniform)
        expected = torch.full_like(state["displacements"], nearest / 1000)
        torch.testing.assert_close(state["displacements"], expected * math.sqrt(asked / nearest))
