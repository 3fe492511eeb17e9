"""Beginning, reopening and extending the output, on one rank, before the work is shared out."""

import contextlib
import logging
import os
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc import __version__
from mdgan_hpc.errors import DataError, DataWarning, OutputExistsError, UsageError
from mdgan_hpc.generate.pieces import Analysis, Run, make_rollout
from mdgan_hpc.generate.resources import (
    choose_storage,
    device_kind,
    require_space,
    worker_count,
)
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.generate.supercell import repeats_of, segment_records, supercell_text
from mdgan_hpc.models.file import Model, model_files
from mdgan_hpc.outputs import check_output, sweep
from mdgan_hpc.provenance import as_json, file_sha256, library_versions, provenance
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.blocks.clock import read_time_s
from mdgan_hpc.trajectory.blocks.files import (
    Description,
    extend_whole_file,
    make_master,
    make_part,
)
from mdgan_hpc.trajectory.blocks.ledger import mend_counts, read_progress
from mdgan_hpc.trajectory.blocks.plan import (
    BlockPlan,
    Part,
    chunk_shape,
    file_bytes,
    next_part,
    parts_folder,
    plan_parts,
    read_plan,
    require_own_parts,
)
from mdgan_hpc.trajectory.opening import read_provenance
from mdgan_hpc.trajectory.temperature import TARGET

_log = logging.getLogger(__name__)

#: Particles (at most) and records of a block: a GPU needs many particles to be busy, and then fewer
#: records to keep what is in memory below 64 MiB.
_BLOCK = {"cpu": (1024, 1024), "cuda": (32768, 128)}
#: Wide blocks cost less a record, but on a CPU a few processes should all find work.
_LEAST, _BLOCKS = 256, 8

#: Names of options, and of the settings of a file that they become.
_AS_IN_FILE = {
    "seed": "seed",
    "every": "every",
    "velocities": "velocities",
    "store": "positions",
    "burn_in": "burn_in",
    "precision": "precision",
    "temperature_k": "temperature_k",
}

Settings = dict[str, Any]


def options_of_output(output: Path) -> dict[str, Any]:
    """Return the options, ``analyse`` among them, that an output was made with, if there is one.

    So a command that leaves them out goes on with the output as it is, and finds it finished.
    """
    if not output.is_file():
        return {}
    try:
        plan, found = read_plan(output)
    except DataError:
        return {}  # told when the output is opened
    options = {name: found[key] for name, key in _AS_IN_FILE.items() if key in found}
    return options | {
        "particles": plan.n_particles,
        "records": plan.n_records * found.get("every", 1),
        "supercell": supercell_text(found.get("supercell")),
        "ions": found.get("ions") or 0,
        "analyse": bool(found.get("analysis")),
    }


def prepare(config: GenerateConfig, model: Model, analysis: Analysis | None, ranks: int) -> Run:
    """Make, open or extend the files and say what is left to do.

    Raises
    ------
    UsageError
        If the options cannot work, or the output exists and is of another run.
    DataError
        If the output is damaged or the disk cannot hold it.
    """
    exists = os.path.lexists(config.output) and not config.force
    preparation = Preparation(config, model, analysis, ranks)
    if exists:
        plan, settings = preparation.reopen()
        progress = read_progress(config.output, plan)
        mend_counts(config.output, plan, progress)
        completed = [p.completed for p in progress]
        damaged = sum(p.damaged for p in progress)
        if damaged:
            warnings.warn(
                f"{config.output}: of {damaged} of {plan.n_blocks} particle blocks it is not known "
                "how far they got; they are computed again, with the same result",
                DataWarning,
                stacklevel=2,
            )
    else:
        plan, settings = preparation.create()
        completed = [0] * plan.n_blocks
    return Run(
        config=config,
        plan=plan,
        settings=settings,
        unfinished=[b for b, done in enumerate(completed) if done < plan.n_records],
        done_records=sum(completed),
        analysis=analysis,
    )


class Preparation:
    """Makes the files of one run."""

    def __init__(
        self, config: GenerateConfig, model: Model, analysis: Analysis | None, ranks: int
    ) -> None:
        self.config, self.model, self.analysis, self.ranks = config, model, analysis, ranks
        self.model_files = model_files(config.model)

    def settings(self, found: Settings | None = None) -> Settings:
        """Return what decides every bit of the output; of a file `found`, where it is open.

        Raises
        ------
        UsageError
            If the block does not fit the model.
        """
        config, generator = self.config, self.model.generator
        k, step = generator.particles_per_sample, generator.records_per_step
        device, found = device_kind(config.device), found or {}
        particles = config.block_particles or found.get("block_particles", 0)
        if particles == 0:
            particles = _BLOCK[device][0]
            of_one = -(-config.particles // len(self.model.generators))
            while device == "cpu" and particles > max(_LEAST, of_one // _BLOCKS):
                particles //= 2
            particles = -(-min(particles, of_one) // k) * k
        if particles % k:
            raise UsageError(
                f"--block-particles {particles} is not a multiple of the {k} particles that the "
                "model makes together",
                remedy=f"use {-(-particles // k) * k}",
            )
        n_blocks, n_models = -(-config.particles // particles), len(self.model.generators)
        if n_blocks < n_models:
            raise UsageError(
                f"{config.particles} particles in blocks of {particles} are too few for "
                f"{n_models} models",
                remedy=f"use --particles {n_models * particles} or more",
            )
        records = config.block_records or found.get("block_records", 0)
        records = records or segment_records(config, particles, _BLOCK[device][1])
        plan = found.get("analysis") or None
        if self.analysis is None:
            plan = None
        elif plan is None:
            plan = self.analysis.plan(config.stored_records)
        return {
            "model": "+".join(map(file_sha256, self.model_files)),
            "behaviour": f"{generator.kind} {generator.behaviour}",
            "seed": config.seed,
            "block_particles": particles,
            "block_records": max(step, records - records % step),
            "every": config.every,
            "velocities": config.velocities,
            "positions": config.store,
            "burn_in": config.burn_in,
            "temperature_k": generator.temperature_k,
            "supercell": repeats_of(config),
            "ions": config.ions or None,
            "precision": config.precision,
            "device": device,
            "interval_ps": self.model.record_interval_ps,
            "analysis": plan,
        }

    def plan(self, settings: Settings, storage: str) -> BlockPlan:
        """Return the plan of a new output."""
        config, p = self.config, settings["block_particles"]
        rollout = make_rollout(config, settings, self.model)
        carry_bytes = rollout.state_bytes
        if self.analysis is not None:
            accumulator = self.analysis.accumulator(settings["analysis"], p)
            carry_bytes += sum(array.nbytes for array in accumulator.state.values())
        rows, n_blocks = config.stored_records, -(-config.particles // p)
        if storage == "shards":
            n_files = self._n_files(n_blocks, settings)
            number = next_part(config.output) if os.path.lexists(config.output) else 0
            parts = plan_parts(config.output, range(rows), range(n_blocks), n_files, number=number)
        else:
            parts = [Part(config.output.name, 0, rows, 0, n_blocks)]
        chunk = chunk_shape(p, max(1, settings["block_records"] // config.every))
        return BlockPlan(
            storage=storage,
            n_records=rows,
            n_particles=config.particles,
            block_particles=p,
            chunk_records=chunk[0],
            chunk_particles=chunk[1],
            velocities=config.velocities,
            positions=config.store,
            carry_bytes=carry_bytes,
            parts=tuple(parts),
        )

    def _n_files(self, n_blocks: int, settings: Settings) -> int:
        config = self.config
        return config.files or worker_count(config, n_blocks, self.ranks, settings["device"])

    def create(self) -> tuple[BlockPlan, Settings]:
        """Make the files of a new output; those that it replaces go when it stands."""
        config = self.config
        settings = self.settings()
        storage = choose_storage(config.storage, self.ranks)
        plan = self.plan(settings, storage)
        require_space(config.output, file_bytes(plan), freed=space_of(config.output))
        self._tell_storage(plan)
        if storage == "shards":
            for part in plan.parts:
                make_part(config.output, plan, part, {}, config.placement, settings)
        make_master(config.output, plan, self.describe(settings), config.placement)
        remove_other_parts(config.output, plan)
        return plan, settings

    def _tell_storage(self, plan: BlockPlan) -> None:
        if self.config.storage != "auto":
            reason = "as asked"
        elif plan.storage == "mpio":
            reason = "h5py has MPI"
        else:
            reason = "no MPI" if self.ranks == 1 else "h5py has no MPI"
        kind = f"{len(plan.parts)} part files" if plan.storage == "shards" else "one file"
        _log.info("Storage: %s, %s (%s)", plan.storage, kind, reason)

    def describe(
        self, settings: Settings, before: dict[str, Any] | None = None, time_s: float = 0.0
    ) -> Description:
        """Return what the output says of itself; `before` and `time_s` are what it said so far."""
        config, model = self.config, self.model
        options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
        record = provenance(
            config=options, seed=config.seed, inputs=self.model_files, ranks=self.ranks
        )
        if before:
            record["extends"] = before
        start, repeats = "start states of the training data", settings["supercell"]
        if config.burn_in:
            start += f", then {config.burn_in} records dropped"
        return Description(
            species=model.species_of(config.particles),
            cell=model.cell,
            record_interval_ps=model.record_interval_ps * config.every,
            step_interval=config.every,
            settings=settings | {"libraries": _arithmetic()},
            parameters={
                "start_state": start,
                "burn_in_records": config.burn_in,
                "simulated_together": model.generator.ions_per_cell,
                layout.IN_SOLID: int(model.generator.in_solid),
                **({layout.SUPERCELL: np.array(repeats, np.int32)} if repeats else {}),
                **({layout.OTHER_CONTENTS: config.ions} if config.ions else {}),
                "generator_label": model.label,
                "training_span_ps": model.training_span_ps,
                layout.GENERATION_TIME: time_s,
                "model_provenance": as_json(model.provenance),
                layout.VERDICT: "" if model.verdict is None else model.verdict.as_text(),
                **({} if model.temperature_k is None else {TARGET: model.temperature_k}),
                **self._models(settings["block_particles"]),
            },
            provenance=record,
        )

    def _models(self, block_particles: int) -> dict[str, np.ndarray]:
        """Return the number of the model that makes each particle, where there are several."""
        n_models = len(self.model.generators)
        if n_models == 1:
            return {}
        block = np.arange(self.config.particles) // block_particles
        return {layout.MODELS: (block % n_models).astype(np.int32)}

    def reopen(self) -> tuple[BlockPlan, Settings]:
        """Check that the output is of the same run, and extend it where more is asked for."""
        plan, settings = self.check()
        remove_other_parts(self.config.output, plan)
        if self.config.stored_records > plan.n_records or self.config.particles > plan.n_particles:
            plan = self._extend(plan, settings)
        return plan, settings

    def check(self) -> tuple[BlockPlan, Settings]:
        """Return plan and settings of the output, which must be of the same run.

        Raises
        ------
        OutputExistsError
            If it is of another run, or larger than what is asked for.
        """
        config, output = self.config, self.config.output
        try:
            plan, found = read_plan(output)
        except DataError:
            check_output(output, force=False)
            raise
        require_own_parts(output, plan, found)
        libraries = found.pop("libraries", {})
        settings = self.settings(found)
        for name, value in settings.items():
            if found.get(name) != value:
                raise OutputExistsError(
                    f"exists already and was made with {_difference(name, found.get(name), value)}",
                    where=output,
                    remedy="use the same options to go on, another output, or --force",
                )
        if config.storage not in ("auto", plan.storage):
            raise OutputExistsError(
                f"exists already with --storage {plan.storage}",
                where=output,
                remedy="leave --storage out, choose another output, or use --force",
            )
        choose_storage(plan.storage, self.ranks)
        if libraries != _arithmetic():
            warnings.warn(
                f"{output}: begun with {libraries}, goes on with {_arithmetic()}: the new records "
                "may differ in the last bits from those of an uninterrupted run",
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
        return plan, settings

    def longer(self, plan: BlockPlan, settings: Settings) -> BlockPlan:
        """Return the plan with parts for more records of the old blocks, and for new blocks.

        Raises
        ------
        UsageError
            If the output cannot grow.
        """
        config, output, rows = self.config, self.config.output, self.config.stored_records
        if (
            self.analysis is not None
            and config.particles > plan.n_particles
            and plan.n_particles % plan.block_particles
        ):
            raise UsageError(
                f"{plan.n_particles} particles are not whole blocks of {plan.block_particles}: "
                "the analysis of the last block cannot take more in",
                where=output,
                remedy="keep --particles, or choose another output",
            )
        longer = replace(plan, n_records=rows, n_particles=config.particles)
        if plan.storage == "mpio":
            whole = Part(output.name, 0, rows, 0, longer.n_blocks)
            return replace(longer, parts=(whole,))
        n_files = self._n_files(longer.n_blocks, settings)
        parts = list(plan.parts)
        number = next_part(output)
        for records, own in (
            (range(plan.n_records, rows), range(plan.n_blocks)),
            (range(rows), range(plan.n_blocks, longer.n_blocks)),
        ):
            if len(records) and len(own):
                parts += plan_parts(
                    output, records, own, n_files, number=number + len(parts) - len(plan.parts)
                )
        return replace(longer, parts=tuple(parts))

    def _extend(self, plan: BlockPlan, settings: Settings) -> BlockPlan:
        """Add the part files of a longer plan; a single file is copied into a longer one."""
        output, placement = self.config.output, self.config.placement
        longer = self.longer(plan, settings)
        description = self.describe(settings, read_provenance(output), read_time_s(output))
        if plan.storage == "mpio":
            require_space(output, file_bytes(longer))
            extend_whole_file(output, plan, longer, description, placement)
            return longer
        require_space(output, file_bytes(longer) - file_bytes(plan))
        progress = read_progress(output, plan)
        states = {b: (p.completed, p.state) for b, p in enumerate(progress) if p.state}
        for part in longer.parts[len(plan.parts) :]:
            make_part(output, longer, part, states, placement, settings)
        make_master(output, longer, description, placement)
        return longer


def space_of(output: Path) -> int:
    """Return the bytes on the disk of a file and its parts, which go when it is replaced."""
    parts = sorted(parts_folder(output).glob("part-*.h5"))
    files = [path for path in (output, *parts) if path.is_file()]
    return sum(512 * path.stat().st_blocks for path in files)


def remove_other_parts(output: Path, plan: BlockPlan) -> None:
    """Remove parts that no longer belong to the file: replaced, or of a run that was killed."""
    folder = parts_folder(output)
    sweep(folder)
    own = {(output.parent / part.name).name for part in plan.parts}
    for path in folder.glob("part-*.h5"):
        if path.name not in own:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # where it is empty now


def _difference(name: str, found: Any, asked: Any) -> str:
    if name == "model":
        return "another model"
    if name == "behaviour" and found is None:
        return "a version of mdgan_hpc before 0.2, whose states cannot be read"
    if name == "behaviour":
        return f"another version of mdgan_hpc, which moves ions differently ({found}, now {asked})"
    if name == "analysis":
        return "--analyse" if found else "no --analyse"
    return f"{name} {found}, not {asked}"


def _arithmetic() -> dict[str, str]:
    """Versions that decide the bits."""
    versions = library_versions()
    return {"mdgan_hpc": __version__} | {
        name: versions[name] for name in ("numpy", "torch") if name in versions
    }
