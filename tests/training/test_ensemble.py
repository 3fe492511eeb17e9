"""A model and its replicas as one thing: trained, stopped, killed, generated from, analysed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgan_hpc.models.file import load_model, model_files, replica_folder
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.origin import models_of, verdict_of
from mdgan_hpc.verdict import DOUBTFUL

BIN = Path(sys.executable).parent
TINY = """
[data]
step_skip = 1
records = 32
symmetry = "none"
[generator]
hidden = 12
head = 12
components = 2
start_states = 64
calibration_ions = 64
calibration_burn_in = 50
calibration_records = 100
[[phase]]
steps = 60
[train]
batch = 8
checkpoint_every = 10
evaluate_every = 0
"""


def start(*words, ranks=0):
    launch = [BIN / "mpiexec", "-n", str(ranks)] if ranks else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*map(str, launch), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def call(*words, ranks=0, status=0):
    process = start(*words, ranks=ranks)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == status, said
    return said


def weights(folder):
    return [
        {name: value.clone() for name, value in load_model(file).generator.state_dict().items()}
        for file in model_files(folder)
    ]


def assert_same(ours, others):
    assert len(ours) == len(others) == 3
    for mine, theirs in zip(ours, others, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert torch.equal(mine[name], theirs[name]), name


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "tiny.toml"
    file.write_text(TINY)
    return file


@pytest.fixture(scope="module")
def train(config, runs):
    data = [word for run in runs for word in ("--data", run)]
    return [BIN / "mdgan-train", config, *data, "--replicas", 2]


@pytest.fixture(scope="module")
def ensemble(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "li"
    call(*train, "--out", folder)
    return folder


def test_replicas_differ_and_are_single_trainings(ensemble, config, runs, tmp_path):
    models = weights(ensemble)
    assert len(models) == 3
    name = next(iter(models[0]))
    assert any(not torch.equal(models[0][n], models[1][n]) for n in models[0]), name
    data = [word for run in runs for word in ("--data", run)]
    words = [BIN / "mdgan-train", config, *data, "--replica", 2, "--out", tmp_path / "one"]
    call(*words)
    alone = load_model(tmp_path / "one").generator.state_dict()
    assert all(torch.equal(alone[n], models[2][n]) for n in alone)


def test_killed_it_ends_with_the_same_bits(ensemble, train, tmp_path):
    folder, rng = tmp_path / "li", np.random.default_rng()
    process = start(*train, "--out", folder)
    time.sleep(float(rng.uniform(4, 12)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.5)  # the workers end with it
    call(*train, "--out", folder)
    assert_same(weights(folder), weights(ensemble))


def test_stopped_it_says_so_and_goes_on(ensemble, train, tmp_path):
    folder = tmp_path / "li"
    said = call(*train, "--out", folder, "--wall-time", 0.1, status=75)
    assert "run the same command again" in said
    call(*train, "--out", folder)
    assert_same(weights(folder), weights(ensemble))


def test_ranks_share_the_trainings(ensemble, train, tmp_path):
    folder = tmp_path / "li"
    call(*train, "--out", folder, ranks=2)
    assert_same(weights(folder), weights(ensemble))


def test_one_file_of_all_models(ensemble, tmp_path):
    made = [BIN / "mdgan-generate", ensemble, "-o"]
    size = ["--particles", 48, "--records", 300, "--block-particles", 8]
    call(*made, tmp_path / "a.h5", *size, "--accept-poor-model", "--analyse")
    call(*made, tmp_path / "b.h5", *size, "--accept-poor-model", ranks=2)
    with Trajectory(tmp_path / "a.h5") as one, Trajectory(tmp_path / "b.h5") as other:
        assert np.array_equal(one.positions(), other.positions())
        models = models_of(one)
        assert np.array_equal(models, np.arange(48) // 8 % 3)
        verdict = verdict_of(one)
    assert verdict is not None
    assert verdict.as_text() == load_model(ensemble).verdict.as_text()
    call(
        *(BIN / "mdgan-msd", tmp_path / "a.h5", "-o", tmp_path / "a.json"),
        *("--fit", "0.2:1", "--accept-poor-model"),
    )
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["n_particles"] == [16, 16, 16]
    together = found["diffusion"]["ensemble"]
    assert together["n_models"] == 3
    each = together["d_of_models"]
    assert together["d_angstrom2_per_ps"] == pytest.approx(np.mean(each))
    known = together["ions_error_angstrom2_per_ps"]
    assert together["error_angstrom2_per_ps"] == pytest.approx(max(np.std(each, ddof=1), known))
    with Trajectory(tmp_path / "a.h5") as one:
        part = one.positions()[:, models == 1]
    msd = ((part[10:] - part[:-10]) ** 2).sum(-1).mean()
    at = int(np.argmin(np.abs(np.array(found["curves"]["lag_ps"]) - 0.1)))
    assert found["replicas"]["msd"][1][at] == pytest.approx(msd, rel=1e-4)
    while_made = json.loads((tmp_path / "a.msd.json").read_text())
    assert while_made["n_particles"] == [16, 16, 16]
    first = while_made["replicas"]["msd"][1][
        int(np.argmin(np.abs(np.array(while_made["curves"]["lag_ps"]) - 0.1)))
    ]
    assert first == pytest.approx(msd, rel=1e-3)


def test_a_missing_replica_is_named(ensemble, tmp_path):
    folder = tmp_path / "li"
    shutil.copytree(ensemble, folder)
    (replica_folder(folder, 2) / "model.pt").unlink()
    said = call(BIN / "mdgan-generate", folder, "-o", tmp_path / "x.h5", status=1)
    assert "not trained yet" in said
    assert str(replica_folder(folder, 2)) in said


def test_a_poor_model_gives_no_d_unless_accepted(ensemble, tmp_path):
    """Sixty steps with a tiny network: far from the MD."""
    verdict = load_model(ensemble).verdict
    assert verdict is not None
    assert verdict.is_poor
    assert verdict.median > DOUBTFUL
    size = ["--particles", 48, "--records", 200]
    generate = [BIN / "mdgan-generate", ensemble / "model.pt", "-o", tmp_path / "x.h5", *size]
    refused = call(*generate, status=1)
    assert "does not move as the MD does" in refused
    assert "--accept-poor-model" in refused
    assert not (tmp_path / "x.h5").exists()
    call(*generate, "--accept-poor-model")
    msd = [BIN / "mdgan-msd", tmp_path / "x.h5", "-o", tmp_path / "x.json", "--fit", "0.2:0.9"]
    said = call(*msd)
    assert "does not move as the MD does" in said
    assert "D =" not in said
    assert "total" not in json.loads((tmp_path / "x.json").read_text())["diffusion"]
    accepted = call(*msd, "--accept-poor-model", "--force")
    assert accepted.index("does not move as the MD does") < accepted.index("D =")
