"""Runs that were restarted, repeated, killed or changed on the way."""

import gzip
import shutil

import numpy as np
import pytest

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import command, converted, read_raw_md, write_ani, write_md

BOHR = 0.529177
SYMBOLS = ["Li", "H"] * 4


@pytest.fixture
def nve(data):
    """Steps, positions and velocities of 40 records of rocksalt LiH, Bohr."""
    return read_raw_md(data / "short/nve_lih8/lih.MD")


@pytest.fixture
def folder(data, tmp_path):
    """Return a folder with the constant files of that run, without trajectory."""
    target = tmp_path / "run"
    target.mkdir()
    for name in ("lih.fdf", "lih.XV"):
        shutil.copy(data / "short/nve_lih8" / name, target)
    return target


def write(folder, form, *segments):
    """Write segments (steps, x, v) one after another as `.MD` or `.ANI`."""
    for i, (steps, x, v) in enumerate(segments):
        if form == "MD":
            write_md(folder / "lih.MD", steps, x, v, mode="ab" if i else "wb")
        else:
            write_ani(folder / "lih.ANI", x * BOHR, SYMBOLS, mode="a" if i else "w")


def part(run, a, b, first=None):
    """Return the records of steps a to b, numbered from `first` on."""
    steps, x, v = run
    numbers = steps[a - 1 : b] if first is None else np.arange(first, first + b - a + 1)
    return numbers, x[a - 1 : b], v[a - 1 : b]


def same_as_whole(path, run, skip=0):
    with Trajectory(path) as t:
        np.testing.assert_allclose(t.positions(), run[1][skip:] * BOHR, atol=1e-6)
        np.testing.assert_array_equal(t.steps, np.arange(2 + skip, 42))
        np.testing.assert_allclose(t.times_ps, t.steps * 0.5e-3)


def test_restart_without_a_gap(data, tmp_path):
    summary, warned = converted(data / "short/restart_verlet", tmp_path / "a.h5")
    assert (summary.n_records, warned) == (40, [])
    assert summary.notes == ["restart at record 20, step 22: goes on without a gap"]
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, np.arange(2, 42))
        np.testing.assert_array_equal(t.parameter("restart_steps"), [21])
        x, v = t.positions().astype(float), t.velocities()
        # Velocities pair with the positions of their step across the seam too.
        central = (x[2:] - x[:-2]) / (2 * 0.8e-3)
        np.testing.assert_allclose(v[1:-1], central, atol=5e-3)
    converted(data / "short/restart_verlet", tmp_path / "a.h5", strict=True)


def test_restart_from_xv_only(data, tmp_path):
    folder = data / "short/restart_xv_only"
    summary, warned = converted(folder, tmp_path / "a.h5")
    assert summary.n_records == 39
    assert len(warned) == 1
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, np.arange(2, 41))
        _, x, _ = read_raw_md(folder / "xvo.MD")
        np.testing.assert_allclose(t.positions(), np.delete(x, 19, axis=0) * BOHR, atol=1e-6)
    with pytest.raises(DataError, match=r"restart from \.XV alone"):
        converted(folder, tmp_path / "b.h5", strict=True)
    assert not (tmp_path / "b.h5").exists()
    result = command(folder, "-o", tmp_path / "b.h5", "--strict")
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("form", ["MD", "ANI"])
def test_same_run_appended_twice(folder, nve, tmp_path, form):
    write(folder, form, part(nve, 1, 40), part(nve, 1, 40))
    _, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert "records 40 to 79 repeat earlier steps" in warned[0]


@pytest.mark.parametrize("form", ["MD", "ANI"])
def test_killed_run_started_again(folder, nve, tmp_path, form):
    """The first attempt stopped after 15 steps: the second goes on beyond them."""
    write(folder, form, part(nve, 1, 15), part(nve, 1, 40))
    _, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert "records 15 to 29 repeat earlier steps" in warned[0]


@pytest.mark.parametrize("first", [16, 1])
def test_overlapping_segments(folder, nve, tmp_path, first):
    """Continued from a copy of step 15, with its step numbers or with new ones."""
    write(folder, "MD", part(nve, 1, 25), part(nve, 16, 40, first))
    _, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert "records 25 to 34 repeat earlier steps" in warned[0]


def test_repeated_step(folder, nve, tmp_path):
    write(folder, "MD", part(nve, 1, 20), part(nve, 20, 40))
    _, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert len(warned) == 1


@pytest.mark.parametrize("form", ["MD", "ANI"])
def test_another_trajectory_appended(folder, nve, data, tmp_path, form):
    steps, x, v = read_raw_md(data / "short/quench/quench.MD")
    other = (steps, x + 0.5 * np.sin(np.arange(24.0)).reshape(8, 3), v)
    write(folder, form, part(nve, 1, 40), other)
    _, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert "record 40 begins another trajectory" in warned[0]
    assert "--records 40:" in warned[0]
    summary, _ = converted(folder, tmp_path / "b.h5", records="40:")
    assert summary.n_records == 15


def test_renumbered_continuation(folder, nve, tmp_path):
    write(folder, "MD", part(nve, 1, 20), part(nve, 21, 40, 1001))
    summary, warned = converted(folder, tmp_path / "a.h5")
    same_as_whole(tmp_path / "a.h5", nve)
    assert "jump from 20 to 1001 without a gap" in summary.notes[0]
    assert not warned


def test_missing_steps_keep_the_time(folder, nve, tmp_path):
    write(folder, "MD", part(nve, 1, 20), part(nve, 26, 40))
    _, warned = converted(folder, tmp_path / "a.h5")
    assert "5 records before step 26 are missing" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, [*range(2, 22), *range(27, 42)])
        np.testing.assert_allclose(t.times_ps, t.steps * 0.5e-3)
        velocities = t.velocities()
        assert np.isnan(velocities[19]).all()  # the record with them is missing
        assert np.isfinite(velocities[20:-1]).all()


def test_torn_record_and_restart(folder, nve, tmp_path):
    """Killed while the record of step 20 was written, then continued."""
    write(folder, "MD", part(nve, 1, 19))
    size = 12 + 48 * 8
    whole = tmp_path / "whole.MD"
    write_md(whole, *nve)
    torn = bytes(4) + whole.read_bytes()[19 * size + 4 : 19 * size + 200]
    with open(folder / "lih.MD", "ab") as out:
        out.write(torn)
    write_md(folder / "lih.MD", *part(nve, 21, 40, 1), mode="ab")
    _, warned = converted(folder, tmp_path / "a.h5")
    assert any("record 19 is torn" in text for text in warned)
    with Trajectory(tmp_path / "a.h5") as t:
        expected = np.delete(nve[1], 19, axis=0)
        np.testing.assert_allclose(t.positions()[: len(expected)], expected * BOHR, atol=1e-6)
        assert t.n_records == 39
        # One step is lost between record 18 and 20.
        np.testing.assert_array_equal(t.steps, [*range(2, 21), *range(22, 42)])


def oscillation(steps_fs, phases):
    """Verlet-like records of 4 atoms: x of the next step, central differences as velocities."""
    times = np.concatenate([[-steps_fs[0], 0.0], np.cumsum(steps_fs)])
    atoms = np.arange(12.0).reshape(4, 3)
    x = 3.0 * np.arange(12.0).reshape(4, 3) + 0.5 * np.sin(
        0.02 * times[:, None, None] * (1 + 0.1 * atoms) + phases
    )
    return times, x


def test_time_step_that_changes(tmp_path):
    """Outputs of both starts tell 0.5 and 0.25 fs: the time stays right."""
    steps = np.array([0.5] * 20 + [0.25] * 20)
    times, x = oscillation(steps, 0.3)
    v = np.empty((40, 4, 3))
    for s in range(40):  # of x[s + 1]: times[s + 1], with the step of its start
        h = steps[s]
        atoms = np.arange(12.0).reshape(4, 3)
        arg = 0.02 * times[s + 1] * (1 + 0.1 * atoms) + 0.3
        w = 0.02 * (1 + 0.1 * atoms)
        v[s] = 0.5 * np.cos(arg) * np.sin(w * h) / h
    folder = tmp_path / "run"
    folder.mkdir()
    write_md(folder / "a.MD", [*range(1, 21), *range(1, 21)], x[2:], v)
    (folder / "a.fdf").write_text(
        "SystemLabel a\nMD.TypeOfRun Verlet\nMD.LengthTimeStep 0.5 fs\nLatticeConstant 40 Bohr\n"
        "%block ChemicalSpeciesLabel\n1 3 Li\n%endblock\n"
        "%block AtomicCoordinatesAndAtomicSpecies\n" + "0 0 0 1\n" * 4 + "%endblock\n"
    )
    # From the velocities alone.
    summary, warned = converted(folder, tmp_path / "a.h5")
    assert any("time step of 0.25 fs, the input says 0.5 fs" in text for text in warned)
    with Trajectory(tmp_path / "a.h5") as t:
        expected = 0.5e-3 + times[2:] * 1e-3  # step 1 is at 0.5 fs
        np.testing.assert_allclose(t.times_ps, expected, rtol=1e-4)
    # From two outputs.
    for name, hour, dt in (("one", 1, 0.5), ("two", 2, 0.25)):
        (folder / f"{name}.out").write_text(
            f"Siesta Version  : v4.1.5\n>> Start of run:  22-NOV-2026   {hour}:13:14\n"
            "  *  WELCOME TO SIESTA  *\nreinit: System Label: a\n"
            f"redata: Length of MD time step                      =     {dt:.4f} fs\n"
        )
    summary, warned = converted(folder, tmp_path / "b.h5")
    assert not [text for text in warned if "time step" in text]
    assert "time step changes from 0.5 to 0.25 fs" in summary.notes[0]
    with Trajectory(tmp_path / "b.h5") as t:
        np.testing.assert_allclose(t.times_ps, expected, rtol=1e-12)


def test_energies_of_a_killed_segment(data, tmp_path):
    """`.MDE` has a line that `.MD` lacks: the lines after it are not shifted."""
    folder = tmp_path / "run"
    shutil.copytree(data / "short/restart_verlet", folder)
    steps, x, v = read_raw_md(folder / "lihr.MD")
    keep = np.delete(np.arange(40), 19)
    for path in folder.glob("lihr.*"):
        if path.suffix not in (".XV", ".MDE"):
            path.unlink()
    write_md(folder / "lihr.MD", steps[keep], x[keep], v[keep])
    _, warned = converted(folder, tmp_path / "a.h5")
    assert "1 lines without a record" in warned[0]
    converted(data / "short/restart_verlet", tmp_path / "b.h5")
    with Trajectory(tmp_path / "a.h5") as a, Trajectory(tmp_path / "b.h5") as b:
        np.testing.assert_array_equal(
            a.observable("temperature")[19:-1], b.observable("temperature")[20:-1]
        )


def bare(data, folder, *, ani=True):
    """Copy the restarted run with trajectory and outputs alone: they tell the energies."""
    folder.mkdir()
    source = data / "short/restart_verlet"
    for name in ("lihr.ANI" if ani else "lihr.MD", "lihr.XV", "seg1.fdf"):
        shutil.copy(source / name, folder)
    for name in ("seg1.out", "seg2.out"):
        (folder / name).write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
    return folder


@pytest.mark.parametrize("ani", [True, False])
@pytest.mark.parametrize("lost", ["", "seg1.out", "seg2.out"])
def test_outputs_go_with_their_records(data, tmp_path, ani, lost):
    """The output of one start was written over or lost: the other keeps its place."""
    folder = bare(data, tmp_path / "run", ani=ani)
    converted(data / "short/restart_verlet", tmp_path / "whole.h5")
    if lost:
        (folder / lost).unlink()
    _, warned = converted(folder, tmp_path / "a.h5")
    missing = {"": [39], "seg1.out": [*range(19), 39], "seg2.out": [*range(19, 40)]}[lost]
    with Trajectory(tmp_path / "whole.h5") as whole, Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, whole.steps)
        for values, expected, tolerance in (
            (t.observable("potential_energy"), whole.observable("potential_energy"), 1e-4),
            (t.observable("temperature"), whole.observable("temperature"), 0.01),
            (t.forces()[:, 0, 0], whole.forces()[:, 0, 0], 0.0),
        ):
            known = np.isfinite(values)
            np.testing.assert_array_equal(np.flatnonzero(~known), missing)
            np.testing.assert_allclose(values[known], expected[known], atol=tolerance)
    assert [("records in no output" in text) for text in warned] == [True] * bool(lost)


def test_output_of_another_run_is_left_out(data, tmp_path):
    """Its start is nowhere in the trajectory."""
    folder = bare(data, tmp_path / "run")
    (folder / "seg2.out").unlink()
    text = (folder / "seg1.out").read_text()
    head, mark, rest = text.partition("siesta: Atomic coordinates (Bohr) and species\n")
    start, _, rest = rest.partition("\n\n")
    moved = [
        f"{line[:10]}{3.0 * i % 7:10.5f}{line[20:]}" for i, line in enumerate(start.split("\n"))
    ]
    (folder / "seg1.out").write_text(head + mark + "\n".join(moved) + "\n\n" + rest)
    _, warned = converted(folder, tmp_path / "a.h5")
    assert "seg1.out: started from positions that are not in the trajectory" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        assert np.isnan(t.observable("temperature")).all()


def test_run_from_the_beginning_again_with_its_output(data, tmp_path):
    """Killed after 12 steps, started again: each output has its own records."""
    source = data / "short/nve_lih8"
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(source / "lih.fdf", folder)
    frames = (source / "lih.ANI").read_bytes()
    (folder / "lih.ANI").write_bytes(frames[: 12 * 335] + frames)
    text = gzip.decompress((source / "lih.out.gz").read_bytes()).decode()
    cut = text.index("Begin MD step =     13")
    (folder / "a.out").write_text(text[:cut].replace("6:13", "5:13"))
    (folder / "b.out").write_text(text)
    _, warned = converted(folder, tmp_path / "a.h5")
    assert [text for text in warned if "repeat" not in text] == []
    converted(source, tmp_path / "b.h5")
    with Trajectory(tmp_path / "a.h5") as a, Trajectory(tmp_path / "b.h5") as b:
        np.testing.assert_array_equal(a.steps, b.steps)
        np.testing.assert_array_equal(a.forces(), b.forces())


def test_files_of_different_length(data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(data / "short/nve_lih8", folder)
    lines = (folder / "lih.MDE").read_text().splitlines()
    (folder / "lih.MDE").write_text("\n".join(lines[:31]) + "\n")
    ani = (folder / "lih.ANI").read_bytes()
    (folder / "lih.ANI").write_bytes(ani[: 335 * 35])
    summary, warned = converted(folder, tmp_path / "a.h5")
    assert summary.n_records == 40
    assert "10 records without a line" in warned[0]
    summary, warned = converted(folder, tmp_path / "a.h5", source="ANI")
    assert summary.n_records == 35
    assert any("MD holds 5 records more than lih.ANI" in text for text in warned)


def test_overflowing_energy_columns(data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(data / "short/nve_lih8", folder)
    lines = (folder / "lih.MDE").read_text().splitlines()
    lines[5] = lines[5][:7] + "*" * 9 + lines[5][16:]
    (folder / "lih.MDE").write_text("\n".join(lines) + "\n")
    converted(folder, tmp_path / "a.h5")
    with Trajectory(tmp_path / "a.h5") as t:
        assert np.flatnonzero(np.isnan(t.observable("temperature"))).tolist() == [3, 39]
        assert np.isfinite(t.observable("pressure")[:-1]).all()


def test_outputs_in_the_order_of_their_start(data, tmp_path):
    """The names say the other way round."""
    folder = tmp_path / "run"
    folder.mkdir()
    source = data / "short/restart_verlet"
    for name, new in (("seg1.out.gz", "z.out"), ("seg2.out.gz", "a.out")):
        (folder / new).write_bytes(gzip.decompress((source / name).read_bytes()))
    for name in ("seg1.fdf", "seg2.fdf"):
        shutil.copy(source / name, folder)
    summary, warned = converted(folder, tmp_path / "a.h5")
    assert (summary.source, summary.n_records, warned) == ("out", 40, [])
    _, x, _ = read_raw_md(source / "lihr.MD")
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions()[1:], x[:-1] * BOHR, atol=1e-6)
        np.testing.assert_array_equal(t.steps, np.arange(1, 41))
