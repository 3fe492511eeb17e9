"""Runs with a known answer, small enough to train on in seconds."""

from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.trajectory import TrajectoryWriter


def underdamped(n_frames: int, n_particles: int, seed: int) -> np.ndarray:
    """Velocities with exponential memory, positions their sums: [T, N, 3], Angstrom."""
    random = np.random.default_rng(seed)
    velocity = random.normal(size=(n_particles, 3))
    path = np.empty((n_frames, n_particles, 3))
    position = np.zeros((n_particles, 3))
    for frame in range(n_frames):
        velocity = 0.9 * velocity + np.sqrt(1 - 0.81) * random.normal(size=velocity.shape)
        position = position + 0.05 * velocity
        path[frame] = position
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for number in range(2):
        path = folder / f"run{number}.h5"
        with TrajectoryWriter(path, species=np.full(4, 3), cell=5 * np.eye(3)) as writer:
            steps = np.arange(600)
            writer.append(underdamped(600, 4, number), steps, 0.001 * steps)
        paths.append(path)
    return paths
