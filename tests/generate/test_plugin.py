"""A package of another group brings its own generator, by the ordinary commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mdgan_hpc.trajectory import Trajectory
from tests.support.motion import brownian, write

PAGE = Path(__file__).parents[2] / "docs/dev/add_a_generator.md"
#: The class that developers are shown.
MODULE = PAGE.read_text().split("```python\n")[1].split("```")[0]
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "brownian-generator"
version = "1.0"
[tool.setuptools]
py-modules = ["brownian_generator"]
[project.entry-points."mdgan_hpc.generators"]
brownian = "brownian_generator:Brownian"
"""
CONFIG = """
[data]
step_skip = 1
records = 16
symmetry = "isotropic"
[generator]
kind = "brownian"
first_guess = 0.5
[[phase]]
steps = 300
learning_rate = 0.05
ema = 0.9
[phase.likelihood]
warm_up = 0
[train]
evaluate_every = 0
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package, built and installed by pip without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "brownian_generator.py").write_text(MODULE)
    (source / "pyproject.toml").write_text(PROJECT)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command([sys.executable, "-m", "pip", "install", *offline, "--target", target, source])
    return target


def command(words: list[object], path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def python(installed: Path, code: str) -> str:
    return command([sys.executable, "-c", code], installed).stdout


def test_it_is_known_where_it_is_installed_and_nowhere_else(installed):
    code = "from mdgan_hpc.models import registry; print(registry.kinds())"
    assert "brownian" in python(installed, code)
    assert "brownian" not in command([sys.executable, "-c", code]).stdout


def test_it_trains_and_generates_through_the_ordinary_commands(installed, tmp_path):
    rng = np.random.default_rng(1)
    # D = 1 Angstrom^2/ps at 0.05 ps: a deviation of sqrt(0.1) along each axis.
    write(tmp_path / "run.h5", brownian(2000, 8, rng))
    (tmp_path / "config.toml").write_text(CONFIG)
    train = [sys.executable, "-m", "mdgan_hpc.cli.train", tmp_path / "config.toml"]
    command([*train, "--data", tmp_path / "run.h5", "--out", tmp_path / "model"], installed)
    record = json.loads((tmp_path / "model/config.json").read_text())
    assert record["config"]["generator"] == {"kind": "brownian", "first_guess": 0.5}
    generate = [sys.executable, "-m", "mdgan_hpc.cli.generate", tmp_path / "model"]
    options = ["--particles", 64, "--records", 400, "--workers", 2, "--analyse"]
    command([*generate, "-o", tmp_path / "made.h5", *options], installed)
    with Trajectory(tmp_path / "made.h5") as made:
        assert made.parameter("generator_label") == "Brownian motion"
    with h5py.File(tmp_path / "made.h5") as file:
        positions = file["particles/trajectory/position/value"][:]
    assert np.diff(positions, axis=0).std() == pytest.approx(0.1**0.5, rel=0.02)
