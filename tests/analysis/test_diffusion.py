"""The diffusion coefficient and its error: calibration, refusal, and what is made of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mdgan_hpc.analysis.arrhenius import ArrheniusResult, fit_arrhenius
from mdgan_hpc.analysis.diffusion import with_conductivity
from mdgan_hpc.analysis.dynamics import summarise
from mdgan_hpc.analysis.fit.coefficient import fit_coefficient
from mdgan_hpc.analysis.fit.covariance import Sampling, msd_covariance, sampling_of
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.ensemble import ensemble
from mdgan_hpc.analysis.fit.transport import (
    arrhenius,
    information_ceiling,
    nernst_einstein,
)
from mdgan_hpc.analysis.fit.window import NotDiffusiveError, choose_window
from mdgan_hpc.analysis.observables.run import RunSums
from mdgan_hpc.analysis.plan import plan_lags
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.errors import DataError
from mdgan_hpc.report.text import diffusion_lines, misfit_lines
from mdgan_hpc.units import BOLTZMANN_EV_PER_K
from tests.benchmarks.calibration import coverage
from tests.support.commands import run
from tests.support.motion import brownian, cage_and_hops, dragging, dynamics, write


def test_covariance_is_that_of_many_brownian_runs():
    rng = np.random.default_rng(1)
    lags = np.array([5, 8, 20])
    runs = rng.normal(0, 1.0, (4000, 3, 200)).cumsum(-1)
    seen = np.stack([((runs[..., m:] - runs[..., :-m]) ** 2).sum(1).mean(1) for m in lags], axis=1)
    model = msd_covariance(
        lags.astype(float), lambda t: 3.0 * t, Sampling(np.array([1]), np.array([199.0]))
    )
    np.testing.assert_allclose(model, np.cov(seen.T), rtol=0.15)


@pytest.mark.parametrize(("name", "n_particles"), [("Brownian", 12), ("cage + hops", 36)])
def test_interval_holds_the_truth_and_ordinary_least_squares_does_not(name, n_particles):
    # 25 sets: fewer than 20 hits would be a chance of one in a thousand at 95 %.
    result = coverage(name, n_particles, 25)
    assert result["refused"] <= 1
    assert result["covered"] >= 0.8
    assert result["covered_ols"] < 0.6
    assert result["claimed"] == pytest.approx(result["scatter"], rel=0.5)
    assert abs(result["bias"]) < 0.05


def test_caged_ions_have_no_coefficient():
    rng = np.random.default_rng(2)
    found = dynamics([cage_and_hops(2000, 24, rng, rate=0.0)])
    with pytest.raises(NotDiffusiveError, match="not diffusive"):
        choose_window(found.curves.lag_ps, found.curves.msd, sampling_of(found))
    assert "not diffusive" in fit_diffusion(found).refused
    with pytest.raises(DataError, match="not diffusive"):
        fit_diffusion(found).require()


def test_ballistic_and_subdiffusive_motion_has_no_coefficient():
    lag = np.geomspace(0.01, 50, 60)
    runs = Sampling(np.array([50]), np.array([100.0]))
    for exponent in (0.6, 1.5, 2.0):
        with pytest.raises(NotDiffusiveError):
            choose_window(lag, lag**exponent, runs)
    assert choose_window(lag, 6 * lag, runs)[0] == pytest.approx(0.01)


def test_a_shallow_cage_is_one():
    def msd(lag):  # the slope falls to 0.8 at 0.1 ps, where twelve ions do not tell it from 0.85
        return 0.7 * (1 - np.exp(-((lag / 0.06) ** 2))) + 9 * (np.hypot(lag, 0.05) - 0.05)

    def start(longest_ps):
        lag = np.geomspace(0.008, longest_ps, 60)
        return choose_window(lag, msd(lag), Sampling(np.array([12]), np.array([2 * longest_ps])))[0]

    for longest_ps, why in ((2.0, "in a cage up to 0.0"), (4.0, "not shown to be 1")):
        with pytest.raises(NotDiffusiveError, match=why):
            start(longest_ps)
    assert 0.8 < start(20.0) < 2


def test_no_cage_counts_only_as_far_as_the_slope_is_known():
    lag = np.geomspace(0.002, 2, 60)
    msd = 6 * (lag - 0.01 * (1 - np.exp(-lag / 0.01)))  # ballistic, then free
    assert choose_window(lag, msd, Sampling(np.array([10**4]), np.array([4.0])))
    with pytest.raises(NotDiffusiveError, match="whether a cage or diffusion follows"):
        choose_window(lag, msd, Sampling(np.array([3]), np.array([4.0])))


def test_where_no_line_fits_the_error_is_widened_and_the_motion_named():
    lag = np.geomspace(0.01, 50, 60)
    runs = Sampling(np.array([200]), np.array([2000.0]))
    bent = fit_coefficient(lag, 6 * lag**0.85, runs)
    assert bent.line_misfit > 2
    line = fit_coefficient(lag, 6 * lag, runs, window_ps=bent.window_ps)
    assert line.line_misfit == 1
    assert misfit_lines(line) == []
    claimed = bent.error_angstrom2_per_ps / bent.d_angstrom2_per_ps
    expected = line.error_angstrom2_per_ps / line.d_angstrom2_per_ps * bent.line_misfit
    assert claimed == pytest.approx(expected, rel=0.5)
    assert "log-log slope 0.85" in misfit_lines(bent)[0]
    assert "sub-diffusive" in misfit_lines(bent)[0]


def test_window_starts_after_the_cage(rng):
    found = dynamics([cage_and_hops(4000, 40, rng)])
    fit = fit_coefficient(found.curves.lag_ps, found.curves.msd, sampling_of(found))
    assert 0.2 < fit.window_ps[0] < 2
    assert fit.low_angstrom2_per_ps < 2.5**2 / 6 < fit.high_angstrom2_per_ps
    assert fit.intercept_angstrom2 == pytest.approx(6 * 0.4**2, rel=0.3)


def test_arrhenius_returns_what_was_put_in():
    t = np.array([600.0, 800.0, 1000.0, 1300.0])
    d = 40 * np.exp(-0.35 / (BOLTZMANN_EV_PER_K * t))
    fit = arrhenius(t, d, 0.1 * d)
    assert fit.activation_ev == pytest.approx(0.35)
    assert fit.d0 == pytest.approx(40)
    low, high = fit.interval(900.0)
    value, error = fit.at(900.0)
    assert low * high == pytest.approx(value**2)
    assert np.log(high / low) == pytest.approx(2 * 1.96 * error / value, rel=1e-3)
    assert value == pytest.approx(40 * np.exp(-0.35 / (BOLTZMANN_EV_PER_K * 900)))
    assert 0.04 * value < error < 0.1 * value  # four points of 10 % each


def test_arrhenius_error_is_the_scatter_of_repeated_fits():
    rng = np.random.default_rng(3)
    t = np.array([600.0, 800.0, 1000.0])
    d = np.exp(-0.3 / (BOLTZMANN_EV_PER_K * t))
    fits = [arrhenius(t, d * np.exp(rng.normal(0, 0.1, 3)), 0.1 * d) for _ in range(400)]
    claimed = np.median([f.activation_error_ev for f in fits])
    assert np.std([f.activation_ev for f in fits]) == pytest.approx(claimed, rel=0.15)


def test_ceiling_and_conductivity_by_hand():
    # He et al.: 459 effective hops, 20 %.
    hops, relative = information_ceiling(9, 459.0, 3.0)
    assert hops == pytest.approx(459)
    assert relative == pytest.approx(0.20, abs=0.002)
    # 1e22 ions/cm3 with D = 1e-4 cm2/s at 1000 K: n e^2 D / kT = 1.859 S/cm.
    sigma = nernst_einstein(1.0, n_ions=10, volume_a3=1000.0, charge=1.0, temperature_k=1000.0)
    assert sigma == pytest.approx(1e28 * 1.602176634e-19**2 * 1e-8 / 1.380649e-20 / 100)


def test_haven_ratio_and_conductivity_of_models_are_their_spread():
    """Three models of two cells, whose ions share a part c of their steps: D_c / D = 1 + 11 c."""
    rng = np.random.default_rng(4)
    shared = np.repeat([0.05, 0.1, 0.2], 2)
    runs = [
        np.sqrt(1 - c) * brownian(2000, 12, rng) + np.sqrt(c) * brownian(2000, 1, rng)
        for c in shared
    ]
    each = replace(dynamics(runs), generated=True, models=np.arange(6) // 2)
    assert each.cells.msd.shape == (6, len(each.curves.lag_ps))
    np.testing.assert_allclose(each.cells.msd.mean(0), each.curves.msd_collective)
    found = fit_diffusion(each, window_ps=(0.5, 10))
    alone = [fit_diffusion(dynamics(runs[k : k + 2]), window_ps=(0.5, 10)) for k in (0, 2, 4)]
    together = found.ensemble_collective
    haven = [one.collective.haven_ratio for one in alone]
    np.testing.assert_allclose(together.haven_of_models, haven, rtol=1e-6)
    np.testing.assert_allclose(haven, 1 / (1 + 11 * shared[::2]), rtol=0.3)
    assert together.haven_ratio == pytest.approx(np.mean(haven))
    known = np.sqrt(np.mean([one.collective.haven_error**2 for one in alone]))
    assert together.haven_error == pytest.approx(max(np.std(haven, ddof=1), known), rel=0.05)
    assert together.haven_low < together.haven_low68 < together.haven_ratio
    d_c = [one.collective.d_angstrom2_per_ps for one in alone]
    np.testing.assert_allclose(together.d_of_models, d_c, rtol=1e-6)
    assert "Haven ratio of 3 models" in "\n".join(diffusion_lines(found))
    charges = {"n_ions": 12, "volume_a3": 1e3, "charge": 1.0, "temperature_k": 1000.0}
    carried = with_conductivity(found, charges)
    for sigma, of in (
        (carried.nernst_einstein, found.ensemble),
        (carried.conductivity, together),
    ):
        unit = sigma.sigma_s_per_cm / of.d_angstrom2_per_ps
        assert sigma.error_s_per_cm == pytest.approx(unit * of.error_angstrom2_per_ps)
        assert sigma.low_s_per_cm == pytest.approx(unit * of.low_angstrom2_per_ps)
        assert sigma.high_s_per_cm == pytest.approx(unit * of.high_angstrom2_per_ps)


def test_ensemble_error_is_the_spread_of_the_models():
    result = ensemble([1.0, 1.2, 0.8])
    assert result.d_angstrom2_per_ps == pytest.approx(1.0)
    assert result.error_angstrom2_per_ps == pytest.approx(0.2)
    assert result.low_angstrom2_per_ps < 0.55
    assert result.models_error_angstrom2_per_ps == pytest.approx(0.2)
    # Three that agree by chance know no more than their numbers of ions let them.
    close = ensemble([1.0, 1.01, 0.99], [0.06, 0.05, 0.04])
    ions = np.sqrt(np.mean(np.square([0.06, 0.05, 0.04])))
    assert close.error_angstrom2_per_ps == pytest.approx(ions)
    assert close.ions_error_angstrom2_per_ps == pytest.approx(ions)
    assert close.models_error_angstrom2_per_ps == 0.0
    assert close.high_angstrom2_per_ps == pytest.approx(1 + 4.303 * ions, rel=1e-3)


def test_haven_ratio_of_ions_that_drag_each_other(tmp_path, rng):
    """Cells of four, half of the motion shared: 1 / (1 + 3 / 2) = 0.4."""
    path = write(
        tmp_path / "cells.h5",
        dragging(3000, 30, 4, rng),
        cell=np.eye(3) * 20,
        parameters={"simulated_together": 4, "training_span_ps": 40.0},
    )
    result = tmp_path / "msd.json"
    options = ["--nernst-einstein", 1, "--temperature", 1000]
    done = run("mdgan_hpc.cli.msd", path, "-o", result, *options)
    assert done.returncode == 0, done.stderr
    assert "Haven ratio 0.4" in done.stdout or "Haven ratio 0.3" in done.stdout
    tree = json.loads(result.read_text())
    found = tree["diffusion"]["collective"]
    assert found["haven_error"] < 0.05
    assert abs(found["haven_ratio"] - 0.4) < 3 * found["haven_error"]
    independent = tree["nernst_einstein"]["sigma_s_per_cm"]
    assert independent == pytest.approx(
        nernst_einstein(
            tree["diffusion"]["total"]["d_angstrom2_per_ps"],
            n_ions=4,
            volume_a3=8000.0,
            charge=1.0,
            temperature_k=1000.0,
        )
    )
    assert tree["conductivity"]["sigma_s_per_cm"] == pytest.approx(
        independent / found["haven_ratio"]
    )


def test_only_ions_in_a_solid_have_a_haven_ratio(tmp_path, rng):
    """In a liquid the frame of reference moves with the ions."""
    lattice = 3.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    disorder = rng.normal(0, 0.5, lattice.shape)
    for name, moved in (("crystal", 0.1), ("glass", 0.3), ("liquid", 2.0)):
        sites = lattice if name == "crystal" else lattice + disorder
        framework = {
            "species": np.full(27, 8),
            "position": sites,
            "rms_displacement": np.full(27, moved),
        }
        path = write(
            tmp_path / f"{name}.h5",
            brownian(800, 12, rng),
            cell=np.eye(3) * 9,
            parameters={"framework": framework},
        )
        done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / f"{name}.json")
        assert done.returncode == 0, done.stderr
        assert ("Haven ratio" in done.stdout) == (name != "liquid")


def test_error_of_the_collective_coefficient_is_its_scatter():
    rng = np.random.default_rng(4)
    found = [
        fit_diffusion(dynamics([dragging(600, 1, 12, rng) for _ in range(6)]), window_ps=(0.5, 5))
        for _ in range(60)
    ]
    together = [fit.collective.d_angstrom2_per_ps for fit in found]
    claimed = np.median([fit.collective.error_angstrom2_per_ps for fit in found])
    assert np.mean(together) == pytest.approx(1 + 11 / 2, rel=0.1)
    assert np.std(together) == pytest.approx(claimed, rel=0.35)


def test_error_of_d_knows_that_ions_of_a_simulation_move_together():
    """Ions that drag each other: the error claimed is the scatter of D over many such files."""
    rng = np.random.default_rng(5)
    config = DynamicsConfig()

    def fit(together):
        positions = dragging(500, 48, 6, rng, drag=0.8)
        plan = plan_lags(500, 0.05, config)
        sums = RunSums(500, plan, n_particles=288, ions_per_cell=together)
        sums.add(positions)
        return fit_diffusion(summarise([sums], plan), window_ps=(0.5, 5)).require()

    found = [fit(6) for _ in range(40)]
    scatter = np.std([total.d_angstrom2_per_ps for total in found])
    claimed = np.median([total.error_angstrom2_per_ps for total in found])
    assert claimed == pytest.approx(scatter, rel=0.35)
    alone = fit(1)
    assert alone.error_angstrom2_per_ps / alone.line_misfit < 0.7 * claimed


def test_ions_generated_one_by_one_have_no_haven_ratio(tmp_path, rng):
    path = write(
        tmp_path / "alone.h5",
        brownian(800, 24, rng),
        cell=np.eye(3) * 20,
        parameters={"simulated_together": 1, "training_span_ps": 40.0},
    )
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.json")
    assert done.returncode == 0, done.stderr
    assert "Haven" not in done.stdout
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "a.json", "--nernst-einstein", 1)
    assert done.returncode != 0
    assert "one by one" in done.stderr


def test_commands_arrhenius_and_nernst_einstein(tmp_path, rng):
    results = []
    for kelvin, d in ((800, 0.5), (1000, 1.0)):
        path = write(tmp_path / f"{kelvin}.h5", brownian(800, 12, rng, d=d), cell=np.eye(3) * 20)
        result = tmp_path / f"msd{kelvin}.json"
        options = ["--nernst-einstein", 1, "--temperature", kelvin]
        done = run("mdgan_hpc.cli.msd", path, "-o", result, *options)
        assert done.returncode == 0, done.stderr
        assert "Nernst-Einstein" in done.stdout
        results += ["--arrhenius", f"{kelvin}={result}"]
    more = ["--at", 600, "--figure", tmp_path / "arrhenius.png"]
    done = run("mdgan_hpc.cli.msd", *results, "-o", tmp_path / "arrhenius.json", *more)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "arrhenius.png").stat().st_size > 10_000
    tree = json.loads((tmp_path / "arrhenius.json").read_text())
    assert len(tree["points"]["sigma_s_per_cm"]) == 2
    assert tree["points"]["generated"] == [False, False]
    predicted = {name: values[0] for name, values in tree["predicted"].items()}
    assert predicted["temperature_k"] == 600
    low, high = predicted["low_angstrom2_per_ps"], predicted["high_angstrom2_per_ps"]
    assert 0 < low < predicted["d_angstrom2_per_ps"] < high
    assert f"D at 600 K: {predicted['d_angstrom2_per_ps']:.3g} A^2/ps" in done.stdout
    energy = tree["arrhenius"]["activation_ev"]
    expected = BOLTZMANN_EV_PER_K * np.log(2) / (1 / 800 - 1 / 1000)
    assert energy == pytest.approx(expected, rel=0.1)
    assert "md" not in tree  # all points are of MD: one law


def test_md_and_generated_ions_have_laws_of_their_own(tmp_path, rng):
    results = []
    for name, energy in (("md", 0.2), ("generated", 0.3)):
        told = {"generator_label": "a model"} if name == "generated" else {}
        for kelvin in (800, 1200):
            d = np.exp(energy / BOLTZMANN_EV_PER_K * (1 / 1000 - 1 / kelvin))
            file = tmp_path / f"{name}{kelvin}.h5"
            write(file, brownian(800, 40, rng, d=d), parameters=told)
            result = tmp_path / f"{name}{kelvin}.json"
            done = run("mdgan_hpc.cli.msd", file, "-o", result)
            assert done.returncode == 0, done.stderr
            results.append((float(kelvin), str(result)))
    found = fit_arrhenius(results, str(tmp_path / "fit.h5"), at_k=[600])
    assert found.points.generated.tolist() == [False, False, True, True]
    for law, energy in ((found.md, 0.2), (found.generated, 0.3), (found.arrhenius, 0.25)):
        assert abs(law.activation_ev - energy) < 3 * law.activation_error_ev < 0.1
    back = ArrheniusResult.load(tmp_path / "fit.h5")
    assert back.points.generated.tolist() == found.points.generated.tolist()
    assert back.predicted.d_angstrom2_per_ps == found.predicted.d_angstrom2_per_ps
