"""A generation run from the options to the finished file: begin, go on, or extend."""

import functools
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mdgan_hpc.errors import DataError, DataWarning, OutputExistsError, StoppedError, UsageError
from mdgan_hpc.gan.model import MODEL_NAME, Model, load_model
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.generate.work import Job, make_rollout, run_local, run_rank
from mdgan_hpc.outputs import refuse_existing, require_directory_for
from mdgan_hpc.parallel import Communicator, world
from mdgan_hpc.provenance import file_sha256, library_versions, provenance
from mdgan_hpc.trajectory import blocks
from mdgan_hpc.trajectory.blocks import BlockPlan, Description

Load = Callable[[], Model]
_GPU_BLOCK = 32768
_CPU_BLOCK = 256
_CHUNK_BYTES = 4 * 2**20
_LOCK_WAIT_S = 15.0


def generate(config: GenerateConfig, load: Load | None = None) -> None:
    """Make, finish or extend a generated trajectory; all ranks of a launch call it.

    Parameters
    ----------
    config : GenerateConfig
    load : callable, optional
        Returns the model; can be pickled. The model file's, if not given.

    Raises
    ------
    UsageError
        If the output exists and is not of this model, seed and settings.
    DataError
        If the model or the output cannot be used.
    DivergedError
        If the model leaves the range it was trained for.
    StoppedError
        If stopped on request; running the same command again goes on.
    """
    load = load or functools.partial(load_model, config.model)
    communicator = world()
    with locked(config.output, communicator):
        model = load()
        job = None
        if communicator.rank == 0:
            job = _prepare(config, model, communicator)
        job = communicator.bcast(job)
        if not job.unfinished:
            _say(
                communicator,
                f"{config.output}: all {job.plan.n_records} records of all "
                f"{job.plan.n_particles} particles are there; nothing to do",
            )
            return
        begin = time.monotonic()
        if communicator.size == 1 and job.plan.storage == "shards":
            stopped = run_local(job, load)
        else:
            stopped = run_rank(job, model, communicator)
        stopped = next((s for s in communicator.allgather(stopped) if s), "")
    if stopped:
        raise StoppedError(
            f"stopped ({stopped}); everything so far is saved",
            where=config.output,
            remedy="run the same command again to go on",
        )
    _say(
        communicator,
        f"{config.output}: {job.plan.n_records} records of "
        f"{job.plan.n_particles} particles, {time.monotonic() - begin:.1f} s",
    )


def _say(communicator: Communicator, line: str) -> None:
    if communicator.rank == 0:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def locked(output: Path, communicator: Communicator) -> Iterator[None]:
    """Keep two runs from writing one output; processes that outlive a killed run count.

    Every process of a run holds a shared lock; a new run must first hold it alone.
    """
    import fcntl

    path = lock_path(output)
    if communicator.rank == 0:
        require_directory_for(output)
    communicator.barrier()
    with open(path, "a") as stream:
        try:
            if communicator.rank == 0:
                _lock_alone(stream, output)
            communicator.barrier()
            fcntl.flock(stream, fcntl.LOCK_SH)
        except OSError:
            communicator.barrier()  # a file system without locks
        yield
    communicator.barrier()
    if communicator.rank == 0:
        path.unlink(missing_ok=True)


def lock_path(output: Path) -> Path:
    """Return the file whose lock says that a run is going on."""
    return output.with_name(f".{output.name}.lock")


def _lock_alone(stream: Any, output: Path) -> None:
    import fcntl

    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DataError(
                    "another run is writing it", where=output, remedy="wait for it or end it"
                ) from None
            time.sleep(0.1)


# What is to be done ------------------------------------------------------------------------


def _prepare(config: GenerateConfig, model: Model, communicator: Communicator) -> Job:
    """Make, open or extend the files, on one rank, and say what is left to do."""
    exists = os.path.lexists(config.output)
    if exists and config.force:
        remove_output(config.output)
        exists = False
    if not exists:
        plan, settings = _create(config, model, communicator)
        completed = [0] * plan.n_blocks
    else:
        plan, settings = _reopen(config, model, communicator)
        completed = [p.completed for p in blocks.read_progress(config.output, plan)]
    return Job(
        config=config,
        plan=plan,
        block_records=settings["block_records"],
        device=settings["device"],
        unfinished=[b for b, done in enumerate(completed) if done < plan.n_records],
        done_records=sum(completed),
    )


def remove_output(output: Path) -> None:
    """Remove a generated file together with its parts."""
    if output.is_dir():
        raise UsageError("is a folder", where=output, remedy="choose another output")
    output.unlink()
    shutil.rmtree(blocks.parts_folder(output), ignore_errors=True)


def choose_storage(config: GenerateConfig, communicator: Communicator) -> str:
    """Return ``mpio`` or ``shards``.

    Raises
    ------
    UsageError
        If ``mpio`` was asked for and cannot be had.
    """
    import h5py

    parallel_hdf5 = bool(h5py.get_config().mpi)
    if config.storage == "auto":
        return "mpio" if parallel_hdf5 and communicator.size > 1 else "shards"
    if config.storage == "mpio" and not parallel_hdf5:
        raise UsageError(
            "--storage mpio needs an h5py that was built with MPI, this one is not",
            remedy="use --storage shards, or the parallel h5py of the centre",
        )
    return config.storage


def _settings(config: GenerateConfig, model: Model) -> dict[str, Any]:
    """What decides every bit of the output."""
    generator = model.generator
    k, step = generator.particles_per_sample, generator.records_per_step
    device = device_kind(config)
    particles = config.block_particles
    if particles == 0:
        wanted = _GPU_BLOCK if device == "cuda" else _CPU_BLOCK
        particles = -(-min(wanted, config.particles) // k) * k
    if particles % k:
        raise UsageError(
            f"--block-particles {particles} is not a multiple of the {k} particles that the model "
            "makes together",
            remedy=f"use {-(-particles // k) * k}",
        )
    file = config.model / MODEL_NAME if config.model.is_dir() else config.model
    return {
        "model": file_sha256(file),
        "seed": config.seed,
        "block_particles": particles,
        "block_records": -(-config.block_records // step) * step,
        "every": config.every,
        "velocities": config.velocities,
        "burn_in": config.burn_in,
        "precision": config.precision,
        "device": device,
    }


def device_kind(config: GenerateConfig) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises
    ------
    UsageError
        If a GPU was asked for and there is none.
    """
    kind = config.device.partition(":")[0]
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device {config.device} is not known", remedy="use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU", remedy="use --device cpu")
    return kind


def _create(
    config: GenerateConfig, model: Model, communicator: Communicator
) -> tuple[BlockPlan, dict[str, Any]]:
    settings = _settings(config, model)
    storage = choose_storage(config, communicator)
    p = settings["block_particles"]
    n_blocks = -(-config.particles // p)
    rows = config.stored_records
    plan = BlockPlan(
        storage=storage,
        n_records=rows,
        n_particles=config.particles,
        block_particles=p,
        chunk_records=max(1, min(settings["block_records"], _CHUNK_BYTES // (12 * p))),
        velocities=config.velocities,
        positions=True,
        carry_bytes=make_rollout(config, settings, model).carry_bytes,
        parts=(),
    )
    if storage == "shards":
        n_files = worker_count(config, n_blocks, communicator, settings["device"])
        parts = blocks.plan_parts(config.output, range(rows), range(n_blocks), n_files)
    else:
        parts = [blocks.Part(config.output.name, 0, rows, 0, n_blocks)]
    plan = replace(plan, parts=tuple(parts))
    reason = "" if config.storage != "auto" else _storage_reason(storage, communicator)
    files = f"{len(parts)} files under {config.output.name}" if storage == "shards" else "one file"
    print(f"Storage: {storage} ({files}){reason}", file=sys.stderr, flush=True)
    if storage == "shards":
        for part in plan.parts:
            blocks.make_part(config.output, plan, part, {})
    blocks.make_master(config.output, plan, _describe(config, model, settings, communicator))
    return plan, settings


def _storage_reason(storage: str, communicator: Communicator) -> str:
    if storage == "mpio":
        return ": h5py has MPI"
    if communicator.size == 1:
        return ": one rank"
    return ": h5py has no MPI"


def worker_count(
    config: GenerateConfig, n_blocks: int, communicator: Communicator, device: str
) -> int:
    """Return how many processes compute: the ranks, or without MPI one a core or GPU."""
    if communicator.size > 1:
        return communicator.size
    if config.workers:
        wanted = config.workers
    elif device == "cuda":
        wanted = torch.cuda.device_count() if ":" not in config.device else 1
    else:
        wanted = len(os.sched_getaffinity(0))
    return max(1, min(wanted, n_blocks))


def _describe(
    config: GenerateConfig,
    model: Model,
    settings: dict[str, Any],
    communicator: Communicator,
    before: dict[str, Any] | None = None,
) -> Description:
    options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    file = config.model / MODEL_NAME if config.model.is_dir() else config.model
    record = provenance(config=options, seed=config.seed, inputs=[file], ranks=communicator.size)
    if before:
        record["extends"] = before
    start = "start states of the training data"
    if config.burn_in:
        start += f", then {config.burn_in} records dropped"
    return Description(
        species=model.species,
        cell=model.cell,
        record_interval_ps=model.record_interval_ps * config.every,
        step_interval=config.every,
        settings=settings | {"libraries": _arithmetic()},
        parameters={
            "generated": 1,
            "start_state": start,
            "burn_in_records": config.burn_in,
            "training_span_ps": model.training_span_ps,
        },
        provenance=record,
    )


def _arithmetic() -> dict[str, str]:
    """Libraries that decide the bits."""
    versions = library_versions()
    return {name: versions[name] for name in ("numpy", "torch") if name in versions}


def _reopen(
    config: GenerateConfig, model: Model, communicator: Communicator
) -> tuple[BlockPlan, dict[str, Any]]:
    """Check that the output is of the same run, and extend it where more is asked for."""
    output = config.output
    try:
        plan, found = blocks.read_plan(output)
    except DataError:
        refuse_existing(output, force=False)
        raise
    libraries = found.pop("libraries", {})
    if not config.block_particles:
        config = replace(config, block_particles=found["block_particles"])
    settings = _settings(config, model)
    for name, value in settings.items():
        if found.get(name) != value:
            shown = "another model" if name == "model" else f"{name} {found.get(name)}, not {value}"
            raise OutputExistsError(
                f"exists already and was made with {shown}",
                where=output,
                remedy="use the same settings to go on, another output, or --force to replace it",
            )
    if config.storage not in ("auto", plan.storage):
        raise OutputExistsError(
            f"exists already with --storage {plan.storage}",
            where=output,
            remedy="leave --storage out, choose another output, or use --force to replace it",
        )
    choose_storage(replace(config, storage=plan.storage), communicator)
    if libraries != _arithmetic():
        warnings.warn(
            f"{output}: begun with {libraries}, goes on with {_arithmetic()}: the new records may "
            "differ in the last bits from those of an uninterrupted run",
            DataWarning,
            stacklevel=2,
        )
    rows = config.stored_records
    if rows < plan.n_records or config.particles < plan.n_particles:
        raise OutputExistsError(
            f"has {plan.n_records} records of {plan.n_particles} particles already, more than "
            f"{rows} of {config.particles}",
            where=output,
            remedy="ask for as many or more, choose another output, or use --force",
        )
    if rows > plan.n_records or config.particles > plan.n_particles:
        plan = _extend(config, plan, settings, model, communicator)
    return plan, settings


def _extend(
    config: GenerateConfig,
    plan: BlockPlan,
    settings: dict[str, Any],
    model: Model,
    communicator: Communicator,
) -> BlockPlan:
    """Add part files for more records of the old blocks and for new blocks."""
    from mdgan_hpc.trajectory import Trajectory

    output, rows = config.output, config.stored_records
    if plan.storage != "shards":
        raise UsageError(
            "a single parallel file cannot grow",
            where=output,
            remedy="use --storage shards for runs to be extended",
        )
    with Trajectory(output, incomplete_ok=True) as file:
        before = file.provenance
    progress = blocks.read_progress(output, plan)
    carries = {b: (p.completed, p.carry) for b, p in enumerate(progress) if p.carry}
    n_files = worker_count(
        config, -(-config.particles // plan.block_particles), communicator, settings["device"]
    )
    longer = replace(plan, n_records=rows, n_particles=config.particles)
    parts = list(plan.parts)
    for records, own in (
        (range(plan.n_records, rows), range(plan.n_blocks)),
        (range(rows), range(plan.n_blocks, longer.n_blocks)),
    ):
        if len(records) and len(own):
            parts += blocks.plan_parts(output, records, own, n_files, number=len(parts))
    longer = replace(longer, parts=tuple(parts))
    for part in parts[len(plan.parts) :]:
        blocks.make_part(output, longer, part, carries)
    description = _describe(config, model, settings, communicator, before)
    blocks.make_master(output, longer, description)
    return longer
