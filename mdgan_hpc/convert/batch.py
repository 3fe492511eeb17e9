"""Many runs in one call, over the ranks, and the table of what became of them."""

import math
import os
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path

from mdgan_hpc.convert.conversion import Summary, chosen_atoms, convert_run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources import open_source
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import MdganError, OutputExistsError, UsageError
from mdgan_hpc.outputs import check_output
from mdgan_hpc.parallel import Communicator
from mdgan_hpc.provenance import file_sha256
from mdgan_hpc.trajectory.opening import read_provenance


def output_paths(runs: Sequence[Path], output: Path | None, *, to_folder: bool) -> list[Path]:
    """Return the file that each run becomes.

    Parameters
    ----------
    runs : sequence of path
    output : path, optional
        A file for a single run, or a folder; without it the working folder.
    to_folder : bool
        Take `output` as a folder.

    Raises
    ------
    UsageError
        If several runs would become one file.
    """
    if output is not None and len(runs) == 1 and not (to_folder or os.path.isdir(output)):
        return [output]
    if output is not None and len(runs) > 1 and output.is_file():
        raise UsageError("is a file", where=output, remedy="several runs need a folder for -o")
    folder = output or Path()
    found: dict[Path, Path] = {}
    for run in runs:
        resolved = run.resolve()
        name = resolved.name.split(".")[0] if resolved.is_file() else resolved.name
        path = folder / f"{name}.h5"
        if path in found:
            raise UsageError(
                f"{found[path]} and {run} would both become {path}",
                remedy="convert them one by one with -o",
            )
        found[path] = run
    return list(found)


def finished(tasks: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Return those of (run, output) whose output was converted from the same run before.

    Raises
    ------
    OutputExistsError
        If an output was made from something else.
    """
    found = []
    for run, output in tasks:
        if not output.exists():
            continue
        try:
            inputs = read_provenance(output)["inputs"]
        except (OSError, KeyError, ValueError):
            inputs = {}
        if not any(_belongs(Path(path), digest, run) for path, digest in inputs.items()):
            made = f"was made from {next(iter(inputs))}" if inputs else "is no converted run"
            raise OutputExistsError(
                f"exists already and {made}, not from {run}",
                where=output,
                remedy="choose another output (-o), or another folder (MDGAN_WORK)",
            )
        found.append((run, output))
    return found


def _belongs(path: Path, digest: str, run: Path) -> bool:
    """Tell whether a file is one of a run: it lies there, or one of the same content does."""
    if path.resolve().is_relative_to(run.resolve()):
        return True
    here = run / path.name if run.is_dir() else run
    return here.is_file() and file_sha256(here) == digest


def convert_all(
    tasks: Sequence[tuple[Path, Path]],
    config: ConvertConfig,
    world: Communicator,
    *,
    force: bool = False,
    silent: bool = False,
) -> list[Summary] | None:
    """Convert runs, each on one rank; one that fails does not hold up the others.

    Parameters
    ----------
    tasks : sequence of (run, output)
    config : ConvertConfig
    world : Communicator
    force : bool
        Replace existing outputs.
    silent : bool
        Show no progress.

    Returns
    -------
    list of Summary or None
        On rank 0, in the order of `tasks`; None on the others.
    """
    for _, output in tasks:
        check_output(output, force=force, inputs=[run for run, _ in tasks])
    mine = []
    for number in range(world.rank, len(tasks), world.size):
        run, output = tasks[number]
        quiet = silent or world.rank > 0
        try:
            summary = convert_run(run, output, config, force=force, silent=quiet, ranks=world.size)
        except MdganError as error:
            if len(tasks) == 1:
                raise
            summary = Summary(str(run), str(output), error=str(error))
        mine.append((number, summary))
    gathered = world.gather(mine)
    if gathered is None:
        return None
    return [summary for _, summary in sorted(chain.from_iterable(gathered), key=itemgetter(0))]


def table(summaries: Sequence[Summary]) -> str:
    """Return the summary table: one line a run, then what was noticed."""
    head = ("file", "source", "frames", "atoms", "step (fs)", "T (K)", "drift (A)", "warnings")
    rows = [head]
    for s in summaries:
        if s.error:
            rows.append((s.output, "failed", "", "", "", "", "", ""))
            continue
        heat = f"{s.temperature:.0f} +- {s.temperature_spread:.0f}"
        rows.append(
            (
                s.output,
                s.source,
                str(s.n_records),
                str(s.n_atoms),
                f"{s.time_step_fs:g}",
                "-" if math.isnan(s.temperature) else heat,
                f"{s.drift_length:.2f}",
                str(len(s.warnings)),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for s in summaries:
        lines += [f"{s.run}: {note}" for note in s.notes]
        if s.error:
            lines.append(f"{s.run}: failed: {s.error}")
    return "\n".join(lines)


def plan(run_path: Path, output: Path, config: ConvertConfig) -> str:
    """Return what a conversion would read and write, without doing it.

    Raises
    ------
    UsageError, DataError
    """
    with Files() as files:
        run = open_source(run_path, config, files)
    n_chosen = int(chosen_atoms(config, run).chosen.sum())
    lines = [
        f"{run_path}: positions from {run.kind}, {run.n_atoms} atoms, "
        f"time step {run.time_step_fs:g} fs",
        *(f"  reads {path} ({path.stat().st_size} bytes)" for path in run.inputs),
        f"  writes {output}: {n_chosen} atoms",
    ]
    path = run.where / run.name
    if run.kind == "MD" and path.suffix == ".MD":
        frames = path.stat().st_size // (12 + 48 * run.n_atoms)
        disk = frames // config.every * n_chosen * 24
        lines[-1] += f", at most {frames // config.every} frames, {disk / 1e6:.1f} MB"
    lines.append("  memory: below 300 MB more than the program itself")
    return "\n".join(lines)
