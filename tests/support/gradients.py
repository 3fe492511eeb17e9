"""Gradients of the first training step, saved by rank 0: started by the tests on several ranks.

python -m tests.support.gradients OUT.pt RUN.h5
"""

import sys
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.config import load_config
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.evaluation import shared_free_run
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.settings import TrainingConfig
from tests.support.runs import simple_cubic, underdamped

_COMMON = [
    "train.batch=32",
    "data.step_skip=1",
    "data.records=32",
    "phase.steps=9",
    "generator.hidden=24",
    "phase.adversarial.weight=0.5",
    "phase.adversarial.width=16",
    "phase.adversarial.strides=[1, 2]",
    # The step of the critic between its gradient and the generator's would enlarge round-off.
    "phase.adversarial.critic_learning_rate=1e-30",
]
_BOTH = [*_COMMON, "phase.likelihood.warm_up=12", "phase.adversarial.loss=r3gan"]
#: Of each kind whether it is trained on a crystal whose ions see each other.
KINDS = {
    "transition": (_BOTH, False),
    "whole cells": (_BOTH, True),
    "latent": (
        [
            *_COMMON,
            "generator.kind=latent",
            "generator.window=16",
            "phase.adversarial.critic=wide",
            "phase.adversarial.loss=wgan-gp",
        ],
        False,
    ),
    "components": (
        [
            *_COMMON,
            "generator.kind=latent",
            "generator.window=16",
            "generator.decodes=components",
            "generator.inversion=true",
            "phase.adversarial.critic=components",
            "phase.adversarial.loss=wgan-gp",
            "phase.adversarial.cuts=2",
        ],
        False,
    ),
}


def cells() -> Dataset:
    """Four ions in eight simple cubic cells."""
    start = 8.0 * np.random.default_rng(3).random((4, 3))
    return Dataset([start + underdamped(600, 4, 3)], 0.001, 3, 8.0 * np.eye(3), simple_cubic())


def main(out: Path, run: Path) -> None:
    """Save {(kind, network): flat gradient}, and the displacements of free runs."""
    with Processes(out.parent) as processes:
        flat = {}
        for kind, (overrides, crystal) in KINDS.items():
            seen = ["generator.neighbours=on"] if crystal else []  # they go through each other
            config = load_config(TrainingConfig, overrides=[*overrides, *seen])
            data = cells() if crystal else Dataset.read(run)
            trainer = build_trainer(config, data, processes)
            assert trainer.generator.ions_per_cell == (4 if crystal else 1)
            trainer.advance()
            game = trainer.objectives[-1]
            for name, network in (("generator", trainer.generator), ("critic", game.critics)):
                gradients = [p.grad for p in network.parameters() if p.grad is not None]
                flat[f"{kind} {name}"] = torch.cat([g.flatten() for g in gradients])
            # Three samples: on four ranks one has none.
            free_run = shared_free_run(
                trainer.ready_generator(), processes, stream(1, 0, "free run")
            )
            flat[f"{kind} free run"] = free_run(3, 20, 5).diff(dim=0)
        if processes.rank == 0:
            torch.save(flat, out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
