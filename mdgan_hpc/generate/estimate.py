"""What a run would take: disk, memory and time, from a calibration of seconds."""

import os
import resource
import shutil
import sys
import time

from mdgan_hpc.generate.pieces import Analysis, make_rollout
from mdgan_hpc.generate.prepare import Preparation, space_of
from mdgan_hpc.generate.resources import choose_storage, require_space, worker_count
from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.generate.supercell import settled
from mdgan_hpc.models.file import load_model
from mdgan_hpc.parallel import world
from mdgan_hpc.threads import computing_on
from mdgan_hpc.trajectory.blocks.ledger import read_progress
from mdgan_hpc.trajectory.blocks.plan import file_bytes

_CALIBRATION_S = 2.0


def estimate(config: GenerateConfig, *, analysis: Analysis | None = None) -> list[str]:
    """Return what a run of `config` would read, write and take, in lines for the user.

    Time is that of real segments of one block on one process, without the disk; memory is what
    they added to this process.

    Raises
    ------
    DataError
        If the disk cannot hold the output.
    UsageError
        If the options cannot work.
    """
    ranks = world().size
    config, model = settled(config, load_model(config.model))
    preparation = Preparation(config, model, analysis, ranks)
    done = freed = 0
    if os.path.lexists(config.output) and not config.force:
        plan, settings = preparation.check()
        done = sum(p.completed for p in read_progress(config.output, plan))
        needed = 0
        if config.stored_records > plan.n_records or config.particles > plan.n_particles:
            longer = preparation.longer(plan, settings)
            needed, plan = file_bytes(longer) - file_bytes(plan), longer
    else:
        settings = preparation.settings()
        plan = preparation.plan(settings, choose_storage(config.storage, ranks))
        needed, freed = file_bytes(plan), space_of(config.output)
    require_space(config.output, needed, freed=freed)

    processes = worker_count(config, plan.n_blocks, ranks, settings["device"])
    before = _memory()
    rollout = make_rollout(config, settings, model, settings["device"])
    rate = _records_per_second(rollout)
    in_segment = rollout.segment_records * rollout.block_particles
    left = (plan.n_records * plan.n_blocks - done) * config.every * rollout.block_particles
    in_flight = 4 * 12 * in_segment // config.every + 2 * plan.carry_bytes
    free = shutil.disk_usage(config.output.absolute().parent).free
    span = config.records * model.record_interval_ps
    kind = f"{len(plan.parts)} part files" if plan.storage == "shards" else "one file"
    return [
        f"reads     {', '.join(map(str, preparation.model_files))}",
        f"writes    {config.output} ({plan.storage}, {kind}): {plan.n_records} records of "
        f"{plan.n_particles} particles, {span:g} ps, every {config.every} record(s)",
        f"disk      {needed / 1e9:.3g} GB more, {free / 1e9:.3g} GB free",
        f"memory    {(_memory() - before + in_flight) / 1e6:.0f} MB a process beside torch, "
        f"{processes} process(es)",
        f"time      {_duration(left / rate / processes)} at {rate:.3g} records/s a process "
        f"({settings['device']}), if the disk keeps up with "
        f"{12e-6 * rate * processes / config.every * len(plan.datasets()):.0f} MB/s",
    ]


def _records_per_second(rollout: Rollout) -> float:
    """Measure one process, in records of one particle."""
    with computing_on(1):
        state, segments, begin = rollout.start(0), 0, time.perf_counter()
        while time.perf_counter() - begin < _CALIBRATION_S:
            rollout.advance(0, state)
            segments += 1
        elapsed = time.perf_counter() - begin
    return segments * rollout.segment_records * rollout.block_particles / elapsed


def _memory() -> int:
    """Peak resident bytes of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _duration(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400:.3g} days"
