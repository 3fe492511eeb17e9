"""Speed of a training step, and how near it comes to the peak of the device.

    python -m tests.benchmarks.training RUN.h5 ...              one row a configuration
    python -m tests.benchmarks.training RUN.h5 ... optimisers   one step of AdamW, three ways

On a CPU, costs are processor seconds of one thread, so that they hold on a shared machine. Floating
point operations are those of the matrix products and convolutions (torch.utils.flop_counter); the
peak is that of a product of single-precision matrices.
"""

import sys
import time
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mdgan_hpc.config import load_config
from mdgan_hpc.training.advised import resolved
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.settings import TrainingConfig

CONFIGS = Path(__file__).parents[2] / "configs"
ROWS = ("default", "lizr2po43", "mdgan-2018", "mdgan-multi-particle")


class Operations(TorchDispatchMode):
    """Counts floating point operations; FlopCounterMode itself refuses gradients of gradients."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def seconds(work, device, repeats):
    """Return the median of the seconds that `work` takes."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    times = []
    work()
    for _ in range(repeats):
        if cuda:
            torch.cuda.synchronize()
        begin = clock()
        work()
        if cuda:
            torch.cuda.synchronize()
        times.append(clock() - begin)
    return sorted(times)[len(times) // 2]


def peak(device, size=1024):
    """Return floating point operations a second of a product of single-precision matrices."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / seconds(lambda: a @ b, device, 15)


def steps(paths):
    """Steps, samples and operations a second."""
    processes = Processes(paths[0])
    device = processes.device
    top = peak(device)
    print(f"peak {top / 1e9:.0f} GFLOP/s on one {device.type}")
    print("| configuration | steps/s | samples/s | GFLOP/step | GFLOP/s | of peak |")
    print("|---|---|---|---|---|---|")
    for name in ROWS:
        config, data = load_config(TrainingConfig, CONFIGS / f"{name}.toml"), Dataset.read(paths)
        trainer = build_trainer(resolved(config, data), data, processes)
        with Operations() as counter:
            trainer.advance()
        done, each = counter.total, seconds(trainer.advance, device, 5)
        rate = done / each
        print(
            f"| {name} | {1 / each:.3g} | {config.train.batch / each:.3g} | {done / 1e9:.3g} | "
            f"{rate / 1e9:.3g} | {100 * rate / top:.0f} % |",
            flush=True,
        )


def optimisers(paths):
    """Milliseconds of one step of AdamW on the weights of two generators."""
    processes = Processes(paths[0])
    print("| generator | weights | loop | foreach | fused |")
    print("|---|---|---|---|---|")
    for name in ("default", "mdgan-2018"):
        config, data = load_config(TrainingConfig, CONFIGS / f"{name}.toml"), Dataset.read(paths)
        generator = build_trainer(resolved(config, data), data, processes).generator
        weights = list(generator.parameters())
        for parameter in weights:
            parameter.grad = torch.randn_like(parameter)
        costs = []
        for way in ({"foreach": False}, {"foreach": True}, {"fused": True}):
            optimiser = torch.optim.AdamW(weights, 1e-6, **way)
            costs.append(1e3 * seconds(optimiser.step, processes.device, 25))
        count = sum(parameter.numel() for parameter in weights)
        print(f"| {name} | {count} | " + " | ".join(f"{c:.2f}" for c in costs) + " |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    *files, what = sys.argv[1:] if sys.argv[-1] == "optimisers" else [*sys.argv[1:], "steps"]
    {"steps": steps, "optimisers": optimisers}[what](files)
