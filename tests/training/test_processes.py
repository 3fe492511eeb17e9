"""The processes of the known-answer tests against their closed forms."""

import numpy as np
import pytest

from tests.support.processes import fractional_brownian, langevin_in_cosine, lifson_jackson, moments


def test_langevin_has_the_boltzmann_density_and_the_diffusion_of_lifson_and_jackson():
    d0, barrier, edge, interval = 2.0, 2.0, 3.0, 0.05
    path = langevin_in_cosine(3000, 512, np.random.default_rng(1), d0=d0, barrier=barrier)
    # <cos> = -I1 / I0 over exp(-barrier cos).
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    weight = np.exp(-barrier * np.cos(angles))
    expected = (np.cos(angles) * weight).sum() / weight.sum()
    assert np.cos(2 * np.pi * path / edge).mean() == pytest.approx(expected, abs=0.003)
    slope = (moments(path, 200)[0] - moments(path, 50)[0]) / (150 * interval)
    assert slope / 6 == pytest.approx(lifson_jackson(d0, barrier), rel=0.02)


def test_fractional_brownian_has_the_covariance_of_its_definition():
    exponent, step = 0.7, 0.3
    path = fractional_brownian(64, 40_000, np.random.default_rng(2), exponent=exponent, step=step)
    for lag in (1, 4, 16, 50):
        second, alpha2 = moments(path, lag)
        assert second == pytest.approx(3 * step**2 * lag**exponent, rel=0.01)
        assert alpha2 == pytest.approx(0, abs=0.02)
    s, t = 9, 40
    product = ((path[s] - path[0]) * (path[t] - path[0])).mean()
    expected = 0.5 * step**2 * (s**exponent + t**exponent - (t - s) ** exponent)
    assert product == pytest.approx(expected, rel=0.03)
