"""The same numbers as other programs give."""

import numpy as np
import pytest

from tests.analysis.conftest import brownian, write
from tests.analysis.test_msd import dynamics


def test_msd_is_that_of_tidynamics(rng):
    tidynamics = pytest.importorskip("tidynamics")
    positions = brownian(1000, 5, rng)
    curves = dynamics([positions], every_lag=True)["curves"]
    expected = np.mean([tidynamics.msd(positions[:, i]) for i in range(5)], axis=0)
    np.testing.assert_allclose(curves["msd"], expected[1 : len(curves["msd"]) + 1], rtol=1e-9)


def test_vacf_is_that_of_tidynamics(rng):
    tidynamics = pytest.importorskip("tidynamics")
    positions = brownian(600, 4, rng)
    value = dynamics([positions])["vacf"]["value"]
    velocity = np.diff(positions, axis=0) / 0.05
    expected = np.mean([tidynamics.acf(velocity[:, i]) for i in range(4)], axis=0)
    np.testing.assert_allclose(value, expected[: len(value)], atol=1e-9 * expected[0])


def test_msd_is_that_of_mdanalysis_from_the_file(tmp_path, rng):
    mda = pytest.importorskip("MDAnalysis")
    from MDAnalysis.analysis.msd import EinsteinMSD

    positions = brownian(200, 4, rng).astype(np.float32)
    path = write(tmp_path / "a.h5", positions, cell=np.eye(3) * 50)
    universe = mda.Universe.empty(4, trajectory=False)
    universe.load_new(str(path), format="H5MD")
    expected = EinsteinMSD(universe, select="all", fft=False).run().results.timeseries
    curves = dynamics([positions], every_lag=True)["curves"]
    np.testing.assert_allclose(curves["msd"], expected[1 : len(curves["msd"]) + 1], rtol=1e-9)


def test_alpha2_and_histograms_are_those_of_a_plain_loop(rng):
    runs = [brownian(120, 3, rng), brownian(100, 2, rng)]
    tree = dynamics(runs)
    for index, time in enumerate(tree["curves"]["lag_ps"]):
        lag = round(time / 0.05)
        if lag < 32:  # all origins are used
            r2 = np.concatenate([((r[lag:] - r[:-lag]) ** 2).sum(-1).ravel() for r in runs])
            expected = 3 * (r2**2).mean() / (5 * r2.mean() ** 2) - 1
            np.testing.assert_allclose(tree["curves"]["alpha2"][index], expected, rtol=1e-9)
    part = tree["van_hove"]
    for index, time in enumerate(part["time_ps"]):
        lag = round(time / 0.05)
        r = np.concatenate([np.linalg.norm(x[lag:] - x[:-lag], axis=-1).ravel() for x in runs])
        edges = np.append(part["r"] - 0.025, part["r"][-1] + 0.025)
        expected, _ = np.histogram(r, edges, density=True)
        np.testing.assert_allclose(part["density"][index], expected, atol=1e-9)


def test_collective_motion_is_that_of_the_centre_of_mass(rng):
    positions = brownian(200, 6, rng)
    curves = dynamics([positions], every_lag=True)["curves"]
    centre = positions.mean(1)
    expected = [((centre[m:] - centre[:-m]) ** 2).sum(1).mean() * 6 for m in (1, 5, 20)]
    np.testing.assert_allclose(curves["msd_collective"][[0, 4, 19]], expected, rtol=1e-9)
