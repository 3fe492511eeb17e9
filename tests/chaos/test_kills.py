"""Stages killed at any moment: the same bits, nothing torn, nothing left behind."""

import os
import random
import signal
import time

import pytest

from tests.support.chaos import stages
from tests.support.chaos.stages import COUNT, SEED, Stages

NAMES = ("convert", "msd", "generate", "workers", "train", "ensemble", "report", "sites")
#: Of 50, or of 20 on two ranks: fewer where a kill takes seconds. 328 in all.
FEW = {
    1: {"workers": 10, "train": 30, "ensemble": 6, "report": 20, "sites": 20},
    2: {"train": 10, "ensemble": 4, "report": 8, "sites": 10},
}


@pytest.fixture(scope="module")
def all_stages(tmp_path_factory):
    return Stages(tmp_path_factory.mktemp("stages"))


def test_a_stage_is_killed_and_ends_the_same(all_stages, tmp_path):
    all_stages.disturb("generate", tmp_path / "run", random.Random(1), 3)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("stage", NAMES)
@pytest.mark.chaos
def test_stages_are_killed_again_and_again(all_stages, tmp_path, stage, size):
    if size > 1 and (stage == "workers" or not stages.MPIEXEC.exists()):
        pytest.skip(f"no workers on ranks, or no {stages.MPIEXEC}")
    dice, kills, number = random.Random(f"{SEED} {stage} {size}"), 0, 0
    while kills < COUNT * FEW[size].get(stage, 50 if size == 1 else 20) // 50:
        kills += all_stages.disturb(stage, tmp_path / str(number), dice, 5, size)
        number += 1
        print(f"\n{stage} on {size} ranks: {kills} so far", end="", flush=True)
    print(f"\n{stage} on {size} ranks: {kills} kills and signals in {number} runs, the same bits")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(all_stages, tmp_path, number):
    """What cannot be saved half done is put in order as after a Ctrl-C."""
    signal.signal(number, signal.SIG_DFL)  # nohup, under which tests may run, ignores SIGHUP
    for attempt in range(20):  # a conversion that ends before the signal comes tells nothing
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = all_stages.start("convert", folder)
        while not stages.litter(folder) and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.kill(process.pid, number)
        status, errors = stages.finish(process)
        if status != 0:
            break
    assert status == 128 + number, errors
    assert errors == f"Ended by {number.name}; start again to go on from what was saved before.\n"
    assert not list(folder.iterdir())


def test_a_killed_report_leaves_whole_files(all_stages, tmp_path):
    process = all_stages.start("report", tmp_path)
    while len(list(tmp_path.glob("out/*.pdf"))) < 2 or not stages.litter(tmp_path):
        assert process.poll() is None, process.finish().told
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.finish()
    assert stages.whole_figures(tmp_path / "out") >= 2


@pytest.mark.parametrize("wait_s", [0.0, pytest.param(0.3, marks=pytest.mark.chaos)])
def test_workers_end_with_their_parent(all_stages, tmp_path, wait_s):
    """Also while they are starting: killed as soon as both are there, and a little later."""
    small = (all_stages.model, "-o", "g.h5", "--workers", 2, "--particles", 600)
    process = stages.start("generate", *small, "--records", 100000, folder=tmp_path)
    while len(stages.workers_in(tmp_path)) < 2:
        assert process.poll() is None
    time.sleep(wait_s)
    os.kill(process.pid, signal.SIGKILL)
    while process.poll() is None:
        time.sleep(0.01)
    assert not stages.children_of(tmp_path)
    process.finish()
