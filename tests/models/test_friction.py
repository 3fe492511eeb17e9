"""Friction of free runs: a share of the last displacement, as a force against the velocity."""

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.models.transition import fit
from mdgan_hpc.models.transition.calibrate import Level
from mdgan_hpc.models.transition.friction import Friction
from tests.support.transition import make, windows


def test_a_step_loses_a_share_of_the_last_displacement_more_in_each_record():
    generator = make(Symmetry(), 2)
    history = windows(generator, 60, 5)
    noise = torch.randn(1, 5, generator.noise_size, generator=torch.Generator().manual_seed(1))
    moved = []
    with torch.no_grad():
        for share in (0.0, 0.01):
            generator._set_noise([Level(0.0, 0.0, share)])
            moved.append(generator.advance(generator.condition(history), noise)[0][:, :, 0])
    last = history.positions[:, -1, 0] - history.positions[:, -2, 0]
    lost = (moved[0] - moved[1]).double()
    torch.testing.assert_close(lost[0], 0.01 * last, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(lost[1], 0.02 * last, rtol=1e-3, atol=1e-5)


def test_each_species_loses_its_own_share():
    motion = torch.tensor([[1.9, 0.5, 0.2], [2.0, -0.1, 0.4]])
    scale = torch.tensor([1.0, 2.0])
    friction = Friction.of(torch.tensor([0.01, 0.03]), motion, scale)
    assert friction is not None
    last = torch.randn(3, 4)  # two cells of both
    moved = torch.einsum("rq,qin->rin", motion[:, -2:], friction.residual(last)) * scale.repeat(2)
    expected = -torch.tensor([0.01, 0.03, 0.01, 0.03]) * last
    torch.testing.assert_close(moved, torch.stack([expected, 2 * expected]))


def test_models_of_before_have_none():
    generator = make(Symmetry(), 2)
    state = generator.state_dict()
    del state["network.friction"]
    generator.load_state_dict(state)
    assert generator.kernel().friction is None


def test_models_of_several_temperatures_of_before_have_none():
    plain = Temperatures((1500.0, 2000.0)).to_plain()
    generator = make(Symmetry(), 2, temperatures=plain, levels=[(1.0, 0.0)] * 2)
    state = generator.state_dict()
    state["noise_levels"] = torch.tensor([[0.01, 0.02], [-0.03, 0.01]])
    generator.load_state_dict(state)
    expected = torch.tensor([[0.01, 0.02, 0.0], [-0.03, 0.01, 0.0]])
    torch.testing.assert_close(generator.noise_levels, expected)


def test_how_far_ions_move_over_several_records_is_measured_with_its_error():
    """Of a random walk: 3 n times the variance of a step, known as of independent displacements."""
    rng = np.random.default_rng(1)
    runs = [rng.normal(size=(5000, 12, 3)) for _ in range(3)]
    phases = [run for run in runs for _ in range(2)]  # as if every second frame were a record
    found = fit.msd_target([phases], 2, 125)
    assert found is not None
    lag = found["records"]
    assert 12 <= lag <= 48  # 180 000 displacements: 1 % at 27
    assert found["mean_square"][0] == pytest.approx(3 * lag, rel=0.04)
    assert found["error"][0] == pytest.approx((2 / 3 * lag / 180_000) ** 0.5, rel=0.6)


def test_ions_that_move_alike_tell_less():
    rng = np.random.default_rng(1)
    runs = [np.repeat(rng.normal(size=(5000, 1, 3)), 12, axis=1) for _ in range(3)]
    found = fit.msd_target([runs], 1, 125)
    assert found is not None
    assert found["records"] == 12
    assert found["error"][0] > 2 * (2 / 3 * 12 / 180_000) ** 0.5


@pytest.mark.parametrize(("records", "longest"), [(40, 125), (5000, 10)])
def test_short_runs_tell_nothing(records: int, longest: int):
    assert fit.msd_target([[np.ones((records, 12, 3))]], 1, longest) is None
