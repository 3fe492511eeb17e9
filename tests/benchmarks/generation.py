"""Speed and memory of generation on the CPU, in one process.

    python tests/benchmarks/generation.py MODEL FOLDER lengths    cost a record against length
    python tests/benchmarks/generation.py MODEL FOLDER table      against block and particles
    python tests/benchmarks/generation.py MODEL FOLDER memory     peak over interpreter and torch

MODEL is a run folder or a model file; beside a cheap generator, as the one of tests/support/plugin,
everything else shows.
Costs are processor seconds of the process, writer thread included, so that they hold on a shared
machine; records a second on an idle one follow as processes / cost.
"""

import multiprocessing
import resource
import shutil
import statistics
import sys
import time
from pathlib import Path

import torch

from mdgan_hpc.generate.run import generate
from mdgan_hpc.trajectory.blocks.plan import parts_folder

#: Of particles in `lengths`: a multiple of the ions of a cell that are generated together.
BLOCK = 36


def cost(model, folder, particles, records, **options):
    """Return processor seconds for a million records."""
    output = folder / "benchmark.h5"
    begin = time.process_time()
    generate(model, output, particles=particles, records=records, workers=1, **options)
    seconds = time.process_time() - begin
    output.unlink()
    shutil.rmtree(parts_folder(output))
    return seconds / (particles * records) * 1e6


def _paired_cost(barrier, answers, model, folder, records, particles):
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    barrier.wait()
    value = cost(model, folder, particles, records, block_particles=BLOCK, block_records=1000)
    answers.put(value)


def _pair(model, folder, total, *lengths):
    """Return the costs of two lengths run side by side, about `total` records each."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    processes, answers = [], [spawn.SimpleQueue() for _ in lengths]
    for number, records in enumerate(lengths):
        shape = (records, max(BLOCK, total // records // BLOCK * BLOCK))
        where = folder / f"side{number}"
        arguments = (barrier, answers[number], model, where, *shape)
        processes.append(spawn.Process(target=_paired_cost, args=arguments))
        processes[-1].start()
    values = [answer.get() for answer in answers]
    for process in processes:
        process.join()
    return values


def lengths(model, folder, rounds=5):
    """Few long or many short trajectories of together as many records.

    Each length runs beside ten thousand records, at the same time and for as long, since the
    clock of a shared machine drifts by more than the difference looked for. The ratio of the two
    is printed: median, and least and most of some rounds.
    """
    for records in (1_000, 10_000, 100_000, 1_000_000):
        total = max(6_400_000, BLOCK * records)
        pairs = [_pair(model, folder, total, records, 10_000) for _ in range(rounds)]
        ratios = sorted(value / beside for value, beside in pairs)
        least = min(value for value, _ in pairs)
        middle = statistics.median(ratios)
        print(
            f"| {records} | {total // records} | {least:.2f} | {middle:.3f}"
            f" ({ratios[0]:.3f} to {ratios[-1]:.3f}) |",
            flush=True,
        )


def table(model, folder, total=1_500_000):
    """Blocks of several sizes, few and many of them."""
    for block in (60, 252, 1020):
        for blocks in (1, 4):
            particles = block * blocks
            records = max(1026, total // particles // 1026 * 1026)
            value = cost(
                model, folder, particles, records, block_particles=block, block_records=1026
            )
            rate = 1e6 / value
            print(f"| {block} | {particles} | {value:.2f} | {rate:.3g} |", flush=True)


def memory(model, folder):
    """Peak memory beside interpreter and torch, for a short and a ten times longer run."""
    torch.nn.functional.linear(torch.ones(256, 96), torch.ones(96, 96))
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    for records in (5_000, 50_000):
        cost(model, folder, 256, records)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    for records, peak in zip((5_000, 50_000), peaks[1:], strict=True):
        print(f"| {records} | {(peak - peaks[0]) / 1024:.0f} MB |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    model_path, where, what = sys.argv[1:]
    {"lengths": lengths, "table": table, "memory": memory}[what](Path(model_path), Path(where))
