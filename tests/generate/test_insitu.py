"""Analysed while generating: equal to a naive loop and to the analysis of the stored file."""

import itertools

import numpy as np
import pytest
from launch import here, model_file, stored

from mdgan_hpc.analysis.dynamics import summarise
from mdgan_hpc.analysis.observables import displacements
from mdgan_hpc.analysis.observables.multitau import MultiTau
from mdgan_hpc.analysis.observables.run import RunSums
from mdgan_hpc.analysis.observables.van_hove import BIN_WIDTH
from mdgan_hpc.analysis.plan import plan_lags
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.analysis.streaming import MultiTauAnalysis
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.generate.run import generate
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory import Trajectory


@pytest.fixture
def walk():
    """Hops on a walk: positions [1500, 5, 3], not Gaussian."""
    random = np.random.default_rng(3)
    steps = random.normal(size=(1500, 5, 3)) * (1 + 4 * (random.random((1500, 5, 1)) < 0.05))
    return (30 + np.cumsum(0.1 * steps, 0)).astype(np.float32)


def test_any_division_of_the_stream_gives_the_naive_sums(walk):
    whole = MultiTau(5, levels=6, histogram_lags=[20, 320])
    pieces = MultiTau(5, levels=6, histogram_lags=[20, 320])
    whole.accumulate(walk)
    cuts = [0, 1, 2, 70, 71, 500, 500, 1100, 1500]
    for start, stop in itertools.pairwise(cuts):
        pieces.accumulate(walk[start:stop])
    for index, lag in enumerate(whole.lags):
        level = max(0, int(np.log2(lag / 32))) if lag > 56 else 0
        origins = range(0, max(0, len(walk) - lag), 1 << level)
        d = [walk[t + lag].astype(float) - walk[t] for t in origins]
        d = np.array(d).reshape(-1, 3)
        r2 = (d**2).sum(1)
        for accumulator in (whole, pieces):
            state = accumulator.state
            assert state["origins"][index] == len(d)
            np.testing.assert_allclose(state["tensor"][index], d.T @ d, rtol=1e-11, atol=1e-9)
            np.testing.assert_allclose(state["fourth"][index], (r2**2).sum(), rtol=1e-11)
        if lag in (20, 320):
            counts = np.bincount((np.sqrt(r2) / BIN_WIDTH).astype(int), minlength=4096)
            assert (pieces.state["radial"][[20, 320].index(lag)] == counts).all()


def test_equal_to_the_analysis_of_every_2_to_the_l_th_record(walk, monkeypatch):
    monkeypatch.setattr(
        displacements, "ORIGINS_PER_LAG", 1_000_000
    )  # all origins of fourth moments
    tree = MultiTauAnalysis().plan(len(walk))
    accumulator = MultiTauAnalysis().accumulator(tree, 5)
    accumulator.accumulate(walk)
    result = MultiTauAnalysis().result(tree, [accumulator.state], 0.008, 1)
    lags = np.round(result["curves"]["lag_ps"] / 0.008).astype(int)
    assert lags[-1] > 500
    for stride in (1, 2, 4, 8, 16):
        thin = walk[::stride]
        plan = plan_lags(len(thin), 0.008 * stride, DynamicsConfig(every_lag=True))
        run = RunSums(len(thin), plan, n_particles=5)
        run.add(thin)
        there = summarise([run], plan).curves.to_tree()
        own = [i for i, lag in enumerate(lags) if (lag <= 56) == (stride == 1)
               and (stride == 1 or 32 * stride <= lag < 64 * stride)]  # fmt: skip
        assert own
        at = lags[own] // stride - 1
        for name in ("msd", "msd_axis"):
            np.testing.assert_allclose(result["curves"][name][own], there[name][at], rtol=1e-9)
        np.testing.assert_allclose(result["curves"]["alpha2"][own], there["alpha2"][at], rtol=1e-7)


@pytest.mark.parametrize(("walkers", "low", "high"), [(2, 1.5, 6.0), (12, 0.6, 1.4)])
def test_ions_that_move_together_widen_the_error_of_d(walkers, low, high):
    random = np.random.default_rng(1)
    plan = MultiTauAnalysis().plan(2000)
    states = []
    for _ in range(40):  # cells of twelve ions: six make the same steps, or each its own
        accumulator = MultiTauAnalysis().accumulator(plan, 12)
        path = random.normal(0, 0.1, (2000, walkers, 3)).cumsum(0)
        accumulator.accumulate(np.repeat(path, 12 // walkers, 1).astype(np.float32))
        states.append(accumulator.state)
    alone, together = (
        MultiTauAnalysis().result(plan, states, 0.008, k)["diffusion"]["total"] for k in (1, 12)
    )
    assert together["d_angstrom2_per_ps"] == alone["d_angstrom2_per_ps"]
    # Six copies of one witness: the root of six, but for the scatter of 24 bundles.
    assert low < together["birge_ratio"] < high
    widened = together["error_angstrom2_per_ps"] / alone["error_angstrom2_per_ps"]
    misfit = alone["line_misfit"]
    assert widened == pytest.approx(max(together["birge_ratio"], misfit) / misfit)


def test_nothing_to_keep_is_refused(tmp_path):
    model = model_file(tmp_path)
    with pytest.raises(UsageError, match="nothing is kept"):
        generate(model, tmp_path / "g.h5", store=False)
    for extra in ((), ("--dry-run",)):
        refused = here(model, "-o", tmp_path / "g.h5", "--no-store", *extra, expect=2)
        assert "nothing is kept" in refused.stderr


def test_command_with_and_without_storing_extended_or_at_once(tmp_path):
    model = model_file(tmp_path)
    options = "--particles", 100, "--block-particles", 64, "--block-records", 100, "--analyse"
    for name, records in (("a", [400]), ("b", [130, 250, 400]), ("c", [400])):
        for n in records:
            store = ["--no-store"] if name == "c" else []
            here(model, "-o", tmp_path / f"{name}.h5", *options, "--records", n, *store)
    a, b, c = (load_results(tmp_path / f"{name}.msd.json") for name in "abc")
    for name, values in a["curves"].items():
        assert c["curves"][name].tolist() == values.tolist()
        if name == "lag_ps":
            assert set(b["curves"][name]) <= set(values)
    assert (tmp_path / "c.h5").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"no positions.*msd\.json"):
        Trajectory(tmp_path / "c.h5")
    positions = stored(tmp_path / "a.h5").astype(float)
    lag = np.round(a["curves"]["lag_ps"] / 0.008).astype(int)
    for at in np.flatnonzero(lag <= 56):
        d = positions[lag[at] :] - positions[: -lag[at]]
        assert a["curves"]["msd"][at] == pytest.approx((d**2).sum(-1).mean(), rel=1e-10)
    same = np.isin(a["curves"]["lag_ps"], b["curves"]["lag_ps"])
    np.testing.assert_allclose(b["curves"]["msd"], a["curves"]["msd"][same], rtol=1e-12)
