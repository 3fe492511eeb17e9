"""Chains beside those that happen by chance, and results where nothing jumps."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import mdgan_hpc
from mdgan_hpc.analysis.sites.activation import activation
from mdgan_hpc.analysis.sites.estimate import _proportion, jackknife
from mdgan_hpc.analysis.sites.jumps import Blocks
from mdgan_hpc.analysis.sites.matching import same_kinds
from mdgan_hpc.analysis.sites.results import Activation, JumpGraph, JumpKinds, SitesResult
from mdgan_hpc.errors import DataError
from mdgan_hpc.report.figures.sites import draw_both
from mdgan_hpc.report.numbers import plain_text
from mdgan_hpc.report.sites import lines, side_by_side
from tests.support.commands import run
from tests.support.lattices import write_cubic, write_poscar
from tests.support.motion import write

NO_NUMBER = re.compile(r"\b(nan|inf)\b", re.IGNORECASE)


def test_ions_that_know_nothing_of_each_other_are_chained_by_chance(tmp_path, rng):
    n_cells, n_ions, n_records, size, p, window = 8, 24, 6000, 3, 0.01, 2
    shape = (n_records, n_cells * n_ions)
    ways = np.concatenate([np.eye(3), -np.eye(3)])
    steps = ways[rng.integers(0, 6, shape)] * (rng.random(shape) < p)[..., None]
    x = 3.0 * (rng.integers(0, size, (1, shape[1], 3)) + steps.cumsum(0))
    x += rng.normal(0, 0.1, x.shape)
    file = write_cubic(
        tmp_path / "free.h5",
        x.astype(np.float32),
        size,
        3.0,
        interval=0.02,
        parameters={"simulated_together": n_ions},
    )
    found = mdgan_hpc.jumps(file, window_ps=window * 0.02)
    c, k = found.chains, found.kinds
    # Others that reach the site it leaves, or leave the one it reaches, near that time; one in six
    # of these does both.
    each = p * (2 - 1 / 6) / size**3
    chance = 1 - (1 - each) ** ((n_ions - 1) * (2 * window + 1))
    assert c.jump_chance == pytest.approx(chance, abs=4 * c.jump_chance_error)
    assert c.jump_chance_error < 0.02 * chance
    jumps = np.hypot(c.jump_share_error, c.jump_chance_error)
    assert abs(c.jump_share - c.jump_chance) < 3 * jumps
    charge = np.hypot(c.charge_share_error, c.charge_chance_error)
    assert abs(c.charge_share - c.charge_chance) < 3 * charge
    assert k.chance[0] == pytest.approx(chance, abs=4 * k.chance_error[0])
    alone, pairs = c.number_by_chance[:2]
    assert alone + 2 * pairs == pytest.approx(k.count.sum(), rel=0.05)


def test_a_made_chain_is_far_above_chance(tmp_path, rng):
    # Six ions on a ring of six sites move on together, at times that nobody can foretell.
    x = np.zeros((6000, 6, 3))
    x[:, :, 0] = 3.0 * np.arange(6)
    for record in rng.choice(6000, 60, replace=False):
        x[record:, :, 0] += 3.0
    x += rng.normal(0, 0.05, x.shape)
    file = write(tmp_path / "ring.h5", x, cell=np.diag([18.0, 3.0, 3.0]), interval=0.05)
    sites = write_poscar(tmp_path / "POSCAR", [(0, 0, 0)], np.eye(3) * 3.0)
    found = mdgan_hpc.jumps(file, sites=str(sites), window_ps=0.1)
    c = found.chains
    assert c.jump_share == pytest.approx(1)
    assert c.charge_share == pytest.approx(1)
    assert c.jump_share - c.jump_chance > 20 * c.jump_chance_error
    assert c.jump_chance < 0.2
    told = next(line for line in lines(found) if line.startswith("In chains"))
    assert told.count("% by chance") == 2


def frozen(path, rng, *, jumping=()):
    """Eight ions that swing about their sites, some of which jump once along x."""
    corners = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = 2.5 * corners + rng.normal(0, 0.1, (400, 8, 3))
    for ion, record in jumping:
        x[record:, ion, 0] += 2.5
    return write_cubic(path, x.astype(np.float32), 2, 2.5)


@pytest.mark.parametrize("jumping", [(), [(3, 200)]])
def test_no_nan_where_ions_hardly_jump(tmp_path, rng, jumping):
    file, out = frozen(tmp_path / "run.h5", rng, jumping=jumping), tmp_path / "sites.json"
    options = ["--temperature", "300", "--figures", tmp_path / "figures"]
    done = run("mdgan_hpc.cli.sites", file, "-o", out, *options)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert ("No ion jumps: none gets from the core" in told) == (not jumping)
    assert ("none of them with a jump after it" if jumping else "no ion leaves") in told
    kept = SitesResult.load(out)
    kept.save(tmp_path / "sites.csv")
    kept.save(tmp_path / "sites.h5")
    assert lines(SitesResult.load(tmp_path / "sites.h5")) == lines(kept)
    assert {plain_text(line) for line in lines(kept)} < set(told.splitlines())
    tables = side_by_side(kept, kept, "a crystal")
    draw_both(kept, kept, tmp_path / "both")
    for text in (told, out.read_text(), (tmp_path / "sites.csv").read_text(), str(tables)):
        assert not NO_NUMBER.search(text), text


def test_a_site_that_no_ion_visits(tmp_path, rng):
    file = frozen(tmp_path / "run.h5", rng)
    places = [(0, 0, 0), (0.5, 0.5, 0.5)]
    sites = write_poscar(tmp_path / "POSCAR", places, np.eye(3) * 2.5)
    found = mdgan_hpc.jumps(file, sites=str(sites), temperature_k=300)
    told = "\n".join(lines(found))
    assert "no ion gets there" in told
    assert not NO_NUMBER.search(told), told


def test_kinds_of_one_length_are_told_apart():
    def seen(kind):
        one, none = np.ones(2), np.zeros(2)
        shift = np.array([[1, 0, 0], [0, 1, 0]])
        rows = (none, none, 4.6 * one, *(one,) * 6)  # both lead from S1 to S1
        kinds = JumpKinds(*rows)
        graph = JumpGraph(none, none, shift, kind, one, np.eye(1), none, none)
        sites = SimpleNamespace(kind=np.zeros(1, int), fraction=np.zeros((1, 3)))
        return SimpleNamespace(kinds=kinds, graph=graph, sites=sites, lattice=4.6 * np.eye(3))

    md, generated = seen(np.array([0, 1])), seen(np.array([1, 0]))
    assert md.kinds.names == ["S1-S1 (a) 4.60", "S1-S1 (b) 4.60"]
    assert same_kinds(md, generated) == [1, 0]
    assert same_kinds(md, md) == [0, 1]


def ways(path, rates, rng, fraction=(0, 0, 0)):
    """Find the jumps of ions between sites 3.0 Angstrom apart along x and 3.15 along y."""
    lengths, n = np.array([3.0, 3.15, 9.0]), 60
    leave = rng.random((800, n, 2)) < np.array(rates) * 0.05
    site = np.cumsum(leave * rng.choice([-1, 1], leave.shape), axis=0)
    x = rng.normal(0, 0.15, (800, n, 3)) + np.array(fraction) * lengths
    x[..., :2] += site * lengths[:2]
    file = write(path, x, cell=np.diag(lengths), parameters={"simulated_together": 1})
    given = write_poscar(path.with_suffix(".POSCAR"), [fraction], np.diag(lengths))
    return mdgan_hpc.jumps(file, sites=str(given), temperature_k=1000)


def test_a_kind_of_jump_is_fitted_to_itself_alone(tmp_path, rng):
    cold = ways(tmp_path / "a.h5", (0.2, 0.05), rng)
    # The rarer one is the more frequent one above, and the origin is another one.
    hot = ways(tmp_path / "b.h5", (0.3, 0.8), rng, (0.3, 0.2, 0.9))
    fit = activation([(1000, cold), (1200, hot)])
    law = dict(zip(fit.name, fit.rate_per_ps, strict=True))
    np.testing.assert_allclose(law["S1-S1 3.00"], [0.2, 0.3], rtol=0.15)
    np.testing.assert_allclose(law["S1-S1 3.15"], [0.05, 0.8], rtol=0.3)
    # Where it is not seen, one of nearly the same length does not take its place.
    without = ways(tmp_path / "c.h5", (0.3, 0), rng)
    fit = activation([(1000, cold), (1200, without)])
    assert fit.name == ["S1-S1 3.00"]
    assert "S1-S1 3.15 A at 1200 K: not seen" in fit.unmatched
    fit = activation([(1000, without), (1200, cold)])
    assert fit.name == ["S1-S1 3.00"]
    told = "S1-S1 3.15 A: seen at 1200 K, with no match at 1000 K"
    assert told in Activation.from_tree(fit.to_tree()).unmatched
    two = replace(cold.sites, kind=np.array([0, 1]), fraction=np.array([[0, 0, 0], [0.5, 0, 0]]))
    with pytest.raises(DataError, match="not the same"):
        activation([(1000, cold), (1200, replace(hot, sites=two))])


def test_few_jumps_have_an_upper_limit(tmp_path, rng):
    x = rng.normal(0, 0.1, (400, 5, 3))
    still = write(tmp_path / "none.h5", x, cell=np.eye(3) * 3, interval=0.05)
    x[200:, 2, 0] += 3.0
    once = write(tmp_path / "one.h5", x, cell=np.eye(3) * 3, interval=0.05)
    sites = str(write_poscar(tmp_path / "POSCAR", [(0, 0, 0)], np.eye(3) * 3))
    time = 5 * 400 * 0.05
    none = mdgan_hpc.jumps(still, sites=sites)
    assert none.jump_rate_per_ps == 0
    assert none.jump_rate_upper_per_ps == pytest.approx(-np.log(0.05) / time, rel=1e-6)
    assert "rate below 0.03 /ps at 95 %" in "\n".join(lines(none))
    one = mdgan_hpc.jumps(once, sites=sites)
    assert one.kinds.rate_error_per_ps[0] >= one.kinds.rate_per_ps[0] == pytest.approx(1 / time)
    # exp(-m) (1 + m) = 0.05
    assert one.kinds.rate_upper_per_ps[0] * time == pytest.approx(4.7439, rel=1e-4)
    assert "below 0.047 at 95 %" in "\n".join(lines(one))
    tables = str(side_by_side(one, none, "a crystal"))
    assert "below 0.03 at 95 %" in tables


def test_none_of_a_few_is_not_none_for_certain():
    part, whole = np.zeros((4, 2)), np.array([[3.0, 0.0], [2, 0], [3, 0], [2, 0]])
    share, error = _proportion(part, whole)
    assert share[0] == 0
    assert error[0] == pytest.approx(np.sqrt((2 / 14) * (12 / 14) / 14))
    assert np.isnan(share[1])
    assert np.isnan(error[1])
    # Of two models each has half of them.
    each = np.zeros((16, 2))
    each[::4] = whole
    several = _proportion(0 * each, each, Blocks(np.repeat([0, 1], 8)))
    assert several[1][0] == pytest.approx(np.sqrt((2 / 9) * (7 / 9) / 9))
    part[0, 0] = 2  # blocks that differ tell an error of their own
    own = jackknife(lambda a, b: a / b, part, whole)[1][0]
    assert _proportion(part, whole)[1][0] == own > 0
