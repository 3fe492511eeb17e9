"""Writing alone, the generator replaced by a memory copy, against raw sequential writes.

The same bytes go in turn as one stream of plain sequential 4 MiB writes with one fsync, and as
blocks of all ranks through the writer thread of `mdgan-generate` with its saves; rounds alternate,
so that the ratio stands where the disk is shared. Processor seconds of all ranks stand beside: on
cores that others use, they are what can be compared. Run on all ranks:

    mpiexec -n 2 python tests/benchmarks/writing.py FOLDER [--storage mpio] [--mib 1024]
"""

import argparse
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mdgan_hpc.generate.work import WriterThread
from mdgan_hpc.trajectory.blocks.files import Description, make_master, make_part
from mdgan_hpc.trajectory.blocks.ledger import Progressed
from mdgan_hpc.trajectory.blocks.plan import BlockPlan, Part, chunk_shape, parts_folder, plan_parts
from mdgan_hpc.trajectory.blocks.writers import ParallelWriter, Piece, ShardWriter
from mdgan_hpc.trajectory.placement import Placement

P, R = 256, 1020
BLOCKS_EACH = 4
RAW_BYTES = 4 * 2**20
COMM = MPI.COMM_WORLD


def raw(folder, n_bytes):
    """Write one sequential stream on rank 0; returns seconds, and those of the processor."""
    COMM.barrier()
    begin, processor = time.perf_counter(), time.process_time()
    if COMM.rank == 0:
        data = np.random.default_rng(0).random(RAW_BYTES // 8).view(np.uint8)
        path = folder / "raw"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        begin, processor = time.perf_counter(), time.process_time()
        for place in range(0, n_bytes, RAW_BYTES):
            os.pwrite(descriptor, data, place)
        os.fsync(descriptor)
        os.close(descriptor)
    spent = time.perf_counter() - begin, time.process_time() - processor
    if COMM.rank == 0:
        path.unlink()
    return COMM.bcast(spent)


def written(folder, storage, segments):
    """Write so many segments of each block; returns seconds, of the processor too, and bytes."""
    master, rows, n_blocks = folder / "g.h5", segments * R, BLOCKS_EACH * COMM.size
    parts = plan_parts(master, range(rows), range(n_blocks), COMM.size)
    if storage == "mpio":
        parts = [Part(master.name, 0, rows, 0, n_blocks)]
    chunk = chunk_shape(P, R)
    plan = BlockPlan(storage, rows, n_blocks * P, P, *chunk, False, True, 100_000, ())
    plan = replace(plan, parts=tuple(parts))
    if COMM.rank == 0:
        for part in plan.parts if storage == "shards" else ():
            make_part(master, plan, part, {}, Placement(), {})
        description = Description(np.full(plan.n_particles, 3), None, 0.008, 1, {}, {}, {})
        make_master(master, plan, description, Placement())
    source = np.random.default_rng(COMM.rank).random((R, P, 3)).astype(np.float32)
    carry, known = bytes(100_000), [Progressed()] * n_blocks
    COMM.barrier()
    begin, processor = time.perf_counter(), time.process_time()
    if storage == "mpio":
        writer = ParallelWriter(master, plan, known, COMM, Placement())
    else:
        writer = ShardWriter(master, plan, known)
    thread = WriterThread(writer, save_interval_s=5.0)
    for row in range(0, rows, R):
        for block in range(COMM.rank * BLOCKS_EACH, (COMM.rank + 1) * BLOCKS_EACH):
            thread.put(Piece(block, row, R, [source.copy()], carry))
    thread.finish()
    processor = COMM.allreduce(time.process_time() - processor)
    COMM.barrier()
    seconds = time.perf_counter() - begin
    if COMM.rank == 0:
        master.unlink()
        shutil.rmtree(parts_folder(master), ignore_errors=True)
    COMM.barrier()
    return seconds, processor, n_blocks * rows * P * 12


def main():
    """Print GiB/s of both and their ratio in each round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--storage", default="shards")
    parser.add_argument("--mib", type=int, default=1024, help="of each rank")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    segments = max(1, arguments.mib * 2**20 // (BLOCKS_EACH * P * R * 12))
    ratios = []
    for _ in range(arguments.rounds):
        ours, busy, n_bytes = written(arguments.folder, arguments.storage, segments)
        plain, plain_busy = raw(arguments.folder, n_bytes)
        ratios.append(plain / ours)
        if COMM.rank == 0:
            total = n_bytes / 2**30
            print(
                f"{arguments.storage} {COMM.size} ranks: {total / ours:.2f} GiB/s, "
                f"raw {total / plain:.2f} GiB/s, ratio {plain / ours:.2f}; processor "
                f"{busy / total:.2f} s/GiB, raw {plain_busy / total:.2f} s/GiB",
                flush=True,
            )
    if COMM.rank == 0:
        print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
