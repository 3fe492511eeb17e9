"""D of short pieces: none before the cage is left, and those that are given hold the truth."""

import numpy as np
import pytest

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from tests.benchmarks.short_runs import INTERVAL, TRUTH, made_world, pieces


@pytest.fixture(scope="module")
def world():
    return made_world(n_runs=4)


def test_short_pieces_give_no_d_that_is_wrong(world):
    rng, every = np.random.default_rng(2), []
    for length_ps in (0.4, 0.8, 1.6, 3.0, 5.0, 10.0, 40.0):
        every.append(pieces(world, INTERVAL, TRUTH, rng, length_ps=length_ps, count=6))
    looked, given, held = np.array(every).T
    assert looked.sum() == 42
    assert not given[:4].any(), "the slope passes one on its way to the cage"
    assert given[-1] >= 3
    assert held.sum() >= 0.9 * given.sum()


def test_a_refusal_names_the_cage_and_the_length_needed(world):
    found = fit_diffusion(dynamics_of_arrays([world[0][:150]], INTERVAL))
    assert found.total is None
    assert "cage" in found.refused or "ballistic" in found.refused
    assert "ps" in found.refused
