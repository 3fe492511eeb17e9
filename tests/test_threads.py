"""How many threads a process computes on."""

import pytest
import torch

from mdgan_hpc.errors import UsageError
from mdgan_hpc.threads import chosen_threads, computing_on


@pytest.mark.parametrize(
    ("asked", "environment", "number"),
    [
        (None, {}, 1),
        (None, {"SLURM_JOB_ID": "7"}, 1),
        (None, {"SLURM_CPUS_PER_TASK": "4"}, 4),
        (None, {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "2"}, 2),
        (None, {"OMP_NUM_THREADS": "3,1"}, 3),
        (5, {"OMP_NUM_THREADS": "2"}, 5),
    ],
)
def test_a_wish_is_obeyed_and_one_thread_is_the_rule(asked, environment, number):
    assert chosen_threads(asked, environment).number == number


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "18446744073709551616"])
def test_a_wish_that_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="OMP_NUM_THREADS"):
        chosen_threads(None, {"OMP_NUM_THREADS": text})


def test_the_number_of_the_caller_comes_back():
    before = torch.get_num_threads()
    with computing_on(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
