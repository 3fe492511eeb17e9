"""`mdgan-convert`: runs into trajectory files, and those into other formats."""

from pathlib import Path
from typing import Any

import click

from mdgan_hpc.cli.common import PATH, command, dry_run_option, force_option, given, options_of
from mdgan_hpc.convert.settings import ConvertConfig, ExportConfig

#: Written out: the module that knows them loads h5py.
_EXPORTS = ("h5md", "extxyz", "lammps-dump", "xtc", "amber", "npz", "chgcar", "cube")
#: Options of a conversion that an export knows too.
_SHARED = ("select", "records", "every")


@command("mdgan-convert")
@click.argument("runs", type=PATH, metavar="RUN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "named",
    type=click.Path(),
    help="File to make, or folder for several runs [default: NAME.h5 of each RUN, here].",
)
@options_of(ConvertConfig)
@click.option(
    "--export",
    type=click.Choice(_EXPORTS),
    help="Write our file RUN in this format; chgcar and cube hold the density of the ions. Takes "
    "--select, --records, --every and the three options that follow.",
)
@options_of(ExportConfig, "times_ps", "wrap", "spacing_angstrom")
@click.option(
    "--skip-finished",
    is_flag=True,
    help="Leave outputs alone that were converted from the same RUN before; those of another run "
    "are an error.",
)
@click.option("--info", is_flag=True, help="Tell what our files RUN hold; convert nothing.")
@dry_run_option
@force_option
def main(
    runs: tuple[Path, ...],
    named: str | None,
    export: str | None,
    times_ps: str,
    wrap: bool,
    spacing_angstrom: float,
    skip_finished: bool,
    info: bool,
    dry_run: bool,
    force: bool,
    **options: Any,
) -> None:
    """Turn RUNs, folders as SIESTA left them or files of other codes, into H5MD trajectories.

    Positions are unwrapped, in Angstrom; velocities in Angstrom/ps; times in ps. Several runs are
    shared out over the MPI ranks.

    \b
    Examples:
      mdgan-convert run1 -o run1.h5 --select Li
      mdgan-convert run1 run2 run3 -o trajectories --select Li --every 2
      mdgan-convert md.dump --format lammps-dump --species Li,O --time-step 10 --unwrap
      mdgan-convert run1.h5 --export extxyz -o run1.xyz
      mdgan-convert run1.h5 --export h5md -o thin.h5 --every 2
      mdgan-convert generated.h5 --export xtc --select 1-96 --times 0:100 --every 10
      mdgan-convert run1.h5 --export chgcar
      mdgan-convert run1.h5 --info
    """
    from mdgan_hpc.errors import UsageError
    from mdgan_hpc.parallel import world

    out: dict[str, Any] = {"times_ps": times_ps, "wrap": wrap, "spacing_angstrom": spacing_angstrom}
    # A slash at its end, which a Path drops, makes it a folder.
    output = Path(named) if named else None
    plain = {"dry_run": dry_run, "skip_finished": skip_finished}
    if info:
        _refuse("--info", given(**options, **out, **plain, named=named, export=export))
    elif export:
        _refuse("--export", given(**options, **plain), _SHARED)
    else:
        _refuse("a conversion", given(**out))
    if info:
        from mdgan_hpc.trajectory.describe import describe

        if world().rank == 0:
            click.echo("\n\n".join(describe(path) for path in runs))
    elif export:
        if len(runs) != 1:
            raise UsageError("--export takes one file")
        out |= {name: options[name] for name in _SHARED}
        _export(runs[0], output, export, ExportConfig(**out), force=force)
    else:
        if skip_finished and force:
            raise UsageError("--skip-finished and --force contradict each other")
        from mdgan_hpc.convert import batch

        config = ConvertConfig(**options)
        outputs = batch.output_paths(runs, output, to_folder=(named or "").endswith("/"))
        tasks = list(zip(runs, outputs, strict=True))
        _convert(tasks, config, skip=skip_finished, dry_run=dry_run, force=force)


def _export(
    run: Path,
    output: Path | None,
    format: str,
    config: ExportConfig,
    *,
    force: bool,
) -> None:
    from mdgan_hpc.convert.export import export, export_path
    from mdgan_hpc.parallel import world

    target = output or export_path(run, format)
    if world().rank == 0:
        records = export(run, target, format, config, force=force)
        click.echo(f"{target}: {records} records")


def _refuse(by: str, options: dict[str, Any], known: tuple[str, ...] = ()) -> None:
    """Raise for options that would do nothing.

    Raises
    ------
    UsageError
    """
    from mdgan_hpc.errors import UsageError

    names = {p.name: p.opts[0] for p in click.get_current_context().command.params}
    wrong = [names[name] for name in options if name not in known]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} does nothing with {by}", remedy="leave it away")


def _convert(
    tasks: list[tuple[Path, Path]],
    config: ConvertConfig,
    *,
    skip: bool,
    dry_run: bool,
    force: bool,
) -> None:
    from mdgan_hpc.convert import batch
    from mdgan_hpc.errors import DataError
    from mdgan_hpc.parallel import world

    if skip:
        found = batch.finished(tasks) if world().rank == 0 else []
        finished = world().bcast(found)
        if world().rank == 0:
            for _, done in finished:
                click.echo(f"{done}: finished already, nothing to do")
        tasks = [task for task in tasks if task not in finished]
        if not tasks:
            return
    if dry_run:
        if world().rank == 0:
            click.echo("\n".join(batch.plan(run, target, config) for run, target in tasks))
        return
    summaries = batch.convert_all(tasks, config, world(), force=force)
    if summaries is None:
        return
    click.echo(batch.table(summaries))
    failed = sum(bool(summary.error) for summary in summaries)
    if failed:
        raise DataError(f"{failed} of {len(summaries)} runs could not be converted")


if __name__ == "__main__":
    main()
