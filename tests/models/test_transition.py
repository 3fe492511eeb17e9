"""The transition density: symmetric, a density, and the same in training and generation."""

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry, isotropic
from mdgan_hpc.models.base import Window, rollout
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.fit import (
    fit_averages,
    fit_extrapolation,
    predictable,
    variance_shells,
)
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.models.transition.mixture import Bounds, Mixture, saturated
from mdgan_hpc.models.transition.rows import MovingAverages
from tests.support.runs import underdamped
from tests.support.transition import cubic, make, windows


@pytest.mark.parametrize("records_per_step", [1, 3])
@pytest.mark.parametrize("symmetry", [isotropic(), cubic(4.0)], ids=["liquid", "crystal"])
def test_likelihood_is_invariant_under_every_operation(symmetry, records_per_step):
    generator = make(symmetry, records_per_step)
    x = windows(generator, 40, 6)
    here = generator.negative_log_likelihood(x, warm_up=6)
    for rotation, translation in zip(symmetry.rotations, symmetry.translations, strict=True):
        moved = Window(x.positions @ torch.from_numpy(rotation).T + torch.from_numpy(translation))
        there = generator.negative_log_likelihood(moved, warm_up=6)
        assert there.item() == pytest.approx(here.item(), abs=2e-5)


def test_lattice_translations_change_nothing_but_places_matter():
    generator = make(cubic(4.0), 3)
    x = windows(generator, 40, 6)
    here = generator.negative_log_likelihood(x, warm_up=6).item()
    lattice = torch.tensor([8.0, -4.0, 12.0], dtype=torch.float64)
    moved = Window(x.positions + lattice)
    there = generator.negative_log_likelihood(moved, warm_up=6).item()
    assert there == pytest.approx(here, abs=2e-5)
    elsewhere = Window(x.positions + 0.7)
    assert abs(generator.negative_log_likelihood(elsewhere, warm_up=6).item() - here) > 1e-5


def random_mixture(random: torch.Generator) -> tuple[Mixture, torch.Tensor]:
    """A mixture of four Gaussians at seven places, and the factors of their covariances."""
    mixture = Mixture(
        torch.randn(7, 4, generator=random).log_softmax(-1),
        torch.randn(7, 4, generator=random),
        torch.randn(7, 3, 4, generator=random),
        torch.randn(7, 2, 3, 4, generator=random),
    )
    one = torch.eye(3)
    u, v = mixture.directions.mT.unbind(-3)
    factor = (one + v[..., None] * v[..., None, :]) @ (one + u[..., None] * u[..., None, :])
    return mixture, factor * mixture.log_widths.exp()[..., None, None]


def test_density_equals_torch_distributions():
    random = torch.Generator().manual_seed(0)
    mixture, factor = random_mixture(random)
    oracle = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=mixture.log_weights),
        torch.distributions.MultivariateNormal(mixture.means.mT, factor @ factor.mT),
    )
    x = torch.randn(7, 3, generator=random)
    torch.testing.assert_close(mixture.log_density(x), oracle.log_prob(x), rtol=1e-4, atol=1e-4)


def drawn(generator: TransitionGenerator, heads: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """Residuals [B, r, 3] for heads [B, r * e] and normal numbers [B, noise_size]."""
    return generator.kernel().sampler.draw(draw.T, heads.T).permute(2, 0, 1)


def strengthen(generator: TransitionGenerator) -> None:
    """Give it weights under which every mode depends on the ones before it."""
    with torch.no_grad():
        generator.network.scalars.mul_(20)
        generator.network.vectors.mul_(20)


def test_density_of_a_sample_is_that_of_its_noise():
    """With one Gaussian the sample is a function x(e): log p(x) = log N(e) - log |dx / de|."""
    generator = make(Symmetry(), 3, components=1)
    strengthen(generator)
    weights = generator.network.dense_weights()
    random = torch.Generator().manual_seed(0)
    heads = torch.randn(1, 3 * weights["earlier"].shape[1], generator=random)
    draw = torch.randn(generator.noise_size, generator=random)

    def of_noise(normal: torch.Tensor) -> torch.Tensor:
        return drawn(generator, heads, torch.cat([draw[:3], normal])[None]).flatten()

    jacobian = torch.autograd.functional.jacobian(of_noise, draw[3:])
    oracle = torch.distributions.Normal(0, 1).log_prob(draw[3:]).sum() - jacobian.slogdet()[1]
    x = of_noise(draw[3:]).reshape(1, 3, 3)
    mixtures = generator._mixtures(weights, heads, x)
    density = mixtures.log_density(x.swapaxes(0, 1)).sum()
    assert density.item() == pytest.approx(oracle.item(), abs=1e-3)
    assert jacobian.tril(-3).abs().max() > 0.05


def test_components_are_drawn_by_their_weights():
    generator = make(isotropic(), 1, components=4)
    strengthen(generator)
    weights = generator.network.dense_weights()
    random = torch.Generator().manual_seed(0)
    n = 200_000
    heads = torch.randn(1, weights["earlier"].shape[1], generator=random).expand(n, -1)
    made = drawn(generator, heads, torch.randn(n, 4, generator=random))[:, 0]
    mixture = generator._mixtures(weights, heads[:1], torch.zeros(1, 1, 3))
    means = mixture.means[0, 0].T
    assert (means[0] - means[1]).norm() > 0.1
    mean = mixture.log_weights[0, 0].exp() @ means
    error = 5 * made.std().item() / n**0.5
    torch.testing.assert_close(made.mean(0), mean, atol=error, rtol=0)


def test_inversion_maps_gaussians_onto_each_other_where_nothing_shows_a_direction():
    generator = make(isotropic(), 1)
    nothing = torch.zeros(1, generator.network.dense_weights()["earlier"].shape[1])
    with torch.no_grad():
        mixture = generator._mixtures(
            generator.network.dense_weights(), nothing, torch.zeros(1, 1, 3)
        )
    here, there = mixture.means[0, 0].T.chunk(2)
    torch.testing.assert_close(here, -there)
    assert here.norm(dim=1).min() > 0.05
    assert mixture.log_weights[0, 0].chunk(2)[0].equal(mixture.log_weights[0, 0].chunk(2)[1])


def test_gaussians_begin_where_hops_are():
    random = np.random.default_rng(6)
    moved = random.normal(size=(4000, 8, 3))
    hops = random.random((4000, 8)) < 0.02
    moved[hops, random.integers(0, 3, hops.sum())] += random.choice([-20.0, 20.0], hops.sum())
    fitted = fit_extrapolation([moved], 1)
    shells = variance_shells(
        [moved], *(np.array(fitted[k]) for k in ("extrapolation", "whitening"))
    )
    deviation = moved.std()
    expected = 20 / deviation
    # Hops carry 0.02 * 400 / 3 of a variance of 1 + that.
    share = (shells > 0.8 * expected).mean()
    assert share == pytest.approx(8 / 11, abs=0.06)
    assert np.median(shells) == pytest.approx(expected, rel=0.05)
    generator = make(isotropic(), 1, components=16)
    generator.network.begin_at(shells, far=4.0, far_width=0.2)
    means = generator.network.bounds.stretched(generator.network.vectors_bias[0, :, 0], 1)
    far = means.norm(dim=1) > 0.8 * expected
    assert far.sum() == 6
    assert fit_extrapolation([random.normal(size=(4000, 8, 3))], 1)["mean_bounds"][0] < 1.02


@pytest.mark.parametrize("symmetry", [isotropic(), cubic(4.0)], ids=["liquid", "crystal"])
def test_generated_path_is_what_the_likelihood_saw(symmetry):
    """Feeding a generated path back gives the memory that made it."""
    generator = make(symmetry, 3)
    history = windows(generator, 60, 5)
    state = generator.condition(history)
    noise = torch.randn(8, 5, generator.noise_size, generator=torch.Generator().manual_seed(1))
    moved, after = generator.advance(state, noise)
    past = history.positions
    path = torch.cat([past, past[:, -1:] + moved.swapaxes(0, 1).double().cumsum(1)], 1)
    again = generator.condition(Window(path))
    for name, value in after.items():
        torch.testing.assert_close(again[name], value, atol=3e-4, rtol=1e-3)


def test_extrapolation_is_the_least_squares_fit():
    displacements = np.diff(underdamped(500, 3, 8), axis=0)
    fitted = fit_extrapolation([displacements], 2)
    flat = displacements.reshape(len(displacements), -1).T
    rows = np.lib.stride_tricks.sliding_window_view(flat, 14, axis=1).reshape(-1, 14)
    past, following = rows[:, 11::-1], rows[:, 12:]
    oracle = np.linalg.lstsq(past, following, rcond=None)[0].T
    np.testing.assert_allclose(fitted["extrapolation"], oracle, rtol=1e-6)
    modes = (following - past @ oracle.T) @ np.array(fitted["whitening"]).T
    np.testing.assert_allclose(modes.T @ modes / len(modes), np.eye(2), atol=1e-6)


def test_bound_of_the_means_grows_with_rare_long_moves():
    random = np.random.default_rng(3)
    moved = random.normal(size=(20_000, 10, 3))
    assert fit_extrapolation([moved], 1)["mean_bounds"] == pytest.approx([1.0], abs=0.01)
    hops = random.random((20_000, 10, 1)) < 0.05
    moved = moved * np.where(hops, 5.0, 0.2)
    squared = (moved**2).sum(-1)
    alpha2 = 0.6 * (squared**2).mean() / squared.mean() ** 2 - 1
    assert fit_extrapolation([moved], 1)["mean_bounds"] == pytest.approx(
        [(1 + alpha2) ** 0.5], rel=0.01
    )


def test_moving_averages_are_a_naive_loop():
    averages = make(isotropic(), 3).features.row(MovingAverages)
    assert averages is not None
    assert averages.n_vectors == 2
    moved = np.random.default_rng(5).normal(size=(4, 20, 3))
    offset, activity = averages.averages(torch.from_numpy(moved).float(), averages.scales)
    here, mean = np.zeros((4, 3)), np.zeros((2, 4, 3))
    active = np.ones((2, 4))
    keep, scale = averages.keep.numpy(), float(averages.scales[0])
    for step in range(20):
        here = here + moved[:, step]
        mean = keep[:, None, None] * mean + (1 - keep[:, None, None]) * here
        squared = ((here - mean[0]) ** 2).sum(-1) / (3 * scale**2)
        active = keep[:, None] * active + (1 - keep[:, None]) * squared
        np.testing.assert_allclose(offset[:, step], (here - mean).swapaxes(0, 1), atol=1e-5)
        np.testing.assert_allclose(activity[:, step], active.T, rtol=1e-4)


def test_moving_averages_have_the_scale_of_the_data():
    """Of independent displacements: keep^2 / (1 - keep^2) times their variance."""
    moved = np.random.default_rng(6).normal(size=(6000, 50, 3))
    fitted = fit_averages([moved], 2, [10.0, 100.0, 600.0], 12)
    assert fitted["ema_steps"] == [5.0, 50.0]  # the run holds 10 of the third
    for decay, scale in zip(fitted["ema_steps"], fitted["ema_scales"], strict=True):
        share = np.exp(-2 / decay)
        assert scale == pytest.approx((2 * share / (1 - share)) ** 0.5, rel=0.02)


def test_inertia_is_told_from_random_steps():
    moved = np.random.default_rng(7).normal(size=(500, 4, 3))
    assert not predictable([moved])
    assert predictable([np.diff(underdamped(400, 4, 1), axis=0)])


def test_noise_is_calibrated_until_free_runs_are_as_hot_as_the_data():
    generator = make(Symmetry(), 1, components=1)
    network = generator.network
    # White displacements of a variance that is known: no inertia, no network.
    with torch.no_grad():
        generator.extrapolation.zero_()
        for weights in (network.scalars, network.vectors, network.vectors_bias):
            weights.zero_()
        network.scalars_bias.copy_(torch.tensor([0.0, -0.008])[None, :, None])
        one_record = generator.inverse_whitening[0, 0].item()
        generator._mean_square = 3 * one_record**2
        generator._levels = [(one_record, None)]
    generator.prepare(windows(generator, generator.config.history_records, 64))
    random = torch.Generator().manual_seed(1)
    generator.calibrate(
        lambda samples, records, burn_in: rollout(
            generator, samples, records, rng=random, burn_in_records=burn_in
        ),
        lambda draw, number, records: windows(generator, records, number),
    )
    assert network.log_noise.item() == pytest.approx(0.008, abs=1.5e-3)
    path = rollout(generator, 256, 500, rng=torch.Generator().manual_seed(2))
    moved = path.diff(dim=0).square().mean().sqrt()
    assert moved.item() == pytest.approx(one_record, rel=3e-3)


def test_beyond_a_bound_of_the_widths_the_gradient_only_leads_back():
    """Data far out must not drive a width on that is at its bound; data near bring it back."""
    bounds = Bounds(
        vectors=6.0,
        means=12.0,
        stretch=1.5,
        direction=0.9,
        log_width_least=-6.0,
        log_width_most=0.0,
        directions=2,
    )
    out = torch.zeros(1, 8, 11)  # one Gaussian at the origin
    out[..., 1] = 5.0
    out.requires_grad_()
    gradients = []
    for distance in (100.0, 0.01):
        mixture = Mixture.of(out, 1, torch.ones(1, 1, 1), bounds)
        assert torch.equal(mixture.log_widths, torch.zeros(1, 8, 1))
        loss = -mixture.log_density(torch.full((1, 8, 3), distance)).sum()
        gradients.append(float(torch.autograd.grad(loss, out)[0][..., 1].sum()))
    assert gradients[0] == 0.0  # would grow, and may not
    assert gradients[1] == pytest.approx(8 * 3.0, rel=1e-3)  # d(3 log s) / d(log s): shrinks


def test_stretched_means_grow_as_a_hyperbolic_sine_and_stay_bounded():
    bounds = Bounds.of(TransitionConfig(mean_stretch=1.5, mean_bound=12.0))
    limit = bounds.mean_limits(torch.ones(1))
    far = torch.tensor([[0.01], [1.0], [3.0], [1e6]]) * torch.tensor([1.0, 0.0, 0.0])
    means = bounds.stretched(saturated(far, limit), -1)
    inner = limit * torch.tanh(far[:, 0] / limit)
    torch.testing.assert_close(means[:, 0], 1.5 * torch.sinh(inner / 1.5), rtol=1e-3, atol=1e-4)
    assert float(means.norm(dim=-1).max()) == pytest.approx(12.0, rel=1e-4)
    torch.testing.assert_close(
        bounds.shortened(means[:3]), saturated(far, limit)[:3], rtol=1e-3, atol=1e-4
    )
    plain = Bounds.of(TransitionConfig(mean_stretch=0.0, mean_bound=6.0))
    assert plain.stretched(far, -1) is far
    assert float(plain.mean_limits(torch.ones(1))) == 6.0


def test_combinations_of_displacements_are_uncorrelated_and_of_variance_one():
    displacements = np.diff(underdamped(4000, 4, 1), axis=0)
    combinations = np.array(fit_extrapolation([displacements], 2)["combinations"])
    p = combinations.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(displacements, p, axis=0)[..., ::-1]
    seen = np.einsum("vp,tncp->tncv", combinations, windows).reshape(-1, p)
    np.testing.assert_allclose(seen.T @ seen / len(seen), np.eye(p), atol=0.02)
