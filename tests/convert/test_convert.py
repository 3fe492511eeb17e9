"""Run folders as SIESTA left them become the right trajectories."""

import shutil

import MDAnalysis
import numpy as np
import pytest
from pyh5md import File

from mdgan_hpc.convert import ConvertConfig, convert
from mdgan_hpc.convert.conversion import convert_run
from mdgan_hpc.convert.sources.siesta.mde import read_mde
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import command


@pytest.mark.parametrize(("run", "records"), [("run1", 5760), ("run2", 7030), ("run3", 8321)])
def test_long_runs(data, tmp_path, run, records):
    summary = convert_run(
        data / "long" / run, tmp_path / "a.h5", ConvertConfig(select="Li"), silent=True
    )
    assert (summary.n_records, summary.n_atoms, summary.source) == (records, 8, "ANI")
    with Trajectory(tmp_path / "a.h5") as trajectory:
        assert trajectory.record_interval_ps == pytest.approx(1e-3)
        assert trajectory.steps[0] == 2
        np.testing.assert_allclose(trajectory.constant_cell, 5.68 * np.eye(3), atol=1e-6)
        assert (trajectory.species == 3).all()
        framework = trajectory.framework
        assert (framework.species == 1).all()
        assert framework.position.shape == (8, 3)
        assert framework.rms_displacement.min() > 1.0  # a melt
        # Energies are those of the step of the positions: the line after in .MDE.
        steps, values = (
            np.concatenate(x)
            for x in zip(*read_mde(Stream(data / "long" / run / "lih.MDE.gz")), strict=True)
        )
        np.testing.assert_array_equal(trajectory.steps[:-1], steps[1:])
        temperature = trajectory.observable("temperature")
        np.testing.assert_array_equal(temperature[:-1], values[1:, 0])
        assert np.isnan(temperature[-1])
        assert trajectory.parameter("temperature_mean") == pytest.approx(1800, abs=3)


def test_other_readers_open_it(data, tmp_path):
    convert(data / "short/nve_lih8", tmp_path / "a.h5", drift="none")
    universe = MDAnalysis.Universe.empty(8, trajectory=True)
    universe.load_new(str(tmp_path / "a.h5"), format="H5MD")
    assert universe.trajectory.n_frames == 40
    assert universe.trajectory[1].time == pytest.approx(1.5e-3)
    np.testing.assert_allclose(universe.dimensions, [4.08, 4.08, 4.08, 90, 90, 90], rtol=1e-5)
    with File(str(tmp_path / "a.h5"), "r") as file, Trajectory(tmp_path / "a.h5") as ours:
        np.testing.assert_array_equal(
            file.particles_group("trajectory")["position/value"][:], ours.positions()
        )


def test_bad_input_is_told_in_one_line(data, tmp_path):
    def refused(status, *arguments, says):
        result = command(*arguments, cwd=tmp_path)
        assert result.returncode == status, result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert says in result.stderr
        assert not list(tmp_path.glob("*.h5*")) or "exists" in says

    refused(2, tmp_path / "missing", says="no such folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(2, empty, says="holds no run")
    shutil.copy(data / "short/nve_lih8/lih.fdf", empty)
    (empty / "lih.ANI").write_text("")
    refused(1, empty, says="lih.ANI: is empty")
    shutil.copy(data / "short/nve_lih8/lih.ANI", empty)
    shutil.copy(data / "short/nve_lih8/lih.ANI", empty / "other.ANI")
    refused(2, empty, says="holds 2 runs (lih, other)")
    refused(2, data / "short/nve_lih8", "--select", "li_", says="did you mean Li?")
    (tmp_path / "a.h5").write_text("mine")
    refused(2, data / "short/nve_lih8", "-o", "a.h5", says="exists already")
    assert (tmp_path / "a.h5").read_text() == "mine"
