"""The input language as SIESTA reads it."""

import numpy as np
import pytest

from mdgan_hpc.convert.sources.siesta.fdf import Fdf
from mdgan_hpc.convert.sources.siesta.out import Output
from mdgan_hpc.convert.sources.siesta.xv import read_xv
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError
from tests.support.siesta_runs import SHORT

BOHR = 0.529177


def parsed(tmp_path, text, **others):
    for name, content in others.items():
        (tmp_path / name.replace("_", ".")).write_text(content)
    (tmp_path / "in.fdf").write_text(text)
    return Fdf.read(tmp_path / "in.fdf")


def test_labels_ignore_case_and_separators(tmp_path):
    fdf = parsed(tmp_path, "sYsTem_Label  first # comment\nSystem.Label second\nMD.Quench\n")
    assert fdf.text("SystemLabel") == "first"
    assert fdf.flag("md-quench")
    assert not fdf.flag("MD.VariableCell")
    assert parsed(tmp_path, "MD.Quench = .false. ; no\n").flag("MD.Quench") is False
    assert parsed(tmp_path, "NumberOfAtoms: 12\n").integer("NumberOfAtoms", 0) == 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5 fs", 1.5),
        ("0.0015 ps", 1.5),
        ("1.5", 1.5),
        ("1.5d0 FS", 1.5),
        ("2.d-15 s", 2.0),
        ("1d-18 day", 86.4),
    ],
)
def test_time_units(tmp_path, text, expected):
    fdf = parsed(tmp_path, f"MD.LengthTimeStep {text}\n")
    assert fdf.time_step_fs() == pytest.approx(expected)
    assert parsed(tmp_path, "").time_step_fs() == 1.0


def test_unknown_units_and_bad_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match="unit 'parsec' is not known"):
        parsed(tmp_path, "MD.LengthTimeStep 1 parsec").time_step_fs()
    with pytest.raises(DataError, match="'x' is not a number"):
        parsed(tmp_path, "MD.LengthTimeStep x fs").time_step_fs()
    with pytest.raises(DataError, match="block AtomicMass has no end"):
        parsed(tmp_path, "%block AtomicMass\n1 2.0\n")


def test_includes_and_redirections(tmp_path):
    fdf = parsed(
        tmp_path,
        "SystemLabel main\n%include more.fdf\nMeshCutoff NumberOfAtoms < other.fdf\n"
        "%block LatticeVectors < cell.dat\n%block AtomicMass < other.fdf\nLatticeConstant 2 Ang\n",
        more_fdf="SystemLabel hidden\nMD.LengthTimeStep 3 fs\n",
        other_fdf="NumberOfAtoms 7\nMD.LengthTimeStep 9 fs\n%block AtomicMass\n 1 7.5\n%endblock\n",
        cell_dat="1 0 0\n0 2 0 # b\n0 0 3\n",
    )
    assert fdf.text("SystemLabel") == "main"
    assert fdf.time_step_fs() == 3.0
    assert fdf.integer("NumberOfAtoms", 0) == 7
    assert fdf.masses() == {1: 7.5}
    np.testing.assert_allclose(fdf.cell(), np.diag([2.0, 4.0, 6.0]))
    with pytest.raises(DataError, match=r"takes from gone\.fdf, which is not there"):
        parsed(tmp_path, "%include gone.fdf\n")
    with pytest.raises(DataError, match="levels deep"):
        parsed(tmp_path, "%include in.fdf\n")


def test_included_files_are_those_of_the_run_folder(tmp_path):
    """SIESTA opens them where it runs, also those named in an included file."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.fdf").write_text("%include b.fdf\n%include c.fdf\n")
    (tmp_path / "sub/b.fdf").write_text("MD.LengthTimeStep 7 fs\n")
    (tmp_path / "sub/c.fdf").write_text("SystemLabel beside\n")
    fdf = parsed(tmp_path, "%include sub/a.fdf\n", b_fdf="MD.LengthTimeStep 8 fs\n")
    assert fdf.time_step_fs() == 8.0
    assert fdf.text("SystemLabel") == "beside"


def test_quotes_and_comments(tmp_path):
    fdf = parsed(tmp_path, "SystemLabel \"my #1 run\" ! Li's\nMD.Quench T # 'on'\n")
    assert fdf.text("SystemLabel") == "my #1 run"
    assert fdf.flag("MD.Quench")


def test_atoms_that_only_siesta_places(tmp_path):
    atoms = "%block AtomicCoordinatesAndAtomicSpecies\n 1 2 3 1\n%endblock\n"
    assert parsed(tmp_path, atoms).atoms() is not None
    assert parsed(tmp_path, "AtomicCoordinatesOrigin COP\n" + atoms).atoms() is None
    assert parsed(tmp_path, "MD.UseStructFile T\n" + atoms).atoms() is None


def test_cells(tmp_path):
    assert parsed(tmp_path, "").cell() is None
    np.testing.assert_allclose(
        parsed(tmp_path, "LatticeConstant 2.0\n").cell(), 2 * BOHR * np.eye(3)
    )
    hexagonal = parsed(
        tmp_path,
        "LatticeConstant 1.0 Ang\n%block LatticeParameters\n 3. 3. 5. 90. 90. 120.\n%endblock\n",
    ).cell()
    np.testing.assert_allclose(
        hexagonal, [[3, 0, 0], [-1.5, 3 * np.sqrt(0.75), 0], [0, 0, 5]], atol=1e-12
    )
    from ase.geometry import cellpar_to_cell

    triclinic = parsed(
        tmp_path,
        "LatticeConstant 1 Ang\n%block LatticeParameters\n3 4 5 80 95 110\n%endblock\n",
    ).cell()
    np.testing.assert_allclose(triclinic, cellpar_to_cell([3, 4, 5, 80, 95, 110]), atol=1e-12)


@pytest.mark.parametrize("run", SHORT)
def test_inputs_of_the_sample_runs(data, run):
    """Cell, atoms and species of the input are those of the run."""
    folder = data / "short" / run
    fdf = Fdf.read(sorted(folder.glob("*.fdf"))[0])
    geometry = read_xv(Stream(next(folder.glob("*.XV"))))
    positions, species = fdf.atoms()
    np.testing.assert_array_equal(species, geometry.species)
    table = fdf.species()
    np.testing.assert_array_equal([table[i][0] for i in species], geometry.atomic_numbers)
    assert fdf.time_step_fs() == pytest.approx(1.0 if run.startswith("cg_") else SHORT[run][1])
    step = next(Output(Stream(sorted(folder.glob("*.out.gz"))[0])).steps())
    if step.coordinates is not None and step.cell is not None and run != "restart_xv_only":
        np.testing.assert_allclose(fdf.cell(), step.cell, atol=6e-7)
        assert len(positions) == len(step.coordinates)
