"""Each file of a run folder is opened once for all that it tells, the fingerprints included."""

import gzip
import inspect
import shutil
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from mdgan_hpc.convert import ConvertConfig, convert
from mdgan_hpc.errors import UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import SHORT

#: Opens of this process below the folder that is watched; an audit hook cannot be taken off.
_watched: list[str] = []
_opened: Counter[str] = Counter()


def _hook(event: str, arguments: tuple) -> None:
    if event == "open" and _watched and str(arguments[0]).startswith(_watched[0]):
        _opened[Path(str(arguments[0])).name] += 1


sys.addaudithook(_hook)


def opens(folder, output, **options):
    """Return how often each file of a folder is opened by a conversion."""
    _opened.clear()
    _watched[:] = [str(folder)]
    try:
        convert(folder, output, silent=True, force=True, **options)
    finally:
        _watched.clear()
    return dict(_opened)


@pytest.mark.parametrize("run", SHORT)
@pytest.mark.filterwarnings("ignore::mdgan_hpc.errors.DataWarning")
def test_each_file_once(data, tmp_path, run):
    folder = data / "short" / run
    found = opens(folder, tmp_path / "a.h5", include_initial=run not in ("cg_relax", "out_only"))
    assert set(found.values()) == {1}
    with Trajectory(tmp_path / "a.h5") as t:
        read = {Path(path).name for path in t.provenance["inputs"]}
    assert read <= set(found)
    assert len(found) >= 4


@pytest.mark.parametrize("source", ["MD", "MD.nc", "ANI", "MD_CAR", "out"])
def test_whatever_the_source(data, tmp_path, source):
    found = opens(data / "short/pr_lih8", tmp_path / "a.h5", source_kind=source)
    assert set(found.values()) == {1}


def test_outputs_that_tell_everything(data, tmp_path):
    """Cells, energies and forces of `.ANI` come from one reading of the output."""
    source, folder = data / "short/pr_lih8", tmp_path / "run"
    folder.mkdir()
    for name in ("lih_pr.ANI", "lih_pr.fdf"):
        shutil.copy(source / name, folder)
    text = gzip.decompress((source / "lih_pr.out.gz").read_bytes())
    (folder / "lih_pr.out").write_bytes(text)
    assert opens(folder, tmp_path / "a.h5") == {"lih_pr.ANI": 1, "lih_pr.fdf": 1, "lih_pr.out": 1}
    opens(source, tmp_path / "b.h5")
    with Trajectory(tmp_path / "a.h5") as t, Trajectory(tmp_path / "b.h5") as whole:
        assert abs(t.cells()[:-1] - whole.cells()[:-1]).max() < 1e-6
        assert (t.forces()[:-1] == whole.forces()[:-1]).all()


def test_included_inputs(data, tmp_path):
    """Two inputs include the same file."""
    folder = tmp_path / "run"
    shutil.copytree(data / "short/restart_verlet", folder)
    text = (folder / "seg1.fdf").read_text()
    (folder / "base.inc").write_text(text)
    for name in ("seg1.fdf", "seg2.fdf"):
        (folder / name).write_text("%include base.inc\n")
    found = opens(folder, tmp_path / "a.h5")
    assert found["base.inc"] == 1
    assert set(found.values()) == {1}


def test_target_temperature_is_stored(data, tmp_path):
    convert(data / "short/nose_li2o12", tmp_path / "a.h5", silent=True)
    with Trajectory(tmp_path / "a.h5") as t:
        told = (data / "short/nose_li2o12/li2o.fdf").read_text()
        line = next(line for line in told.splitlines() if "TargetTemperature" in line)
        assert t.parameter("temperature_target") == pytest.approx(float(line.split()[1]))
    convert(data / "short/nve_lih8", tmp_path / "b.h5", silent=True)
    with Trajectory(tmp_path / "b.h5") as t:
        assert t.parameter("temperature_target") is None  # no thermostat keeps it


def test_a_temperature_is_told_where_the_input_sets_none(data, tmp_path):
    convert(data / "short/nve_lih8", tmp_path / "a.h5", silent=True, temperature_k=900.0)
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.parameter("temperature_target") == 900.0
    with pytest.raises(UsageError, match="--temperature says 9000 K"):
        convert(data / "short/nose_li2o12", tmp_path / "b.h5", silent=True, temperature_k=9000.0)


def test_one_set_of_defaults():
    """From Python and from the command: those of `ConvertConfig`."""
    given = inspect.signature(convert).parameters
    names = {"source": "source_kind"}
    for field in fields(ConvertConfig):
        assert given[names.get(field.name, field.name)].default == field.default
    assert {names.get(field.name, field.name) for field in fields(ConvertConfig)} == set(given) - {
        "source",
        "output",
        "force",
        "silent",
    }
