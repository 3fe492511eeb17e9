"""Chains beside those that happen by chance, and results where nothing jumps."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import mdgan_hpc
from mdgan_hpc.analysis.sites.results import JumpGraph, JumpKinds, SitesResult
from mdgan_hpc.report.figures.sites import draw_both
from mdgan_hpc.report.numbers import plain_text
from mdgan_hpc.report.sites import lines, matching, side_by_side
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
        return SimpleNamespace(kinds=kinds, graph=graph)

    md, generated = seen(np.array([0, 1])), seen(np.array([1, 0]))
    assert md.kinds.names == ["S1-S1 (a) 4.60", "S1-S1 (b) 4.60"]
    assert [matching(md, generated, k) for k in (0, 1)] == [1, 0]
    assert [matching(md, md, k) for k in (0, 1)] == [0, 1]
