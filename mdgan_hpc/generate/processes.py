"""Sharing the blocks among processes: the ranks of MPI, or without MPI processes of our own.

Every process computes on one thread, so that its arithmetic does not depend on how many there are.
"""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

import torch

from mdgan_hpc.errors import DataError, MdganError
from mdgan_hpc.generate.pieces import Run
from mdgan_hpc.generate.work import work
from mdgan_hpc.models.file import Model
from mdgan_hpc.orphans import run_under
from mdgan_hpc.parallel import Communicator, detect_launch, share
from mdgan_hpc.progress import Progress
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.threads import computing_on
from mdgan_hpc.trajectory.blocks.ledger import Progressed
from mdgan_hpc.trajectory.blocks.writers import BlockWriter, ParallelWriter, ShardWriter


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Start processes that do not run the caller's script again, guarded or not.

    They need nothing of it: what they do comes from this package.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _share(run: Run, index: int, n: int) -> list[int]:
    return [run.unfinished[i] for i in share(len(run.unfinished), index, n)]


def _progress(run: Run, *, silent: bool = False) -> Progress:
    p = run.plan.block_particles
    total = run.plan.n_records * run.plan.n_blocks * p
    return Progress("Generating", total, "records", start=run.done_records * p, silent=silent)


def run_rank(run: Run, model: Model, communicator: Communicator) -> str:
    """Do this rank's share; returns why it stopped early, or nothing."""
    own = _share(run, communicator.rank, communicator.size)

    def make_writer(progress: Sequence[Progressed]) -> BlockWriter:
        if run.plan.storage == "shards":
            return ShardWriter(run.config.output, run.plan, progress)
        from mpi4py import MPI

        ranks = getattr(communicator, "mpi", MPI.COMM_SELF)
        placement = run.config.placement
        return ParallelWriter(run.config.output, run.plan, progress, ranks, placement)

    # Rank 0 reports for all: the others are as far.
    factor = run.plan.block_particles * len(run.unfinished) / max(len(own), 1)
    with (
        computing_on(1),
        StopRequest(run.config.wall_time_min) as request,
        _progress(run, silent=communicator.rank != 0) as bar,
    ):
        stopped = work(
            run,
            run.rollout(model, detect_launch().local_rank),
            own,
            make_writer,
            stop=lambda: request.reason if request else "",
            report=lambda n: bar.update(round(n * factor)),
        )
        if not stopped:
            bar.finish()
        return stopped


def run_local(run: Run, load: Callable[[], Model], n: int) -> str:
    """Share the blocks among `n` processes of this machine; returns why it stopped early."""
    # Spawned, not forked: threads and GPU contexts do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop, counts = context.Event(), context.Array("q", n)
    waiting: dict[Any, Any] = {}
    call = pickle.dumps((_worker, (run, load)))
    processes, p, reasons = [], run.plan.block_particles, []
    try:
        with StopRequest(run.config.wall_time_min) as request, _progress(run) as bar:
            for index in range(n):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=run_under,
                    args=(os.getpid(), call, index, n, stop, counts, theirs),
                    daemon=True,
                )
                with _main_left_alone():
                    process.start()
                theirs.close()
                processes.append(process)
                waiting[ours] = process
            seen = 0
            while waiting:
                for end in wait(list(waiting), timeout=0.5):
                    reasons.append(_result(end, waiting.pop(end), run))
                if request:
                    stop.set()
                now = sum(counts[:])
                bar.update((now - seen) * p)
                seen = now
            return request.reason if any(reasons) else ""
    finally:
        for process in processes:
            process.kill()
            process.join()


def _result(end: Any, process: Any, run: Run) -> str:
    """Return what a worker sent last, or raise what it raised."""
    try:
        result = end.recv()
    except EOFError:
        process.join()
        raise DataError(
            f"a process ended unexpectedly (status {process.exitcode}: killed, or out of memory)",
            where=run.config.output,
            remedy="run the same command again to go on from what is saved",
        ) from None
    if isinstance(result, BaseException):
        raise result
    return str(result)


def _worker(
    run: Run,
    load: Callable[[], Model],
    index: int,
    n: int,
    stop: Any,
    counts: Any,
    end: Connection,
) -> None:
    """One process of `run_local`: says how it ended through `end`."""
    # A terminal and Slurm send their signals to all: the parent decides when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)

    def report(records: int) -> None:
        counts[index] += records

    try:
        result: Any = work(
            run,
            run.rollout(load(), index),
            _share(run, index, n),
            lambda progress: ShardWriter(run.config.output, run.plan, progress),
            stop=lambda: "asked" if stop.is_set() else "",
            report=report,
        )
    except MdganError as error:
        result = error
    end.send(result)
