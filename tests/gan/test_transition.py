"""The transition density: symmetric, a density, and the same in training and generation."""

import numpy as np
import pytest
import torch

from mdgan_hpc.gan.generator import rollout
from mdgan_hpc.gan.registry import build, create, describe
from mdgan_hpc.gan.stepping import DIRECTION, SATURATION, sample, saturated
from mdgan_hpc.gan.symmetry import Symmetry, isotropic
from mdgan_hpc.gan.transition import TransitionGenerator, _log_density, fit_extrapolation, group_of
from tests.gan.conftest import underdamped


def cubic(edge: float) -> Symmetry:
    """T (no inversion, so all 12 are built in) about a point off the origin, simple cubic."""
    signs = [np.diag(s) for s in [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]]
    cycle = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    rotations = np.array([s @ c for c in (np.eye(3), cycle, cycle @ cycle) for s in signs])
    origin = np.array([0.3, 0.1, -0.2])
    return Symmetry(rotations, origin - rotations @ origin, edge * np.eye(3), time_reversal=True)


def make(symmetry: Symmetry, records_per_step: int, **more: int) -> TransitionGenerator:
    torch.manual_seed(3)
    fitted = fit_extrapolation([np.diff(underdamped(400, 4, 1), axis=0)], records_per_step)
    arguments = {**fitted, **group_of(symmetry), "hidden": 48, "components": 3, "pool": 64, **more}
    generator = create("transition", arguments)
    assert isinstance(generator, TransitionGenerator)
    return generator


def windows(generator: TransitionGenerator, records: int, n: int) -> torch.Tensor:
    length = generator.whole_window(records)
    path = underdamped(length, n, 5).swapaxes(0, 1)
    return torch.from_numpy(path[:, :, None].copy())


@pytest.mark.parametrize("records_per_step", [1, 3])
@pytest.mark.parametrize("symmetry", [isotropic(), cubic(4.0)], ids=["liquid", "crystal"])
def test_likelihood_is_invariant_under_every_operation(symmetry, records_per_step):
    generator = make(symmetry, records_per_step)
    x = windows(generator, 40, 6)
    here = generator.negative_log_likelihood(x, warm_up=6)
    for rotation, translation in zip(symmetry.rotations, symmetry.translations, strict=True):
        moved = x @ torch.from_numpy(rotation).T + torch.from_numpy(translation)
        there = generator.negative_log_likelihood(moved, warm_up=6)
        assert there.item() == pytest.approx(here.item(), abs=2e-5)


def test_lattice_translations_change_nothing_but_places_matter():
    generator = make(cubic(4.0), 3)
    x = windows(generator, 40, 6)
    here = generator.negative_log_likelihood(x, warm_up=6).item()
    lattice = torch.tensor([8.0, -4.0, 12.0], dtype=torch.float64)
    assert generator.negative_log_likelihood(x + lattice, warm_up=6).item() == pytest.approx(
        here, abs=2e-5
    )
    assert abs(generator.negative_log_likelihood(x + 0.7, warm_up=6).item() - here) > 1e-5


def test_density_equals_torch_distributions():
    generator = make(isotropic(), 3)
    weights = generator.dense_weights()
    known = generator._teacher_forced(weights, windows(generator, 30, 4)[:, :, 0])
    mixture = generator._mixture(weights, known["memory"], known["embedded"])
    log_weights, widths, means, directions = mixture
    scale = widths.exp()[..., None].expand(means.shape).flatten(-2)
    factor = (directions.flatten(-2) * scale[..., None, :]).mT
    oracle = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=log_weights),
        torch.distributions.LowRankMultivariateNormal(means.flatten(-2), factor, scale**2),
    ).log_prob(known["residual"].flatten(-2))
    torch.testing.assert_close(_log_density(known["residual"], *mixture), oracle)


def test_samples_have_the_moments_of_the_density():
    random = torch.Generator().manual_seed(0)
    share, widths = torch.tensor([0.3, 0.7]), torch.tensor([[0.1, -0.4], [-1.0, 0.3]])
    vectors = torch.randn(2, 3, 2, 3, generator=random)  # [K, mean and 2 directions, r, 3]
    out = torch.cat([share.log(), widths.flatten(), vectors.flatten()])
    n = 400_000
    draw = torch.randn(1 + 6 + 2, n, generator=random)
    drawn = sample(draw, out[:, None].expand(-1, n).contiguous(), 2, 2).flatten(0, 1)
    means = saturated(vectors[:, 0], SATURATION).flatten(1)
    spread = (saturated(vectors[:, 1:], DIRECTION) * widths.exp()[:, None, :, None]).flatten(2)
    mean = share @ means
    covariance = torch.zeros(6, 6)
    for k in range(2):
        own = torch.diag(widths[k, :, None].expand(2, 3).flatten().exp() ** 2)
        own += spread[k].T @ spread[k]
        covariance += share[k] * (own + torch.outer(means[k] - mean, means[k] - mean))
    torch.testing.assert_close(drawn.mean(1), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn), covariance, atol=0.06, rtol=0.02)


@pytest.mark.parametrize("symmetry", [isotropic(), cubic(4.0)], ids=["liquid", "crystal"])
def test_generated_path_is_what_the_likelihood_saw(symmetry):
    """Feeding a generated path back gives the memory that made it."""
    generator = make(symmetry, 3)
    history = windows(generator, 60, 5)
    state = generator.condition(history)
    noise = torch.randn(8, 5, generator.noise_size, generator=torch.Generator().manual_seed(1))
    moved, after = generator.advance(state, noise)
    path = torch.cat([history, history[:, -1:] + moved.swapaxes(0, 1).double().cumsum(1)], 1)
    again = generator.condition(path)
    for name, value in after.items():
        torch.testing.assert_close(again[name], value, atol=3e-4, rtol=1e-3)


def test_model_survives_description_and_weights():
    generator = make(cubic(4.0), 3)
    generator.set_pool(windows(generator, 96, 64)[:, -generator.history_records :])
    copy = build(describe(generator))
    copy.load_state_dict(generator.state_dict())
    paths = [rollout(g, 7, 50, random=torch.Generator().manual_seed(2)) for g in (generator, copy)]
    assert torch.equal(*paths)
    assert paths[0].shape == (51, 7, 1, 3)


def test_extrapolation_is_the_least_squares_fit():
    displacements = np.diff(underdamped(500, 3, 8), axis=0)
    fitted = fit_extrapolation([displacements], 2)
    flat = displacements.reshape(len(displacements), -1).T
    rows = np.lib.stride_tricks.sliding_window_view(flat, 8, axis=1).reshape(-1, 8)
    past, following = rows[:, 5::-1], rows[:, 6:]
    oracle = np.linalg.lstsq(past, following, rcond=None)[0].T
    np.testing.assert_allclose(fitted["extrapolation"], oracle, rtol=1e-6)
    modes = (following - past @ oracle.T) @ np.array(fitted["modes"]).T
    np.testing.assert_allclose(modes.T @ modes / len(modes), np.eye(2), atol=1e-6)
