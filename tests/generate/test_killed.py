"""Killed at random, one process or all: the file opens, says how far it got, and ends the same."""

import os
import random
import signal
import time

import h5py
import numpy as np
import pytest
from launch import (
    computing,
    generate,
    here,
    model_file,
    naive,
    needs_mpi,
    needs_mpio,
    start,
    stored,
)

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import Trajectory

PARTICLES, RECORDS_A_KILL = 150, 2000
OPTIONS = (
    *("--particles", PARTICLES, "--seed", 1, "--save-interval", 0.05),
    *("--block-particles", 64, "--block-records", 100),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"), pause_s=0.02)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return expected(tmp_path_factory, kills=2)


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory):
    return expected(tmp_path_factory, kills=20)


def expected(tmp_path_factory, kills):
    fast = model_file(tmp_path_factory.mktemp("fast"))
    return naive(fast, PARTICLES, RECORDS_A_KILL * (kills + 1), 64, 100)


def run_and_kill(arguments, output, dice, *, ranks, mpio):
    """Start, wait until a little more is done, kill; returns whether the run ended before."""
    before = done(output)
    process = start(*arguments, ranks=ranks, mpio=mpio)
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and done(output).sum() <= before.sum():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.4))
        victims = computing(process.pid)
        if process.poll() is None and victims and dice.random() < 0.5:
            os.kill(dice.choice(victims), signal.SIGKILL)
            try:
                process.wait(60)
            except TimeoutError:
                pytest.fail("one rank was killed and the others go on")
        elif process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            for victim in victims:  # ranks may be in sessions of their own
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        return process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()


def done(output):
    """Completed records of each block."""
    if not output.exists():
        return np.zeros(3, int)
    with Trajectory(output, incomplete_ok=True) as file:
        return file.completed_records


def check_what_is_there(output, reference):
    with Trajectory(output, incomplete_ok=True) as file:
        for block, records in enumerate(file.completed_records):
            own = slice(64 * block, min(64 * block + 64, PARTICLES))
            there = file.positions(slice(0, int(records)), own)
            assert there.tobytes() == reference[:records, own].tobytes()


def kill_repeatedly(model, reference, folder, kills, *, ranks=(0,), mpio=False, seed=0):
    """Kill again and again, each time on another of these numbers of ranks."""
    dice, output, progress = random.Random(seed), folder / "g.h5", np.zeros(3, int)
    arguments = model, "-o", output, *OPTIONS, "--records", len(reference)
    for _ in range(kills):
        if run_and_kill(arguments, output, dice, ranks=dice.choice(ranks), mpio=mpio):
            break
        now = done(output)
        assert (now >= progress).all()
        progress = now
        check_what_is_there(output, reference)
    assert progress.sum() > 0
    generate(*arguments, ranks=ranks[-1], mpio=mpio)
    assert stored(output).tobytes() == reference.tobytes()


def test_killed_without_mpi(model, reference, tmp_path):
    kill_repeatedly(model, reference, tmp_path, 2)


@needs_mpi
def test_killed_under_mpi(model, reference, tmp_path):
    kill_repeatedly(model, reference, tmp_path, 2, ranks=[2])


@needs_mpio
def test_killed_in_parallel_hdf5(model, reference, tmp_path):
    kill_repeatedly(model, reference, tmp_path, 2, ranks=[2], mpio=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "mpio"),
    [
        pytest.param([0, 1, 2, 3, 4], False, marks=needs_mpi),
        pytest.param([1, 2, 3, 4], True, marks=needs_mpio),
    ],
    ids=["shards", "mpio"],
)
def test_killed_twenty_times_on_any_number_of_ranks(model, long_reference, tmp_path, ranks, mpio):
    """Each start on another number of ranks, the last on more than there are blocks."""
    kill_repeatedly(model, long_reference, tmp_path, 20, ranks=ranks, mpio=mpio, seed=1)


def test_stopped_by_signal_saves_and_says_so(model, reference, tmp_path):
    output, reference = tmp_path / "g.h5", reference[:5000]
    arguments = model, "-o", output, *OPTIONS, "--records", 5000
    process = start(*arguments)
    while done(output).sum() == 0:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) == 75
    assert "run the same command again" in process.stderr.read()
    process.stderr.close()
    check_what_is_there(output, reference)
    generate(*arguments, "--resume")
    assert stored(output).tobytes() == reference.tobytes()


@pytest.mark.parametrize(("told", "right"), [(0, True), (50, False)])
def test_a_ledger_may_be_one_save_behind(model, tmp_path, told, right):
    output = tmp_path / "g.h5"
    here(model, "-o", output, *OPTIONS, "--records", 100)  # one save
    with h5py.File(tmp_path / "g.shards/part-00000.h5", "r+") as part:
        assert not part["parameters/ledger/carry"][1, 0].any()
        part["parameters/ledger/completed_records"][1] = told
    with Trajectory(output, incomplete_ok=True) as file:
        if right:
            assert file.completed_records.tolist() == [100, 0, 100]
        else:
            with pytest.raises(DataError, match="its ledger is damaged: 50 records of"):
                file.completed_records  # noqa: B018
