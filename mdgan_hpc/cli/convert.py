"""`mdgan-convert`: run folders of SIESTA into trajectory files."""

from pathlib import Path

import click

from mdgan_hpc.cli.common import PATH, command, force_option


@command("mdgan-convert")
@click.argument("run", type=PATH, metavar="RUN_DIR")
@click.option("-o", "--output", type=PATH, help="File to make [default: LABEL.h5 of the run].")
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
@click.option(
    "--source",
    type=click.Choice(["MD", "MD.nc", "ANI", "MD_CAR", "out"]),
    help="Read the positions from this kind of file [default: the best there is].",
)
@click.option("--label", help="SystemLabel of the run, where a folder holds several.")
@click.option(
    "--time-step", type=click.FloatRange(0, min_open=True), help="MD time step in fs, if unknown."
)
@force_option
def main(
    run: Path,
    output: Path | None,
    select: str,
    drift: str | None,
    every: int,
    source: str | None,
    label: str | None,
    time_step: float | None,
    force: bool,
) -> None:
    """Turn the run folder RUN_DIR, as SIESTA left it, into an H5MD trajectory.

    Positions are unwrapped, in Angstrom; times in ps.

    Example: mdgan-convert run1 -o run1.h5 --select Li
    """
    from mdgan_hpc.siesta.convert import ConvertConfig, convert

    summary = convert(
        ConvertConfig(
            run=str(run),
            output=str(output or Path(f"{run.resolve().stem}.h5")),
            select=select,
            drift=drift or "",
            every=every,
            source=source or "",
            label=label or "",
            time_step_fs=time_step or 0.0,
            force=force,
        )
    )
    click.echo(
        f"{summary.output}: {summary.n_records} frames of {summary.n_atoms} atoms from "
        f"{summary.source}, time step {summary.time_step_fs:g} fs"
    )


if __name__ == "__main__":
    main()
