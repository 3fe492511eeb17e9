"""The pieces in small, on the CPU; and that they need nothing but what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.pieces import PIECES, Setting, check

ROOT = Path(__file__).parents[2]
#: Modules of ours that a machine lent for its GPU need not have.
ABSENT = ("spglib", "ase", "matplotlib", "mpi4py", "tqdm", "rich")


#: The others are tested below, and beside what they start (`tests/training/test_ensemble.py`).
IN_SECONDS = ("training", "generation", "analysis", "resume", "ranks")


@pytest.mark.parametrize("piece", IN_SECONDS)
def test_a_piece_in_small(piece, tmp_path):
    setting = Setting(torch.device("cpu"), tmp_path, small=True, prepared=None)
    rows = list(PIECES[piece](setting))
    assert rows
    assert all(row.get("good", True) for row in rows), rows


def test_without_the_rest_of_what_the_package_needs(tmp_path):
    """As on a machine with PyTorch alone; the numbers of one device against themselves."""
    line = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
    line += "from tests.gpu.__main__ import main; sys.exit(main())"
    words = ["numbers", "--small", "--device", "cpu", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(
        [sys.executable, "-c", line, *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured" in done.stdout
    assert (tmp_path / "gpu.json").exists()


def test_a_wrong_number_is_told():
    assert check("loss", 1e-3, 1e-3)["good"]
    assert not check("loss", 2e-3, 1e-3)["good"]
    assert not check("loss", float("nan"), 1e-3)["good"]
