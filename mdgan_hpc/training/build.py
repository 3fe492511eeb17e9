"""From configuration and data to a `Trainer`, the same on every rank."""

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import ConfigError, DataError, UsageError
from mdgan_hpc.models import registry
from mdgan_hpc.models.base import Density, Generator
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training.average import copy_weights
from mdgan_hpc.training.batches import Batches
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.objectives.adversarial import Adversarial
from mdgan_hpc.training.objectives.base import Objective
from mdgan_hpc.training.objectives.likelihood import Likelihood
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.settings import AdversarialSettings, PhaseSettings, TrainingConfig
from mdgan_hpc.training.trainer import Trainer
from mdgan_hpc.trajectory.species import composition


def symmetry_of(config: TrainingConfig, data: Dataset) -> Symmetry:
    """Return the operations that windows are moved by."""
    wanted = config.data.symmetry
    kind, options = registry.get(config.generator.kind), config.generator.options
    if wanted == "auto" and not kind.uses_symmetry(options):
        wanted = "none"
    return data.symmetry(wanted)


def build_trainer(
    config: TrainingConfig, data: Dataset, processes: Processes, *, replica: int = 0
) -> Trainer:
    """Build the trainer of a configuration, with fresh weights or those of ``init_from``.

    What is kept for validation is taken out before a replica resamples the rest.

    Raises
    ------
    DataError, UsageError
        If the data do not suit the configuration, or the batch not the number of ranks.
    """
    kind, options = registry.get(config.generator.kind), config.generator.options
    symmetry, skip = symmetry_of(config, data), config.data.step_skip
    kept, validation = data.split(config.data.validation)
    _require_motion(kept)
    _require_told(config, kept)
    seen = kind.surroundings(options, kept.summary(skip, symmetry))
    kept = kept.with_neighbours(seen, silent=processes.rank != 0)
    grouping = kind.grouping(options)
    training = kept.bootstrap(replica, config.train.seed, grouping)
    summary = training.summary(skip, symmetry)
    torch.manual_seed(config.train.seed)
    generator = kind.from_data(
        options,
        dataclasses.replace(
            summary,
            runs=kept.runs,
            neighbours=kept.neighbours,
            run_species=kept.summary(skip, symmetry).run_species,
        ),
        seen,
    )
    _begin_from(config.phase[0].init_from, generator)
    _require_long_enough(config, generator, max(map(len, training.runs)))

    def windows(data: Dataset) -> Windows:
        return data.windows(
            step_skip=skip, symmetry=symmetry, device=processes.device, grouping=grouping
        )

    def shared(windows: Windows) -> Batches:
        batch, seed = config.train.batch, config.train.seed
        return Batches.shared(windows, batch, seed, processes, f"train.batch = {batch}")

    batches = shared(windows(training))
    cells = None
    if generator.capabilities.neighbours:
        every = batches.windows if training is kept else windows(kept)
        cells = _Cells(every, kept, generator.particles_per_sample)
    held_out = None
    if config.data.validation != "none":
        held_out = shared(windows(validation.with_neighbours(seen, silent=True)))
    return Trainer(
        config,
        generator,
        _Objectives(config, training, batches, cells, processes),
        windows=batches.windows,
        starts=batches.windows if cells is None else cells.as_they_are,
        held_out=held_out,
        processes=processes,
    )


def _require_motion(data: Dataset) -> None:
    """Refuse ions that stand still.

    Raises
    ------
    DataError
    """
    if all((run == run[0]).all() for run in data.runs):
        raise DataError("the ions do not move: there is nothing to learn")


def _require_told(config: TrainingConfig, data: Dataset) -> None:
    """Refuse runs at several temperatures, or of several species, that something is not told.

    Raises
    ------
    UsageError
    """
    several: dict[str, tuple[str, str]] = {}
    if data.temperatures is not None:
        where = f"the runs are at {data.temperatures.text}"
        several["temperature"] = (where, "train on runs at one")
    if data.ion_species:
        names = composition(data.ion_species[0])
        several["species"] = (f"the ions are {names}", "name one with --species")
    if len(several) == 2:
        what, remedy = several["species"]
        raise UsageError(f"{what}, at several temperatures: too much at once", remedy=remedy)
    known = registry.get(config.generator.kind).capabilities.conditions
    for condition, (what, remedy) in several.items():
        if condition not in known:
            kind = config.generator.kind
            raise UsageError(f"{what}, which the {kind} generator cannot be told", remedy=remedy)
        if any(phase.adversarial is not None for phase in config.phase):
            raise UsageError(f"{what}, which critics are not told", remedy=remedy)


def _begin_from(model: str | None, generator: Generator) -> None:
    """Give a generator the weights of a model file or run folder, if one is named.

    What is measured on the data stays: scales of the inputs, whitening, start states.

    Raises
    ------
    ConfigError
        If the model is of another kind or architecture.
    """
    if model is None:
        return
    try:
        other = load_model(Path(model)).generator
    except DataError as error:
        raise ConfigError(
            f"phase.init_from: {error.what}", where=error.where, remedy=error.remedy
        ) from None
    if other.kind != generator.kind:
        raise ConfigError(
            f"phase.init_from: is a model of the kind {other.kind!r}, this training is for "
            f"{generator.kind!r}",
            where=model,
        )
    mine, theirs = dict(generator.named_parameters()), dict(other.named_parameters())
    unlike = [
        name
        for name in sorted({*mine, *theirs})
        if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape
    ]
    if unlike:
        raise ConfigError(
            f"phase.init_from: its network is built differently (first at {unlike[0]})",
            where=model,
            remedy="use its keys of [generator], and data with the same lattice and neighbours",
        )
    copy_weights(other, generator)


def _require_long_enough(config: TrainingConfig, generator: Generator, frames: int) -> None:
    """Raise unless the longest run, of `frames`, holds the longest window that is asked for.

    Raises
    ------
    DataError
        Saying how many frames are needed.
    """
    skip, records = config.data.step_skip, config.data.records
    needed = {
        "they fill the memory before a free run, generator.history_records": (
            generator.history_records
        )
    }
    for phase in config.phase:
        if phase.likelihood is not None:
            counted = records + phase.likelihood.warm_up
            whole = cast(Density, generator).window_records(counted)
            needed[
                f"data.records = {records}, phase.likelihood.warm_up = "
                f"{phase.likelihood.warm_up}, and {whole - counted} that fill the memory"
            ] = whole
        if phase.adversarial is not None:
            rows, stride = phase.adversarial.records or records, max(phase.adversarial.strides)
            needed[f"windows of {rows} records at a stride of {stride} for critics"] = (
                rows * stride + 1
            )
    why, most = max(needed.items(), key=lambda item: item[1])
    if frames < (most - 1) * skip + 1:
        raise DataError(
            f"the longest run has {frames} frames, {(most - 1) * skip + 1} are needed: {most} "
            f"records at data.step_skip = {skip} ({why})",
            remedy="give longer runs, or lower these numbers",
        )


class _Cells:
    """Windows of whole cells of ions that see each other.

    Attributes
    ----------
    ions : int
        In a cell.
    as_they_are : Windows
        Unmoved: start states.
    moved : Windows
        Moved by the operations that leave the cell and its framework what they are: where free
        runs begin that critics compare with windows moved by all operations.
    """

    def __init__(self, windows: Windows, data: Dataset, ions: int) -> None:
        self.ions, symmetry = ions, windows.symmetry
        self.as_they_are = windows.with_grouping(ions, "file").with_symmetry(Symmetry())
        assert data.cell is not None
        lattice = symmetry.primitive is not None
        kept = operations_of_cell(symmetry if lattice or not data.media else Symmetry(), data.cell)
        self.moved = self.as_they_are.with_symmetry(kept)


def operations_of_cell(symmetry: Symmetry, cell: np.ndarray) -> Symmetry:
    """Return the operations that map the lattice of a cell [3, 3] onto itself."""
    turned = np.einsum("nij,kj->nki", symmetry.rotations, cell) @ np.linalg.inv(cell)
    kept = np.abs(turned - np.round(turned)).max((1, 2)) < 0.05
    return dataclasses.replace(
        symmetry,
        rotations=symmetry.rotations[kept],
        translations=symmetry.translations[kept],
        isotropic=False,
    )


@dataclasses.dataclass(frozen=True)
class _Objectives:
    """Makes the objectives of a phase (`MakeObjectives`)."""

    config: TrainingConfig
    data: Dataset
    batches: Batches
    cells: _Cells | None
    processes: Processes

    def __call__(self, number: int, phase: PhaseSettings, generator: Generator) -> list[Objective]:
        if number:
            # Critics of the first phase follow the generator in the stream of fresh weights.
            torch.manual_seed(stream(self.config.train.seed, number, "phase").initial_seed())
        objectives: list[Objective] = []
        if phase.likelihood is not None:
            records = self.config.data.records
            objectives.append(Likelihood(phase.likelihood, generator, self.batches, records))
        if phase.adversarial is not None:
            objectives.append(self._adversarial(phase.adversarial, generator))
        return objectives

    def _adversarial(self, settings: AdversarialSettings, generator: Generator) -> Adversarial:
        windows, seed = self.batches.windows, self.config.train.seed
        size = settings.batch or self.batches.size
        what = f"the critics' batch of {size}"
        if self.cells is not None:
            ions = self.cells.ions
            windows, size = self.cells.moved, -(-size // ions)
            what += f" is {size} cells of {ions} ions, which"
        shared = Batches.shared(windows, size, seed, self.processes, what)
        records = settings.records or self.config.data.records
        skip = self.config.data.step_skip
        return Adversarial(
            settings,
            generator,
            shared,
            records=records,
            covariances={
                s: self.data.displacement_covariance(s * skip, records) for s in settings.strides
            },
            processes=self.processes,
        )
