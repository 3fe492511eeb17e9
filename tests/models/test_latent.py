"""The latent generator: its principal components, and paths as likely as inverted ones."""

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import ConfigError
from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.latent import LatentConfig, LatentGenerator
from mdgan_hpc.models.principal import autocovariance, principal_components
from mdgan_hpc.training.objectives.critics import CRITICS
from mdgan_hpc.training.settings import read_config

WINDOW = 16


def moved(frames: int, ions: int, seed: int) -> np.ndarray:
    """Displacements [T, N, 3] that swing and are damped, larger along z."""
    noise = np.random.default_rng(seed).normal(size=(frames + 200, ions, 3))
    made = np.zeros_like(noise)
    for t in range(2, len(noise)):
        made[t] = 1.6 * made[t - 1] - 0.9 * made[t - 2] + noise[t]
    return np.asarray(made[200:] * [0.02, 0.02, 0.05])


def build(data: list[np.ndarray], **keys: object) -> LatentGenerator:
    torch.manual_seed(3)
    config = LatentConfig(hidden=24, latent=8, window=WINDOW, decodes="components", **keys)  # type: ignore[arg-type]
    summary = DataSummary(
        displacements=data, symmetry=Symmetry(), cell=None, ions_per_run=data[0].shape[1]
    )
    return LatentGenerator.from_data(config, summary, None)


def test_autocovariance_is_the_mean_over_all_pairs_of_a_run():
    data = [moved(40, 3, 1), moved(9, 2, 2)]
    found = autocovariance(data, 12)
    mean = np.concatenate([d.reshape(-1, 3) for d in data]).mean(0)
    data = [d - mean for d in data]
    for lag in range(12):
        pairs = [d[t] * d[t + lag] for d in data for t in range(len(d) - lag)]
        np.testing.assert_allclose(found[:, lag], np.concatenate(pairs).mean(0), rtol=1e-12)


def test_principal_components_are_those_of_the_windows():
    """The matrix of all windows of a long run, and one whose components are known."""
    data = moved(20_000, 2, 4)
    vectors, variances = principal_components(autocovariance([data], WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(data, WINDOW, axis=0)  # [n, N, 3, L]
    for axis in range(3):
        rows = windows[:, :, axis].reshape(-1, WINDOW)
        expected = np.linalg.eigvalsh(rows.T @ rows / len(rows))
        np.testing.assert_allclose(variances[axis], expected, rtol=3e-2)
    white = np.zeros((3, WINDOW))
    white[:, 0] = [1.0, 4.0, 9.0]
    vectors, variances = principal_components(white)
    np.testing.assert_allclose(variances, white[:, :1].repeat(WINDOW, 1), rtol=1e-6)
    eye = torch.eye(WINDOW).expand(3, -1, -1)
    torch.testing.assert_close(vectors.mT @ vectors, eye)


def test_the_decoder_begins_with_the_spectrum_of_the_data():
    """Without what the network adds, a window has the covariance of the data."""
    data = moved(20_000, 2, 5)
    generator = build([data], particles_per_sample=2)
    with torch.no_grad():
        list(generator.decoder.parameters())[-2].zero_()
        list(generator.decoder.parameters())[-1].zero_()
        random = torch.Generator().manual_seed(1)
        state, _ = generator.start(torch.rand(4000, generator.start_size, generator=random))
        noise = torch.randn(1, 4000, generator.noise_size, generator=random)
        made = generator.advance(state, noise)[0].numpy()  # [L, B, 2, 3]
    assert made.shape == (WINDOW, 4000, 2, 3)
    found = autocovariance([made.reshape(WINDOW, -1, 3)], WINDOW)
    expected = autocovariance([data], WINDOW)
    np.testing.assert_allclose(found / expected[:, :1], expected / expected[:, :1], atol=0.03)
    # Particles of a sample begin independent.
    assert np.abs((made[:, :, 0] * made[:, :, 1]).mean((0, 1))).max() < 0.02 * made.var()


@pytest.mark.parametrize("decodes", ["components", "displacements"])
def test_the_inverted_path_has_the_inverted_numbers(decodes):
    torch.manual_seed(2)
    config = LatentConfig(hidden=24, latent=8, window=WINDOW, inversion=True, decodes=decodes)
    generator = LatentGenerator.create(config, scales=[0.1, 0.2, 0.3])
    if decodes == "components":
        generator.components.copy_(torch.randn(3, WINDOW, WINDOW))
    random = torch.Generator().manual_seed(1)
    uniform = torch.rand(50, generator.start_size, generator=random)
    noise = torch.randn(4, 50, generator.noise_size, generator=random)
    path, _ = generator.advance(generator.start(uniform)[0], noise)
    inverted, _ = generator.advance(generator.start(1 - uniform)[0], -noise)
    torch.testing.assert_close(inverted, -path, atol=1e-5, rtol=1e-4)
    assert path.abs().max() > 0.01


def test_windows_are_moved_only_where_inverted_paths_are_as_likely():
    keys = {
        "generator": {"kind": "latent"},
        "phase": [{"adversarial": {}}],
        "data": {"symmetry": "isotropic"},
    }
    with pytest.raises(ConfigError, match=r"without generator\.inversion"):
        read_config(keys)
    keys["generator"] = {"kind": "latent", "inversion": True}
    assert read_config(keys).data.symmetry == "isotropic"


def test_the_critic_of_components_sees_each_in_units_of_its_deviation():
    data = moved(20_000, 2, 6)
    critic = CRITICS["components"](
        records=WINDOW,
        covariance=autocovariance([data], WINDOW),
        particles=2,
        width=8,
        stride=1,
        waves=None,
    )
    path = np.concatenate([np.zeros((1, 2, 3)), data.cumsum(0)])
    windows = np.lib.stride_tricks.sliding_window_view(path, WINDOW + 1, axis=0)
    features = critic.features(torch.from_numpy(windows.transpose(0, 3, 1, 2).copy()))
    assert features.shape == (len(windows), 6, WINDOW)
    spread = features.square().mean(0)
    # One where it is not less than a hundredth of the mean variance, below one elsewhere.
    _, variances = principal_components(autocovariance([data], WINDOW))
    expected = (variances / (0.01 * variances.mean(1, keepdim=True))).clamp_max(1.0)
    torch.testing.assert_close(spread, expected.repeat(2, 1), atol=0.05, rtol=0.05)
    seen = features[:, 0].T @ features[:, 0] / len(features)
    assert (seen - torch.diag(torch.diag(seen))).abs().max() < 0.05
