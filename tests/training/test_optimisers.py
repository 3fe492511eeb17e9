"""Optimisers that do not load the compiler move as PyTorch's own do."""

import subprocess
import sys

import pytest
import torch

from mdgan_hpc import optimisers

MOVED = """
import sys, torch
from mdgan_hpc.optimisers import {name}
weight = torch.nn.Parameter(torch.ones(3))
optimiser = {name}([weight], 0.1)
weight.sum().backward()
optimiser.step()
optimiser.zero_grad()
optimiser.load_state_dict(optimiser.state_dict())
assert weight.max() < 1
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_parameters_move_to_the_bit_as_by_the_class_it_comes_from(name):
    ends = []
    for module in (torch.optim, optimisers):
        torch.manual_seed(0)
        layer = torch.nn.Linear(7, 5)
        groups = [
            {"params": [layer.weight], "weight_decay": 0.1},
            {"params": [layer.bias], "weight_decay": 0.0},
        ]
        optimiser = getattr(module, name)(groups, 1e-2, betas=(0.9, 0.99))
        for step in range(20):
            optimiser.zero_grad()
            layer(torch.randn(8, 7)).square().sum().backward()
            optimiser.step()
            if step == 10:
                optimiser.load_state_dict(optimiser.state_dict())
        ends.append(torch.cat([layer.weight.flatten(), layer.bias]))
    assert torch.equal(*ends)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_compiler_is_not_loaded(name):
    line = [sys.executable, "-c", MOVED.format(name=name)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
