"""Runs of SIESTA 5: CODATA constants, other attributes, the conserved energy in `.MD.nc`."""

import gzip
import lzma

import numpy as np
import pytest

from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.siesta.constants import (
    FROM_5_0,
    UP_TO_4_1,
    constants_of,
    constants_of_cells,
)
from mdgan_hpc.convert.sources.siesta.mdnc import MdNcFile
from mdgan_hpc.convert.sources.siesta.out import Output
from mdgan_hpc.convert.sources.siesta.run import open_source
from mdgan_hpc.convert.streams import Files, Stream
from mdgan_hpc.trajectory import Trajectory
from tests.support import siesta_5
from tests.support.siesta_5 import BOHR, RYDBERG
from tests.support.siesta_runs import converted


def constants_used(folder):
    with Files() as files:
        return open_source(folder, ConvertConfig(), files).constants


@pytest.fixture
def run(data, tmp_path):
    """Return the folder and what was written into it."""
    return tmp_path / "run", siesta_5.write_run(tmp_path / "run", data)


@pytest.mark.parametrize("source", ["MD", "MD.nc", "ANI", "out"])
def test_every_form_has_the_same_numbers(run, tmp_path, source):
    folder, (x, v, eks, etot, forces) = run
    summary, warned = converted(folder, tmp_path / "a.h5", source=source)
    assert (summary.n_records, warned) == (40, [])
    with Trajectory(tmp_path / "a.h5") as t:
        first = 1 if source == "out" else 2
        np.testing.assert_array_equal(t.steps, np.arange(first, first + 40))
        np.testing.assert_allclose(t.positions()[2 - first :], x[: 38 + first] * BOHR, atol=1e-6)
        # What belongs to step s is in the frame of step s.
        energy = t.observable("potential_energy")[: 41 - first]
        np.testing.assert_allclose(energy, eks[first - 1 :] * RYDBERG, atol=6e-5)
        np.testing.assert_allclose(t.forces()[: 41 - first], forces[first - 1 :], atol=1e-6)
        assert np.isnan(t.forces()[41 - first :]).all()
        if source == "MD.nc":
            conserved = t.observable("conserved_energy")[:-1]
            np.testing.assert_allclose(conserved, etot[1:] * RYDBERG)
        if source in ("MD", "MD.nc"):
            np.testing.assert_allclose(
                t.velocities()[:-1], v[1:] * BOHR * 1000, rtol=1e-5, atol=1e-6
            )
        np.testing.assert_allclose(t.masses, np.tile([6.94, 1.008], 4))
        np.testing.assert_allclose(t.constant_cell, 4.08 * np.eye(3), atol=1e-6)
        assert t.parameter("siesta_version") == "5.4.2"


@pytest.mark.parametrize(
    "form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]
)
def test_forms_of_netcdf(run, tmp_path, form):
    _, (x, v, eks, etot, _) = run
    path = tmp_path / "a.MD.nc"
    siesta_5.write_md_nc(path, x, v, eks, etot, form)
    source = MdNcFile(Stream(path))
    assert source.constants == FROM_5_0
    frames = next(iter(source.frames()))
    np.testing.assert_allclose(frames.positions, x * BOHR, rtol=1e-14)
    np.testing.assert_allclose(frames.observables["conserved_energy"], etot * RYDBERG)
    for pack, end in ((gzip.compress, ".gz"), (lzma.compress, ".xz")):
        (tmp_path / f"a.MD.nc{end}").write_bytes(pack(path.read_bytes()))
        packed = next(iter(MdNcFile(Stream(tmp_path / f"a.MD.nc{end}")).frames()))
        np.testing.assert_array_equal(packed.positions, frames.positions)


def test_total_energy_that_repeats_the_potential(run, data, tmp_path):
    """4.1, and versions between it and 5.0 that have the new attributes already."""
    _, (x, v, eks, _, _) = run
    siesta_5.write_md_nc(tmp_path / "a.MD.nc", x, v, eks, eks)
    for path in (tmp_path / "a.MD.nc", data / "short/nve_lih8/lih.MD.nc"):
        frames = next(iter(MdNcFile(Stream(path), UP_TO_4_1).frames()))
        assert "conserved_energy" not in frames.observables


def test_constants_come_from_version_or_files(run, data):
    assert constants_of("v4.1.5") == constants_of("siesta-4.0--582") == UP_TO_4_1
    assert constants_of("v4.1-b4-133") == constants_of("") == constants_of("3.2") == UP_TO_4_1
    assert constants_of("MaX-1.2.0--psolver-1") == UP_TO_4_1
    assert constants_of("5.0.1") == constants_of("v5.2.0-12-g1234") == FROM_5_0
    assert constants_of("5.0.0-alpha-123-gfb8fd7d02") == FROM_5_0
    folder, _ = run
    (folder / "five.out").unlink()
    assert constants_used(folder) == FROM_5_0  # .XV and .STRUCT_NEXT_ITER
    (folder / "five.STRUCT_NEXT_ITER").unlink()
    assert constants_used(folder) == FROM_5_0  # the attributes of .MD.nc
    (folder / "five.MD.nc").unlink()
    assert constants_used(folder) == UP_TO_4_1
    for name in ("nve_lih8", "pr_lih8", "v40_pr", "anneal_lih8"):
        assert constants_used(data / "short" / name) == UP_TO_4_1
    assert constants_of_cells(np.eye(3), np.eye(3) * 0.53) is None


def test_constants_an_executable_was_built_with(run):
    """SIESTA 5 can be built with the older constants: its files tell."""
    folder, _ = run
    path = folder / "five.STRUCT_NEXT_ITER"
    older = f"{4.08 * 0.529177 / BOHR:.9f}"
    assert path.read_text().count("4.080000000") == 3
    path.write_text(path.read_text().replace("4.080000000", older))
    assert constants_used(folder) == UP_TO_4_1


def test_head_of_an_output(run):
    folder, (x, *_) = run
    head = Output(Stream(folder / "five.out")).head
    assert (head.version, head.label, head.time_step_fs) == ("5.4.2", "five", 0.5)
    assert head.species == {1: (1, "H"), 2: (3, "Li")}
    assert head.masses == {"H": 1.008, "Li": 6.94}
    np.testing.assert_array_equal(head.atom_species, siesta_5.SPECIES)
    np.testing.assert_allclose(head.start, 2 * x[0] - x[1], atol=6e-6)
