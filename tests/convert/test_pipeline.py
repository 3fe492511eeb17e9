"""Drift, unwrapping, thinning, many runs, other codes, and what others read of the files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import MDAnalysis
import numpy as np
import pytest
from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write
from pyh5md import File

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import command, converted, write_ani

FDF = """SystemLabel a
MD.TypeOfRun Nose
MD.LengthTimeStep 2 fs
LatticeConstant 1 Ang
%block LatticeVectors
 8 0 0
 -4 7 0
 0.5 1 9
%endblock
%block ChemicalSpeciesLabel
1 3 Li
2 8 O
%endblock
%block AtomicCoordinatesAndAtomicSpecies
0 0 0 1
0 0 0 2
0 0 0 1
0 0 0 2
%endblock
"""
CELL = np.array([[8, 0, 0], [-4, 7, 0], [0.5, 1, 9.0]])


def walk(n=3000, seed=5):
    """Return smooth trajectories of 4 atoms that leave the cell, Angstrom."""
    generator = np.random.default_rng(seed)
    pace = np.cumsum(generator.normal(size=(n, 4, 3)), axis=0) * 0.01
    return np.cumsum(0.1 * np.tanh(pace), axis=0) + generator.uniform(0, 5, (4, 3))


def run_folder(path, positions, fdf=FDF):
    path.mkdir(exist_ok=True)
    (path / "a.fdf").write_text(fdf)
    write_ani(path / "a.ANI", positions, ["Li", "O", "Li", "O"])
    return path


def test_drift_of_the_framework(tmp_path):
    x = walk()
    run_folder(tmp_path, x)
    converted(tmp_path, tmp_path / "a.h5", select="Li", drift="framework")
    rest = x[:, [1, 3]].mean(axis=1, keepdims=True)
    expected = x - (rest - rest[0])
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions(), expected[:, [0, 2]], atol=2e-5)
        np.testing.assert_allclose(
            t.framework.position, expected[:, [1, 3]].mean(axis=0), atol=1e-5
        )
        scatter = np.sqrt(expected[:, [1, 3]].var(axis=0).sum(axis=-1))
        np.testing.assert_allclose(t.framework.rms_displacement, scatter, rtol=1e-5)
        assert t.parameter("drift") == "framework"
        length = np.linalg.norm(rest[-1] - rest[0])
        assert t.parameter("drift_length") == pytest.approx(length, abs=1e-5)
    masses = np.array([6.94, 16.0, 6.94, 16.0])[:, None]
    centre = (x * masses).sum(axis=1, keepdims=True) / masses.sum()
    converted(tmp_path, tmp_path / "a.h5", drift="all")
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions(), x - (centre - centre[0]), atol=3e-5)
    converted(tmp_path, tmp_path / "a.h5", drift="auto")  # all, as no atom is left over
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.parameter("drift") == "all"
    with pytest.raises(UsageError, match="needs atoms that are not selected"):
        converted(tmp_path, tmp_path / "a.h5", drift="framework")


@pytest.mark.parametrize("every", [1, 7, 2999, 5000])
def test_every_nth_step(tmp_path, every):
    x = walk()
    run_folder(tmp_path, x)
    converted(tmp_path, tmp_path / "a.h5", every=every)
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions(), x[::every], atol=2e-5)
        np.testing.assert_allclose(t.times_ps, (np.arange(3000)[::every] + 2) * 2e-3)
        assert t.parameter("stored_interval_ps") == pytest.approx(2e-3 * every)


def test_wrapped_input_is_recognised_and_unwrapped(tmp_path):
    x = walk()
    folded = (x @ np.linalg.inv(CELL)) % 1.0 @ CELL
    assert np.abs(np.diff(folded, axis=0)).max() > 5
    run_folder(tmp_path, folded)
    _, warned = converted(tmp_path, tmp_path / "a.h5")
    assert "the coordinates look wrapped; use --unwrap" in warned[0]
    _, warned = converted(tmp_path, tmp_path / "a.h5", unwrap=True)
    assert not warned
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions() - t.positions()[:1], x - x[:1], atol=3e-5)
    run_folder(tmp_path, x)
    _, warned = converted(tmp_path, tmp_path / "b.h5")
    assert not warned


def test_other_codes(tmp_path):
    """A folded LAMMPS dump and an extended XYZ with velocities."""
    x = walk(300) * 3
    cell = np.diag([8.0, 9.0, 10.0])
    frames = [
        Atoms("LiOLiO", positions=p % np.diag(cell), cell=cell, pbc=True, velocities=p / 100)
        for p in x
    ]
    ase_write(tmp_path / "a.extxyz", frames)
    summary, warned = converted(
        tmp_path / "a.extxyz", tmp_path / "a.h5", format="extxyz", time_step_fs=10.0, unwrap=True
    )
    assert (summary.n_records, warned) == (300, [])
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions() - t.positions()[:1], x - x[:1], atol=3e-5)
        assert t.record_interval_ps == pytest.approx(0.01)
        assert list(t.species) == [3, 8, 3, 8]
        from ase.units import fs

        np.testing.assert_allclose(t.velocities(), x / 100 * fs * 1000, rtol=1e-4, atol=1e-6)
    ase_write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    summary, _ = converted(
        tmp_path / "XDATCAR", tmp_path / "b.h5", format="auto", time_step_fs=10.0, unwrap=True
    )
    assert summary.n_records == 300
    with pytest.raises(UsageError, match="--time-step"):
        converted(tmp_path / "a.extxyz", tmp_path / "c.h5", format="extxyz")
    with pytest.raises(UsageError):
        converted(tmp_path / "a.extxyz", tmp_path / "c.h5", format="nonsense", time_step_fs=1.0)
    (tmp_path / "bad.extxyz").write_text("4\nProperties=species:S:1:pos:R:3\nLi 0 0\n")
    with pytest.raises(DataError, match="holds no whole frame"):
        converted(tmp_path / "bad.extxyz", tmp_path / "c.h5", format="extxyz", time_step_fs=1.0)


@pytest.mark.parametrize("n_atoms", [1, 4])
def test_motion_that_comes_back_is_kept(tmp_path, n_atoms):
    """A vibration passes its first positions in every period: nothing was started again."""
    times = np.arange(600.0)[:, None, None]
    x = np.arange(3.0 * n_atoms).reshape(n_atoms, 3) + 0.3 * np.sin(2 * np.pi * times / 50)
    frames = [Atoms(["Li"] * n_atoms, positions=p) for p in x]
    ase_write(tmp_path / "a.extxyz", frames)
    summary, warned = converted(
        tmp_path / "a.extxyz", tmp_path / "a.h5", format="extxyz", time_step_fs=1.0
    )
    assert (summary.n_records, warned) == (600, [])
    (tmp_path / "run").mkdir()
    write_ani(tmp_path / "run/a.ANI", x, ["Li"] * n_atoms)
    summary, warned = converted(tmp_path / "run", tmp_path / "b.h5", time_step_fs=1.0)
    assert (summary.n_records, warned) == (600, [])


def test_other_readers_agree(data, tmp_path):
    converted(data / "short/npr_labels", tmp_path / "a.h5")
    with Trajectory(tmp_path / "a.h5") as ours:
        universe = MDAnalysis.Universe.empty(8, trajectory=True, velocities=True)
        universe.load_new(str(tmp_path / "a.h5"), format="H5MD")
        for i, step in enumerate(universe.trajectory):
            np.testing.assert_allclose(step.positions, ours.positions()[i], atol=1e-5)
            if i < ours.n_records - 1:
                np.testing.assert_allclose(step.velocities, ours.velocities()[i], atol=1e-4)
            assert step.time == pytest.approx(ours.times_ps[i])
            expected = np.linalg.norm(ours.cells()[i], axis=1)
            np.testing.assert_allclose(step.dimensions[:3], expected, rtol=1e-5)
        with File(str(tmp_path / "a.h5"), "r") as file:
            group = file.particles_group("trajectory")
            np.testing.assert_array_equal(group["velocity/value"][:], ours.velocities())
            assert group["position/value"].attrs["unit"] == "Angstrom"
            np.testing.assert_array_equal(group["species/value"][3], ours.species)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_many_runs_over_ranks(data, tmp_path, ranks):
    launcher = Path(sys.executable).parent / "mpiexec"
    if not launcher.exists():
        launcher = Path(shutil.which("mpiexec") or "")
    if not launcher.is_file():
        pytest.skip("no mpiexec")
    runs = [data / "short" / name for name in ("nve_lih8", "nose_li2o12", "out_only", "quench")]
    result = subprocess.run(
        [str(launcher), "-n", str(ranks), sys.executable, "-m", "mdgan_hpc.cli.convert"]
        + [*map(str, runs), "-o", str(tmp_path / "out"), "--select", "Li"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [Path(row[0]).stem for row in rows[1:5]] == [run.name for run in runs]
    assert [row[2] for row in rows[1:5]] == ["40", "40", "25", "15"]
    for run in runs:
        converted(run, tmp_path / "alone.h5", select="Li", drift="auto")
        with (
            h5py.File(tmp_path / "alone.h5") as alone,
            h5py.File(tmp_path / "out" / f"{run.name}.h5") as many,
        ):
            name = "particles/trajectory/position/value"
            np.testing.assert_array_equal(alone[name][:], many[name][:])


def test_one_failing_run_does_not_hold_up_the_others(data, tmp_path):
    (tmp_path / "empty").mkdir()
    result = command(
        tmp_path / "empty", data / "short/quench", "-o", tmp_path / "out", cwd=tmp_path
    )
    assert result.returncode == 1
    assert (tmp_path / "out/quench.h5").exists()
    assert "holds no run" in result.stdout
    assert "1 of 2 runs could not be converted" in result.stderr
    result = command(data / "short/quench", data / "short/quench", cwd=tmp_path)
    assert result.returncode == 2
    assert "would both become quench.h5" in result.stderr


def test_export_and_info(data, tmp_path):
    assert command(data / "short/nve_lih8", "-o", tmp_path / "a.h5").returncode == 0
    for form in ("extxyz", "npz"):
        result = command(tmp_path / "a.h5", "--export", form)
        assert result.returncode == 0, result.stderr
    with Trajectory(tmp_path / "a.h5") as t:
        frames = ase_read(tmp_path / "a.extxyz", index=":")
        assert len(frames) == 40
        np.testing.assert_allclose([f.positions for f in frames], t.positions(), atol=1e-6)
        np.testing.assert_allclose(frames[3].cell.array, t.cells()[3], atol=1e-7)
        assert frames[3].info["Time"] == pytest.approx(t.times_ps[3])
        np.testing.assert_allclose(frames[3].arrays["velo"], t.velocities()[3], atol=1e-6)
        np.testing.assert_allclose(frames[3].get_forces(), t.forces()[3], atol=1e-6)
        energy = t.observable("potential_energy")
        assert frames[3].get_potential_energy() == pytest.approx(energy[3], abs=1e-6)
        assert "velo" not in frames[-1].arrays  # nothing is known but the positions
        with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
            np.testing.assert_array_equal(archive["positions"], t.positions())
            np.testing.assert_array_equal(archive["velocities"], t.velocities())
            np.testing.assert_array_equal(archive["forces"], t.forces())
            np.testing.assert_array_equal(archive["cell"], t.cells())
            np.testing.assert_array_equal(archive["times_ps"], t.times_ps)
            np.testing.assert_array_equal(archive["temperature"], t.observable("temperature"))
    result = command(tmp_path / "a.h5", "--info")
    assert "frames       40" in result.stdout
    assert "H4 Li4" in result.stdout
    assert "interval     0.5 fs" in result.stdout
    assert "source       MD (lih.MD)" in result.stdout
    assert command(tmp_path / "a.h5", "--export", "npz").returncode == 2
    (tmp_path / "not.h5").write_text("text")
    for arguments in (["--info"], ["--export", "extxyz"]):
        result = command(tmp_path / "not.h5", *arguments)
        assert result.returncode == 1
        assert "is not an HDF5 file" in result.stderr


def test_provenance_names_the_inputs(data, tmp_path):
    converted(data / "short/nve_lih8", tmp_path / "a.h5")
    with Trajectory(tmp_path / "a.h5") as t:
        inputs = {Path(path).name for path in t.provenance["inputs"]}
        assert {"lih.MD", "lih.MDE", "lih.XV", "lih.fdf", "lih.out.gz"} <= inputs
        assert json.loads(json.dumps(t.provenance["config"]))["select"] == "all"


def test_dry_run_writes_nothing(data, tmp_path):
    result = command(data / "short/nve_lih8", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0
    assert "at most 40 frames" in result.stdout
    assert not list(tmp_path.iterdir())
