"""Exported files, opened by the programs that they are for."""

import json
import struct

import h5py
import MDAnalysis
import netCDF4
import numpy as np
import pytest
from ase.calculators.vasp import VaspChargeDensity
from ase.data import chemical_symbols
from ase.io import read as ase_read
from ase.io.cube import read_cube_data

from mdgan_hpc.convert.export import EXPORTS, export
from mdgan_hpc.convert.settings import ExportConfig
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.writer import TrajectoryWriter
from mdgan_hpc.units import ANGSTROM_PER_BOHR
from tests.support.commands import run
from tests.support.foreign import walk, write_dump
from tests.support.siesta_runs import converted

TRICLINIC = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 1.5, 10.0]])
#: The same cell, turned about an axis along no vector.
TURN = np.linalg.qr(np.array([[1.0, 2.0, 0.5], [-0.3, 1.0, 2.0], [1.5, 0.2, 1.0]]))[0]
SPECIES = np.array([3, 3, 8, 3, 8, 8])
RECORDS = 50


def written(path, x, cell, *, velocities=None, cells=None):
    """Write walks [T, N, 3] as a trajectory file of ours."""
    with TrajectoryWriter(path, species=SPECIES, cell=cell) as writer:
        n = np.arange(len(x))
        writer.append(x, 10 * n, 0.02 * n, cells=cells, velocities=velocities)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def source(folder):
    """Return a file of ions in a triclinic cell that lies as programs expect it."""
    x = walk(RECORDS, 6, pace=1.0)
    return written(folder / "a.h5", x, TRICLINIC, velocities=np.gradient(x, 0.02, axis=0))


@pytest.fixture(scope="module")
def truth(source):
    with Trajectory(source) as t:
        return t.positions().astype(float), t.velocities().astype(float)


def universe(path, **options):
    found = MDAnalysis.Universe.empty(6, trajectory=True)
    found.load_new(str(path), **options)
    return found


@pytest.mark.parametrize("format", ["amber", "xtc"])
def test_opened_by_mdanalysis(source, truth, format):
    path = source.with_suffix(EXPORTS[format].ending)
    assert export(source, path, format) == RECORDS
    found = universe(path)
    assert len(found.trajectory) == RECORDS
    x = np.array([ts.positions.copy() for ts in found.trajectory])
    # XTC stores thousandths of an Angstrom.
    np.testing.assert_allclose(x, truth[0], atol=1e-6 if format == "amber" else 6e-4)
    np.testing.assert_allclose(
        [ts.time for ts in found.trajectory], 0.02 * np.arange(50), atol=1e-6
    )
    np.testing.assert_allclose(found.trajectory[7].triclinic_dimensions, TRICLINIC, atol=1e-4)
    if format == "amber":
        v = np.array([ts.velocities.copy() for ts in found.trajectory])
        np.testing.assert_allclose(v, truth[1], rtol=1e-6)


def test_amber_is_netcdf_and_lossless(source):
    export(source, source.with_suffix(".ncdf"), "amber")
    with netCDF4.Dataset(source.with_suffix(".ncdf")) as file, Trajectory(source) as t:
        assert (file.Conventions, file.ConventionVersion) == ("AMBER", "1.0")
        np.testing.assert_array_equal(file["coordinates"][:], t.positions())
        assert bytes(file["cell_angular"][:].data.ravel()) == b"alphabeta gamma"
        np.testing.assert_allclose(file["time"][:], t.times_ps, rtol=1e-6)


def test_lammps_dump_opened_by_ase_and_by_ourselves(source, truth):
    path = source.with_suffix(".dump")
    export(source, path, "lammps-dump")
    frames = ase_read(path, index=":", format="lammps-dump-text")
    assert len(frames) == RECORDS
    np.testing.assert_allclose([f.positions for f in frames], truth[0], atol=2e-6)
    np.testing.assert_allclose(frames[0].cell.array, TRICLINIC, atol=1e-6)
    assert list(frames[0].numbers) == list(SPECIES)
    converted(path, source.with_name("back.h5"), format="lammps-dump", drift="none")
    with Trajectory(source.with_name("back.h5")) as t:
        np.testing.assert_allclose(t.positions(), truth[0], atol=2e-6)
        np.testing.assert_allclose(t.velocities(), truth[1], rtol=1e-6)
        np.testing.assert_allclose(t.times_ps, 0.02 * np.arange(RECORDS), atol=1e-9)
        assert list(t.species) == list(SPECIES)


def test_folded_dump_keeps_the_way_in_its_images(source, truth):
    path = source.with_name("folded.dump")
    export(source, path, "lammps-dump", ExportConfig(wrap=True))
    frames = ase_read(path, index=":", format="lammps-dump-text")
    fractions = np.array([f.get_scaled_positions(wrap=False) for f in frames])
    assert fractions.min() > -1e-6
    assert fractions.max() < 1 + 1e-6
    converted(path, source.with_name("unfolded.h5"), format="lammps-dump", drift="none")
    with Trajectory(source.with_name("unfolded.h5")) as t:
        np.testing.assert_allclose(t.positions(), truth[0], atol=2e-6)


@pytest.mark.parametrize("format", ["amber", "xtc", "lammps-dump"])
def test_a_turned_cell_keeps_its_distances(folder, truth, format):
    """Lengths and angles, or a lower triangle, cannot tell how a cell lies in space."""
    source = written(folder / f"turned-{format}.h5", truth[0] @ TURN, TRICLINIC @ TURN)
    path = source.with_suffix(EXPORTS[format].ending)
    export(source, path, format)
    if format == "lammps-dump":
        frames = ase_read(path, index=":", format="lammps-dump-text")
        x = np.array([f.positions for f in frames])
        cell = frames[3].cell.array
    else:
        found = universe(path)
        x = np.array([ts.positions.copy() for ts in found.trajectory])
        cell = found.trajectory[3].triclinic_dimensions
    np.testing.assert_allclose(cell, TRICLINIC, atol=1e-4)
    inside = x @ np.linalg.inv(TRICLINIC)
    np.testing.assert_allclose(inside, truth[0] @ np.linalg.inv(TRICLINIC), atol=2e-4)


def test_parts(source, truth):
    config = ExportConfig(select="Li", records="5:45", times_ps="0.2:0.5", every=4)
    for format, read in (
        ("extxyz", lambda p: np.array([f.positions for f in ase_read(p, index=":")])),
        ("npz", lambda p: np.load(p)["positions"]),
    ):
        path = source.with_name(f"part.{format}")
        assert export(source, path, format, config) == 4
        np.testing.assert_allclose(read(path), truth[0][10:26:4, SPECIES == 3], atol=1e-6)
    with np.load(source.with_name("part.npz")) as archive:
        np.testing.assert_allclose(archive["times_ps"], 0.02 * np.arange(10, 26, 4))
        assert list(archive["species"]) == [3, 3, 3]
        assert archive["cell"].shape == (4, 3, 3)
        np.testing.assert_allclose(
            archive["velocities"], truth[1][10:26:4, SPECIES == 3], rtol=1e-6
        )


def test_density_in_chgcar_and_cube(source, truth):
    """All ions are in it, at their places, in the units of each format."""
    for format in ("chgcar", "cube"):
        export(source, source.with_name(format), format, ExportConfig(select="Li"))
    found = VaspChargeDensity(str(source.with_name("chgcar")))
    values, atoms = found.chg[0], found.atoms[0]  # ASE divides by the volume
    voxel = np.linalg.det(TRICLINIC) / values.size
    assert values.sum() * voxel == pytest.approx(3)
    inside = truth[0][:, SPECIES == 3] @ np.linalg.inv(TRICLINIC) % 1.0
    counts, _ = np.histogramdd(inside.reshape(-1, 3), values.shape, [(0, 1)] * 3)
    np.testing.assert_allclose(values, counts / RECORDS / voxel, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(atoms.cell.array, TRICLINIC, atol=1e-9)
    cubed, drawn = read_cube_data(str(source.with_name("cube")))
    np.testing.assert_allclose(cubed / ANGSTROM_PER_BOHR**3, values, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(drawn.cell.array, TRICLINIC, atol=1e-6)
    np.testing.assert_allclose(drawn.get_scaled_positions(), inside[0], atol=1e-6)


def test_density_with_the_framework(data, folder):
    converted(data / "short/nve_lih8", folder / "md.h5", select="Li")
    export(folder / "md.h5", folder / "md.CHGCAR", "chgcar")
    found = VaspChargeDensity(str(folder / "md.CHGCAR"))
    assert found.atoms[0].get_chemical_formula() == "H4"
    with Trajectory(folder / "md.h5") as t:
        volume = np.linalg.det(t.cells().mean(0))
    assert found.chg[0].mean() * volume == pytest.approx(4, rel=1e-6)


def test_a_changing_cell(folder):
    """Each record has its own."""
    x = walk(RECORDS, 6, pace=0.1)
    scale = 1 + 0.01 * np.sin(np.arange(RECORDS))
    cells = scale[:, None, None] * TRICLINIC
    source = written(folder / "npt.h5", x, None, cells=cells)
    for format in ("amber", "xtc"):
        export(source, source.with_suffix(EXPORTS[format].ending), format)
        found = universe(source.with_suffix(EXPORTS[format].ending))
        told = [ts.triclinic_dimensions for ts in found.trajectory]
        np.testing.assert_allclose(told, cells, atol=2e-4)
    export(source, folder / "npt.dump", "lammps-dump", ExportConfig(wrap=True))
    frames = ase_read(folder / "npt.dump", index=":", format="lammps-dump-text")
    np.testing.assert_allclose([f.cell.array for f in frames], cells, atol=1e-6)


def test_without_a_cell(folder):
    x = walk(20, 6)
    source = written(folder / "free.h5", x, None)
    export(source, folder / "free.nc", "amber")
    np.testing.assert_allclose(
        [ts.positions.copy() for ts in universe(folder / "free.nc").trajectory], x, atol=1e-5
    )
    export(source, folder / "free.dump", "lammps-dump")
    frames = ase_read(folder / "free.dump", index=":", format="lammps-dump-text")
    np.testing.assert_allclose([f.positions for f in frames], x, atol=2e-6)
    with pytest.raises(UsageError, match="no density"):
        export(source, folder / "free.cube", "cube")
    with pytest.raises(UsageError, match="--wrap needs a cell"):
        export(source, folder / "free.xyz", "extxyz", ExportConfig(wrap=True))


def test_many_pieces(source, truth, monkeypatch):
    """Records come in pieces however long the file is."""
    monkeypatch.setattr("mdgan_hpc.convert.export.excerpt._PIECE_VALUES", 60)
    export(source, source.with_name("pieces.nc"), "amber", ExportConfig(every=3))
    x = [ts.positions.copy() for ts in universe(source.with_name("pieces.nc")).trajectory]
    np.testing.assert_allclose(x, truth[0][::3], atol=1e-6)


def test_no_number_is_no_frame(folder):
    source = written(folder / "nan.h5", walk(20, 6), TRICLINIC)
    with h5py.File(source, "r+") as file:
        file["particles/trajectory/position/value"][7, 3, 1] = np.nan
    for format in EXPORTS:
        with pytest.raises(DataError, match="record 7: holds positions that are no numbers"):
            export(source, folder / f"nan.{format}", format)
        assert not (folder / f"nan.{format}").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--export", "cube", "--wrap"], "--wrap does nothing for cube"),
        (["--export", "xtc", "--spacing", "0.1"], "--spacing does nothing for xtc"),
        (["--export", "xtc", "--unwrap"], "--unwrap does nothing with --export"),
        (["--export", "xtc", "--times", "9:"], "it holds 50 records from 0 to 0.98 ps"),
        (["--export", "xtc", "--times", "now"], "--times now is not START:STOP in ps"),
        (["--export", "xtc", "--select", "Na"], "--select 'Na' names no atom"),
        (["--info", "--wrap"], "--wrap does nothing with --info"),
        (["--times", "0:1"], "--times does nothing with a conversion"),
    ],
)
def test_options_that_cannot_be(source, tmp_path, options, told):
    if "--export" in options:
        options = [*options, "-o", "new"]
    done = run("mdgan_hpc.cli.convert", source, *options, folder=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_command(source, tmp_path):
    done = run(
        "mdgan_hpc.cli.convert",
        source,
        "--export",
        "xtc",
        "--select",
        "1-2",
        "-o",
        tmp_path / "b.xtc",
    )
    assert done.stdout == f"{tmp_path / 'b.xtc'}: 50 records\n"
    magic, n_atoms = struct.unpack(">ii", (tmp_path / "b.xtc").read_bytes()[:8])
    assert (magic, n_atoms) == (1995, 2)


OVITO = "OVITO's module does not run here: .ci/run installs it and the libraries it needs"


@pytest.fixture(scope="module")
def ovito():
    return pytest.importorskip("ovito.io", reason=OVITO, exc_type=ImportError)


@pytest.mark.parametrize("format", ["amber", "extxyz", "lammps-dump", "xtc"])
def test_opened_by_ovito(source, truth, ovito, format):
    path = source.with_name(f"ovito{EXPORTS[format].ending}")
    export(source, path, format)
    pipeline = ovito.import_file(str(path))
    assert pipeline.source.num_frames == RECORDS
    for record in range(RECORDS):
        frame = pipeline.compute(record)
        vectors, origin = np.split(np.array(frame.cell), [3], axis=1)  # columns
        np.testing.assert_allclose(vectors.T, TRICLINIC, atol=1e-4)
        # Of XTC, it puts the centre of the cell to the origin, and the ions with it.
        x = np.array(frame.particles.positions) - origin.T
        np.testing.assert_allclose(x, truth[0][record], atol=6e-4 if format == "xtc" else 2e-6)
        assert frame.attributes.get("Time", frame.attributes.get("time")) == pytest.approx(
            0.02 * record, abs=1e-6
        )
    if format in ("extxyz", "lammps-dump"):
        types = frame.particles.particle_types
        names = [types.type_by_id(number).name for number in types]
        assert names == [chemical_symbols[number] for number in SPECIES]


@pytest.mark.parametrize("format", ["chgcar", "cube"])
def test_density_opened_by_ovito(source, ovito, format):
    path = source.with_name(f"ovito{EXPORTS[format].ending}")
    export(source, path, format)
    frame = ovito.import_file(str(path)).compute()
    (grid,) = frame.grids.values()
    (name,) = grid.keys()
    vectors = np.array(grid.domain)[:, :3].T
    np.testing.assert_allclose(vectors, TRICLINIC, atol=1e-5)
    inside = np.array(grid[name]).reshape(grid.shape, order="F")
    if format == "chgcar":
        expected = VaspChargeDensity(str(path)).chg[0]
    else:  # in which it turns 1/bohr^3 into 1/Angstrom^3
        expected = read_cube_data(str(path))[0] / ANGSTROM_PER_BOHR**3
    np.testing.assert_allclose(inside, expected, rtol=1e-5, atol=1e-9)


@pytest.fixture(scope="module")
def of_ours(folder):
    """A file of mdgan-convert, of ions among other atoms."""
    x = np.concatenate([walk(40, 6, pace=1.0), np.tile(walk(1, 4), (40, 1, 1))], axis=1)
    write_dump(folder / "a.dump", x, columns="id type xu yu zu", row=_typed)
    options = ["--format", "lammps-dump", "--species", "Li,O", "--time-step", 10]
    told = ["--select", "Li", "--temperature", 900]
    done = run("mdgan_hpc.cli.convert", folder / "a.dump", "-o", folder / "c.h5", *options, *told)
    assert done.returncode == 0, done.stderr
    return folder / "c.h5"


def _typed(index, place):
    return [index + 1, 1 if index < 6 else 2, *place]


def test_a_part_as_a_file_of_ours(of_ours, tmp_path):
    out = tmp_path / "part.h5"
    options = ["--every", 3, "--records", "4:34", "--select", "1-4"]
    done = run("mdgan_hpc.cli.convert", of_ours, "--export", "h5md", "-o", out, *options)
    assert done.returncode == 0, done.stderr
    with Trajectory(out) as part, Trajectory(of_ours) as whole:
        np.testing.assert_array_equal(part.positions(), whole.positions()[4:34:3, :4])
        np.testing.assert_array_equal(part.times_ps, whole.times_ps[4:34:3])
        np.testing.assert_array_equal(part.steps, whole.steps[4:34:3])
        assert part.record_interval_ps == pytest.approx(3 * whole.record_interval_ps)
        np.testing.assert_array_equal(part.constant_cell, whole.constant_cell)
        np.testing.assert_array_equal(part.framework.position, whole.framework.position)
        np.testing.assert_array_equal(part.masses, whole.masses[:4])
        same = {"drift", "drift_length", "temperature_target", "time_step_fs", "source"}
        assert same < whole.parameters.keys()
        for name in same:
            assert part.parameter(name) == whole.parameter(name), name
        interval = whole.parameter("stored_interval_ps")
        assert part.parameter("stored_interval_ps") == pytest.approx(3 * interval)
        assert part.parameter("species_labels") == "Li,Li,Li,Li"
        assert json.loads(part.parameter("source_provenance"))["inputs"]
        assert str(of_ours) in part.provenance["inputs"]


def test_a_file_of_ours_is_no_source(of_ours, tmp_path):
    """Once the drift of the ions themselves was taken off, without a word."""
    for options, told in (
        (["--format", "h5md"], "--export h5md"),
        ([], "--export h5md takes a part"),
    ):
        done = run("mdgan_hpc.cli.convert", of_ours, "-o", tmp_path / "b.h5", *options)
        assert done.returncode == 2
        assert told in done.stderr
        assert not (tmp_path / "b.h5").exists()


def test_cells_of_generated_ions_are_not_taken_apart(folder, tmp_path):
    path = folder / "made.h5"
    models = np.arange(6) // 3
    parameters = {"simulated_together": 3, "model_of_particle": models}
    with TrajectoryWriter(path, species=SPECIES, cell=TRICLINIC, parameters=parameters) as writer:
        n = np.arange(20)
        writer.append(walk(20, 6), 10 * n, 0.02 * n)
    given = ["mdgan_hpc.cli.convert", path, "--export", "h5md", "-o", tmp_path / "a.h5"]
    apart = run(*given, "--select", "1-4").stderr
    assert "cells of 3 ions apart" in apart
    assert "choose whole cells, such as 1-3" in apart
    assert run(*given, "--select", "4-6").returncode == 0
    with Trajectory(tmp_path / "a.h5") as part, Trajectory(path) as whole:
        assert part.ions_per_cell == 3
        assert part.parameter("model_of_particle").tolist() == [1, 1, 1]
        np.testing.assert_array_equal(part.positions(), whole.positions()[:, 3:])
    assert run(*given, "--every", 2, "--force").returncode == 0
    with Trajectory(tmp_path / "a.h5") as part:
        assert part.ions_per_cell == 3
        np.testing.assert_array_equal(part.parameter("model_of_particle"), models)
