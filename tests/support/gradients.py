"""Gradients of the first training step, saved by rank 0: started by the tests on several ranks.

python -m tests.support.gradients OUT.pt RUN.h5
"""

import sys
from pathlib import Path

import torch

from mdgan_hpc.config import load_config
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.run import make_trainer, read_runs
from mdgan_hpc.training.settings import TrainingConfig

_COMMON = [
    "train.batch=32",
    "data.step_skip=1",
    "data.records=32",
    "data.warm_up=12",
    "generator.hidden=24",
    "critic.width=16",
    "critic.skips=[1, 2]",
    "loss.adversarial=0.5",
    # The step of the critic between its gradient and the generator's would enlarge round-off.
    "train.critic_rate=1e-30",
]
KINDS = {
    "transition": [*_COMMON, "loss.kind=r3gan"],
    "latent": [
        *_COMMON,
        "generator.kind=latent",
        "generator.window=16",
        "critic.kind=wide",
        "loss.kind=wgan-gp",
    ],
}


def main(out: Path, run: Path) -> None:
    """Save {(kind, network): flat gradient}."""
    processes = Processes(out.parent)
    flat = {}
    try:
        for kind, overrides in KINDS.items():
            config = load_config(TrainingConfig, overrides=overrides)
            trainer = make_trainer(config, read_runs([run]), processes)
            trainer.advance()
            networks = {"generator": trainer.generator, "critic": trainer.critics}
            for name, network in networks.items():
                gradients = [p.grad for p in network.parameters() if p.grad is not None]
                flat[f"{kind} {name}"] = torch.cat([g.flatten() for g in gradients])
        if processes.rank == 0:
            torch.save(flat, out)
    finally:
        processes.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
