"""Writing alone, the generator replaced by a memory copy, against raw sequential writes.

The same bytes go in turn as one stream of plain sequential 4 MiB writes with one fsync, and as
blocks of all ranks through the writers of `mdgan_hpc.trajectory.blocks` with their
saves; rounds alternate, so that the ratio stands where the disk is shared. Run on all ranks:

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

from mdgan_hpc.trajectory import blocks
from mdgan_hpc.trajectory.blocks import Part, Piece, Progressed
from mdgan_hpc.trajectory.placement import Placement

P, R = 256, 1024
SAVE_BYTES = 256 * 2**20
RAW_BYTES = 4 * 2**20


def raw(folder, n_bytes, rank):
    """Write one sequential stream, on rank 0; returns seconds."""
    if rank:
        MPI.COMM_WORLD.barrier()
        MPI.COMM_WORLD.barrier()
        return 1.0
    data = np.random.default_rng(rank).random(RAW_BYTES // 8).view(np.uint8)
    path = folder / f"raw-{rank}"
    MPI.COMM_WORLD.barrier()
    begin = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for place in range(0, n_bytes, RAW_BYTES):
        os.pwrite(descriptor, data, place)
    os.fsync(descriptor)
    os.close(descriptor)
    MPI.COMM_WORLD.barrier()
    seconds = time.perf_counter() - begin
    path.unlink()
    return seconds


def written(folder, storage, n_bytes, rank, size):
    """Write blocks; returns seconds."""
    pieces_each = n_bytes // (P * R * 12)
    blocks_each = min(4, pieces_each)
    rows = pieces_each // blocks_each * R
    master = folder / "g.h5"
    n_blocks = blocks_each * size
    plan = blocks.BlockPlan(storage, rows, n_blocks * P, P, R, P, False, True, 100_000, ())
    parts = blocks.plan_parts(master, range(rows), range(n_blocks), size)
    if storage == "mpio":
        parts = [Part(master.name, 0, rows, 0, n_blocks)]
    plan = replace(plan, parts=tuple(parts))
    if rank == 0:
        for part in plan.parts if storage == "shards" else ():
            blocks.make_part(master, plan, part, {}, Placement())
        description = blocks.Description(3, None, 0.008, 1, {}, {}, {})
        blocks.make_master(master, plan, description, Placement())
    source = np.random.default_rng(rank).random((R, P, 3)).astype(np.float32)
    block_data, carry = np.empty_like(source), bytes(100_000)
    MPI.COMM_WORLD.barrier()
    begin = time.perf_counter()
    known = [Progressed()] * n_blocks
    if storage == "mpio":
        writer = blocks.ParallelWriter(master, plan, known, MPI.COMM_WORLD, Placement())
    else:
        writer = blocks.ShardWriter(master, plan, known)
    size_now = 0
    for row in range(0, rows, R):
        for block in range(rank * blocks_each, (rank + 1) * blocks_each):
            np.copyto(block_data, source)
            writer.write(Piece(block, row, R, [block_data], carry))
            size_now += block_data.nbytes
            if size_now >= SAVE_BYTES:
                writer.save()
                size_now = 0
    writer.save()
    writer.close()
    MPI.COMM_WORLD.barrier()
    seconds = time.perf_counter() - begin
    if rank == 0:
        master.unlink()
        shutil.rmtree(blocks.parts_folder(master), ignore_errors=True)
    MPI.COMM_WORLD.barrier()
    return seconds, blocks_each * rows * P * 12


def main():
    """Print GiB/s of both and their ratio in each round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--storage", default="shards")
    parser.add_argument("--mib", type=int, default=1024, help="of each rank")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    n_bytes = arguments.mib * 2**20
    ratios = []
    for _ in range(arguments.rounds):
        ours, exact = written(arguments.folder, arguments.storage, n_bytes, comm.rank, comm.size)
        plain = raw(arguments.folder, exact * comm.size, comm.rank)
        ratios.append(plain / ours)
        if comm.rank == 0:
            total = exact * comm.size / 2**30
            print(
                f"{arguments.storage} {comm.size} ranks: {total / ours:.2f} GiB/s, "
                f"raw {total / plain:.2f} GiB/s, ratio {plain / ours:.2f}",
                flush=True,
            )
    if comm.rank == 0:
        print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
