"""H5MD files of other programs: what they state is used, the rest is asked for."""

import fcntl
import subprocess
import sys

import h5py
import MDAnalysis
import numpy as np
import pytest

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import walk
from tests.support.siesta_runs import converted

INTERVAL_PS = 0.01
#: Records at the end of a long file, which MDAnalysis takes milliseconds each to write.
LATE = 300


def foreign(
    path,
    x,
    *,
    unit="Angstrom",
    time_unit="ps",
    length=1.0,
    time=1.0,
    kind="f8",
    scalar=False,
    times=True,
    fold=False,
    image=False,
    species=True,
    edges=10.0,
):
    """Write an H5MD file in the units and the form of another program."""
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        group = file.create_group("particles/all")
        group.create_group("box").attrs["dimension"] = 3
        group["box/edges"] = np.full(3, edges * length)
        position = group.create_group("position")
        position["value"] = ((x % edges if fold else x) * length).astype("f4")
        if unit:
            position["value"].attrs["unit"] = unit
            group["box/edges"].attrs["unit"] = unit
        position["step"] = 1 if scalar else np.arange(len(x))
        if times:
            values = INTERVAL_PS * time * np.arange(len(x))
            position["time"] = INTERVAL_PS * time if scalar else values.astype(kind)
            if time_unit:
                position["time"].attrs["unit"] = time_unit
        if image:
            group["image/value"] = np.floor(x / edges).astype(int)
        if species:
            group["species"] = np.full(x.shape[1], 3)
    return path


FORMS = {
    "plain": {},
    "nm": {"unit": "nm", "length": 0.1},
    "fs": {"time_unit": "fs", "time": 1e3},
    "ns": {"time_unit": "ns", "time": 1e-3},
    "scalar": {"scalar": True},
    "single precision": {"kind": "f4"},
    "images": {"fold": True, "image": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_state_everything(tmp_path, form):
    x = walk(3000, 4, pace=0.1)
    path = foreign(tmp_path / "a.h5", x, **FORMS[form])
    with Trajectory(path) as t:
        np.testing.assert_allclose(t.positions(), x, atol=2e-5)
        assert t.record_interval_ps == pytest.approx(INTERVAL_PS)
    summary, warned = converted(path, tmp_path / "b.h5", format="h5md")
    assert (summary.n_records, warned) == (3000, [])
    with Trajectory(tmp_path / "b.h5") as t:
        np.testing.assert_allclose(t.positions(), x, atol=2e-5)
        assert t.record_interval_ps == pytest.approx(INTERVAL_PS)
        assert list(t.species) == [3] * 4
        np.testing.assert_allclose(t.constant_cell, 10 * np.eye(3), rtol=1e-6)


def test_times_that_are_uneven_stay_refused(tmp_path):
    """Single precision excuses its own rounding, no more."""
    x = walk(200, 4, pace=0.1)
    path = foreign(tmp_path / "a.h5", x, kind="f4")
    with h5py.File(path, "r+") as file:
        file["particles/all/position/time"][100:] += np.float32(0.001)
    with Trajectory(path) as t, pytest.raises(DataError, match=r"records .* apart, others"):
        _ = t.record_interval_ps


def test_units_that_are_not_stated_are_asked_for(tmp_path):
    x = walk(50, 4, pace=0.1)
    path = foreign(tmp_path / "a.h5", x, unit="", time_unit="", length=0.1, time=1e3)
    with pytest.raises(DataError, match=r"states no unit of length.*--units nm,ps"):
        Trajectory(path)
    with pytest.raises(DataError, match="states no unit of length"):
        converted(path, tmp_path / "b.h5", format="h5md")
    converted(path, tmp_path / "b.h5", format="h5md", units="nm,fs")
    with Trajectory(tmp_path / "b.h5") as t:
        np.testing.assert_allclose(t.positions(), x, atol=2e-5)
        np.testing.assert_allclose(t.constant_cell, 10 * np.eye(3), rtol=1e-6)
        assert t.record_interval_ps == pytest.approx(INTERVAL_PS)
    path = foreign(tmp_path / "a.h5", x, time_unit="")
    with Trajectory(path) as t, pytest.raises(DataError, match="states no unit of time"):
        _ = t.record_interval_ps
    path = foreign(tmp_path / "a.h5", x, unit="sigma")
    with pytest.raises(DataError, match="length unit 'sigma' is not known"):
        Trajectory(path)


def test_what_else_is_missing(tmp_path):
    x = walk(50, 4, pace=0.1)
    path = foreign(tmp_path / "a.h5", x, times=False, species=False)
    with pytest.raises(UsageError, match=r"does not state the species.*--species"):
        converted(path, tmp_path / "b.h5", format="h5md")
    with pytest.raises(UsageError, match="--time-step"):
        converted(path, tmp_path / "b.h5", format="h5md", species="Li")
    converted(path, tmp_path / "b.h5", format="h5md", species="Li", time_step_fs=10.0)
    with Trajectory(tmp_path / "b.h5") as t:
        assert t.record_interval_ps == pytest.approx(INTERVAL_PS)
        assert list(t.species) == [3] * 4


def test_folded_positions_without_images(tmp_path):
    x = walk(400, 4, pace=0.3)
    path = foreign(tmp_path / "a.h5", x, fold=True)
    _, warned = converted(path, tmp_path / "b.h5", format="h5md")
    assert "use --unwrap" in warned[0]
    converted(path, tmp_path / "b.h5", format="h5md", unwrap=True)
    with Trajectory(tmp_path / "b.h5") as t:
        moved = t.positions().astype(float)
        np.testing.assert_allclose(moved - moved[:1], x - x[:1], atol=5e-5)


def test_written_by_mdanalysis(tmp_path):
    """Its writer stores times in single precision, whose round-off late records show."""
    x = walk(3000, 3, pace=0.1)
    foreign(tmp_path / "a.h5", x, edges=10.0)
    converted(tmp_path / "a.h5", tmp_path / "ours.h5", format="h5md")
    universe = MDAnalysis.Universe.empty(3, trajectory=True)
    universe.load_new(str(tmp_path / "ours.h5"), format="H5MD")
    with MDAnalysis.Writer(str(tmp_path / "theirs.h5md"), n_atoms=3, format="H5MD") as writer:
        for _ in universe.trajectory[-LATE:]:
            writer.write(universe.atoms)
    with h5py.File(tmp_path / "theirs.h5md") as file:
        assert file["particles/trajectory/position/time"].dtype == np.float32
    with Trajectory(tmp_path / "theirs.h5md") as t:
        np.testing.assert_allclose(t.positions(), x[-LATE:], atol=5e-5)
        assert t.record_interval_ps == pytest.approx(INTERVAL_PS, rel=1e-6)


def test_a_locked_file_is_called_locked(tmp_path):
    path = foreign(tmp_path / "a.h5", walk(5, 2))
    program = "import sys\nfrom mdgan_hpc.trajectory import Trajectory\nTrajectory(sys.argv[1])\n"
    with open(path, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )
    assert "is locked by another program" in done.stderr


@pytest.mark.parametrize("element", ["id", "species", "mass"])
def test_particles_that_change_with_time_are_refused(tmp_path, element):
    """Rows in another order, or atoms of another kind, would be followed as if nothing were."""
    x = walk(200, 4)
    path = foreign(tmp_path / "a.h5", x, species=element != "species")
    rows = np.tile([3, 8, 11, 19], (len(x), 1))
    with h5py.File(path, "r+") as file:
        file[f"particles/all/{element}/value"] = rows
    with Trajectory(path) as t:
        assert t.n_records == len(x)
    with h5py.File(path, "r+") as file:
        file[f"particles/all/{element}/value"][100:] = rows[100:, ::-1]
    for read in (
        lambda: Trajectory(path).masses if element == "mass" else Trajectory(path).species,
        lambda: converted(path, tmp_path / "o.h5", format="h5md"),
    ):
        with pytest.raises(DataError, match="particles change, or their order"):
            read()


@pytest.mark.parametrize(
    ("element", "value", "told"),
    [
        ("image/value", np.full((200, 4, 3), 0.5), "image flags that are no whole numbers"),
        ("id", np.array([1, 2, 2, 4]), "names several particles by one id"),
        ("box/edges", np.array([9.0, -8.0, 10.0]), "a length below zero"),
        ("box/edges/value", np.full((200, 3), -9.0), "a length below zero"),
    ],
)
def test_what_no_file_can_mean_is_refused(tmp_path, element, value, told):
    path = foreign(tmp_path / "a.h5", walk(200, 4))
    with h5py.File(path, "r+") as file:
        if element.startswith("box") and "box/edges" in file["particles/all"]:
            del file["particles/all/box/edges"]
        file[f"particles/all/{element}"] = value
        if "edges" in element:
            file["particles/all"][element].attrs["unit"] = "Angstrom"
    with pytest.raises(DataError, match=told):
        converted(path, tmp_path / "o.h5", format="h5md")


@pytest.mark.parametrize("units", ["nm,ps", "Angstrom,fs"])
def test_units_that_the_file_contradicts_are_refused(tmp_path, units):
    path = foreign(tmp_path / "a.h5", walk(20, 4))
    with pytest.raises(UsageError, match="leave --units away"):
        converted(path, tmp_path / "o.h5", format="h5md", units=units)
    converted(path, tmp_path / "o.h5", format="h5md", units="Angstrom,ps")


def test_positions_that_are_no_numbers_are_not_converted(tmp_path):
    path = foreign(tmp_path / "a.h5", walk(20, 4))
    with h5py.File(path, "r+") as file:
        file["particles/all/position/value"][17:] = np.nan
    with pytest.raises(DataError, match="record 17 has a position that is not a number"):
        converted(path, tmp_path / "o.h5", format="h5md")
    assert converted(path, tmp_path / "o.h5", format="h5md", records="0:17")[0].n_records == 17
