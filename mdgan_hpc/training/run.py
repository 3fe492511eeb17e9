"""From trajectory files to a trained model: read the runs, build the trainer, write the model."""

import dataclasses
import functools
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgan_hpc import crystal as sym
from mdgan_hpc.config import as_mapping, from_mapping
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.models import registry
from mdgan_hpc.models.base import DataSummary, Generator, rollout
from mdgan_hpc.models.file import MODEL_NAME, Model, save_model
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.provenance import provenance
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.training.checkpoints import Checkpoints
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.settings import TrainingConfig
from mdgan_hpc.training.trainer import Trainer, train
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.units import record_interval_ps

CONFIG_NAME = "config.json"
#: Compares free runs [T, N, 3] in Angstrom at an interval in ps with MD; the number called
#: ``score`` (lower is better) chooses the model.
Evaluation = Callable[[np.ndarray, float], Mapping[str, float]]
#: Makes an `Evaluation` from reference runs [T, N, 3], their interval in ps, and the primitive
#: cell [3, 3] where there is a lattice.
MakeEvaluation = Callable[[list[np.ndarray], float, np.ndarray | None], Evaluation]

_KEPT_OUT = {"none": "", "run": " (the last for validation)", "span": " (4/5 of each trained on)"}
#: Ions in free runs: to show how a training goes, and to choose the model.
_SHOWN_IONS, _CHOOSING_IONS = 256, 1024
_BURN_IN_PS = 1.0


@dataclass
class Runs:
    """The training runs, all in one frame.

    Attributes
    ----------
    positions : list of array, [T, N, 3]
        Angstrom, float64.
    interval_ps : float
        Time between two stored frames.
    species : int
        Atomic number.
    cell : array [3, 3] or None
    crystal : Crystal or NoCrystal
        Of the framework averaged over the runs.
    """

    positions: list[np.ndarray]
    interval_ps: float
    species: int
    cell: np.ndarray | None
    crystal: sym.Crystal | sym.NoCrystal


def read_runs(paths: Sequence[str | Path]) -> Runs:
    """Read the runs and put them into one frame of the lattice.

    Raises
    ------
    DataError
        If the runs do not belong together: intervals, species, cells or frameworks differ.
    """
    positions: list[np.ndarray] = []
    frameworks, cells, intervals, species = [], [], [], []
    for path in paths:
        with Trajectory(path) as trajectory:
            kinds = np.unique(trajectory.species)
            if len(kinds) != 1:
                raise DataError(
                    f"holds {len(kinds)} species, one model is for one",
                    where=path,
                    remedy="convert with --select of one species",
                )
            species.append(int(kinds[0]))
            intervals.append(trajectory.record_interval_ps)
            cells.append(trajectory.constant_cell)
            frameworks.append(trajectory.framework)
            run = trajectory.positions().astype(np.float64)
            bad = np.flatnonzero(~np.isfinite(run).all((1, 2)))
            if bad.size:
                raise DataError(
                    "has positions that are no numbers", where=f"{path}, record {bad[0]}"
                )
            positions.append(run)
    for path, interval, kind in zip(paths, intervals, species, strict=True):
        if abs(interval - intervals[0]) > 1e-4 * intervals[0]:
            raise DataError(
                f"has {interval * 1e3:g} fs between frames, {paths[0]} {intervals[0] * 1e3:g} fs",
                where=path,
                remedy="convert all runs to one interval (--every)",
            )
        if kind != species[0]:
            raise DataError(f"holds another species than {paths[0]}", where=path)
    alignment = sym.align_frameworks(frameworks, cells)
    positions = [alignment.apply(i, run) for i, run in enumerate(positions)]
    return Runs(positions, intervals[0], species[0], alignment.cell, alignment.crystal)


def find_symmetry(runs: Runs, config: TrainingConfig) -> sym.Symmetry:
    """Return the symmetry that the configuration asks for.

    Raises
    ------
    DataError
        If a crystal is asked for and the data have none.
    """
    wanted = config.data.symmetry
    if config.generator.kind == "latent" or wanted == "none":
        return sym.Symmetry()
    if isinstance(runs.crystal, sym.Crystal):
        return sym.isotropic() if wanted == "isotropic" else runs.crystal.symmetry()
    if wanted == "crystal":
        raise DataError(
            f"data.symmetry = 'crystal', but the runs are {runs.crystal}",
            remedy="convert with --select, or use data.symmetry = 'isotropic'",
        )
    return sym.isotropic()


def resample(
    runs: Sequence[np.ndarray], replica: int, seed: int, *, together: int | None = 1
) -> list[np.ndarray]:
    """Return a bootstrap of the runs: runs drawn with replacement, then particles in each.

    Replica 0 is the data themselves. The draw depends on seed and replica alone.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
    replica, seed : int
    together : int or None
        Particles that follow each other and are drawn together; None leaves each run whole, as
        neighbourhoods need it.

    Raises
    ------
    UsageError
        If whole runs are to be drawn and there is only one.
    """
    if replica == 0:
        return list(runs)
    if together is None and len(runs) < 2:
        raise UsageError("--replica with data.grouping = 'nearest' needs two runs or more")
    random = np.random.default_rng([seed, replica])
    drawn = [runs[i] for i in random.integers(len(runs), size=len(runs))]
    if together is None:
        return drawn
    resampled = []
    for run in drawn:
        groups = run.shape[1] // together
        firsts = together * random.integers(groups, size=groups)
        resampled.append(run[:, (firsts[:, None] + np.arange(together)).ravel()])
    return resampled


def split_validation(
    runs: Sequence[np.ndarray], rule: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return training and validation runs.

    Raises
    ------
    UsageError
        If a run is to be kept out and there is only one.
    """
    if rule == "run":
        if len(runs) < 2:
            raise UsageError("data.validation = 'run' needs two runs or more")
        return list(runs[:-1]), [runs[-1]]
    if rule == "span":
        cut = [len(run) * 4 // 5 for run in runs]
        return (
            [run[:c] for run, c in zip(runs, cut, strict=True)],
            [run[c:] for run, c in zip(runs, cut, strict=True)],
        )
    return list(runs), list(runs)


def generator_config(config: TrainingConfig) -> Any:
    """Return the configuration of the chosen kind."""
    names = {field.name for field in dataclasses.fields(registry.get(config.generator.kind).Config)}
    tree = as_mapping(config.generator) | {
        "particles_per_sample": config.data.particles_per_sample,
        "grouping": config.data.grouping,
    }
    if tree["neighbours"] == "none" or config.loss.adversarial:
        tree["neighbours"] = "off"
    return from_mapping(
        registry.get(config.generator.kind).Config, {k: v for k, v in tree.items() if k in names}
    )


def summarise(
    config: TrainingConfig,
    runs: Sequence[np.ndarray],
    symmetry: sym.Symmetry,
    cell: np.ndarray | None = None,
) -> DataSummary:
    """Return what a generator is built from."""
    skip = config.data.step_skip
    steps = [
        np.diff(run[phase::skip], axis=0)
        for run in runs
        for phase in range(skip)
        if len(run[phase::skip]) > 16
    ]
    if not steps:
        raise DataError(
            f"the runs have {max(map(len, runs))} frames, too few for data.step_skip = {skip}"
        )
    numbers = {run.shape[1] for run in runs}
    ions = numbers.pop() if len(numbers) == 1 else None
    return DataSummary(displacements=steps, symmetry=symmetry, cell=cell, ions_per_run=ions)


def _displacement_scales(
    config: TrainingConfig, runs: Sequence[np.ndarray]
) -> dict[int, list[float]]:
    scales = {}
    for spacing in config.critic.skips:
        lag = spacing * config.data.step_skip
        moved = [(run[lag:] - run[:-lag]).reshape(-1, 3) for run in runs if len(run) > lag]
        if not moved:
            raise DataError(f"the runs are shorter than one interval of critic.skips = {spacing}")
        scales[spacing] = np.concatenate(moved).std(0).tolist()
    return scales


def make_trainer(
    config: TrainingConfig, runs: Runs, processes: Processes, *, replica: int = 0
) -> Trainer:
    """Build the trainer of a configuration, with fresh weights that are the same on every rank.

    What is kept for validation is taken out before a replica resamples the rest.

    Raises
    ------
    DataError, UsageError
        If the runs do not suit the configuration, or the batch not the number of ranks.
    """
    symmetry = find_symmetry(runs, config)
    kept, validation = split_validation(runs.positions, config.data.validation)
    k = config.data.particles_per_sample
    whole = config.data.grouping == "nearest" and k > 1
    training = resample(kept, replica, config.train.seed, together=None if whole else k)
    make_windows = functools.partial(
        Windows, step_skip=config.data.step_skip, device=processes.device, cell=runs.cell
    )
    keeps_out = config.data.validation != "none"
    seen, starts, seen_out = None, None, None
    cls, settings = registry.get(config.generator.kind), generator_config(config)
    descriptor = cls.neighbour_descriptor(settings, summarise(config, kept, symmetry, runs.cell))
    summary = summarise(config, training, symmetry, runs.cell)
    if descriptor is not None:
        all_seen = descriptor.of_runs(kept)
        summary = dataclasses.replace(summary, neighbours=all_seen)
        starts = make_windows(
            kept,
            particles_per_sample=kept[0].shape[1],
            symmetry=sym.Symmetry(),
            surroundings=all_seen,
        )
        seen = resample(all_seen, replica, config.train.seed)
        seen_out = descriptor.of_runs(validation) if keeps_out else None
    torch.manual_seed(config.train.seed)
    generator = cls.from_data(settings, summary, descriptor)
    make_samples = functools.partial(
        make_windows,
        particles_per_sample=k,
        symmetry=symmetry,
        grouping=config.data.grouping,
    )
    windows = make_samples(training, surroundings=seen)
    held_out = make_samples(validation, surroundings=seen_out) if keeps_out else None
    scales = _displacement_scales(config, training)
    return Trainer(config, generator, windows, scales, processes, starts, held_out)


def run_training(
    config: TrainingConfig,
    paths: Sequence[str | Path],
    folder: str | Path,
    *,
    replica: int = 0,
    wall_time_min: float | None = None,
    evaluation: MakeEvaluation | None = None,
    watch: Callable[[], None] | None = None,
) -> Path | None:
    """Train until the end or until asked to stop; goes on from the newest checkpoint if any.

    Parameters
    ----------
    config : TrainingConfig
    paths : sequence of paths
        Trajectory files of the runs.
    folder : path
        Run folder: config.json, metrics.jsonl, checkpoints/ and at last model.pt.
    replica : int
        Bootstrap replica; 0 trains on the data as they are.
    wall_time_min : float, optional
        Stop and save after so many minutes.
    evaluation : callable, optional
        See `MakeEvaluation`.
    watch : callable, optional
        Called by rank 0 whenever the numbers of a comparison have been written.

    Returns
    -------
    Path or None
        The model file, or None if it was there already.

    Raises
    ------
    StoppedError
        If the training was asked to stop; everything is saved.
    UsageError
        If the folder holds a training of another configuration or of other data.
    """
    folder = Path(folder)
    seed = config.train.seed + 1_000_003 * replica
    record = provenance(config=as_mapping(config), seed=seed, inputs=paths)
    record["replica"] = replica
    _refuse_other_training(folder, record)
    if (folder / MODEL_NAME).exists():
        return None
    processes = Processes(folder)
    try:
        with StopRequest(wall_time_min) as stop:
            return _train(config, paths, folder, record, seed, processes, stop, evaluation, watch)
    finally:
        processes.close()


def _refuse_other_training(folder: Path, record: dict[str, Any]) -> None:
    file = folder / CONFIG_NAME
    if not file.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                "is not empty and holds no training",
                where=folder,
                remedy="choose another folder for --out",
            )
        return
    before = json.loads(file.read_text())
    for name, value in (
        ("config", record["config"]),
        ("replica", record["replica"]),
        ("inputs", sorted(record["inputs"].values())),
    ):
        old = sorted(before["inputs"].values()) if name == "inputs" else before[name]
        if old != value:
            raise UsageError(
                f"holds a training with another {_difference(name, old, value)}",
                where=folder,
                remedy="choose another folder for --out, or train with what is in its config.json",
            )


def _difference(name: str, old: Any, new: Any) -> str:
    if name != "config":
        return {"inputs": "set of --data files", "replica": "--replica"}[name]
    for section in new:
        for key, value in new[section].items():
            if old.get(section, {}).get(key) != value:
                was = old.get(section, {}).get(key)
                return f"{section}.{key} ({was!r}, now {value!r})"
    return name


def _train(
    config: TrainingConfig,
    paths: Sequence[str | Path],
    folder: Path,
    record: dict[str, Any],
    seed: int,
    processes: Processes,
    stop: StopRequest,
    evaluation: MakeEvaluation | None,
    watch: Callable[[], None] | None,
) -> Path:
    record["ranks"] = processes.size
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
    runs = read_runs(paths)
    trainer = make_trainer(config, runs, processes, replica=record["replica"])
    windows, symmetry = trainer.windows, trainer.windows.symmetry
    interval = record_interval_ps(runs.interval_ps, config.data.step_skip)
    first = processes.rank == 0
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CONFIG_NAME).exists():
            with written_whole(folder / CONFIG_NAME) as partial:
                partial.write_text(json.dumps(record, indent=1))
    processes.barrier()
    found = Checkpoints(folder / "checkpoints", config.train.checkpoints_kept).load_newest()
    if found:
        try:
            trainer.load_state(found[1])
        except (RuntimeError, ValueError) as error:
            raise DataError(
                "holds checkpoints of a network of another version",
                where=folder,
                remedy="go on with the version that began it, or choose another folder for --out",
            ) from error
    if first:
        print(
            f"{len(runs.positions)} runs{_KEPT_OUT[config.data.validation]}, "
            f"{windows.count(config.data.records)} windows of "
            f"{config.data.records} records, {interval * 1e3:g} fs between records, "
            f"symmetry {symmetry.name}, "
            + (f"{k} ions see each other, " if (k := trainer.generator.ions_per_cell) > 1 else "")
            + f"{processes.size} x {processes.device.type}"
            + (f", going on from step {trainer.step}" if found else "")
        )

    on_evaluation = None
    if evaluation and config.train.evaluate_every:
        _, validation = split_validation(runs.positions, config.data.validation)
        longest = max(len(run) for run in validation) // config.data.step_skip
        compare = evaluation(validation, runs.interval_ps, symmetry.primitive) if first else None

        def on_evaluation(trainer: Trainer) -> dict[str, float]:
            numbers: dict[str, float] = {}
            if compare is not None:
                loss = trainer.validation_loss()
                path = free_run(
                    trainer.ready_generator(),
                    _CHOOSING_IONS if trainer.choosing else _SHOWN_IONS,
                    longest,
                    interval,
                    stream(config.train.seed, trainer.step, "evaluation"),
                )
                numbers = dict(compare(path, interval))
                if loss is not None:
                    numbers["validation_loss"] = round(loss, 4)
            numbers = processes.broadcast(numbers)  # type: ignore[assignment]
            trainer.judge(numbers["score"])
            return numbers

    train(trainer, folder, stop, on_evaluation=on_evaluation, watch=watch)
    record["training_time_s"] = round(trainer.seconds, 1)
    record["chosen_step"] = trainer.best.get("step", trainer.step)
    model = Model(
        trainer.best_generator(),
        interval,
        runs.species,
        runs.cell,
        max(len(run) for run in runs.positions) * runs.interval_ps,
        record,
    )
    if first:
        save_model(folder / MODEL_NAME, model)
    processes.barrier()
    return folder / MODEL_NAME


def free_run(
    generator: Generator,
    n_ions: int,
    n_records: int,
    interval_ps: float,
    random: torch.Generator,
) -> np.ndarray:
    """Return positions [T, N, 3] of free runs after a burn-in, for a comparison with MD."""
    k = generator.particles_per_sample
    path = rollout(
        generator,
        max(1, n_ions // k),
        n_records,
        random=random,
        burn_in_records=round(_BURN_IN_PS / interval_ps),
    )
    if not bool(torch.isfinite(path).all()):
        warnings.warn("the generator diverges in free runs", DataWarning, stacklevel=2)
    return path.flatten(1, 2).numpy()
