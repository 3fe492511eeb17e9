"""A critic as a judge, on motion whose answer is known."""

import itertools
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.analysis.fidelity.critic import CriticResult, Motion, judge_by_critic
from mdgan_hpc.analysis.fidelity.critic.auc import auc_error, auc_of
from mdgan_hpc.analysis.fidelity.critic.scalars import Scalars, principal_axes
from mdgan_hpc.analysis.observables.pairs import nearest_distances
from mdgan_hpc.analysis.sites.lattice import Lattice
from tests.support.motion import brownian, cage_and_hops
from tests.support.runs import simple_cubic

INTERVAL, HOP, EDGE = 0.02, 2.5, 10.0


def process(rng, cells, **options):
    each = {"hop": HOP, "interval": INTERVAL, **options}
    return [cage_and_hops(700, 12, rng, **each) for _ in range(cells)]


@pytest.fixture(scope="module")
def md():
    return process(np.random.default_rng(3), 3)


def judged(md, made, **options):
    found = judge_by_critic(Motion(md), Motion(made), INTERVAL, **options)
    assert not found.refused
    return found


def test_auc_is_the_share_of_pairs_in_order(rng):
    low, high = rng.integers(0, 9, 40).astype(float), rng.integers(2, 11, 30).astype(float)
    pairs = [(b > a) + 0.5 * (b == a) for a in low for b in high]
    assert auc_of(low, high) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("d", [0.0, 0.5, 2.0])
def test_auc_of_two_gaussians_and_its_error(rng, d):
    """AUC = Phi(d / sqrt 2); groups of four scores that are equal count as one."""
    found, errors = [], []
    for _ in range(200):
        low, high = (np.repeat(rng.normal(mean, 1, 60), 4) for mean in (0, d))
        groups = np.repeat(np.arange(60), 4)
        found.append(auc_of(low, high))
        errors.append(auc_error(low, high, groups, groups))
    scatter = np.std(found)
    assert np.mean(found) == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=4 * scatter / 200**0.5)
    assert np.mean(errors) == pytest.approx(scatter, rel=0.2)


def test_the_same_process_cannot_be_told(md):
    found = judged(md, process(np.random.default_rng(4), 6))
    assert found.span_ps == pytest.approx([0.96])
    for auc, error in ((found.auc, found.error), (found.md_auc, found.md_error)):
        assert abs(auc[0] - 0.5) < max(0.05, 3 * error[0])
    assert abs(found.cell_auc[0] - 0.5) < 4 * found.cell_error[0]


@pytest.mark.parametrize(("fault", "least"), [({"cage": 0.44}, 0.8), ({"rate": 0.0}, 0.65)])
def test_other_processes_are_told(md, fault, least):
    """A cage too wide; no hops, of which two windows of 1 ps in three hold one."""
    found = judged(md, process(np.random.default_rng(5), 6, **fault))
    assert found.auc[0] > least
    assert found.cell_auc[0] > 0.9
    (shown,) = found.examples.values()
    assert shown.generated.shape == shown.md.shape == (3, len(shown.time_ps), 3)
    if fault == {"cage": 0.44}:
        small = [np.median(np.abs(np.diff(x, axis=1))) for x in (shown.md, shown.generated)]
        assert small[1] > 1.1 * small[0]


def test_ions_exchanged_between_cells_are_told_by_their_neighbours():
    """Pairs of ions that keep 3 Angstrom apart, and pairs made of ions of different cells."""
    rng, cell = np.random.default_rng(6), EDGE * np.eye(3)

    def pair():
        first = brownian(700, 1, rng, interval=INTERVAL, d=0.1)
        apart = 3.0 + 0.2 * rng.normal(size=(700, 1, 1))
        turning = brownian(700, 1, rng, interval=INTERVAL, d=0.1) + rng.normal(size=3)
        second = first + apart * turning / np.linalg.norm(turning, axis=-1, keepdims=True)
        return np.concatenate([first, second], 1)

    md, made = [[pair() for _ in range(n)] for n in (4, 16)]
    exchanged = [
        np.stack([a[:, 0], b[:, 1]], 1) for a, b in zip(made, made[1:] + made[:1], strict=True)
    ]
    same, other = (
        judge_by_critic(Motion(md, cell), Motion(side, cell), INTERVAL)
        for side in (made, exchanged)
    )
    assert abs(same.auc[0] - 0.5) < 0.1
    assert other.auc[0] > 0.95


def test_scalars_do_not_change_under_the_space_group(rng):
    crystal = simple_cubic()
    lattice = Lattice.of_crystal(crystal)
    scalars = Scalars([1, 2], lattice, 3)
    x = brownian(30, 5, rng) + rng.random((5, 3)) * 8
    before = scalars.of(x, crystal.cell)
    for rotation, translation in itertools.islice(
        zip(lattice.rotations, lattice.translations, strict=True), 0, None, 7
    ):
        moved = x @ rotation + translation + np.array([1, -2, 0]) @ lattice.vectors
        for a, b in zip(before, scalars.of(moved, crystal.cell), strict=True):
            np.testing.assert_allclose(a.values, b.values, atol=1e-9)
    shifted = scalars.of(x + [0.7, 0.0, 0.3], crystal.cell)
    assert np.abs(shifted[2].values - before[2].values).max() > 0.1  # the place is seen


def test_axes_are_those_of_the_point_group():
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    about_z = [np.linalg.matrix_power(quarter, k) for k in range(4)]
    found = principal_axes(np.array(about_z))
    assert sorted(round(np.trace(p)) for p in found) == [1, 2]
    assert len(principal_axes(simple_cubic().rotations)) == 1
    assert len(principal_axes(np.eye(3)[None])) == 3


def test_distances_of_near_ions_are_those_of_all_images(rng):
    cell = np.array([[6.0, 0, 0], [1.0, 7.0, 0], [0.5, 0.3, 8.0]])
    x = rng.random((4, 6, 3)) @ cell
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell
    apart = x[:, :, None, None] - x[:, None, :, None] + images
    distance = np.linalg.norm(apart, axis=-1).min(-1)
    distance[:, np.arange(6), np.arange(6)] = np.inf
    wanted = np.sort(distance, axis=2)[:, :, :2]
    found = nearest_distances(x, cell, 2)
    near = wanted < 0.5 / np.linalg.norm(np.linalg.inv(cell), axis=0).max()
    assert near.mean() > 0.5
    np.testing.assert_allclose(found[near], wanted[near], atol=1e-9)
    assert (found > wanted - 1e-9).all()


def test_too_little_gets_a_sentence_and_no_number(md):
    few = judge_by_critic(Motion([run[:150] for run in md]), Motion(md * 4), INTERVAL)
    assert "too few MD ions or records" in few.refused
    one_cell = judge_by_critic(Motion(md), Motion(md[:1]), INTERVAL)
    assert "too few generated cells" in one_cell.refused
    gone = judge_by_critic(Motion(md), Motion([np.full_like(md[0], np.nan)] * 6), INTERVAL)
    assert "diverge" in gone.refused


def test_a_seed_gives_the_same_result_that_goes_to_a_tree_and_back(md):
    made = np.concatenate(process(np.random.default_rng(7), 6), 1)
    first, again = (
        Fidelity(md, INTERVAL).critic(made, INTERVAL, ions_per_cell=12, seed=1) for _ in range(2)
    )
    back = CriticResult.from_tree(first.to_tree())
    for item in fields(CriticResult):
        if item.name != "examples":
            np.testing.assert_array_equal(getattr(first, item.name), getattr(again, item.name))
            np.testing.assert_array_equal(getattr(first, item.name), getattr(back, item.name))
    assert back.examples.keys() == first.examples.keys()


MPIEXEC = Path(sys.executable).parent / "mpiexec"
SHARED = """
import numpy as np
from mdgan_hpc.analysis.fidelity.critic import train_share
from mdgan_hpc.parallel import world
from tests.analysis.test_critic import judged, process
if world().rank == 0:
    md, made = (process(np.random.default_rng(n), n) for n in (2, 4))
    found = judged(md, made, communicator=world())
    alone = judged(md, made)
    for name in ("auc", "error", "cell_auc", "md_auc", "md_error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    print("the same")
else:
    assert len(train_share(world())[0]) == 6
"""


@pytest.mark.skipif(not MPIEXEC.exists(), reason=f"no {MPIEXEC}")
def test_ranks_that_share_the_trainings_find_the_same():
    done = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-c", SHARED],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout.strip()) == (0, "the same"), done.stderr


def test_a_single_run_is_cut_in_two():
    rng = np.random.default_rng(8)
    run = cage_and_hops(1500, 12, rng, hop=HOP, interval=INTERVAL)
    found = judged([run], process(rng, 6))
    assert found.md_auc is None
    assert abs(found.auc[0] - 0.5) < 0.1
