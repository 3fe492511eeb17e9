"""`mdgan-convert`: run folders of SIESTA into trajectory files, and those into other formats."""

from pathlib import Path

import click

from mdgan_hpc.cli.common import PATH, command, dry_run_option, force_option


@command("mdgan-convert")
@click.argument("runs", type=PATH, metavar="RUN_DIR...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File to make, or folder for several runs [default: NAME.h5 of each RUN_DIR, here].",
)
@click.option(
    "--select",
    default="all",
    show_default=True,
    help="Atoms to keep: species labels, elements, index ranges from 1 (Li,O or 1-12), or all.",
)
@click.option(
    "--drift",
    type=click.Choice(["framework", "all", "none"]),
    help="Whose centre of mass stands still: the atoms that are not selected, all, or nobody's "
    "[default: framework; all if every atom is selected].",
)
@click.option(
    "--every", type=click.IntRange(1), default=1, show_default=True, help="Keep every N-th step."
)
@click.option("--unwrap", is_flag=True, help="Unfold coordinates that were folded into the cell.")
@click.option(
    "--include-initial",
    is_flag=True,
    help="Begin with the first geometry, which only the output and the input tell.",
)
@click.option(
    "--source",
    type=click.Choice(["MD", "MD.nc", "ANI", "MD_CAR", "out"]),
    help="Read the positions from this kind of file [default: the best there is].",
)
@click.option("--label", help="SystemLabel of the run, where a folder holds several.")
@click.option("--records", help="Records of the source to use, FIRST:END from 0, such as 500:.")
@click.option(
    "--time-step",
    type=click.FloatRange(0, min_open=True),
    help="Time between two records of the source in fs [default: read].",
)
@click.option("--strict", is_flag=True, help="Refuse what would otherwise raise a warning.")
@click.option("--no-check", is_flag=True, help="Do not compare the files of a run with each other.")
@click.option(
    "--format", "format_", help="Read another code's file by ASE: its format name, or auto."
)
@click.option("--species", help="Elements of the types 1, 2, ... of a LAMMPS dump, such as Li,O.")
@click.option(
    "--export", type=click.Choice(["extxyz", "npz"]), help="Write our file RUN_DIR in this format."
)
@click.option("--info", is_flag=True, help="Tell what our files RUN_DIR hold; convert nothing.")
@dry_run_option
@force_option
def main(
    runs: tuple[Path, ...],
    output: Path | None,
    select: str,
    drift: str | None,
    every: int,
    unwrap: bool,
    include_initial: bool,
    source: str | None,
    label: str | None,
    records: str | None,
    time_step: float | None,
    strict: bool,
    no_check: bool,
    format_: str | None,
    species: str | None,
    export: str | None,
    info: bool,
    dry_run: bool,
    force: bool,
) -> None:
    """Turn run folders, as SIESTA left them, into H5MD trajectories.

    Positions are unwrapped, in Angstrom; velocities in Angstrom/ps; times in ps. Several runs are
    shared out over the MPI ranks.

    \b
    Examples:
      mdgan-convert run1 -o run1.h5 --select Li
      mdgan-convert run1 run2 run3 -o trajectories --select Li --every 2
      mdgan-convert md.dump --format lammps-dump-text --species Li,O --time-step 10 --unwrap
      mdgan-convert run1.h5 --export extxyz -o run1.xyz
      mdgan-convert run1.h5 --info
    """
    from mdgan_hpc.convert import batch
    from mdgan_hpc.convert.settings import ConvertConfig
    from mdgan_hpc.errors import DataError, UsageError
    from mdgan_hpc.parallel import world
    from mdgan_hpc.trajectory.export import describe
    from mdgan_hpc.trajectory.export import export as write_export

    if info:
        if world().rank == 0:
            click.echo("\n\n".join(describe(path) for path in runs))
        return
    if export:
        if len(runs) != 1:
            raise UsageError("--export takes one file")
        target = output or runs[0].with_suffix(f".{export}")
        if world().rank == 0:
            frames = write_export(runs[0], target, export, force=force)
            click.echo(f"{target}: {frames} frames")
        return
    config = ConvertConfig(
        select=select,
        drift=drift or "",
        every=every,
        records=records or "",
        source=source or "",
        label=label or "",
        format=format_ or "",
        species=species or "",
        time_step_fs=time_step or 0.0,
        unwrap=unwrap,
        include_initial=include_initial,
        strict=strict,
        check=not no_check,
    )
    outputs = batch.output_paths(runs, output, to_folder=str(output or "").endswith("/"))
    tasks = list(zip(runs, outputs, strict=True))
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
