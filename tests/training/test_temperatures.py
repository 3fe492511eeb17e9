"""One model of runs at several temperatures: from the files to ions at one between."""

import numpy as np
import pytest

from mdgan_hpc.crystal import Crystal
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.generate.run import generate
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training import evaluation
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.run import train
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.temperature import temperature_of
from tests.support.motion import write
from tests.support.runs import cubic_framework, underdamped
from tests.support.training import SMALL_MODEL

EDGE = {1500: 8.0, 1750: 8.06, 2000: 8.12}


def run(folder, kelvin, seed, *, tells=True):
    """Four ions in eight simple cubic cells, larger and faster at higher temperature."""
    stretch, fast = EDGE[kelvin] / 8.0, np.sqrt(kelvin / 1500)
    begin = 8.0 * np.random.default_rng(seed).random((4, 3))
    framework = cubic_framework()
    told = {"framework": {**vars(framework), "position": framework.position * stretch}}
    if tells:
        told["temperature_target"] = float(kelvin)
    path = folder / f"{kelvin}K_{seed}.h5"
    positions = (begin + fast * underdamped(300, 4, seed)) * stretch
    write(path, positions, cell=8.0 * stretch * np.eye(3), parameters=told)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [run(folder, kelvin, seed) for seed, kelvin in enumerate([1500, 1500, 2000, 2000], 1)]


KEYS = {
    "data": {"step_skip": 1, "records": 16},
    "generator": {"hidden": 8, "head": 8, **SMALL_MODEL},
    "phase": [{"steps": 2, "likelihood": {"warm_up": 8}}],
    "train": {"batch": 4, "evaluate_every": 2},
}


@pytest.fixture(scope="module")
def model(runs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_SHOWN_IONS", "_SELECTING_IONS", "_JUDGED_IONS"):
            patch.setattr(evaluation, name, 16)
        return train(KEYS, runs, tmp_path_factory.mktemp("train") / "run")


def test_runs_at_several_temperatures_come_into_one_frame(runs):
    data = Dataset.read(runs)
    assert data.temperature_k is None
    assert data.run_k == (1500.0, 1500.0, 2000.0, 2000.0)
    assert isinstance(data.crystal, Crystal)
    np.testing.assert_allclose(data.cell, 8.06 * np.eye(3))
    np.testing.assert_allclose(data.temperatures.cell(2000.0), 8.12 * np.eye(3))
    own = data.runs[2] @ data.temperatures.strain(2000.0)
    np.testing.assert_allclose(own, Trajectory(runs[2]).positions(), atol=1e-5)


def test_temperatures_that_files_do_not_tell_are_given(tmp_path, runs):
    silent = [run(tmp_path, 1500, 7, tells=False), run(tmp_path, 2000, 8, tells=False)]
    with pytest.raises(DataError, match="does not tell its temperature"):
        Dataset.read([*runs, silent[0]])
    with pytest.raises(UsageError, match="3 temperatures are given for 2 runs"):
        Dataset.read(silent, temperature_k=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="is at 1500 K, not 1600 K"):
        Dataset.read(runs[:1], temperature_k=[1600.0])
    assert Dataset.read(silent, temperature_k=[1500.0, 2000.0]).run_k == (1500.0, 2000.0)
    assert Dataset.read(silent[:1], temperature_k=[1500.0]).temperature_k == 1500.0


def test_cells_at_one_temperature_may_differ_by_noise_alone(tmp_path):
    paths = [run(tmp_path, kelvin, seed) for seed, kelvin in enumerate([1500, 2000], 1)]
    with pytest.raises(DataError, match="cells of the runs differ"):
        Dataset.read(paths[:1] + [_other_cell(tmp_path)])


def _other_cell(folder):
    return run(folder, 2000, 9, tells=False).rename(folder / "other.h5")


def test_a_bootstrap_keeps_each_temperature(runs):
    data = Dataset.read(runs)
    for replica in range(1, 6):
        drawn = data.bootstrap(replica, 1, (1, "file"))
        assert drawn.run_k == data.run_k
        for number, positions in enumerate(drawn.runs):
            own = data.runs[:2] if number < 2 else data.runs[2:]
            assert np.isin(positions[0, :, 0], np.concatenate([r[0, :, 0] for r in own])).all()


def test_the_middle_temperature_is_kept_out(tmp_path, runs):
    with pytest.raises(UsageError, match="three temperatures"):
        Dataset.read(runs).split("temperature")
    kept, out = Dataset.read([*runs, run(tmp_path, 1750, 5)]).split("temperature")
    assert kept.temperatures.kelvin == (1500.0, 2000.0)
    assert out.run_k == (1750.0,)
    assert len(kept.runs) == 4


def test_ions_are_made_at_a_temperature_between(model, tmp_path):
    options = {"particles": 4, "records": 40, "accept_poor_model": True, "workers": 1}
    with pytest.raises(UsageError, match=r"trained at 1500 and 2000 K: at which"):
        generate(model, tmp_path / "none.h5", **options)
    with pytest.raises(UsageError, match="1000 K is too far"):
        generate(model, tmp_path / "far.h5", temperature_k=1000.0, **options)
    made = generate(model, tmp_path / "made.h5", temperature_k=1750.0, **options)
    with Trajectory(made) as trajectory:
        assert temperature_of(trajectory).target_k == 1750.0
        np.testing.assert_allclose(trajectory.constant_cell, 8.06 * np.eye(3), atol=1e-6)
        # A quarter of the training runs passes before the first record.
        assert trajectory.parameter("burn_in_records") == 75
    # Left out, the options are those of the file.
    assert generate(model, made, accept_poor_model=True) == made
    with pytest.warns(UserWarning, match="is beyond what the model was trained at"):
        generate(model, tmp_path / "beyond.h5", temperature_k=2100.0, **options)


def test_the_model_is_judged_at_each_temperature(model):
    verdict = load_model(model).verdict
    assert verdict.against.endswith(("at 1500 K", "at 2000 K"))
    metrics = (model.parent / "metrics.jsonl").read_text()
    assert '"score at 1500 K"' in metrics
    assert '"msd_ratio at 2000 K"' in metrics


def test_one_temperature_is_not_another(runs, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_JUDGED_IONS", 16)
        keys = KEYS | {"train": {"batch": 4, "evaluate_every": 0}}
        model = train(keys, runs[:2], tmp_path / "run")
    options = {"particles": 4, "records": 8, "accept_poor_model": True, "workers": 1}
    with pytest.raises(UsageError, match="trained at 1500 K alone"):
        generate(model, tmp_path / "made.h5", temperature_k=1700.0, **options)
    generate(model, tmp_path / "made.h5", temperature_k=1500.0, **options)


def test_critics_are_not_told_the_temperature(runs, tmp_path):
    keys = KEYS | {"phase": [{"steps": 2, "adversarial": {"strides": [1]}}]}
    with pytest.raises(UsageError, match="critics are not told"):
        train(keys, runs, tmp_path / "run")
