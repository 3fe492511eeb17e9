"""Sites and jumps: known answers, false jumps, ranks, given sites, the command and its figures."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mdgan_hpc
from mdgan_hpc.analysis.sites.activation import activation
from mdgan_hpc.analysis.sites.hops import count_hops
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.percolation import dimensions
from mdgan_hpc.analysis.sites.results import Activation, SitesResult
from mdgan_hpc.analysis.sites.vibration import vibration
from mdgan_hpc.analysis.sites.visits import VisitFinder, find_visits
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.report.sites import lines
from mdgan_hpc.results import load_results
from tests.support.commands import run
from tests.support.lattices import (
    FACTORS,
    PLACES,
    lattice_gas,
    vacancy_jumps,
    write_cubic,
    write_poscar,
)
from tests.support.motion import brownian, cage_and_hops, write

#: Ions that do not see each other.
ALONE = {"simulated_together": 1}
MPIEXEC = Path(sys.executable).with_name("mpiexec")


@pytest.mark.parametrize("lattice", FACTORS)
def test_correlation_factor_of_vacancy_diffusion(lattice, tmp_path, rng):
    a = 4.0
    steps = vacancy_jumps(lattice, 2000, 500, rng) * a
    path = steps.cumsum(0) + rng.normal(0, 0.1, steps.shape)
    file = write(
        tmp_path / "walk.h5", path.astype(np.float32), cell=np.eye(3) * a, parameters=ALONE
    )
    sites = write_poscar(tmp_path / "POSCAR", PLACES[lattice], np.eye(3) * a)
    found = mdgan_hpc.jumps(file, sites=str(sites))
    assert found.kinds.count.sum() == 2000 * 499
    assert found.correlation.value == pytest.approx(FACTORS[lattice], rel=0.02)
    assert found.correlation.error < 0.01 * FACTORS[lattice]
    assert abs(found.correlation.value - FACTORS[lattice]) < 4 * found.correlation.error
    assert found.graph.dimensions[-1] == 3


def test_rates_of_a_lattice_gas(tmp_path, rng):
    size, n_ions, n_cells, attempts, dt = 4, 48, 20, 2, 0.02
    sites = lattice_gas(size, n_ions, n_cells, 1500, attempts, rng)
    x = 3.0 * sites.reshape(len(sites), -1, 3)
    x += rng.normal(0, 0.15, x.shape)
    file = write_cubic(
        tmp_path / "gas.h5",
        x.astype(np.float32),
        size,
        3.0,
        interval=dt,
        parameters={"simulated_together": n_ions},
    )
    found = mdgan_hpc.jumps(file)
    assert len(found.sites.share) == 1
    # Two jumps within one record are one of another kind: hardly any.
    rate, error = found.kinds.rate_per_ps[0], found.kinds.rate_error_per_ps[0]
    assert found.kinds.count[0] > 0.995 * found.kinds.count.sum()
    # So often does an ion try, and finds a free site; a way back within one record is not seen.
    expected = attempts / n_ions / dt * (size**3 - n_ions) / (size**3 - 1)
    assert rate == pytest.approx(expected, abs=3 * error + 0.004 * expected)
    # Jumps of one ion and its neighbours are not independent, but nearly.
    assert 0.4 < error / rate * np.sqrt(found.kinds.count[0]) < 2
    assert found.kinds.ways[0] == 6
    assert found.kinds.length[0] == pytest.approx(3.0, abs=0.01)
    assert found.sites.occupancy[0] == pytest.approx(n_ions / size**3, rel=1e-3)
    assert found.sites.residence_ps[0] == pytest.approx(1 / found.jump_rate_per_ps, rel=1e-3)
    # Behind an ion there is a vacancy, others are anywhere: it goes back more often than 1 in 6.
    assert 0.2 < found.back < 0.4
    assert 0.6 < found.correlation.value < 0.9


def test_a_look_over_the_border_is_no_jump():
    sites = Sites.of_places(np.eye(3) * 3.0, np.zeros((1, 3)))
    there = np.array([0.0, 0.5, 1.4, 1.6, 1.4, 1.7, 1.45, 1.55, 0.2, 0.0])  # border at 1.5
    over = np.array([0.0, 1.4, 1.6, 1.3, 1.6, 2.0, 2.9, 1.8, 1.4, 2.8])  # one jump
    x = np.zeros((10, 2, 3))
    x[:, 0, 0], x[:, 1, 0] = there, over
    nearest = np.abs(np.diff(np.round(x[..., 0] / 3.0), axis=0)).sum(0)
    assert nearest.tolist() == [6, 5]  # what the nearest site would give
    hops = count_hops(sites, x, 1.0)
    assert hops.hops.tolist() == [0, 1]
    visits = find_visits(sites, x)
    assert visits.record.tolist() == [0, 0, 5]
    np.testing.assert_allclose(sites.places(visits.label), [[0, 0, 0], [0, 0, 0], [3, 0, 0]])


def test_pieces_of_any_length_give_the_same_visits(rng):
    x = cage_and_hops(400, 7, rng)
    sites = Sites.of_places(np.eye(3) * 2.5, np.zeros((1, 3)))
    whole = find_visits(sites, x)
    finder, inside = VisitFinder(sites, 7), 0
    for start in range(0, 400, 37):
        inside = inside + finder.add(x[start : start + 37])
    for name in ("particle", "record", "label"):
        np.testing.assert_array_equal(getattr(finder.result(), name), getattr(whole, name))
    # A naive look at every position.
    nearest = np.round(x / 2.5)
    core = np.linalg.norm(x - 2.5 * nearest, axis=-1) < 1.0
    np.testing.assert_array_equal(inside[:, 0], core.sum(0))
    for ion in range(7):
        path = nearest[core[:, ion], ion]
        changes = (np.diff(path, axis=0) != 0).any(1).sum()
        assert (whole.particle == ion).sum() == changes + 1


def test_cores_of_several_sizes_in_a_skewed_cell_are_those_of_a_naive_search(rng):
    lattice = np.array([[5.0, 0, 0], [1.7, 4.6, 0], [-1.1, 0.9, 6.2]])
    fraction = np.array([[0.1, 0.2, 0.3], [0.55, 0.6, 0.35], [0.3, 0.8, 0.9]])
    sites = Sites.of_places(lattice, fraction)
    x = rng.uniform(-20, 20, (20000, 3))
    index, label = sites.cores(x.T)
    site = label % 3
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    inside = (x @ np.linalg.inv(lattice))[:, None, None] - fraction[:, None] - shifts
    inside -= np.floor(x @ np.linalg.inv(lattice))[:, None, None]
    distance = np.linalg.norm(inside @ lattice, axis=-1)  # [n, S, 27]
    core = (distance < sites.core_radius[:, None]).any(2)
    np.testing.assert_array_equal(index, np.flatnonzero(core.any(1)))
    np.testing.assert_array_equal(site, core.argmax(1)[index])
    away = np.linalg.norm(sites.places(label) - x[index], axis=1)
    assert (away < sites.core_radius[site]).all()


def test_attempt_frequency_and_amplitude_of_an_oscillator():
    t = np.arange(4000) * 0.01
    x = np.zeros((4000, 1, 3))
    x[:, 0, 0] = -0.4 * np.cos(2 * np.pi * 5 * t)
    found = vibration([x], 0.01)
    assert found.attempt_frequency_per_ps == pytest.approx(5, rel=0.01)
    assert found.amplitude == pytest.approx(0.8, rel=0.01)  # there and back between +-0.4
    assert vibration([np.zeros((10, 1, 3))], 0.01) is None


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [
        ([(0, 1, (0, 0, 0))], 0),
        ([(0, 0, (1, 0, 0))], 1),
        ([(0, 1, (0, 0, 0)), (1, 0, (1, 0, 0)), (0, 0, (2, 0, 0))], 1),
        ([(0, 1, (0, 0, 0)), (1, 0, (1, 0, 0)), (0, 0, (0, 1, 1))], 2),
        ([(0, 0, (1, 0, 0)), (1, 1, (0, 1, 0)), (1, 1, (0, 0, 1))], 2),
        ([(0, 0, (1, 0, 0)), (0, 0, (0, 1, 0)), (0, 0, (1, 1, 2))], 3),
    ],
)
def test_dimensions_of_a_network(jumps, expected):
    begin, end, shift = zip(*jumps, strict=True)
    assert dimensions(np.array(begin), np.array(end), np.array(shift)) == expected


def along_x(folder):
    return str(write_poscar(folder / "POSCAR", [(0, 0, 0)], np.eye(3) * 3.0))


def steps(path, moves, n_ions, n_records=400):
    """Ions at sites 3 Angstrom apart along x; moves are (ion, record, sites)."""
    x = np.zeros((n_records, n_ions, 3))
    x[:, :, 0] = 3.0 * np.arange(n_ions)
    for ion, record, by in moves:
        x[record:, ion, 0] += 3.0 * by
    x += np.random.default_rng(1).normal(0, 0.05, x.shape)
    return write(path, x, cell=np.diag([18.0, 3.0, 3.0]), interval=0.05)


def test_an_ion_that_follows_another_makes_a_chain(tmp_path):
    # The third ion makes room, the second and first follow; later the third moves alone.
    moves = [(2, 100, 1), (1, 103, 1), (0, 105, 1), (2, 300, 1)]
    found = mdgan_hpc.jumps(
        steps(tmp_path / "a.h5", moves, 3), sites=along_x(tmp_path), window_ps=0.2
    )
    assert found.chains.number.tolist()[:4] == [1, 0, 1, 0]
    assert found.chains.jump_share == pytest.approx(3 / 4)
    assert found.chains.charge_share == pytest.approx(81 / 90)
    late = mdgan_hpc.jumps(
        steps(tmp_path / "b.h5", moves, 3), sites=along_x(tmp_path), window_ps=0.1
    )
    assert late.chains.number.tolist()[:3] == [2, 1, 0]
    # Through the border of the simulation cell.
    round_it = [(5, 100, 1), (4, 103, 1), (0, 99, 1)]
    six = mdgan_hpc.jumps(
        steps(tmp_path / "c.h5", round_it, 6), sites=along_x(tmp_path), window_ps=0.2
    )
    assert six.chains.number[2] == 1


def test_two_kinds_of_sites_and_free_energies(tmp_path, rng):
    # An ion in a chain of deep and shallow sites along x: rates out of each are known.
    out, n, dt = np.array([0.5, 2.0]), 300, 0.02
    site = np.zeros(n, int)
    places = np.empty((3000, n), int)
    for record in range(3000):
        leave = rng.random(n) < out[site % 2] * dt
        site = site + leave * rng.choice([-1, 1], n)
        places[record] = site
    x = rng.normal(0, 0.15, (3000, n, 3))
    x[..., 0] += 2.5 * places
    cell = np.diag([5.0, 5.0, 5.0])
    file = write(
        tmp_path / "two.h5",
        x.astype(np.float32),
        interval=dt,
        cell=cell,
        parameters=ALONE,
    )
    given = write_poscar(tmp_path / "POSCAR", [(0, 0, 0), (0.5, 0, 0)], cell)
    found = mdgan_hpc.jumps(file, sites=str(given), temperature_k=1000)
    s, k = found.sites, found.kinds
    np.testing.assert_allclose(s.share, [0.8, 0.2], atol=4 * s.share_error.max() + 0.005)
    np.testing.assert_allclose(s.residence_ps, 1 / out, rtol=0.03)
    assert k.begin.tolist() in ([0, 1], [1, 0])
    rates = dict(zip(k.begin.tolist(), k.rate_per_ps, strict=True))
    assert rates == pytest.approx({0: 0.5, 1: 2.0}, rel=0.03)
    kt = 8.617333e-5 * 1000
    shown = s.free_energy_ev[1] - s.free_energy_ev[0]
    assert shown == pytest.approx(kt * np.log(4), abs=4 * s.free_energy_error_ev.max() + 0.002)
    assert found.graph.dimensions[-1] == 1
    assert found.chains is None
    assert found.sites.occupancy is None
    np.testing.assert_allclose(found.graph.matrix.sum(), k.count.sum())
    # The same at two temperatures gives back the activation energy.
    hot = replace(found, kinds=replace(k, rate_per_ps=2 * k.rate_per_ps))
    fit = activation([(1200.0, hot), (1000.0, found)])
    expected = np.log(2) * 8.617333e-5 / (1 / 1000 - 1 / 1200)
    np.testing.assert_allclose(fit.activation_ev, expected, rtol=1e-4)


@pytest.mark.skipif(
    not MPIEXEC.exists() and not shutil.which("mpiexec"), reason="no MPI in this environment"
)
@pytest.mark.parametrize(("together", "counts"), [(12, (1, 4)), (3, (1, 2, 3))])
def test_the_same_numbers_on_any_number_of_ranks(together, counts, tmp_path, rng):
    files = [
        write_cubic(
            tmp_path / f"{k}.h5",
            cage_and_hops(300, 12, rng),
            2,
            2.5,
            parameters={} if together == 12 else {"simulated_together": together},
        )
        for k in (1, 2)
    ]
    trees = []
    for ranks in counts:
        out = tmp_path / f"sites{ranks}.json"
        launch = [MPIEXEC if MPIEXEC.exists() else "mpiexec", "-n", ranks] if ranks > 1 else []
        command = [*launch, sys.executable, "-m", "mdgan_hpc.cli.sites", *files, "-o", out]
        done = subprocess.run(map(str, command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        tree = json.loads(out.read_text())
        trees.append({k: v for k, v in tree.items() if k not in ("provenance", "sha256")})
    assert trees[0]["kinds"]["count"][0] > 100
    for other in trees[1:]:
        assert other == trees[0]


def test_the_command_writes_what_python_finds_and_draws(tmp_path, rng):
    files = [write_cubic(tmp_path / f"{k}.h5", cage_and_hops(800, 12, rng), 2, 2.5) for k in (1, 2)]
    out, folder = tmp_path / "sites.h5", tmp_path / "figures"
    options = ["--temperature", "900", "--figures", folder]
    done = run("mdgan_hpc.cli.sites", *files, "-o", out, *options)
    assert done.returncode == 0, done.stderr
    assert "Correlation factor" in done.stdout
    assert "S1-S1 2.50 A" in done.stdout
    assert "--sites" in done.stdout
    kept, found = SitesResult.load(out), mdgan_hpc.jumps(files, temperature_k=900)
    assert kept.jump_rate_per_ps == found.jump_rate_per_ps
    assert found.jump_rate_per_ps == pytest.approx(1.0, rel=0.1)
    assert found.jump_length == pytest.approx(2.5, rel=0.02)
    # Six directions, so one jump in six leads back, and jumps do not know of each other.
    assert found.back == pytest.approx(1 / 6, abs=0.05)
    assert found.correlation.value == pytest.approx(1, abs=0.25)
    np.testing.assert_array_equal(kept.graph.shift, found.graph.shift)
    assert {p.stem for p in folder.glob("*.png")} == {
        "site_network",
        "jump_rates",
        "correlation_factor",
    }
    again = run("mdgan_hpc.cli.sites", *files, "-o", out)
    assert again.returncode == 2
    fit = run(
        *("mdgan_hpc.cli.sites", "--arrhenius", f"900={out}", "--arrhenius", f"900={out}"),
        *("-o", tmp_path / "fit.json"),
    )
    assert fit.returncode == 2
    assert "two temperatures" in fit.stderr
    warm = tmp_path / "warm.json"
    assert run("mdgan_hpc.cli.sites", files[0], "-o", warm).returncode == 0
    points = ["--arrhenius", f"900={out}", "--arrhenius", f"950={warm}"]
    pictures = tmp_path / "activation"
    fit = run("mdgan_hpc.cli.sites", *points, "-o", tmp_path / "fit.json", "--figures", pictures)
    assert fit.returncode == 0, fit.stderr
    assert (pictures / "activation.png").stat().st_size > 10_000
    law = Activation.from_tree(load_results(tmp_path / "fit.json")["activation"])
    assert law.name[0] == "S1-S1 2.50"
    assert law.label == ["MD", "MD"]
    # On one kind of site, ions stay as long as all ways out of it together leave them.
    np.testing.assert_allclose(law.residence.time_ps[0], 1 / law.rate_per_ps.sum(0), rtol=0.05)
    assert law.residence.activation_ev[0] == pytest.approx(law.activation_ev[0], abs=0.05)
    assert "Residence at S1: activation energy" in fit.stdout


def test_what_cannot_be_done_is_said(tmp_path, rng):
    free = write(tmp_path / "free.h5", brownian(50, 4, rng), cell=np.eye(3) * 10)
    with pytest.raises(DataError, match="give them"):
        mdgan_hpc.jumps(free)
    other = write_poscar(tmp_path / "other.POSCAR", [(0, 0, 0)], np.eye(3) * 7)
    with pytest.raises(UsageError, match="has the cell"):
        mdgan_hpc.jumps(free, sites=str(other))
    oxygen = write_poscar(tmp_path / "oxygen.POSCAR", [(0, 0, 0)], np.eye(3) * 10, "O")
    with pytest.raises(UsageError, match="holds no Li"):
        mdgan_hpc.jumps(free, sites=str(oxygen))
    with pytest.raises(DataError, match="no such file"):
        mdgan_hpc.jumps(free, sites=str(tmp_path / "none"))
    (tmp_path / "text.cif").write_text("nothing\n")
    with pytest.raises(DataError, match="ASE cannot read"):
        mdgan_hpc.jumps(free, sites=str(tmp_path / "text.cif"))
    near = write_poscar(tmp_path / "near.POSCAR", [(0, 0, 0), (0.1, 0, 0)], np.eye(3) * 10)
    with pytest.raises(UsageError, match="overlap"):
        mdgan_hpc.jumps(free, sites=str(near), radius_angstrom=0.6)


def test_given_sites_in_a_part_of_the_cell_are_those_of_the_lattice(tmp_path, rng):
    file = write_cubic(tmp_path / "run.h5", cage_and_hops(400, 12, rng), 4, 2.5)
    found = mdgan_hpc.jumps(file)
    for name, side, places in (
        ("one", 2.5, [(0, 0, 0)]),
        ("eight", 5.0, [(i, j, k) for i in (0, 0.5) for j in (0, 0.5) for k in (0, 0.5)]),
    ):
        given = write_poscar(tmp_path / f"{name}.POSCAR", places, np.eye(3) * side)
        same = mdgan_hpc.jumps(file, sites=str(given))
        assert len(same.sites.share) == 1
        assert same.kinds.count.sum() == pytest.approx(found.kinds.count.sum(), rel=0.02)


def test_errors_of_several_models_are_their_spread(tmp_path, rng):
    """Six models whose rates scatter by a fifth; the ions of one tell its own within 3 %."""
    rates = np.array([0.7, 0.9, 1.0, 1.05, 1.15, 1.2])
    each = [cage_and_hops(600, 24, rng, rate=rate) for rate in rates]
    model = np.repeat(np.arange(6), 24).reshape(6, 2, 12).transpose(1, 0, 2).ravel()
    mixed = np.stack(each, 1).reshape(600, 6, 2, 12, 3).transpose(0, 2, 1, 3, 4)
    known = {"simulated_together": 12, "model_of_particle": model.astype(np.int32)}
    path = write_cubic(tmp_path / "a.h5", mixed.reshape(600, -1, 3), 2, 2.5, parameters=known)
    found = mdgan_hpc.jumps(path)
    assert found.n_models == 6
    alone = [
        mdgan_hpc.jumps(write_cubic(tmp_path / f"{k}.h5", x, 2, 2.5)) for k, x in enumerate(each)
    ]
    rate = [one.jump_rate_per_ps for one in alone]
    assert found.jump_rate_per_ps == pytest.approx(np.mean(rate), rel=1e-3)
    assert found.jump_rate_error_per_ps == pytest.approx(np.std(rate, ddof=1), rel=1e-2)
    of_kind = [one.kinds.rate_per_ps[0] for one in alone]
    assert found.kinds.rate_error_per_ps[0] == pytest.approx(np.std(of_kind, ddof=1), rel=1e-2)
    # How often jumps lead back does not scatter by more than the ions of a model tell.
    back = np.sqrt(np.mean([one.back_error**2 for one in alone]))
    assert found.back_error == pytest.approx(back, rel=0.5)
    times = [one.sites.residence_of(0) for one in alone]
    time, error = found.sites.residence_of(0)
    # A mean over all visits: that of the inverse rates, weighted by the rates.
    assert time == pytest.approx(1 / np.mean([1 / t for t, _ in times]), rel=1e-2)
    assert error == pytest.approx(np.std([t for t, _ in times], ddof=1), rel=0.15)
    assert error > 4 * np.mean([e for _, e in times])
    assert "the spread over 6 models" in "\n".join(lines(found))
