"""Runs become training data: one frame, kept-out data, bootstraps; refusals."""

import numpy as np
import pytest

from mdgan_hpc.crystal import Crystal
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.run import train
from tests.support.motion import write
from tests.support.runs import cubic_framework, underdamped
from tests.support.training import SMALL_MODEL

EDGE = 4.0


def framework(places: np.ndarray) -> dict[str, np.ndarray]:
    n = len(places)
    return {"species": np.full(n, 8), "position": places, "rms_displacement": np.full(n, 0.1)}


def crystal_run(path, seed, *, stretch=1.0, shift=0.0, start=None):
    """Four ions in eight simple cubic cells, which may be stretched and shifted."""
    begin = 8.0 * np.random.default_rng(seed).random((4, 3)) if start is None else start
    positions = (begin + underdamped(300, 4, seed)) * stretch + shift
    places = cubic_framework().position * stretch + shift
    write(
        path,
        positions,
        cell=8.0 * stretch * np.eye(3),
        parameters={"framework": framework(places)},
    )
    return positions


def test_shifted_runs_of_a_crystal_are_put_into_one_frame(tmp_path):
    crystal_run(tmp_path / "a.h5", 1)
    other = crystal_run(tmp_path / "b.h5", 2, shift=0.7)
    data = Dataset.read([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert isinstance(data.crystal, Crystal)
    assert data.symmetry().name == "Pm-3m"
    moved = data.runs[1] - (other - 0.7)
    np.testing.assert_allclose(moved - EDGE * np.round(moved / EDGE), 0, atol=1e-5)


def test_cells_of_npt_runs_are_mapped_to_their_mean_and_told(tmp_path, caplog):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    one = crystal_run(paths[0], 1)
    two = crystal_run(paths[1], 2, stretch=1.004)
    data = Dataset.read(paths)
    np.testing.assert_allclose(data.cell, 8.0 * 1.002 * np.eye(3), atol=1e-6)
    np.testing.assert_allclose(data.runs[0], one * 1.002, atol=1e-5)
    np.testing.assert_allclose(data.runs[1], two * 1.002 / 1.004, atol=1e-5)
    assert data.symmetry().name == "Pm-3m"
    assert "mapped to the mean cell" in caplog.text
    crystal_run(tmp_path / "c.h5", 2, stretch=1.02)
    with pytest.raises(DataError, match="cells of the runs differ"):
        Dataset.read([paths[0], tmp_path / "c.h5"])


@pytest.fixture
def glass(tmp_path):
    """Three quenches: frameworks of their own."""
    rng, paths = np.random.default_rng(5), []
    for number in range(3):
        path = tmp_path / f"quench{number}.h5"
        places = 8.0 * rng.random((24, 3))
        parameters = {"framework": framework(places)}
        write(path, underdamped(300, 4, number), cell=8 * np.eye(3), parameters=parameters)
        paths.append(path)
    return paths


def test_quenches_of_a_glass_are_isotropic_and_told(glass, caplog):
    with caplog.at_level("INFO"):
        data = Dataset.read(glass)
    assert "not a crystal: " in caplog.text
    for wanted in ("auto", "isotropic"):
        assert data.symmetry(wanted).name == "isotropic"
    np.testing.assert_allclose(data.runs[0], underdamped(300, 4, 0), atol=1e-5)
    with pytest.raises(DataError, match="not a crystal"):
        data.symmetry("crystal")


def test_quenches_of_a_glass_train(glass, tmp_path, caplog):
    keys = {
        "data": {"step_skip": 1, "records": 16},
        "generator": {"hidden": 8, "head": 8, **SMALL_MODEL},
        "phase": [{"steps": 2, "likelihood": {"warm_up": 8}}],
        "train": {"batch": 4, "evaluate_every": 0},
    }
    with caplog.at_level("INFO"):
        model = train(keys, glass, tmp_path / "run")
    assert "symmetry isotropic, each ion alone, 2 steps of likelihood" in caplog.text
    assert "without neighbours: " in caplog.text
    assert load_model(model).cell is not None


def test_species_are_never_pooled(tmp_path):
    path = tmp_path / "two.h5"
    write(path, underdamped(300, 6, 1), species=[3, 3, 3, 8, 8, 8])
    with pytest.raises(UsageError, match=r"2 species .*--species"):
        Dataset.read(path)
    assert Dataset.read(path, species="O").species == 8
    assert Dataset.read(path, species=3).runs[0].shape == (300, 3, 3)


def test_runs_that_do_not_belong_together_are_refused(tmp_path):
    motion = underdamped(300, 4, 1)
    write(tmp_path / "a.h5", motion)
    write(tmp_path / "b.h5", motion, interval=0.06)
    write(tmp_path / "c.h5", motion, species=[11] * 4)
    with pytest.raises(DataError, match="60 fs between records"):
        Dataset.read([tmp_path / "a.h5", tmp_path / "b.h5"])
    with pytest.raises(UsageError, match=r"c\.h5: holds Na, .*a\.h5 Li"):
        Dataset.read([tmp_path / "a.h5", tmp_path / "c.h5"])
    with pytest.raises(UsageError, match="no run is given"):
        Dataset.read([])


def numbered(n_runs: int) -> Dataset:
    """Runs whose x is 10 times the run plus the ion."""
    runs = [np.arange(6.0)[None, :, None] + 10 * r + np.zeros((5, 1, 3)) for r in range(n_runs)]
    return Dataset(runs, 0.001, 3)


def test_replicas_keep_molecules_and_neighbourhoods_together():
    data = numbered(3)
    assert data.bootstrap(0, 1, (1, "file")) is data
    for replica in range(1, 20):
        for run in data.bootstrap(replica, 1, (3, "file")).runs:
            first = run[0, :, 0].reshape(2, 3)
            np.testing.assert_array_equal(first - first[:, :1], [[0, 1, 2]] * 2)
            assert set(first[:, 0] % 10) <= {0.0, 3.0}
        for run in data.bootstrap(replica, 1, (3, "nearest")).runs:
            assert any(np.array_equal(run, one) for one in data.runs)
    with pytest.raises(UsageError, match="two runs"):
        numbered(1).bootstrap(1, 1, (3, "nearest"))


def test_what_is_kept_out_is_not_in_what_is_trained_on():
    data = numbered(3)
    kept, out = data.split("run")
    assert [r[0, 0, 0] for r in kept.runs] == [0, 10]
    assert [r[0, 0, 0] for r in out.runs] == [20]
    kept, out = data.split("span")
    assert [len(r) for r in kept.runs] == [4, 4, 4]
    assert [len(r) for r in out.runs] == [1, 1, 1]
    with pytest.raises(UsageError, match="two runs or more"):
        numbered(1).split("run")
