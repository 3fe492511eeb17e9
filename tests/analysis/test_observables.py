"""The definitions on small arrays are those of the sums over whole runs."""

import numpy as np
import pytest

from mdgan_hpc.analysis.observables.displacements import displacements, origin_steps
from mdgan_hpc.analysis.observables.moments import alpha2, moments
from mdgan_hpc.analysis.observables.msd import msd
from mdgan_hpc.analysis.observables.van_hove import BIN_WIDTH, count
from mdgan_hpc.analysis.observables.velocities import spectrum, vacf
from tests.support.motion import brownian, cage_and_hops, dynamics


@pytest.fixture
def positions(rng):
    return cage_and_hops(300, 6, rng)


def test_msd_and_moments_of_each_particle(positions):
    found = dynamics([positions], per_particle=True)
    x = positions.transpose(1, 2, 0)
    lags = np.round(found.curves.lag_ps / 0.05).astype(int)
    steps = origin_steps(lags)
    assert steps.max() > 1
    for index, (lag, step) in enumerate(zip(lags, steps, strict=True)):
        np.testing.assert_allclose(msd(x, lag), found.particles.msd[:, index], rtol=1e-9)
        second, fourth = (values.mean() for values in moments(x, lag, step))
        assert found.curves.fourth_moment[index] == pytest.approx(fourth, rel=1e-9)
        assert found.curves.alpha2[index] == pytest.approx(alpha2(second, fourth), rel=1e-9)


def test_van_hove_counts(positions):
    found = dynamics([positions]).van_hove
    for index, time in enumerate(found.time_ps):
        radial, axial = count(displacements(positions.transpose(1, 2, 0), round(time / 0.05)))
        n = len(found.r)
        expected = radial[:n] / radial.sum() / BIN_WIDTH
        np.testing.assert_allclose(found.density[index], expected, atol=1e-12)
        middle = axial.shape[1] // 2
        expected = axial[:, middle - n : middle + n] / axial.sum(1, keepdims=True) / BIN_WIDTH
        np.testing.assert_allclose(found.axis_density[index], expected, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 3])
def test_velocity_autocorrelation_of_each_particle(positions, stride):
    found = dynamics([positions], stride=stride)
    n_lags = len(found.vacf.value)
    each = vacf(positions.transpose(1, 2, 0), n_lags, 0.05, stride)
    np.testing.assert_allclose(each.mean(0), found.vacf.value, rtol=1e-9, atol=1e-9)
    own = spectrum(each.mean(0), stride * 0.05)
    np.testing.assert_allclose(own.value, found.spectrum.value, rtol=1e-7, atol=1e-9)


def test_spectrum_at_zero_is_six_d(rng):
    found = dynamics([brownian(4000, 60, rng)])
    assert found.spectrum.value[0] / 6 == pytest.approx(1.0, rel=0.05)
