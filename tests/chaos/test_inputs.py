"""Damaged inputs of every kind: right, or refused in one line; never anything else."""

import os

import pytest

from tests.support.chaos.inputs import BitFlips, InputChaos

KINDS = ("model", "checkpoint", "ledger", "results")


def damage(chaos: InputChaos, numbers: range) -> None:
    chaos.outcomes.clear()
    for number in numbers:
        chaos.one(number)
    print(f"\n{sum(chaos.outcomes.values())} damaged inputs:", dict(chaos.outcomes))
    assert not chaos.failures, "\n".join(chaos.failures)


def flip(chaos: InputChaos, count: int) -> None:
    flips = BitFlips(chaos)
    for kind in KINDS:
        for number in range(count):
            flips.one(kind, number)
    print(f"\n{4 * count} flipped bits:", dict(flips.outcomes))
    assert not flips.failures, "\n".join(flips.failures)


def test_a_few_damaged_inputs(chaos):
    damage(chaos, range(12))


def test_a_few_flipped_bits(chaos):
    flip(chaos, 1)


@pytest.mark.chaos
def test_many_damaged_inputs(chaos):
    damage(chaos, range(1000, 1000 + int(os.environ.get("MDGAN_DAMAGED_INPUTS", "2000"))))


@pytest.mark.chaos
def test_many_flipped_bits(chaos):
    flip(chaos, 100)
