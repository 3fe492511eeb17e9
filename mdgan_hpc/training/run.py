"""A training from beginning to end: configuration and data in, a model out."""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.config import as_mapping
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.inputs import read_json
from mdgan_hpc.models.file import MODEL_NAME, REPLICAS, Model, save_model
from mdgan_hpc.outputs import check_output, claimed_by_ranks, is_temporary, sweep, written_whole
from mdgan_hpc.parallel import require_same, together
from mdgan_hpc.provenance import identity, provenance
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.threads import chosen_threads, computing_on
from mdgan_hpc.training.advised import resolved
from mdgan_hpc.training.build import build_trainer, symmetry_of
from mdgan_hpc.training.checkpoints import CHECKPOINTS, Checkpoints
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.evaluation import Evaluation
from mdgan_hpc.training.loop import run_loop
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.settings import ConfigLike, TrainingConfig, read_config
from mdgan_hpc.training.trainer import Trainer
from mdgan_hpc.trajectory.opening import all_files
from mdgan_hpc.trajectory.species import composition
from mdgan_hpc.units import FS_PER_PS
from mdgan_hpc.verdict import verdict_line

_log = logging.getLogger(__name__)
CONFIG_NAME = "config.json"
#: Seeds of replicas are so far apart.
_REPLICA_SEED = 1_000_003
#: What a model is judged against: data kept out of training, or (true) those of the training.
_AGAINST = {False: "MD kept out of training", True: "its training MD"}
_KEPT_OUT = {
    "none": "",
    "run": " (the last for validation)",
    "span": " (4/5 of each trained on)",
    "temperature": " (those at one temperature for validation)",
}

#: The data, or the trajectory files of the runs.
DataLike = Dataset | str | Path | Sequence[str | Path]


def train(
    config: ConfigLike,
    data: DataLike,
    out: str | Path,
    *,
    replica: int = 0,
    wall_time_min: float | None = None,
    species: int | str | None = None,
    temperature_k: float | Sequence[float] = (),
    threads: int | None = None,
    ranks: Processes | None = None,
    stop: StopRequest | None = None,
) -> Path:
    """Train a generator, or go on with its training from the newest checkpoint.

    Parameters
    ----------
    config : TrainingConfig, path, name, mapping, function or None
        What is trained and how: a configuration, a TOML file, the name of one of those that come
        with the program (``lizr2po43``), the keys of one as a mapping, a function that gives one,
        or None for the defaults.
    data : Dataset, path, or sequence of paths
        The runs to learn from.
    out : path
        Run folder: config.json, metrics.jsonl, training.png, checkpoints/ and at last model.pt.
    replica : int
        Bootstrap replica; 0 trains on the data as they are.
    wall_time_min : float, optional
        Stop and save after so many minutes.
    species : int or str, optional
        The ions to learn, where files hold several species.
    temperature_k : float or sequence of float
        Where the files do not tell it: one for all runs, or one for each.
    threads : int, optional
        Of each process; otherwise as OMP_NUM_THREADS or Slurm say, or one.
    ranks : Processes, optional
        The ranks that train; all of the launch if not given.
    stop : StopRequest, optional
        Of several trainings together, in the place of one of this one.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    StoppedError
        If the training was asked to stop; everything is saved.
    DivergedError
        If a loss is not finite.
    UsageError
        If the folder holds a training of another configuration or of other data.
    DataError
        If the runs do not belong together, or do not suit the configuration.
    """
    folder = Path(out)
    # Given ranks stay together for what follows.
    chosen = chosen_threads(threads)
    with (
        computing_on(chosen.number),
        Processes(folder) if ranks is None else nullcontext(ranks) as processes,
    ):
        settings = together(processes, lambda: read_config(config))
        known: dict[str, Any] = {"config": as_mapping(settings), "replica": replica}
        together(processes, lambda: _refuse_other_training(folder, known))
        files = all_files(_paths(data))
        told = known | {"species": species, "out": str(folder)}
        told |= {"temperature_k": np.atleast_1d(temperature_k).tolist()}
        require_same(processes, lambda: identity(told, files))
        dataset = together(processes, lambda: _dataset(data, species, temperature_k))
        settings = together(processes, lambda: resolved(settings, dataset))
        known["config"] = as_mapping(settings)
        seed = settings.train.seed + _REPLICA_SEED * replica
        record = provenance(config=known["config"], seed=seed, inputs=dataset.inputs)
        record |= {"replica": replica, "species": dataset.told_species, "system": dataset.system}
        record |= {"temperature_k": dataset.temperature_k, "ranks": processes.size}
        record |= {"threads": chosen.number}
        record |= {"run_temperatures_k": dataset.run_k and list(dataset.run_k)}
        shared = dataclasses.replace(settings.train, seed=seed)
        settings = dataclasses.replace(settings, train=shared)
        together(processes, lambda: _refuse_other_training(folder, record))
        if (folder / MODEL_NAME).exists():
            if processes.rank == 0:
                _sweep(folder)
            _log.info("%s: finished already, nothing to do", folder)
            return folder / MODEL_NAME
        with (
            claimed_by_ranks(folder / "training", processes),
            nullcontext(stop) if stop is not None else StopRequest(wall_time_min) as asked,
        ):
            # Another one may have ended meanwhile.
            if processes.rank == 0:
                _sweep(folder)
            together(processes, lambda: _refuse_other_training(folder, record))
            _train(settings, dataset, folder, record, processes, asked, chosen.text)
    return folder / MODEL_NAME


def _sweep(folder: Path) -> None:
    """Remove what a training that was killed left."""
    sweep(folder)
    sweep(folder / CHECKPOINTS)


def _paths(data: DataLike) -> Sequence[str | Path]:
    """Return the files to read; none where the runs are in memory."""
    if isinstance(data, Dataset):
        return []
    if isinstance(data, str | Path):
        return [data]
    if not isinstance(data, Sequence):
        raise UsageError("no data are given", remedy="name the trajectory of one run at least")
    return data


def _dataset(
    data: DataLike, species: int | str | None, temperature_k: float | Sequence[float]
) -> Dataset:
    return data if isinstance(data, Dataset) else Dataset.read(data, species, temperature_k)


def _train(
    config: TrainingConfig,
    data: Dataset,
    folder: Path,
    record: dict[str, Any],
    processes: Processes,
    stop: StopRequest,
    threads: str,
) -> None:
    """Build, go on from the newest checkpoint if there is one, run, and write the model."""
    trainer = build_trainer(config, data, processes, replica=record["replica"])
    if processes.rank == 0 and not (folder / CONFIG_NAME).exists():
        with written_whole(folder / CONFIG_NAME) as partial:
            partial.write_text(json.dumps(record, indent=1))
    processes.barrier()
    _go_on(trainer, folder)
    _log.info("%s", _first_line(trainer, data))
    if processes.device.type == "cpu":
        _log.info("%s", threads)
    evaluation = _evaluation(trainer, data)
    run_loop(trainer, folder, stop, _evaluate(trainer, evaluation))
    record["training_time_s"] = round(trainer.seconds, 3)
    chosen = trainer.selection.step
    record["chosen_step"] = trainer.step if chosen < 0 else chosen
    generator = trainer.best_generator()
    verdict = evaluation.judge(
        generator,
        stream(config.train.seed, trainer.step, "verdict"),
        against=_AGAINST[config.data.validation == "none"],
    )
    _log.info("%s", verdict_line(verdict))
    model = Model(
        generator,
        data.record_interval_ps(config.data.step_skip),
        data.species,
        data.cell,
        data.span_ps,
        record,
        verdict=verdict,
    )
    if processes.rank == 0:
        save_model(folder / MODEL_NAME, model)
    processes.barrier()


def _go_on(trainer: Trainer, folder: Path) -> None:
    kept = trainer.config.train.checkpoints_kept
    found = Checkpoints(folder / CHECKPOINTS, kept).load_newest()
    if found is None:
        return
    try:
        trainer.load_state_dict(found[1])
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            "holds checkpoints of a network of another version",
            where=folder,
            remedy="go on with the version that began it, or choose another folder for --out",
        ) from error


def _first_line(trainer: Trainer, data: Dataset) -> str:
    """Tell what the training will be."""
    config, processes = trainer.config, trainer.processes
    windows = trainer.windows
    interval_fs = data.record_interval_ps(config.data.step_skip) * FS_PER_PS
    parts = [
        f"{len(data.runs)} run{'s' * (len(data.runs) > 1)}{_KEPT_OUT[config.data.validation]}",
        *([trainer.generator.temperatures.text] if trainer.generator.temperatures else []),
        *([composition(data.ion_species[0])] if data.ion_species else []),
        f"{windows.count(config.data.records)} windows of {config.data.records} records",
        f"{interval_fs:g} fs between records",
        f"symmetry {windows.symmetry.name}",
        _together(trainer),
        " then ".join(_minimised(trainer)),
        f"{processes.size} x {processes.device.type}",
    ]
    if trainer.step:
        parts.append(f"going on from step {trainer.step}")
    return ", ".join(parts)


def _together(trainer: Trainer) -> str:
    """Return which ions are generated together."""
    if trainer.generator.capabilities.neighbours:
        return f"{trainer.generator.ions_per_cell} ions see each other"
    k = trainer.generator.particles_per_sample
    return f"samples of {k} ions" if k > 1 else "each ion alone"


def _minimised(trainer: Trainer) -> list[str]:
    """Return what each phase is, in words."""
    return [
        f"{phase.steps} steps of "
        + " and ".join(
            name
            for name, table in (
                ("likelihood", phase.likelihood),
                ("critics", phase.adversarial),
            )
            if table is not None
        )
        for phase in trainer.config.phase
    ]


def _evaluation(trainer: Trainer, data: Dataset) -> Evaluation:
    """Return what compares a generator with MD: that kept out of training, where some is."""
    config = trainer.config
    _, validation = data.split(config.data.validation)
    return Evaluation(
        validation.runs,
        data.interval_ps,
        data.record_interval_ps(config.data.step_skip),
        symmetry_of(config, data).primitive,
        data.cell,
        trainer.processes,
        run_k=validation.run_k,
        temperatures=trainer.generator.temperatures,
        ion_species=validation.ion_species[0] if validation.ion_species else None,
    )


def _evaluate(trainer: Trainer, compare: Evaluation) -> Callable[[], dict[str, float]] | None:
    """Return what compares the generator of now with MD and lets the best be kept."""
    config = trainer.config
    if not config.train.evaluate_every:
        return None

    def evaluate() -> dict[str, float]:
        loss, generator = trainer.validation_loss(), trainer.ready_generator()
        rng = stream(config.train.seed, trainer.step, "evaluation")
        numbers = compare(generator, rng, selecting=trainer.is_candidate)
        if trainer.is_candidate:
            trainer.selection.offer(generator, numbers["score"], trainer.step)
        if loss is not None:
            numbers["validation_loss"] = round(loss, 4)
        return numbers

    return evaluate


def _refuse_other_training(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise `UsageError` if a folder holds something else than what `record` tells of."""
    file = folder / CONFIG_NAME
    check_output(folder / "training", force=True)
    if not file.exists():
        if folder.is_dir() and not all(is_temporary(name) for name in _names(folder)):
            raise UsageError(
                "is not empty and holds no training",
                where=folder,
                remedy="choose another folder for --out",
            )
        return
    damaged = "bring it back, or choose another folder for --out"
    try:
        difference = _difference(read_json(file), record)
    except DataError as error:
        raise DataError(error.what, where=error.where, remedy=damaged) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise DataError("is no record of a training", where=file, remedy=damaged) from error
    if difference:
        raise UsageError(
            f"holds a training with another {difference}",
            where=folder,
            remedy="choose another folder for --out, or train with what is in its config.json",
        )


def _names(folder: Path) -> list[str]:
    """Return what a folder holds; a folder of checkpoints without one counts as nothing."""
    found = [p for p in folder.iterdir() if p.name != REPLICAS]
    return [p.name for p in found if p.name != CHECKPOINTS or any(p.iterdir())]


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs in two records, as far as both tell of it; empty if nothing does."""
    old, new = (dict(_flat(record["config"])) for record in (before, now))
    for name in {**new, **old}:
        # What is left to the data is compared once they have decided.
        if old.get(name) != new.get(name) and new.get(name) != "auto":
            return f"{name} ({old.get(name)!r}, now {new.get(name)!r})"
    if before["replica"] != now["replica"]:
        return "--replica"
    if "inputs" in now and sorted(before["inputs"].values()) != sorted(now["inputs"].values()):
        return "set of --data files"
    told, asked = before.get("run_temperatures_k"), now.get("run_temperatures_k")
    if "inputs" in now and told != asked:
        return "--temperature"
    if now.get("species", before.get("species")) != before.get("species"):
        return "--species"
    return ""


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the keys of a configuration by their full names; tables of an array are counted."""
    if isinstance(tree, list) and tree and isinstance(tree[0], Mapping):
        tree = {str(number): row for number, row in enumerate(tree, 1)}
    if not isinstance(tree, Mapping):
        return [(prefix, tree)]
    return [
        item
        for name, value in tree.items()
        for item in _flat(value, f"{prefix}.{name}".lstrip("."))
    ]
