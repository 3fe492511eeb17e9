"""Gradients do not depend on how many processes share a batch; real processes, real gloo."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import gradients

ROOT = Path(__file__).resolve().parents[2]


def launch(n_ranks: int, arguments: list[str]) -> None:
    """Start ranks as torchrun would, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(n_ranks):
        place = {"RANK": rank, "WORLD_SIZE": n_ranks, "LOCAL_RANK": rank}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        added = {k: str(v) for k, v in (place | meeting).items()}
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.gradients", *arguments],
                cwd=ROOT,
                env={**os.environ, **added, "OMP_NUM_THREADS": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for rank in ranks:
        _, errors = rank.communicate(timeout=600)
        assert rank.returncode == 0, errors


@pytest.fixture(scope="module")
def one_rank(runs, tmp_path_factory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("one") / "gradients.pt"
    gradients.main(out, runs[0])
    return torch.load(out)


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_gradients_and_free_runs_equal_those_of_one_rank(n_ranks, one_rank, runs, tmp_path):
    """Of critic and generator: both generators and losses, and whole cells."""
    launch(n_ranks, [str(tmp_path / "gradients.pt"), str(runs[0])])
    several = torch.load(tmp_path / "gradients.pt")
    assert len(one_rank) == 12
    for name, here in one_rank.items():
        assert here.norm() > 0
        error = float((several[name] - here).norm() / here.norm())
        print(f"{name}, {n_ranks} ranks: {error:.1e}")
        assert error < (1e-5 if name.endswith("free run") else 1e-6), name
