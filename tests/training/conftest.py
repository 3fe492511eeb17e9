"""Runs with a known answer, small enough to train on in seconds."""

from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.runs import underdamped


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for number in range(2):
        path = folder / f"run{number}.h5"
        with TrajectoryWriter(path, species=np.full(4, 3), cell=5 * np.eye(3)) as writer:
            steps = np.arange(600)
            writer.append(underdamped(600, 4, number), steps, 0.01 * steps)
        paths.append(path)
    return paths
