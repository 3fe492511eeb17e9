"""Speed of training and of generation over that of another checkout, in turn in one run.

    python -m tests.benchmarks.against CHECKOUT training RUN.h5 ...
    python -m tests.benchmarks.against CHECKOUT generation MODEL

A process of each checkout does some steps, or a segment, while the other waits; the table gives the
median of the ratios of neighbouring turns and their range, by the clock on the wall and in
processor time. ``THREADS=2`` in the environment sets the threads of both (1).
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROUNDS, STEPS, PARTICLES, RECORDS = 15, 8, 1020, 256
HERE = Path(__file__).parents[2]


def trainer(paths):
    """Return what does some steps of the default training."""
    from mdgan_hpc.config import load_config
    from mdgan_hpc.training.advised import resolved
    from mdgan_hpc.training.build import build_trainer
    from mdgan_hpc.training.data.dataset import Dataset
    from mdgan_hpc.training.distributed import Processes
    from mdgan_hpc.training.settings import TrainingConfig

    config, data = load_config(TrainingConfig, HERE / "configs/default.toml"), Dataset.read(paths)
    trained = build_trainer(resolved(config, data), data, Processes(paths[0]))
    return lambda: [trained.advance() for _ in range(STEPS)]


def generator(paths):
    """Return what computes the next segment of a block."""
    from mdgan_hpc.generate.rollout import Rollout
    from mdgan_hpc.models.file import load_model

    model = load_model(paths[0])
    k = model.generator.particles_per_sample
    particles = k * max(1, PARTICLES // k)
    rollout = Rollout(model, seed=1, block_particles=particles, segment_records=RECORDS)
    state = rollout.start(0)
    return lambda: rollout.advance(0, state)


def serve(what, paths):
    """Do the work each time that a line comes; tell the seconds it took."""
    import torch

    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    work = {"training": trainer, "generation": generator}[what](paths)
    work()
    for _ in iter(sys.stdin.readline, ""):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


def measure(other, *arguments):
    """Print the table."""

    def start(checkout):
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        words = [sys.executable, __file__, "serve", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, cwd=checkout, env=environment, **pipes)

    def turn(process):
        process.stdin.write("\n")
        process.stdin.flush()
        return [float(word) for word in process.stdout.readline().split()]

    before, now = start(other), start(HERE)
    pairs = []
    for number in range(ROUNDS + 1):
        order = (before, now) if number % 2 else (now, before)
        seconds = {process: turn(process) for process in order}
        pairs.append([a / b for a, b in zip(seconds[before], seconds[now], strict=True)])
    print("| clock | times as fast | from | to |")
    print("|---|---|---|---|")
    for name, ratios in zip(("wall", "processor"), zip(*pairs[1:], strict=True), strict=True):
        found = sorted(ratios)
        print(f"| {name} | {found[len(found) // 2]:.2f} | {found[0]:.2f} | {found[-1]:.2f} |")
    for process in (before, now):
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], [Path(name) for name in sys.argv[3:]])
    else:
        measure(Path(sys.argv[1]).absolute(), *sys.argv[2:3], *map(os.path.abspath, sys.argv[3:]))
