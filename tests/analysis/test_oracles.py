"""The same numbers as other programs give."""

import numpy as np
import pytest

from mdgan_hpc.analysis.dynamics import dynamics as dynamics_of_files
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from tests.support.motion import brownian, cage_and_hops, dragging, dynamics, write


def test_msd_is_that_of_tidynamics(rng):
    tidynamics = pytest.importorskip("tidynamics")
    positions = brownian(1000, 5, rng)
    curves = dynamics([positions], every_lag=True).curves
    expected = np.mean([tidynamics.msd(positions[:, i]) for i in range(5)], axis=0)
    np.testing.assert_allclose(curves.msd, expected[1 : len(curves.msd) + 1], rtol=1e-9)


def test_vacf_is_that_of_tidynamics(rng):
    tidynamics = pytest.importorskip("tidynamics")
    positions = brownian(600, 4, rng)
    value = dynamics([positions]).vacf.value
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
    curves = dynamics([positions], every_lag=True).curves
    np.testing.assert_allclose(curves.msd, expected[1 : len(curves.msd) + 1], rtol=1e-9)


def test_alpha2_and_histograms_are_those_of_a_plain_loop(rng):
    runs = [brownian(120, 3, rng), brownian(100, 2, rng)]
    found = dynamics(runs)
    for index, time in enumerate(found.curves.lag_ps):
        lag = round(time / 0.05)
        if lag < 32:  # all origins are used
            r2 = np.concatenate([((r[lag:] - r[:-lag]) ** 2).sum(-1).ravel() for r in runs])
            expected = 3 * (r2**2).mean() / (5 * r2.mean() ** 2) - 1
            np.testing.assert_allclose(found.curves.alpha2[index], expected, rtol=1e-9)
    part = found.van_hove
    for index, time in enumerate(part.time_ps):
        lag = round(time / 0.05)
        r = np.concatenate([np.linalg.norm(x[lag:] - x[:-lag], axis=-1).ravel() for x in runs])
        edges = np.append(part.r - 0.025, part.r[-1] + 0.025)
        expected, _ = np.histogram(r, edges, density=True)
        np.testing.assert_allclose(part.density[index], expected, atol=1e-9)


def test_collective_motion_is_that_of_the_centre_of_mass(rng):
    positions = brownian(200, 6, rng)
    curves = dynamics([positions], every_lag=True).curves
    centre = positions.mean(1)
    expected = [((centre[m:] - centre[:-m]) ** 2).sum(1).mean() * 6 for m in (1, 5, 20)]
    np.testing.assert_allclose(curves.msd_collective[[0, 4, 19]], expected, rtol=1e-9)


def test_collective_motion_of_many_simulations_in_one_file(tmp_path, rng):
    """Three whole ones and a piece of a fourth, read in parts, on the processor and by PyTorch."""
    positions = dragging(200, 4, 5, rng)[:, :18].astype(np.float32)
    path = write(tmp_path / "cells.h5", positions, parameters={"simulated_together": 5})
    centres = positions[:, :15].astype(float).reshape(200, 3, 5, 3).sum(2)
    for device in ("", "cpu"):
        curves = dynamics_of_files(path, every_lag=True, device=device).curves
        for lag in (1, 5, 20):
            expected = ((centres[lag:] - centres[:-lag]) ** 2).sum(2).mean() / 5
            assert curves.msd_collective[lag - 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("process", "start"), [(brownian, 0.5), (cage_and_hops, 0.5)])
def test_d_and_error_from_independent_observations_are_those_of_kinisi(process, start):
    import MDAnalysis
    import scipp
    from kinisi.analyze import DiffusionAnalyzer

    positions = process(200, 24, np.random.default_rng(7))
    universe = MDAnalysis.Universe.empty(24, trajectory=True)
    universe.add_TopologyAttr("type", ["Li"] * 24)
    box = np.array([1000.0, 1000.0, 1000.0, 90.0, 90.0, 90.0])
    universe.load_new(positions.astype(np.float32), dimensions=box)
    analyzer = DiffusionAnalyzer.from_universe(
        universe,
        specie="Li",
        time_step=0.05 * scipp.Unit("ps"),
        step_skip=scipp.scalar(1),
        progress=False,
    )
    state = np.random.RandomState(1)
    analyzer.diffusion(start * scipp.Unit("ps"), progress=False, n_samples=500, random_state=state)
    sampled = analyzer.D.to(unit="angstrom^2/ps").values
    found = fit_diffusion(dynamics([positions]), window_ps=(start, 5.0))
    ours = found.independent_observations
    assert ours.d_angstrom2_per_ps == pytest.approx(sampled.mean(), rel=0.1)
    assert ours.error_angstrom2_per_ps == pytest.approx(sampled.std(), rel=0.1)
    assert found.total.d_angstrom2_per_ps == pytest.approx(sampled.mean(), rel=0.1)
