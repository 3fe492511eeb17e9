"""Stages killed at any moment: the same bits, nothing torn, nothing left behind."""

import random
import signal
import time

import pytest

from tests.support.chaos import stages
from tests.support.chaos.stages import COUNT, Stages

NAMES = ("convert", "msd", "generate", "train", "report")


@pytest.fixture(scope="module")
def all_stages(tmp_path_factory):
    return Stages(tmp_path_factory.mktemp("stages"))


def test_a_stage_is_killed_and_ends_the_same(all_stages, tmp_path):
    all_stages.disturb("generate", tmp_path / "run", random.Random(1), 2)


@pytest.mark.parametrize("stage", NAMES)
@pytest.mark.chaos
def test_stages_are_killed_again_and_again(all_stages, tmp_path, stage):
    dice, kills, number = random.Random(stage), 0, 0
    while kills < COUNT:
        kills += all_stages.disturb(stage, tmp_path / str(number), dice, 5)
        number += 1
    print(f"\n{stage}: {kills} kills and signals in {number} runs, the same bits")


@pytest.mark.parametrize("wait_s", [0.0, 0.3])
def test_workers_end_with_their_parent(all_stages, tmp_path, wait_s):
    """Also while they are starting: killed as soon as both are there, and a little later."""
    records = stages.line("generate", all_stages.model, "-o", "g.h5", "--workers", 2)
    process = stages.start([*records, "--particles", "600", "--records", "100000"], tmp_path)
    while len(stages.children_of(tmp_path)) < 4:  # and what counts shared memory
        assert process.poll() is None, process.stderr.read()
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert not stages.children_of(tmp_path)
    process.stderr.close()
