"""Training as a user runs it: exact resume, any number of ranks, refusals; and its losses."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import EXIT_STOPPED, DataError
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training.checkpoints import Checkpoints
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.objectives.critics import CRITICS
from mdgan_hpc.training.objectives.gan_losses import LOSSES
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.commands import run
from tests.support.training import SMALL_MODEL

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "mdgan_hpc.cli.train"
#: Long enough to be stopped on the way by who sees the first steps.
STEPS = 12
QUICK = {
    "phase.steps": STEPS,
    "train.batch": 4,
    "train.log_every": 1,
    "train.checkpoint_every": 3,
    "train.evaluate_every": 0,
    "data.step_skip": 1,
    "data.records": 32,
    "generator.hidden": 24,
    "phase.likelihood.warm_up": 12,
    **{f"generator.{name}": value for name, value in SMALL_MODEL.items()},
}
CRITICS_OF = {"phase.adversarial.width": 8, "phase.adversarial.strides": "[1, 2]"}
GAME = CRITICS_OF | {"phase.adversarial.weight": 0.5}
OF_BOTH = ("phase.steps", "train.", "data.")
LATENT = {name: value for name, value in QUICK.items() if name.startswith(OF_BOTH)} | {
    **GAME,
    "generator.kind": "latent",
    "generator.window": 16,
    "phase.adversarial.critic": "wide",
    "phase.adversarial.loss": "wgan-gp",
}


def command(runs: list[Path], out: Path, settings: dict, *more: str) -> list[str]:
    """The words of a command line behind the name of the program."""
    line = ["--out", str(out), *more]
    for path in runs:
        line += ["--data", str(path)]
    for key, value in settings.items():
        line += ["--set", f"{key}={value}"]
    return line


def started(line: list[str], *launcher: str) -> subprocess.Popen:
    """A process of its own, for what signals and ranks do."""
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", TRAIN, *line],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(out: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "steps_per_second"} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_model(out).generator.state_dict()


KINDS = {"transition": QUICK | GAME, "latent": LATENT}


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory) -> dict[str, Path]:
    """Run folders of uninterrupted trainings on one rank."""
    folders = {}
    for name, settings in KINDS.items():
        folders[name] = tmp_path_factory.mktemp("whole") / name
        done = run(TRAIN, *command(runs, folders[name], settings))
        assert done.returncode == 0, done.stderr
    return folders


def same(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    theirs = weights(other)
    for name, value in weights(one).items():
        assert torch.equal(value, theirs[name]), name


def wait_for_steps(process: subprocess.Popen, out: Path, n: int) -> None:
    """Wait until this many steps are in the metrics."""
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= n):
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(("words", "number"), [((), 1), (("--threads", 2), 2)])
def test_threads_are_chosen_told_and_recorded(runs, tmp_path, monkeypatch, words, number):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    before = torch.get_num_threads()
    done = run(TRAIN, *command(runs, tmp_path / "run", LATENT | {"phase.steps": 2}), *words)
    assert done.returncode == 0, done.stderr
    assert f"{number} thread" in done.stderr
    assert json.loads((tmp_path / "run/config.json").read_text())["threads"] == number
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("kind", "sign"), [("transition", "SIGTERM"), ("latent", "SIGUSR2")])
def test_stop_and_go_is_bit_identical(runs, whole, tmp_path, kind, sign):
    line = command(runs, tmp_path / "run", KINDS[kind])
    process = started(line)
    wait_for_steps(process, tmp_path / "run", 2)
    process.send_signal(signal.Signals[sign])
    _, errors = process.communicate(timeout=600)
    assert process.returncode == EXIT_STOPPED, errors
    assert f"stopped on request ({sign})" in errors
    assert not (tmp_path / "run" / "model.pt").exists()
    resumed = run(TRAIN, *line, "--resume")
    assert resumed.returncode == 0
    assert "going on from step" in resumed.stderr
    same(tmp_path / "run", whole[kind])
    again = run(TRAIN, *line)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr


def test_wall_time_stops_and_a_damaged_checkpoint_costs_only_steps(runs, whole, tmp_path):
    line = command(runs, tmp_path / "run", KINDS["transition"])
    stopped = run(TRAIN, *line, "--wall-time", "1e-6")
    assert stopped.returncode == EXIT_STOPPED
    assert "stopped on request (wall-time limit) at step 1 of 12, saved" in stopped.stderr
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 3)
    assert checkpoints.steps() == [1]
    # What a crash of the file system may leave behind the newest good one.
    checkpoints.path(2).write_bytes(checkpoints.path(1).read_bytes()[:-5])
    resumed = run(TRAIN, *line)
    assert resumed.returncode == 0
    assert "step-000000002.pt is damaged, going back to the one before" in resumed.stderr
    same(tmp_path / "run", whole["transition"])


def test_kill_leaves_a_run_that_goes_on(runs, whole, tmp_path):
    line = command(runs, tmp_path / "run", KINDS["transition"])
    process = started(line)
    steps = random.randint(1, 9)  # any will do; checkpoints are at 3, 6, 9
    wait_for_steps(process, tmp_path / "run", steps)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert run(TRAIN, *line).returncode == 0
    same(tmp_path / "run", whole["transition"])


def test_non_finite_loss_stops_before_the_step_and_names_the_checkpoint(runs, tmp_path):
    settings = QUICK | {"phase.learning_rate": 1e30, "train.checkpoint_every": 1}
    done = run(TRAIN, *command(runs, tmp_path / "run", settings))
    assert done.returncode == 1, done.stderr
    assert "not finite at step" in done.stderr
    step, state = Checkpoints(tmp_path / "run" / "checkpoints", 3).load_newest()
    assert f"(last good checkpoint: {tmp_path / 'run' / 'checkpoints'}/step-{step:09d}.pt)" in (
        done.stderr
    )
    assert state["step"] == step
    assert not (tmp_path / "run" / "model.pt").exists()


def test_network_of_another_version_is_named(runs, whole, tmp_path):
    line = command(runs, tmp_path / "run", KINDS["transition"])
    assert run(TRAIN, *line, "--wall-time", "1e-6").returncode == EXIT_STOPPED
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 3)
    step, state = checkpoints.load_newest()
    weights = state["generator"]
    weights["a_former_weight"] = weights.pop("network.mix")
    checkpoints.save(step, state)
    done = run(TRAIN, *line)
    assert done.returncode == 1
    assert "checkpoints of a network of another version" in done.stderr
    assert "Traceback" not in done.stderr
    # Weights of the same shapes, which mean something else.
    weights["network.mix"] = weights.pop("a_former_weight")
    for network in (state["network"][:-1], None):
        checkpoints.save(step, {**state, "network": network})
        done = run(TRAIN, *line)
        assert done.returncode == 1
        assert "checkpoints of a network of another version" in done.stderr
    content = torch.load(whole["transition"] / "model.pt", weights_only=True)
    content["arguments"]["a_former_argument"] = 1
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(DataError, match="network of another version"):
        load_model(tmp_path / "model.pt")


def test_damaged_checkpoint_falls_back_with_a_warning(tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=2)
    for step in (1, 2, 3):
        checkpoints.save(step, {"value": torch.tensor(step)})
    assert checkpoints.steps() == [2, 3]
    content = bytearray(checkpoints.path(3).read_bytes())
    content[len(content) // 2] ^= 1
    checkpoints.path(3).write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        step, state = checkpoints.load_newest()
    assert (step, state["value"].item()) == (2, 2)


@pytest.mark.parametrize(("kind", "ranks"), [("transition", 2), ("latent", 4)])
def test_ranks_share_a_batch(runs, whole, tmp_path, kind, ranks):
    """The losses of gloo processes are those of one, as far as round-off has not grown."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    if not mpiexec.exists():
        pytest.skip("needs the mpi extra")
    line = command(runs, tmp_path / "run", KINDS[kind])
    process = started(line, str(mpiexec), "-n", str(ranks))
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    for here, there in zip(losses(whole[kind])[:3], losses(tmp_path / "run")[:3], strict=True):
        assert here == pytest.approx(there, rel=1e-4, abs=1e-5)


def test_refusals_are_one_line(runs, tmp_path):
    still = tmp_path / "still.h5"
    with TrajectoryWriter(still, species=np.full(4, 3), cell=5 * np.eye(3)) as writer:
        writer.append(np.ones((600, 4, 3)), np.arange(600), 0.01 * np.arange(600))
    cases = {
        "did you mean phase.1.steps?": command(runs, tmp_path / "a", {"phase.step": 5}),
        "no such file": command([tmp_path / "none.h5"], tmp_path / "b", {}),
        "is not an HDF5 file": command([Path(__file__)], tmp_path / "c", {}),
        "holds no training to go on with": command(runs, tmp_path / "d", {}, "--resume"),
        "the ions do not move": command([still], tmp_path / "f", QUICK),
        "frames, 1109 are needed": command(runs, tmp_path / "e", QUICK | {"data.records": 1024}),
    }
    for message, line in cases.items():
        done = run(TRAIN, *line)
        assert done.returncode in (1, 2), done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        *told, error = done.stderr.strip().splitlines()
        assert error.startswith("Error: "), error
        assert all(line.startswith(("The runs are", "Each ion", "2 runs")) for line in told)
    assert not (tmp_path / "a").exists()


def test_another_configuration_is_refused(runs, tmp_path):
    settings = QUICK | {"phase.steps": 2}
    assert run(TRAIN, *command(runs, tmp_path / "run", settings)).returncode == 0
    done = run(TRAIN, *command(runs, tmp_path / "run", settings | {"train.batch": 8}))
    assert done.returncode == 2
    assert "train.batch (4, now 8)" in done.stderr


def test_replicas_differ(runs, tmp_path):
    settings = QUICK | {"phase.steps": 2}
    for replica in ("1", "2"):
        done = run(TRAIN, *command(runs, tmp_path / replica, settings, "--replica", replica))
        assert done.returncode == 0, done.stderr
    first, second = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def make_critic(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    covariance = np.array([[0.1], [0.2], [0.3]]) ** 2 * 0.5 ** np.arange(16)
    return CRITICS[kind](
        records=16, covariance=covariance, particles=1, width=6, stride=1, waves=None
    ).double()


@pytest.mark.parametrize("kind", sorted(CRITICS))
def test_penalties_equal_finite_differences(kind):
    """The gradient norms in both losses, by stepping every feature."""
    critic = make_critic(kind)
    random = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, 3, 3, 16, generator=random, dtype=torch.float64)
    mix = torch.rand(3, generator=random, dtype=torch.float64)

    def squared_gradient(x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(x), dtype=x.dtype)
        for channel in range(x.shape[1]):
            for row in range(x.shape[2]):
                step = torch.zeros_like(x)
                step[:, channel, row] = 1e-6
                total += ((critic(x + step) - critic(x - step)) / 2e-6) ** 2
        return total.detach()

    with torch.no_grad():
        d_real, d_fake = critic(real), critic(fake)
    between = squared_gradient(real + mix[:, None, None] * (fake - real))
    expected = (d_fake - d_real).mean() + 10 * ((between.sqrt() - 1) ** 2).mean()
    loss = LOSSES["wgan-gp"](10.0).critic(critic, real, fake, mix)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    expected = torch.nn.functional.softplus(d_fake - d_real).mean()
    expected += 0.5 * 8 * (squared_gradient(real) + squared_gradient(fake)).mean()
    loss = LOSSES["r3gan"](8.0).critic(critic, real, fake, mix)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_windows_are_pieces_of_single_runs():
    """Every drawn window is a strided slice of one particle of one run; all starts occur."""
    lengths = (9, 12)
    positions = [
        np.arange(length * 2 * 3, dtype=float).reshape(length, 2, 3) + 1000 * number
        for number, length in enumerate(lengths)
    ]
    windows = Windows(
        positions,
        step_skip=2,
        particles_per_sample=1,
        symmetry=Symmetry(),
        device=torch.device("cpu"),
    )
    expected = {
        tuple(run[start : start + 7 : 2, particle].ravel())
        for run in positions
        for start in range(len(run) - 6)
        for particle in range(2)
    }
    assert windows.count(4) == len(expected)
    drawn = windows.draw(2000, 4, torch.Generator().manual_seed(0))
    assert drawn.neighbours is None
    assert {tuple(window.flatten().tolist()) for window in drawn.positions} == expected
    part = windows.draw(2000, 4, torch.Generator().manual_seed(0), part=slice(500, 1000))
    assert torch.equal(part.positions, drawn.positions[500:1000])


def test_neighbourhoods_are_the_nearest_images_where_the_window_begins():
    cell = 6 * np.eye(3)
    place = np.random.default_rng(3).normal(scale=4.0, size=(40, 7, 3))
    windows = Windows(
        [place[:25], place[25:]],
        step_skip=3,
        particles_per_sample=3,
        symmetry=Symmetry(),
        device=torch.device("cpu"),
        grouping="nearest",
        cell=cell,
    )
    expected = set()
    for part in (place[:25], place[25:]):
        for start in range(len(part) - 3):
            for i in range(7):
                apart = [
                    np.linalg.norm((d := part[start, j] - part[start, i]) - 6 * np.round(d / 6))
                    for j in range(7)
                ]
                members = np.argsort(apart)[:3]
                assert members[0] == i
                expected.add(tuple(part[start : start + 4 : 3, members].ravel()))
    assert windows.count(2) == len(expected)
    drawn = windows.draw(3000, 2, torch.Generator().manual_seed(0)).positions
    assert drawn.shape == (3000, 2, 3, 3)
    assert {tuple(window.flatten().tolist()) for window in drawn} == expected
