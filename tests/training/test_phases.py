"""Phases, and training from Python: whole cells with critics, resume, where a training begins."""

import json
import threading

import numpy as np
import pytest
import torch

from mdgan_hpc.errors import ConfigError, StoppedError, UsageError
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training.build import build_trainer, operations_of_cell
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.run import train
from mdgan_hpc.training.settings import read_config
from tests.support.runs import simple_cubic, underdamped
from tests.support.training import SMALL_MODEL

KEYS = {
    "data": {"step_skip": 1, "records": 16},
    "generator": {"hidden": 8, "head": 8, "neighbours": "on", **SMALL_MODEL},
    "train": {"batch": 6, "evaluate_every": 4, "log_every": 1, "checkpoint_every": 3},
}
LIKELIHOOD = {"steps": 4, "likelihood": {"warm_up": 8}}
CRITICS = {"steps": 4, "learning_rate": 1e-4, "adversarial": {"width": 4, "strides": [1, 2]}}
BOTH = {**CRITICS, "likelihood": {"warm_up": 8}}


def keys(*phases: dict, **train_keys: object) -> dict:
    return {
        **KEYS,
        "phase": list(phases),
        "train": KEYS["train"] | train_keys,
    }


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two runs of four ions in eight simple cubic cells, which see each other."""
    runs = []
    for seed in (1, 2):
        start = 8.0 * np.random.default_rng(seed).random((4, 3))
        runs.append(start + underdamped(400, 4, seed))
    return Dataset(runs, 0.01, 3, 8.0 * np.eye(3), simple_cubic())


def rows(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def weights(path) -> dict[str, torch.Tensor]:
    return load_model(path).generator.state_dict()


def same(one, other) -> None:
    assert rows(one) == rows(other)
    theirs = weights(other)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Likelihood, then critics on whole cells of ions that see each other."""
    folder = tmp_path_factory.mktemp("phases") / "run"
    train(keys(LIKELIHOOD, BOTH), data, folder)
    return folder


def test_likelihood_then_critics_on_whole_cells(whole):
    told = rows(whole)
    assert [row["step"] for row in told] == list(range(1, 9))
    assert all("likelihood_loss" in row for row in told)
    assert ["critic_loss" in row for row in told] == [False] * 4 + [True] * 4
    assert [row["step"] for row in told if "score" in row] == [4, 8]
    assert load_model(whole).generator.ions_per_cell == 4
    record = json.loads((whole / "config.json").read_text())
    assert [phase["steps"] for phase in record["config"]["phase"]] == [4, 4]
    assert (whole / "training.png").exists()


@pytest.mark.parametrize("stops", [1, 4, 6])
def test_resume_is_exact_across_phases(whole, data, tmp_path, stops):
    """Stopped by the clock after steps of the first phase, between both, in the second."""
    folder = tmp_path / "run"
    for _ in range(stops):
        with pytest.raises(StoppedError, match="wall-time limit"):
            train(keys(LIKELIHOOD, BOTH), data, folder, wall_time_min=1e-9)
    train(keys(LIKELIHOOD, BOTH), data, folder)
    same(folder, whole)


def test_a_phase_begins_with_the_averaged_weights_and_new_critics(data, tmp_path):
    still = {**CRITICS, "learning_rate": 1e-30}
    trainer = build_trainer(read_config(keys(LIKELIHOOD, still)), data, Processes(tmp_path))
    for _ in range(4):
        trainer.advance()
    assert trainer.ends_phase
    averaged = [p.clone() for p in trainer.average.generator.parameters()]
    trainer.advance()
    for now, before in zip(trainer.generator.parameters(), averaged, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=1e-12)
    assert [o.name for o in trainer.objectives] == ["generator_loss"]


def test_training_in_a_thread_and_from_the_command_are_the_same(whole, data, tmp_path):
    done: list[object] = []
    work = threading.Thread(
        target=lambda: done.append(train(keys(LIKELIHOOD, BOTH), data, tmp_path / "run"))
    )
    work.start()
    work.join()
    assert done == [tmp_path / "run" / "model.pt"]
    same(tmp_path / "run", whole)


def test_a_training_begins_with_the_weights_of_a_model(whole, data, tmp_path):
    phase = {**LIKELIHOOD, "init_from": str(whole)}
    config = read_config(keys(phase))
    trainer = build_trainer(config, data, Processes(tmp_path))
    known = dict(load_model(whole).generator.named_parameters())
    for name, value in trainer.generator.named_parameters():
        assert torch.equal(value, known[name]), name
    other = keys(phase) | {"generator": {"hidden": 12, "head": 8, "neighbours": "on"}}
    with pytest.raises(ConfigError, match="built differently") as refused:
        build_trainer(read_config(other), data, Processes(tmp_path))
    assert len(str(refused.value).splitlines()) == 1
    latent = keys({**CRITICS, "init_from": str(whole)})
    latent["generator"] = {"kind": "latent", "window": 16}
    with pytest.raises(ConfigError, match="is a model of the kind 'transition'"):
        build_trainer(read_config(latent), data, Processes(tmp_path))
    missing = keys({**LIKELIHOOD, "init_from": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="no such file"):
        build_trainer(read_config(missing), data, Processes(tmp_path))


def test_another_configuration_of_a_phase_is_named(whole, data):
    with pytest.raises(UsageError, match=r"phase\.2\.learning_rate \(0\.0001, now 0\.1\)"):
        train(keys(LIKELIHOOD, {**BOTH, "learning_rate": 0.1}), data, whole)


def test_operations_that_leave_a_cell_what_it_is():
    """All 48 of a cube; of a cell of two by one by one cubes those that keep its long axis."""
    cubic = simple_cubic().symmetry()
    assert len(operations_of_cell(cubic, 8.0 * np.eye(3)).rotations) == 48
    assert len(operations_of_cell(cubic, np.diag([8.0, 4.0, 4.0])).rotations) == 16
