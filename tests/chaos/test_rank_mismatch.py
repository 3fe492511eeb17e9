"""Ranks that see different files, or do not meet: one line from all, within seconds, no result."""

import random
import shutil
import socket
import time

import pytest

from tests.support.chaos import stages
from tests.support.chaos.stages import COUNT, MPIEXEC, SEED, TRAIN

pytestmark = pytest.mark.skipif(not MPIEXEC.exists(), reason=f"no {MPIEXEC}")

SETS = [word for item in TRAIN for word in ("--set", item)]
LINES = {
    "msd": ["msd", "a.h5", "b.h5", "-o", "out.json"],
    "train": ["train", "--data", "a.h5", "--data", "b.h5", "--out", "out", *SETS],
    "generate": ["generate", "model.pt", "-o", "g.h5", "--particles", "64", "--records", "200"],
    "report": ["report", "--md", "a.h5", "--generated", "b.h5", "-o", "out"],
}
INPUTS = {"msd": ["a.h5", "b.h5"], "train": ["a.h5", "b.h5"], "generate": ["model.pt"]}
INPUTS["report"] = INPUTS["msd"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    stages.trajectory(folder / "a.h5", 1, frames=200)
    stages.trajectory(folder / "b.h5", 2, frames=200)
    stages.model(folder / "model.pt")
    return folder


def mismatch(files, tmp_path, stage, how, dice):
    """One of two ranks looks into another folder."""
    folders = [tmp_path / "A", tmp_path / "B"]
    for folder in folders:
        shutil.copytree(files, folder)
    odd, name = dice.choice(folders), dice.choice(INPUTS[stage])
    if how == "missing":
        (odd / name).unlink()
    elif how == "empty":
        shutil.rmtree(odd)
        odd.mkdir()
    elif how == "other":
        if name == "model.pt":
            content = bytearray((odd / name).read_bytes())
            content[dice.randrange(1000)] ^= 1
            (odd / name).write_bytes(content)
        else:
            (odd / name).unlink()
            stages.trajectory(odd / name, 3, frames=200)
    lines = [LINES[stage] + ["--bogus"] * (how == "line" and f is odd) for f in folders]
    begin = time.monotonic()
    status, errors = stages.finish(stages.start_ranks(folders, lines))
    seconds = time.monotonic() - begin
    assert status != 0, errors
    assert errors.count("Error: ") == 1, errors
    assert "Traceback" not in errors, errors
    assert seconds < 60, errors
    for made in ("out.json", "out/model.pt", "g.h5", "out/analysis.h5"):
        assert not any((folder / made).exists() for folder in folders)
    assert not stages.litter(tmp_path)


@pytest.mark.parametrize("how", ["other", "line"])
def test_ranks_that_are_told_or_see_something_else_are_refused(files, tmp_path, how):
    mismatch(files, tmp_path, "msd", how, random.Random(1))


@pytest.mark.chaos
@pytest.mark.parametrize("stage", LINES)
def test_many_mismatches(files, tmp_path, stage):
    dice, count = random.Random(f"{SEED} {stage}"), -(-COUNT // len(LINES))
    ways = ["missing", "empty", "other", "line"] + (["same"] if stage != "msd" else [])
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        mismatch(files, folder, stage, ways[number % len(ways)], dice)
    print(f"\n{stage}: {count} mismatches of ranks, each one line and no result")


def meet(files, tmp_path, **place):
    shutil.copytree(files, tmp_path / "A")
    begin = time.monotonic()
    place = {"MDGAN_MEETING_S": "3", "OMP_NUM_THREADS": "1", **place}
    status, errors = stages.run(*LINES["train"], folder=tmp_path / "A", environment=place)
    assert status == 1
    assert errors.count("\n") == 1, errors
    assert time.monotonic() - begin < 60
    return errors


def test_a_missing_rank_is_told(files, tmp_path):
    """Variables of a Slurm step are left in the shell, and nobody else comes."""
    stale = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_LOCALID": "0"}
    errors = meet(files, tmp_path, **stale)
    assert "waited 3 s for rank 1, 2 (slurm)" in errors
    assert "MDGAN_LAUNCHER=single" in errors


def test_a_rank_without_a_first_one_is_told(files, tmp_path):
    stale = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "1"}
    assert "did not answer" in meet(files, tmp_path, **stale)


def test_a_port_in_use_is_told(files, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        errors = meet(files, tmp_path, **place)
    assert "set MASTER_PORT to a free port" in errors
