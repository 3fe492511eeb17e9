"""The baselines keep what they promise to keep, and lose the rest."""

import numpy as np
import pytest

from mdgan_hpc.analysis.baselines import block_bootstrap, gaussian_process, linear_extrapolation
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from tests.support.motion import cage_and_hops, dynamics


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(8)
    return [cage_and_hops(2000, 24, rng) for _ in range(3)]


def test_gaussian_process_has_the_msd_and_no_hops(runs):
    made = gaussian_process(runs, 4000, 200, np.random.default_rng(1))
    assert made.shape == (4000, 200, 3)
    a, b = dynamics(runs).curves.to_tree(), dynamics([made]).curves.to_tree()
    inside = a["lag_ps"] <= 10
    ratio = b["msd"][: len(a["msd"])][inside] / a["msd"][inside]
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    assert a["alpha2"].max() > 0.5
    assert np.abs(b["alpha2"][: inside.sum()]).max() < 0.1


def test_block_bootstrap_is_md_within_its_blocks(runs):
    made = block_bootstrap(runs, 3000, 100, np.random.default_rng(2), block_records=400)
    assert made.shape == (3000, 100, 3)
    steps = np.diff(made[:401, 0], axis=0)
    seen = any(
        np.allclose(np.diff(r[s : s + 2, p], axis=0), steps[:1], atol=1e-9)
        for r in runs
        for p in range(r.shape[1])
        for s in np.flatnonzero(np.abs(r[1:, p, 0] - r[:-1, p, 0] - steps[0, 0]) < 1e-9)
    )
    assert seen
    a, b = dynamics(runs).curves.to_tree(), dynamics([made]).curves.to_tree()
    inside = a["lag_ps"] <= 2
    np.testing.assert_allclose(b["msd"][: inside.sum()], a["msd"][inside], rtol=0.1)
    np.testing.assert_allclose(b["alpha2"][: inside.sum()], a["alpha2"][inside], atol=0.15)


def test_linear_extrapolation_holds_the_truth(runs):
    total = fit_diffusion(dynamics(runs)).require()
    line = linear_extrapolation(total, np.array([50.0, 1000.0]))
    truth = 3 * 2 * 0.4**2 + 6 * (2.5**2 / 6) * line["lag_ps"]
    assert (line["low"] < truth).all()
    assert (truth < line["high"]).all()
    assert (np.diff(line["high"] - line["low"]) > 0).all()
