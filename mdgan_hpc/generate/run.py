"""A generation run from the options to the finished file: begin, go on, or extend."""

import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mdgan_hpc.errors import StoppedError
from mdgan_hpc.generate.job import Analysis, Job, unpack_state, worker_count
from mdgan_hpc.generate.lock import locked
from mdgan_hpc.generate.prepare import prepare
from mdgan_hpc.generate.processes import run_local, run_rank
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.models.file import Model, load_model
from mdgan_hpc.parallel import world
from mdgan_hpc.trajectory.blocks.ledger import read_progress


def generate(
    config: GenerateConfig,
    *,
    analysis: Analysis | None = None,
    load: Callable[[], Model] | None = None,
) -> dict[str, Any] | None:
    """Make, finish or extend a generated trajectory; all ranks of a launch call it.

    Parameters
    ----------
    config : GenerateConfig
    analysis : Analysis, optional
        Analyse while generating.
    load : callable, optional
        Returns the model; can be pickled. The model file's, if not given.

    Returns
    -------
    dict or None
        The result of the analysis on rank 0, if there is one.

    Raises
    ------
    UsageError
        If the output exists and is not of this model, seed and settings.
    DataError
        If the model or the output cannot be used, or the disk is full.
    DivergedError
        If the model leaves the range it was trained for.
    StoppedError
        If stopped on request; running the same command again goes on.
    """
    load = load or functools.partial(load_model, config.model)
    communicator = world()
    begin = time.monotonic()
    with locked(config.output, communicator):
        model = load()
        job: Job | None = None
        if communicator.rank == 0:
            job = prepare(config, model, analysis, communicator.size)
        job = communicator.bcast(job)
        assert job is not None
        stopped = ""
        if job.unfinished:
            alone = communicator.size == 1 and job.plan.storage == "shards"
            n = worker_count(config, len(job.unfinished), 1, job.settings["device"])
            if alone and n > 1:
                stopped = run_local(job, load, n)
            else:
                stopped = run_rank(job, model, communicator)
        stopped = next((reason for reason in communicator.allgather(stopped) if reason), "")
        if stopped:
            raise StoppedError(
                f"stopped ({stopped}); everything so far is saved",
                where=config.output,
                remedy="run the same command again to go on",
            )
        if communicator.rank != 0:
            return None
        size = f"{job.plan.n_records} records of {job.plan.n_particles} particles"
        if job.unfinished:
            end = f"{size}, {time.monotonic() - begin:.1f} s"
        else:
            end = f"all {size} are there; nothing to do"
        print(f"{config.output}: {end}", file=sys.stderr, flush=True)
        if job.analysis is None:
            return None
        interval_ps = model.record_interval_ps * config.every
        return job.analysis.result(
            job.settings["analysis"],
            _states(job, model),
            interval_ps,
            model.generator.ions_per_cell,
        )


def _states(job: Job, model: Model) -> Iterator[dict[str, np.ndarray]]:
    """Yield the accumulated states of the blocks in their order."""
    skip = job.rollout(model).carry_bytes
    for block in range(job.plan.n_blocks):
        accumulator = job.accumulator(block)
        assert accumulator is not None
        carry = read_progress(job.config.output, job.plan, [block])[block].carry
        unpack_state(accumulator.state, carry[skip:])
        yield accumulator.state
