"""A generation run from the options to the finished file: begin, go on, or extend."""

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.config import from_options
from mdgan_hpc.errors import StoppedError, UsageError
from mdgan_hpc.generate.condition import warn_beyond
from mdgan_hpc.generate.pieces import Analysis, Run, unpack_state
from mdgan_hpc.generate.prepare import options_of_output, prepare
from mdgan_hpc.generate.processes import run_local, run_rank
from mdgan_hpc.generate.resources import worker_count
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.generate.supercell import (
    AUTO,
    model_of,
    settled,
    tell,
    warn_of_other_contents,
)
from mdgan_hpc.models.file import Model, load_model, model_files
from mdgan_hpc.outputs import check_output, claimed_by_ranks, refuse_input
from mdgan_hpc.parallel import Communicator, require_same, together, world
from mdgan_hpc.provenance import identity
from mdgan_hpc.results import save_results
from mdgan_hpc.trajectory.blocks.clock import add_time_s
from mdgan_hpc.trajectory.blocks.ledger import read_progress
from mdgan_hpc.verdict import Verdict, refuse_poor, verdict_line

_log = logging.getLogger(__name__)
#: Processes of a launch that was killed end within this time.
_PATIENCE_S = 15.0
#: Ending of the file beside the output that holds what was measured while generating.
ANALYSIS_SUFFIX = ".msd.json"


def generate(
    model: str | Path, output: str | Path, *, analyse: bool | None = None, **options: Any
) -> Path:
    """Make, finish or extend a generated trajectory; all ranks of a launch call it.

    Parameters
    ----------
    model : path
        Run folder or model file.
    output : path
        Trajectory to make (H5MD).
    analyse : bool, optional
        Measure MSD, alpha2, van Hove functions and D while generating, to the output's name with
        the ending ``.msd.json``.
    **options
        Fields of `GenerateConfig`: ``particles``, ``records``, ``seed``, ``workers`` ... What is
        left out is as in an output that exists, or else the default.

    Returns
    -------
    path
        Of the trajectory.

    Raises
    ------
    UsageError
        If the output exists and is not of this model, seed and settings.
    DataError
        If the model or the output cannot be used, or the disk is full; if the model does not move
        as the MD does and ``accept_poor_model`` is not set.
    DivergedError
        If the model leaves the range it was trained for.
    StoppedError
        If stopped on request; the same call goes on.
    """
    config, analysed = config_of(model, output, analyse=analyse, **options)
    tree = _run(config, analysis_of(config, analysed))
    if tree is not None:
        save_results(config.output.with_suffix(ANALYSIS_SUFFIX), tree)
    return config.output


def analysis_of(config: GenerateConfig, analysed: bool) -> Analysis | None:
    """Return what measures the motion while it is generated, if it is analysed."""
    if not analysed:
        return None
    from mdgan_hpc.analysis.streaming import MultiTauAnalysis  # takes a second to load

    return MultiTauAnalysis(config.accept_poor_model)


def config_of(
    model: str | Path, output: str | Path, *, analyse: bool | None = None, **options: Any
) -> tuple[GenerateConfig, bool]:
    """Return the checked options of `generate`, and whether the motion is analysed.

    Raises
    ------
    UsageError
        If nothing would be kept, or an option is out of its range.
    """
    if not options.get("force", False):
        before = options_of_output(Path(output))
        before_analysed = bool(before.pop("analyse", False))
        analyse = before_analysed if analyse is None else analyse
        if options.get("supercell") == AUTO and "particles" not in options:
            options.pop("supercell")  # it is there already
        options = {**before, **options}
    config = from_options(GenerateConfig, {"model": model, "output": output, **options})
    if not config.store and not analyse:
        raise UsageError(
            "without stored positions (--no-store) nothing is kept", remedy="use it with --analyse"
        )
    if analyse and config.stored_records < 2:
        raise UsageError(
            "a single stored record shows no motion to analyse",
            remedy="ask for more --records, or leave --analyse out",
        )
    return config, bool(analyse)


def _run(config: GenerateConfig, analysis: Analysis | None = None) -> dict[str, Any] | None:
    """Do what `generate` does; return the result of the analysis on rank 0, if there is one."""
    communicator = world()
    begin = time.monotonic()
    files = together(communicator, lambda: model_files(config.model))
    together(communicator, lambda: _check(config, files))
    require_same(communicator, lambda: identity(dataclasses.asdict(config), files))
    with claimed_by_ranks(config.output, communicator, patience_s=_PATIENCE_S):
        loaded = together(communicator, lambda: load_model(config.model))
        together(communicator, lambda: _heed(loaded.verdict, config))
        config, model = together(communicator, lambda: settled(config, loaded))
        if communicator.rank == 0:
            warn_beyond(model)
            warn_of_other_contents(config, loaded)
        tell(config, model)

        def begin_or_go_on() -> Run | None:
            leads = communicator.rank == 0
            return prepare(config, model, analysis, communicator.size) if leads else None

        run = communicator.bcast(together(communicator, begin_or_go_on))
        assert run is not None
        if run.unfinished:
            started = time.monotonic()
            try:
                _compute(run, model, communicator)
            finally:
                if communicator.rank == 0 and config.output.exists():
                    add_time_s(config.output, time.monotonic() - started)
        if communicator.rank != 0:
            return None
        size = f"{run.plan.n_records} records of {run.plan.n_particles} particles"
        if run.unfinished:
            end = f"{size}, {time.monotonic() - begin:.1f} s"
        else:
            end = f"all {size} are there; nothing to do"
        _log.info("%s: %s", config.output, end)
        return _analysed(run, model)


def _check(config: GenerateConfig, models: list[Path]) -> None:
    """Raise unless the output can be written, and replaces nothing that is read."""
    check_output(config.output, force=True, inputs=models)
    refuse_input(config.output.with_suffix(ANALYSIS_SUFFIX), models)


def _heed(verdict: Verdict | None, config: GenerateConfig) -> None:
    """Tell the verdict on the model.

    Raises
    ------
    DataError
        If it is poor and not accepted.
    """
    refuse_poor(verdict, accepted=config.accept_poor_model, where=config.model)
    _log.info("%s", verdict_line(verdict))
    doubts = [] if verdict is None else verdict.doubts
    if doubts:
        _log.warning("%s", "; ".join(doubts))


def _compute(run: Run, model: Model, communicator: Communicator) -> None:
    """Do this rank's share, or share the work among processes of this machine.

    Raises
    ------
    StoppedError
        On all ranks, if one was stopped.
    """
    config = run.config
    alone = communicator.size == 1 and run.plan.storage == "shards"
    n = worker_count(config, len(run.unfinished), 1, run.settings["device"])
    many = n if alone else communicator.size
    _log.info("%s, one thread each", "1 process" if many == 1 else f"{many} processes")
    if alone and n > 1:
        stopped = run_local(run, functools.partial(model_of, config), n)
    else:
        stopped = run_rank(run, model, communicator)
    stopped = next((reason for reason in communicator.allgather(stopped) if reason), "")
    if stopped:
        raise StoppedError(
            f"stopped ({stopped}); everything so far is saved",
            where=config.output,
            remedy="run the same command again to go on",
        )


def _analysed(run: Run, model: Model) -> dict[str, Any] | None:
    """Add up what was measured in the blocks."""
    if run.analysis is None:
        return None
    return run.analysis.result(
        run.settings["analysis"],
        _states(run, model),
        model.record_interval_ps * run.config.every,
        model.generator.ions_per_cell,
        model.label,
        model.verdict,
        len(model.generators),
    )


def _states(run: Run, model: Model) -> Iterator[dict[str, np.ndarray]]:
    """Yield the accumulated states of the blocks in their order."""
    skip = run.rollout(model).state_bytes
    for block in range(run.plan.n_blocks):
        accumulator = run.accumulator(block)
        assert accumulator is not None
        state = read_progress(run.config.output, run.plan, [block])[block].state
        unpack_state(accumulator.state, state[skip:])
        yield accumulator.state
