"""Advice before training, on motion whose times are known."""

import re
from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.analysis.dynamics import dynamics
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.suggestion import PAST, innovation
from mdgan_hpc.errors import DataError
from mdgan_hpc.report.advice import advise, advise_each
from mdgan_hpc.training.advised import resolved
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.settings import TrainingConfig
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support import motion
from tests.support.commands import run


def write(path: Path, positions: np.ndarray, interval_ps: float) -> Path:
    with TrajectoryWriter(path, species=np.full(positions.shape[1], 3)) as writer:
        steps = np.arange(len(positions))
        writer.append(positions, steps, interval_ps * steps)
    return path


def persistent(n_frames: int, memory: float, step: float) -> np.ndarray:
    """Velocities with the autocorrelation exp(-t / memory), memory in frames."""
    random = np.random.default_rng(2)
    keep = np.exp(-1 / memory)
    velocity = random.normal(size=(16, 3))
    path = np.zeros((n_frames, 16, 3))
    for frame in range(1, n_frames):
        velocity = keep * velocity + np.sqrt(1 - keep**2) * random.normal(size=velocity.shape)
        path[frame] = path[frame - 1] + step * velocity
    return path


def test_velocity_memory_hops_and_suggestion(tmp_path):
    # exp(-t / 20 fs) falls to 0.1 at 46 fs.
    path = write(tmp_path / "run.h5", persistent(20_000, 20.0, 0.05), 0.001)
    advice = advise([path])
    assert advice.velocity_memory_ps == pytest.approx(0.046, rel=0.15)
    assert advice.cage_ps is None
    assert 0.02 < advice.diffusive_ps < 0.3
    assert 3 <= advice.suggested.step_skip <= 5
    assert advice.suggested.records == 160
    assert 3 <= advice.critics.step_skip <= 6
    # D = step^2 memory (per axis, frames): MSD over the run, in hops of 3 Angstrom.
    expected = 16 * 6 * 0.05**2 * 20 * 20_000 / 9
    assert advice.ceiling.n_effective == pytest.approx(expected, rel=0.5)
    assert advice.ceiling.relative_error == pytest.approx(
        3.43 / advice.ceiling.n_effective**0.5 + 0.04
    )
    assert not any("WARNING" in line for line in advice.lines())


@pytest.mark.parametrize("skip", [1, 2, 5])
def test_innovation_of_known_motion(skip):
    """Displacements of an autoregressive process of second order, and by plain least squares."""
    random, n = np.random.default_rng(7), 200_000
    noise, steps = random.normal(size=n), np.zeros(n)
    for i in range(2, n):
        steps[i] = 1.8 * steps[i - 1] - 0.85 * steps[i - 2] + noise[i]
    products = np.array([steps[: n - lag] @ steps[lag:] / (n - lag) for lag in range(13 * skip)])
    found = innovation(products, skip)
    if skip == 1:
        assert found == pytest.approx(1 / steps.std(), rel=0.01)
    coarse = steps[: n // skip * skip].reshape(-1, skip).sum(1)
    past = np.lib.stride_tricks.sliding_window_view(coarse[:-1], PAST)
    left = coarse[PAST:] - past @ np.linalg.lstsq(past, coarse[PAST:])[0]
    assert found == pytest.approx(left.std() / coarse.std(), rel=0.02)


def test_a_steady_velocity_leaves_nothing_open():
    assert innovation(np.ones(30), 2) == pytest.approx(0.0, abs=1e-6)


def test_records_lie_so_far_apart_that_something_new_happens_in_between(tmp_path):
    """Smooth oscillations, 200 frames a period: ten records a period, not two hundred."""
    random, n = np.random.default_rng(1), 60_000
    kept = np.exp(-1 / 2000) * np.exp(2j * np.pi / 200)
    kicks = random.normal(size=(n, 4, 3, 2)) @ np.array([1, 1j])
    smooth = np.zeros((n, 4, 3), complex)
    for i in range(1, n):
        smooth[i] = kept * smooth[i - 1] + kicks[i]
    path = np.apply_along_axis(np.convolve, 0, smooth.real, np.hanning(30), "valid")
    advice = advise([write(tmp_path / "run.h5", 1e-3 * path, 0.001)])
    assert 10 < advice.suggested.step_skip < 40


def test_caged_motion_is_warned_of(tmp_path):
    random = np.random.default_rng(0)
    path = np.zeros((4000, 8, 3))
    for frame in range(1, len(path)):
        path[frame] = 0.9 * path[frame - 1] + 0.1 * random.normal(size=(8, 3))
    file = write(tmp_path / "cage.h5", path, 0.001)
    advice = advise([file])
    assert advice.cage_ps is not None
    assert advice.diffusive_ps is None
    picture = tmp_path / "samples.png"
    done = run("mdgan_hpc.cli.train", "--advise", "--data", file, "--figure", picture)
    assert done.returncode == 0, done.stderr
    assert "cannot answer what D is" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("frames", "speed", "message"), [(4, 1.0, "4 frames is too short"), (400, 0.0, "do not move")]
)
def test_data_that_tell_nothing_are_refused_in_one_line(tmp_path, frames, speed, message):
    still = speed * np.random.default_rng(0).normal(size=(frames, 4, 3)).cumsum(0)
    file = write(tmp_path / "run.h5", still, 0.01)
    with pytest.raises(DataError, match=message):
        advise([file])


def test_advice_and_fit_of_d_agree(tmp_path):
    """A random walk of one ion: where mdgan-msd gives a D, the advice does not say it cannot."""
    walk = np.random.default_rng(3).normal(size=(20_000, 1, 3)).cumsum(0) * 0.3
    file = write(tmp_path / "run.h5", walk, 0.01)
    assert fit_diffusion(dynamics([file])).total is not None
    advice = advise([file])
    assert advice.refused is None
    assert not any("cannot answer" in line for line in advice.lines())


def test_the_configuration_is_told_beside_the_suggestion(tmp_path):
    file = write(tmp_path / "run.h5", persistent(20_000, 20.0, 0.05), 0.001)
    advice = advise([file])
    told = [line for line in advice.lines(2, 160) if line.startswith("the configuration uses")]
    assert len(told) == 1
    assert "data.step_skip = 2 (2 fs), data.records = 160" in told[0]
    assert "more than are learned well" in told[0]
    own = advice.suggested
    coarse = [line for line in advice.lines(40, 160) if line.startswith("the configuration uses")]
    assert f"better data.step_skip = {own.step_skip}" in coarse[0]
    assert advice.lines(own.step_skip, own.records)[-1].endswith(": as suggested")
    assert '"auto"' in advice.lines(0, 0)[-1]


def test_runs_at_several_temperatures_are_looked_at_apart(tmp_path):
    rng, files = np.random.default_rng(6), []
    for kelvin, d in ((900, 1.0), (1200, 3.0)):
        path = motion.brownian(2000, 8, rng, d=d, interval=0.01)
        told = {"temperature_target": float(kelvin)}
        files.append(motion.write(tmp_path / f"{kelvin}.h5", path, interval=0.01, parameters=told))
    cold, hot = advise_each(files)[900.0], advise_each(files)[1200.0]
    assert cold.lines() == advise([files[0]]).lines()
    assert hot.ceiling.n_effective > 2 * cold.ceiling.n_effective
    assert list(advise_each(files[:1])) == [None]
    data = [part for file in files for part in ("--data", file)]
    picture = tmp_path / "samples.png"
    done = run("mdgan_hpc.cli.train", "--advise", *data, "--figure", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("At 900 K:") < done.stdout.index("At 1200 K:")
    assert picture.read_bytes().startswith(b"\x89PNG")
    used = re.search(r"all of them uses +data.step_skip = (\d+).*data.records = (\d+)", done.stdout)
    config = resolved(TrainingConfig(), Dataset.read(files)).data
    assert (int(used[1]), int(used[2])) == (config.step_skip, config.records)
    done = run("mdgan_hpc.cli.train", "--advise", *data, "--temperature", "900")
    assert done.returncode == 1
    assert "is at 1200 K, not 900 K" in done.stderr
