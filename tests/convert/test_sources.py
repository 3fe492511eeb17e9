"""Every form in which SIESTA leaves a trajectory gives the same numbers."""

import bz2
import gzip
import lzma
import shutil

import h5py
import numpy as np
import pytest
import zstandard
from ase.io import read as ase_read

from mdgan_hpc.convert.sources.siesta.ani import AniFile, ColumnParser
from mdgan_hpc.convert.sources.siesta.fa import read_fa
from mdgan_hpc.convert.sources.siesta.md import MdFile
from mdgan_hpc.convert.sources.siesta.md_car import MdCarFile
from mdgan_hpc.convert.sources.siesta.mdnc import MdNcFile
from mdgan_hpc.convert.sources.siesta.out import OutFile, Output
from mdgan_hpc.convert.sources.siesta.xv import read_struct, read_xv
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import SHORT, converted, read_raw_md, write_ani, write_md

BOHR = 0.529177


def everything(source):
    """Return positions, cells, steps and velocities of all records."""
    frames = list(source.frames())

    def joined(name):
        if getattr(frames[0], name) is None:
            return None
        return np.concatenate([getattr(f, name) for f in frames])

    return joined("positions"), joined("cells"), joined("steps"), joined("velocities")


#: Largest difference to `.MD` in Angstrom: half of the last printed digit, and of the cell's in
#: `.out` (6 decimals) times the atoms' fractions.
@pytest.mark.parametrize("run", SHORT)
def test_forms_agree_to_their_printed_digits(data, run):
    folder = data / "short" / run
    md = list(folder.glob("*.MD"))
    if not md:
        return
    steps, x, v = None, None, None
    reference = MdFile(Stream(md[0]))
    x, cells, steps, v = everything(reference)
    assert len(x) == SHORT[run][0]
    start = 0 if run.startswith("cg_") else 1
    if not run.startswith("restart"):
        np.testing.assert_array_equal(steps, np.arange(start, start + len(x)))
    nx, ncells, _, nv = everything(MdNcFile(Stream(next(folder.glob("*.MD.nc")))))
    np.testing.assert_array_equal(nx, x)
    np.testing.assert_array_equal(nv, v)
    if cells is not None:
        np.testing.assert_array_equal(ncells, cells)
    ax, *_ = everything(AniFile(Stream(next(folder.glob("*.ANI")))))
    assert np.abs(ax - x).max() < 5.01e-7
    cx, ccells, *_ = everything(MdCarFile(Stream(next(folder.glob("*.MD_CAR.gz")))))
    assert np.abs(cx - x).max() < 5e-9
    assert np.abs(ccells - ncells).max() < 1e-9
    outputs = [Output(Stream(path)) for path in sorted(folder.glob("*.out.gz"))]
    ox, ocells, osteps, _ = everything(OutFile(outputs, lattice_constant=4.08))
    if run == "restart_xv_only":  # the new start goes back by one step
        ox, x = np.delete(ox, 20, axis=0), np.delete(x, 19, axis=0)
    # Coordinates printed for step s + 1 are the record of step s.
    assert np.abs(ox[1:] - x[: len(ox) - 1]).max() < 1e-6
    if not run.startswith("restart"):
        np.testing.assert_array_equal(osteps, steps)
        assert np.abs(ocells[1:] - ncells[:-1]).max() < 6e-7


@pytest.mark.parametrize("run", SHORT)
def test_every_short_run(data, tmp_path, run):
    records, dt = SHORT[run]
    summary, warned = converted(data / "short" / run, tmp_path / "a.h5")
    duplicates = 1 if run == "restart_xv_only" else 0
    assert summary.n_records == records - duplicates
    assert summary.time_step_fs == pytest.approx(dt)
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.record_interval_ps == pytest.approx(dt / 1000)
        first = 1 if run in ("out_only", "cg_relax", "cg_varcell") else 2
        assert t.steps[0] == first
        assert t.times_ps[0] == pytest.approx(first * dt / 1000)
    expected = {
        "cg_relax": "relaxation",
        "cg_varcell": "relaxation",
        "restart_xv_only": "restart from .XV alone at record 20",
        "trunc_ani": "frame 247 is torn",
    }
    assert bool(warned) == (run in expected), warned
    if run in expected:
        assert expected[run] in warned[0]


def test_ase_reads_the_same(data, tmp_path):
    for run in ("nve_lih8", "nose_li2o12", "molecule_auto_cell"):
        path = next((data / "short" / run).glob("*.ANI"))
        ours, *_ = everything(AniFile(Stream(path)))
        theirs = np.array([a.positions for a in ase_read(path, index=":", format="xyz")])
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_sisl_reads_the_same(data):
    sisl = pytest.importorskip("sisl")
    folder = data / "short" / "npr_labels"
    geometry = sisl.get_sile(folder / "Li-D.npr.XV").read_geometry()
    x, *_ = everything(MdFile(Stream(folder / "Li-D.npr.MD")))
    assert np.abs(geometry.xyz - x[-1]).max() < 1e-5  # CODATA there
    path = data / "short" / "nve_lih8" / "lih.ANI"
    ours, *_ = everything(AniFile(Stream(path)))
    theirs = [frame.xyz for frame in sisl.get_sile(path).read_geometry[:]()]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_each_quantity_is_of_its_instant(data, tmp_path):
    """Positions of step s go with velocities and energies of step s, which the output confirms."""
    folder = data / "short" / "nve_lih8"
    converted(folder, tmp_path / "md.h5", source="MD")
    converted(folder, tmp_path / "out.h5", source="out")
    with Trajectory(tmp_path / "md.h5") as md, Trajectory(tmp_path / "out.h5") as out:
        np.testing.assert_array_equal(md.steps[:-1], out.steps[1:])
        np.testing.assert_allclose(md.positions()[:-1], out.positions()[1:], atol=2e-6)
        for name, tolerance in (("temperature", 0.006), ("potential_energy", 1e-4)):
            np.testing.assert_allclose(
                md.observable(name)[:-1], out.observable(name)[1:], atol=tolerance
            )
            assert np.isnan(md.observable(name)[-1])
            assert np.isfinite(out.observable(name)).all()
        # Verlet: v(s) = (x(s+1) - x(s-1)) / 2 dt, now all by step.
        x, v = md.positions().astype(float), md.velocities()
        central = (x[2:] - x[:-2]) / (2 * 0.5e-3)
        np.testing.assert_allclose(v[1:-1], central, atol=5e-3)
        assert np.isnan(v[-1]).all()
        assert "same instant" in md.parameter("pairing")


def test_forces_are_of_their_instant(data, tmp_path):
    """`WriteForces` in the output, whatever the positions come from; `.FA` has those of the end."""
    for run in ("v40_pr", "restart_verlet", "nve_lih8"):
        folder = data / "short" / run
        converted(folder, tmp_path / "md.h5", source="MD")
        converted(folder, tmp_path / "out.h5", source="out")
        with Trajectory(tmp_path / "md.h5") as md, Trajectory(tmp_path / "out.h5") as out:
            np.testing.assert_array_equal(md.forces()[:-1], out.forces()[1:])
            assert np.isfinite(out.forces()).all()
            assert np.isnan(md.forces()[-1]).all()
            last = read_fa(Stream(next(folder.glob("*.FA"))))
            np.testing.assert_allclose(out.forces()[-1], last, atol=6e-7)
            np.testing.assert_allclose(md.parameter("last_forces"), last)
            if run == "nve_lih8":
                # Newton, with SIESTA's factor: velocities change by F dt / m from step to step.
                change = np.diff(md.velocities()[:-1].astype(float), axis=0) / 0.5e-3
                pull = md.forces()[:-1].astype(float) / md.masses[:, None] * 9579.038
                np.testing.assert_allclose(change, 0.5 * (pull[1:] + pull[:-1]), atol=1.0)
                assert np.abs(change).max() > 6000
    converted(data / "short/molecule_auto_cell", tmp_path / "a.h5")  # forces are not printed
    with Trajectory(tmp_path / "a.h5") as t:
        assert not t.has_forces
        assert np.isfinite(t.observable("potential_energy")[:-1]).all()


def test_first_geometry_can_be_included(data, tmp_path):
    folder = data / "short" / "nve_lih8"
    converted(folder, tmp_path / "a.h5", include_initial=True)
    with Trajectory(tmp_path / "a.h5") as t:
        assert (t.n_records, t.steps[0]) == (41, 1)
        np.testing.assert_allclose(t.positions()[0, 1], [2.04, 0, 0], atol=1e-6)
        assert t.observable("temperature")[0] == pytest.approx(599.0, abs=2)
        first = read_raw_md(folder / "lih.MD")[2][0] * BOHR * 1000
        np.testing.assert_allclose(t.velocities()[0], first, rtol=1e-5, atol=1e-5)
    # The cell of a run that changes it.
    converted(data / "short/pr_lih8", tmp_path / "p.h5", include_initial=True)
    with Trajectory(tmp_path / "p.h5") as t:
        np.testing.assert_allclose(t.cells()[0], 4.08 * np.eye(3), atol=1e-6)
        assert np.abs(t.cells()[-1] - 4.08 * np.eye(3)).max() > 0.05
    # From the input alone, over a supercell.
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("sc.fdf", "sc.MD", "sc.XV"):
        shutil.copy(data / "short/supercell_constraints" / name, alone)
    converted(alone, tmp_path / "b.h5", include_initial=True)
    with Trajectory(tmp_path / "b.h5") as t:
        outputs = data / "short/supercell_constraints/sc.out.gz"
        told, *_ = everything(OutFile([Output(Stream(outputs))], lattice_constant=4.08))
        np.testing.assert_allclose(t.positions()[0], told[0], atol=1e-6)
    with pytest.raises(DataError, match="no file tells the first geometry"):
        converted(data / "long/run1", tmp_path / "c.h5", include_initial=True)


def test_cells_that_change(data, tmp_path):
    """`.MD` of an anneal has no cell although it moves: it comes from `.MD.nc`."""
    for run in ("anneal_lih8", "pr_lih8", "npr_labels", "v40_pr"):
        folder = data / "short" / run
        converted(folder, tmp_path / "a.h5")
        _, cells, *_ = everything(MdNcFile(Stream(next(folder.glob("*.MD.nc")))))
        with Trajectory(tmp_path / "a.h5") as t:
            assert t.constant_cell is None
            np.testing.assert_allclose(t.cells(), cells, atol=1e-12)
            # Volume of the step of the cell: one record after it.
            volumes = np.abs(np.linalg.det(t.cells()))
            np.testing.assert_allclose(t.observable("volume")[:-1], volumes[:-1], atol=1e-3)
    for name in ("ann.MD", "ann.XV", "ann.fdf", "ann.MD_CAR.gz"):
        shutil.copy(data / "short/anneal_lih8" / name, tmp_path)
    converted(tmp_path, tmp_path / "b.h5")
    with Trajectory(tmp_path / "b.h5") as t:
        _, cells, *_ = everything(MdNcFile(Stream(data / "short/anneal_lih8/ann.MD.nc")))
        np.testing.assert_allclose(t.cells(), cells, atol=1e-9)
    (tmp_path / "ann.MD_CAR.gz").unlink()
    _, warned = converted(tmp_path, tmp_path / "b.h5")
    assert "no file holds its history" in warned[0]


def test_species_labels_and_masses(data, tmp_path):
    folder = data / "short" / "npr_labels"
    converted(folder, tmp_path / "a.h5", select="Li.top")
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.n_particles == 2
        assert (t.species == 3).all()
        assert sorted(t.framework.species) == [1, 1, 1, 1, 3, 3]
        assert t.parameter("framework_masses").max() == pytest.approx(6.94)
    for select, count in (("Li", 4), ("D", 4), ("Li_b,Li.top", 4), ("1-3,8", 4), ("all", 8)):
        summary, _ = converted(folder, tmp_path / "a.h5", select=select)
        assert summary.n_atoms == count, select
    converted(folder, tmp_path / "a.h5", select="D")
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.masses, 2.014)


def test_ghosts_are_left_out(data, tmp_path):
    for name in ("lih.MD", "lih.XV", "lih.fdf"):
        shutil.copy(data / "short/nve_lih8" / name, tmp_path)
    rows = (tmp_path / "lih.XV").read_text().splitlines()
    assert rows[5].split()[1] == "1"
    rows[5] = rows[5][:3] + f"{-1:6d}" + rows[5][9:]
    (tmp_path / "lih.XV").write_text("\n".join(rows) + "\n")
    summary, _ = converted(tmp_path, tmp_path / "a.h5")
    assert summary.n_atoms == 7
    with Trajectory(tmp_path / "a.h5") as t:
        assert sorted(t.species) == [1, 1, 1, 3, 3, 3, 3]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("with_cell", [False, True])
def test_md_byte_orders_and_records(tmp_path, order, with_cell):
    generator = np.random.default_rng(1)
    x, v = generator.normal(size=(2, 30, 5, 3))
    cells = generator.normal(size=(30, 3, 3)) if with_cell else None
    write_md(tmp_path / "a.MD", range(1, 31), x, v, cells, order)
    source = MdFile(Stream(tmp_path / "a.MD"))
    assert (source.byte_order, source.has_cell, source.n_atoms) == (order, with_cell, 5)
    got, got_cells, steps, got_v = everything(source)
    np.testing.assert_array_equal(got, x * BOHR)
    np.testing.assert_allclose(got_v, v * BOHR * 1000)
    np.testing.assert_array_equal(steps, np.arange(1, 31))
    if with_cell:
        np.testing.assert_array_equal(got_cells, cells * BOHR)


@pytest.mark.parametrize(
    ("end", "pack"),
    [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".bz2", bz2.compress),
        (".zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_files(data, tmp_path, end, pack):
    for path in (data / "short/nve_lih8").iterdir():
        if path.suffix in (".MD", ".XV", ".fdf", ".MDE"):
            (tmp_path / f"{path.name}{end}").write_bytes(pack(path.read_bytes()))
    converted(tmp_path, tmp_path / "a.h5")
    converted(data / "short/nve_lih8", tmp_path / "b.h5")
    with Trajectory(tmp_path / "a.h5") as a, Trajectory(tmp_path / "b.h5") as b:
        np.testing.assert_array_equal(a.positions(), b.positions())
        np.testing.assert_array_equal(a.observable("pressure"), b.observable("pressure"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_file_cut_short(data, tmp_path, pack):
    shutil.copy(data / "long/run1/lih.fdf", tmp_path)
    text = gzip.decompress((data / "long/run1/lih.ANI.gz").read_bytes())[:1_000_000]
    packed = pack(text)
    (tmp_path / "lih.ANI.gz").write_bytes(packed[: len(packed) // 2])
    summary, warned = converted(tmp_path, tmp_path / "a.h5")
    assert 500 < summary.n_records < 1000
    assert "cannot be read beyond byte" in warned[0]
    assert "torn" in warned[1]


def test_ani_columns_that_touch(tmp_path):
    x = np.array([[[-1234.5, 10000.25, -9999.999999], [0.0, -0.000001, 99999.999999]]] * 3)
    write_ani(tmp_path / "a.ANI", x, ["Li", "H"])
    assert "-1234.50000010000.250000-9999.999999" in (tmp_path / "a.ANI").read_text()
    got, *_ = everything(AniFile(Stream(tmp_path / "a.ANI")))
    np.testing.assert_allclose(got, x, rtol=0, atol=1e-10)


def test_ani_digits_against_python(tmp_path):
    generator = np.random.default_rng(2)
    scale = 10.0 ** generator.integers(-6, 4, size=(50, 7, 3))
    x = np.round(generator.uniform(-1, 1, size=scale.shape) * scale * 9.9, 6)
    write_ani(tmp_path / "a.ANI", x, ["Li"] * 7)
    got, *_ = everything(AniFile(Stream(tmp_path / "a.ANI")))
    np.testing.assert_allclose(got, x, rtol=0, atol=1e-11)


def test_ani_fields_that_are_no_numbers():
    """The fast parser takes a field exactly when Fortran would print it."""
    fields = {
        b"    1.000000": True,
        b"   -1.000000": True,
        b"  - 1.000000": False,
        b"  --1.000000": False,
        b"  1 1.000000": False,
        b"      .10000": False,
        b"    1.00 000": False,
        b"    1,000000": False,
        b"************": False,
        b"    1.00000-": False,
        b"   +1.000000": False,
        b"     .000000": False,
        b"  1-1.000000": False,
        b"    ::000000": False,
        b"    \x001.00000": False,
        b"         NaN": False,
        b"    /.000000": False,
        b"    1.0000\x3a0": False,
        b"    \xb1.000000": False,
    }
    for text, expected in fields.items():
        line = b"Li  " + text + b"    2.000000    3.000000\n"
        _, good = ColumnParser(1, 1, 7, 41).parse(b"    1\n\n" + line, 1)
        assert bool(good[0]) == expected, text


def test_ani_line_ends_and_free_format(tmp_path):
    x = np.random.default_rng(3).normal(size=(4, 2, 3)).round(6)
    write_ani(tmp_path / "a.ANI", x, ["Li", "H"])
    text = (tmp_path / "a.ANI").read_bytes()
    (tmp_path / "b.ANI").write_bytes(text.replace(b"\n", b"\r\n"))
    free = "".join(
        f"2\ncomment\nLi {a[0]:.6f} {a[1]:.6f} {a[2]:.6f}\nH {b[0]:.6f} {b[1]:.6f} {b[2]:.6f}\n"
        for a, b in x
    )
    (tmp_path / "c.ANI").write_text(free)
    for name in "abc":
        got, *_ = everything(AniFile(Stream(tmp_path / f"{name}.ANI")))
        np.testing.assert_allclose(got, x, atol=1e-12)


def test_torn_frames_keep_their_place(tmp_path):
    x = np.random.default_rng(4).normal(size=(3000, 4, 3)).round(6)
    write_ani(tmp_path / "a.ANI", x, ["Li", "H", "Li", "H"])
    size = 7 + 41 * 4
    text = (tmp_path / "a.ANI").read_bytes()
    cut = text[: 2000 * size + 60] + text[2001 * size :]
    (tmp_path / "a.ANI").write_bytes(cut)
    with pytest.warns(DataWarning, match="frame 2000 is torn"):
        frames = list(AniFile(Stream(tmp_path / "a.ANI")).frames())
    records = np.concatenate([f.record for f in frames])
    np.testing.assert_array_equal(records, np.delete(np.arange(3000), 2000))
    got = np.concatenate([f.positions for f in frames])
    np.testing.assert_allclose(got, np.delete(x, 2000, axis=0), atol=1e-12)

    v = np.zeros_like(x)
    write_md(tmp_path / "a.MD", range(1, 3001), x, v)
    data = (tmp_path / "a.MD").read_bytes()
    size = 12 + 48 * 4
    # gfortran writes a zero first and the length when the record is complete.
    torn = bytes(4) + data[2000 * size + 4 : 2000 * size + 90]
    (tmp_path / "a.MD").write_bytes(data[: 2000 * size] + torn + data[2001 * size :])
    with pytest.warns(DataWarning, match="record 2000 is torn"):
        frames = list(MdFile(Stream(tmp_path / "a.MD")).frames())
    steps = np.concatenate([f.steps for f in frames])
    np.testing.assert_array_equal(steps, np.delete(np.arange(1, 3001), 2000))


def test_last_geometry_files(data):
    folder = data / "short" / "nve_lih8"
    x, _, _, v = everything(MdFile(Stream(folder / "lih.MD")))
    last = read_xv(Stream(folder / "lih.XV"))
    np.testing.assert_allclose(last.positions * BOHR, x[-1], atol=1e-9)
    np.testing.assert_allclose(last.velocities * BOHR * 1000, v[-1], atol=1e-5)
    evaluated = read_struct(Stream(folder / "lih.STRUCT_OUT"))
    np.testing.assert_allclose(evaluated.positions @ evaluated.cell, x[-2], atol=1e-7)
    assert list(evaluated.atomic_numbers) == [3, 1] * 4
    forces = read_fa(Stream(folder / "lih.FA"))
    assert forces[0] == pytest.approx([-0.536785486, 0.19405959, -0.523631905])
    assert read_fa(Stream(data / "short/v40_pr/lih40.FA")).shape == (8, 3)


def test_output_heads(data):
    head = Output(Stream(data / "short/v40_pr/lih40.out.gz")).head
    assert (head.version, head.label, head.time_step_fs) == ("siesta-4.0--582", "lih40", 1.0)
    head = Output(Stream(data / "short/npr_labels/Li-D.npr.out.gz")).head
    assert head.species == {1: (3, "Li_b"), 2: (1, "D"), 3: (3, "Li.top")}
    assert head.masses["D"] == pytest.approx(2.014)


def test_contradictions_are_reported(data, tmp_path):
    for name in ("lih.MD", "lih.ANI", "lih.XV", "lih.fdf"):
        shutil.copy(data / "short/nve_lih8" / name, tmp_path)
    text = (tmp_path / "lih.ANI").read_text()
    assert text.count("    2.040936") == 1
    (tmp_path / "lih.ANI").write_text(text.replace("    2.040936", "    2.040937"))
    _, warned = converted(tmp_path, tmp_path / "a.h5")
    assert len(warned) == 0  # the last digit may differ by one
    (tmp_path / "lih.ANI").write_text(text.replace("    2.040936", "    2.050936"))
    _, warned = converted(tmp_path, tmp_path / "a.h5")
    assert "lih.MD and ANI contradict each other in 1 records, the first is 0" in warned[0]
    with pytest.raises(DataError, match="contradict"):
        converted(tmp_path, tmp_path / "a.h5", strict=True)
    _, warned = converted(tmp_path, tmp_path / "a.h5", check=False)
    assert not warned
    (tmp_path / "lih.ANI").write_text(text[: len(text) * 3 // 4])
    summary, warned = converted(tmp_path, tmp_path / "a.h5")
    assert summary.n_records == 40


def test_bare_ani_needs_a_time_step(data, tmp_path):
    shutil.copy(data / "short/nve_lih8/lih.ANI", tmp_path)
    with pytest.raises(UsageError, match="--time-step"):
        converted(tmp_path, tmp_path / "a.h5")
    converted(tmp_path, tmp_path / "a.h5", time_step_fs=0.5)
    with Trajectory(tmp_path / "a.h5") as t:
        assert (t.steps[0], t.has_cell) == (2, False)
        assert t.record_interval_ps == pytest.approx(0.5e-3)
        assert list(t.species) == [3, 1] * 4


def test_damaged_best_source_gives_way(data, tmp_path):
    for name in ("lih.MD", "lih.ANI", "lih.XV", "lih.fdf"):
        shutil.copy(data / "short/nve_lih8" / name, tmp_path)
    (tmp_path / "lih.MD").write_bytes(b"nothing of the kind")
    summary, warned = converted(tmp_path, tmp_path / "a.h5")
    assert summary.source == "ANI"
    assert "ANI is read instead" in warned[0]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["parameters/source"][()].decode() == "ANI (lih.ANI)"
