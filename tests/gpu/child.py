"""A short training in a process of its own: python -m tests.gpu.child OUT DEVICE DATA SMALL.

It saves, stops and goes on as every training does; its weights go to OUT/weights.pt.
"""

import sys
from pathlib import Path

import torch

from mdgan_hpc.parallel import run_together
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.checkpoints import CHECKPOINTS, Checkpoints
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.loop import run_loop
from tests.gpu import worlds

STEPS = {True: 12, False: 240}


def main() -> None:
    """Train, or go on."""
    folder, small = Path(sys.argv[1]), sys.argv[4] == "1"
    folder.mkdir(parents=True, exist_ok=True)
    data = worlds.dataset(Path(sys.argv[3]) if sys.argv[3] else None, small=small)
    steps = STEPS[small]
    config = worlds.configuration(
        "transition",
        data,
        small=small,
        phase__steps=steps,
        train__checkpoint_every=steps // 3,
        train__evaluate_every=0,
    )
    with Processes(folder) as processes, StopRequest() as stop:
        processes.device = torch.device(sys.argv[2])
        trainer = build_trainer(config, data, processes)
        newest = Checkpoints(folder / CHECKPOINTS, 3).load_newest()
        if newest is not None:
            trainer.load_state_dict(newest[1])
        run_loop(trainer, folder, stop, None)
        if processes.rank == 0:
            torch.save(trainer.generator.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_together(main)
