"""The work of one process: compute segments of its blocks while a thread writes them."""

import errno
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import torch

from mdgan_hpc.errors import DataError, MdganError
from mdgan_hpc.gan.model import Model
from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.parallel import Communicator, detect_launch, share
from mdgan_hpc.progress import Progress
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.trajectory.blocks import (
    BlockPlan,
    BlockWriter,
    ParallelWriter,
    Piece,
    Progressed,
    ShardWriter,
    read_progress,
)

#: Bytes written between two saves at most.
_SAVE_BYTES = 256 * 2**20
_QUEUE = 2


@dataclass(frozen=True)
class Job:
    """What all processes of a run know.

    Attributes
    ----------
    config : GenerateConfig
    plan : BlockPlan
    block_records : int
        R, as the file has it.
    device : str
        ``cpu`` or ``cuda``.
    unfinished : list of int
        Blocks that lack records.
    done_records : int
        Stored records of all blocks so far.
    """

    config: GenerateConfig
    plan: BlockPlan
    block_records: int
    device: str
    unfinished: list[int]
    done_records: int


def make_rollout(
    config: GenerateConfig, settings: dict[str, Any], model: Model, device: str = "cpu"
) -> Rollout:
    """Return the rollout of a run on a device."""
    return Rollout(
        model,
        seed=config.seed,
        block_particles=settings["block_particles"],
        segment_records=settings["block_records"],
        burn_in=config.burn_in,
        max_jump=config.max_jump,
        device=torch.device(device),
        bf16=config.precision == "bf16",
    )


def pieces(
    job: Job, rollout: Rollout, block: int, progress: Progressed, interval_ps: float
) -> Iterator[Piece]:
    """Compute what is left of a block, segment by segment.

    Parameters
    ----------
    job, rollout
    block : int
    progress : Progressed
        Where the block stands.
    interval_ps : float
        Time between two generated records.
    """
    config, rows, r = job.config, job.plan.n_records, job.block_records
    every, done = config.every, progress.completed
    carry = rollout.unpack(progress.carry) if progress.carry else rollout.start(block)
    if done >= rows:
        yield Piece(block, done, 0, [], progress.carry)
        return
    while done < rows:
        segment = carry.segment
        end = (segment + 1) * r // every
        before = rollout.pack(carry) if end > rows else b""
        positions, displacements = rollout.advance(block, carry)
        # Stored record i is generated record (i + 1) * every, counted from 1.
        local = np.arange(done, min(end, rows)) * every + (every - 1 - segment * r)
        kept = slice(local[0], local[-1] + 1, every) if len(local) else slice(0)
        arrays = [positions[kept]]
        if job.plan.velocities:
            arrays.append(displacements[kept] / np.float32(interval_ps))
        yield Piece(block, done, len(local), arrays, before or rollout.pack(carry))
        done += len(local)


class _Stopped(Exception):
    pass


class WriterThread:
    """Writes pieces beside the computation, at most `_QUEUE` behind.

    Parameters
    ----------
    writer : BlockWriter
    save_interval_s : float
    collective : callable, optional
        Given whether this rank has a piece, returns whether any rank has one: with parallel HDF5
        every rank takes part in every write until all are done.
    """

    def __init__(
        self,
        writer: BlockWriter,
        save_interval_s: float,
        collective: Callable[[bool], bool] | None = None,
    ) -> None:
        self._writer, self._interval, self._collective = writer, save_interval_s, collective
        self._queue: queue.Queue[Piece | None] = queue.Queue(_QUEUE)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, piece: Piece) -> None:
        """Hand over a piece; waits while the disk is behind."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._queue.put(piece, timeout=0.2)
                return
            except queue.Full:
                continue

    def finish(self) -> None:
        """Write and save the rest."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._write_all()
        except BaseException as error:
            self._failure = error

    def _write_all(self) -> None:
        last, size, ended = time.monotonic(), 0, False
        while True:
            piece = None if ended else self._queue.get()
            ended = piece is None
            if self._collective is None:
                if ended:
                    break
            elif not self._collective(not ended):
                break
            self._writer.write(piece)
            size += sum(a.nbytes for a in piece.arrays) if piece is not None else 0
            if size >= _SAVE_BYTES or time.monotonic() - last >= self._interval:
                self._writer.save()
                last, size = time.monotonic(), 0
        self._writer.save()
        self._writer.close()


def _work(
    job: Job,
    rollout: Rollout,
    model: Model,
    own: Sequence[int],
    make_writer: Callable[[Sequence[Progressed]], BlockWriter],
    collective: Callable[[bool], bool] | None,
    stop: Callable[[], str],
    report: Callable[[int], None],
) -> str:
    """Compute and write blocks `own`; returns why it stopped early, or nothing."""
    output, reason = job.config.output, ""
    progress = read_progress(output, job.plan, own)
    try:
        thread = WriterThread(make_writer(progress), job.config.save_interval_s, collective)
        for block in own:
            for piece in pieces(job, rollout, block, progress[block], model.record_interval_ps):
                thread.put(piece)
                report(piece.n_records)
                reason = stop()
                if reason:
                    break
            if reason:
                break
        thread.finish()
    except OSError as error:
        raise _disk_error(error, output) from error
    return reason


def _disk_error(error: OSError, output: object) -> MdganError:
    remedy = "run the same command again to go on from what is saved"
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return DataError("the disk is full", where=output, remedy=f"free space, then {remedy}")
    return DataError(f"cannot be written ({error.strerror or error})", where=output, remedy=remedy)


def run_rank(job: Job, model: Model, communicator: Communicator) -> str:
    """Do this rank's share; returns why it stopped early, or nothing."""
    torch.set_num_threads(1)
    own = [
        job.unfinished[i] for i in share(len(job.unfinished), communicator.rank, communicator.size)
    ]
    rollout = make_rollout(
        job.config, _settings(job), model, _device(job, detect_launch().local_rank)
    )
    collective = None

    def make_writer(progress: Sequence[Progressed]) -> BlockWriter:
        if job.plan.storage == "mpio":
            from mpi4py import MPI

            ranks = getattr(communicator, "mpi", MPI.COMM_SELF)
            return ParallelWriter(job.config.output, job.plan, progress, ranks)
        return ShardWriter(job.config.output, job.plan, progress)

    if job.plan.storage == "mpio":

        def collective(have: bool) -> bool:
            return any(communicator.allgather(have))

    rows = job.plan.n_records
    total = rows * job.plan.n_blocks
    left = sum(1 for _ in own)
    factor = len(job.unfinished) / max(left, 1)
    with (
        StopRequest(job.config.wall_time_min) as request,
        Progress(
            "Generating",
            total * job.plan.block_particles,
            "records",
            start=job.done_records * job.plan.block_particles,
            silent=communicator.rank != 0,
        ) as bar,
    ):
        return _work(
            job,
            rollout,
            model,
            own,
            make_writer,
            collective,
            lambda: request.reason if request else "",
            lambda n: bar.update(round(n * factor) * job.plan.block_particles),
        )


def _settings(job: Job) -> dict[str, Any]:
    return {"block_particles": job.plan.block_particles, "block_records": job.block_records}


def _device(job: Job, index: int) -> str:
    if job.device != "cuda" or ":" in job.config.device:
        return job.config.device if job.device == "cuda" else "cpu"
    return f"cuda:{index % torch.cuda.device_count()}"


# Without MPI: one process a core ------------------------------------------------------------


def run_local(job: Job, load: Callable[[], Model]) -> str:
    """Share the blocks among processes of this machine; returns why it stopped early."""
    from mdgan_hpc.generate.run import worker_count
    from mdgan_hpc.parallel import SingleProcess, world

    n = worker_count(job.config, len(job.unfinished), world(), job.device)
    if n == 1:
        return run_rank(job, load(), SingleProcess())
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    count = context.Array("q", n)
    processes, ends = [], []
    for index in range(n):
        end, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_local_worker, args=(job, load, index, n, stop, count, theirs), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(end)
    p = job.plan.block_particles
    reasons: list[str] = []
    try:
        with (
            StopRequest(job.config.wall_time_min) as request,
            Progress(
                "Generating",
                job.plan.n_records * job.plan.n_blocks * p,
                "records",
                start=job.done_records * p,
            ) as bar,
        ):
            seen = 0
            waiting = dict(zip(ends, processes, strict=True))
            while waiting:
                for end in wait(list(waiting), timeout=0.5):  # type: ignore[assignment]
                    reasons.append(_result(end, waiting.pop(end), job))
                if request:
                    stop.set()
                now = sum(count[:])
                bar.update((now - seen) * p)
                seen = now
            return request.reason if any(reasons) else ""
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _result(end: Any, process: Any, job: Job) -> str:
    """Return what a worker sent last, or raise what it raised."""
    try:
        result = end.recv()
    except EOFError:
        process.join()
        raise DataError(
            f"a worker process ended unexpectedly (status {process.exitcode}; killed, or out of "
            "memory)",
            where=job.config.output,
            remedy="run the same command again to go on from what is saved",
        ) from None
    if isinstance(result, BaseException):
        raise result
    return result


def _local_worker(
    job: Job,
    load: Callable[[], Model],
    index: int,
    n: int,
    stop: Any,
    count: Any,
    end: Connection,
) -> None:
    import fcntl
    import signal

    from mdgan_hpc.generate.run import lock_path

    # The parent decides when to stop; a terminal sends its signals to all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    torch.set_num_threads(1)

    def report(records: int) -> None:
        count[index] += records

    def asked() -> str:
        if os.getppid() != parent:
            os._exit(1)
        return "asked by the parent" if stop.is_set() else ""

    with open(lock_path(job.config.output), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            model = load()
            rollout = make_rollout(job.config, _settings(job), model, _device(job, index))
            own = [job.unfinished[i] for i in share(len(job.unfinished), index, n)]
            result: Any = _work(
                job,
                rollout,
                model,
                own,
                lambda progress: ShardWriter(job.config.output, job.plan, progress),
                None,
                asked,
                report,
            )
        except MdganError as error:
            result = error
        end.send(result)
