"""mdgan-report: figures, table and page of MD beside generated trajectories."""

from pathlib import Path

import click

from mdgan_hpc.cli.common import PATH, command, force_option, options_of, require_files, say
from mdgan_hpc.report.settings import ReportConfig


@command("mdgan-report")
@click.option("--md", multiple=True, required=True, type=PATH, help="MD trajectory; repeat.")
@click.option(
    "--generated",
    multiple=True,
    required=True,
    type=PATH,
    help="Generated trajectory; repeat for several models.",
)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the report.")
@click.option(
    "--arrhenius",
    multiple=True,
    type=PATH,
    help="Result of mdgan-msd --arrhenius or mdgan-sites --arrhenius to show; one of each.",
)
@options_of(ReportConfig, "species", "records", "accept_poor_model", "critic")
@force_option
def main(
    md: tuple[Path, ...],
    generated: tuple[Path, ...],
    output: Path,
    arrhenius: tuple[Path, ...],
    species: str,
    records: int,
    accept_poor_model: bool,
    critic: bool,
    force: bool,
) -> None:
    """Figures and tables of generated trajectories beside the MD they were learned from: ion
    paths (A), displacements (A against ps), MSD (A^2 against ps), samples against step skip,
    D (A^2/ps, cm2/s) with errors, conditions and times. PNG, PDF, report.json and report.html.

    Runs on MPI ranks: mpiexec -n 4 mdgan-report ...

    \b
    Example:
      mdgan-report --md run1.h5 --md run2.h5 --generated gen.h5 -o report
    """
    require_files(*md, *generated)
    from mdgan_hpc.report.command import report
    from mdgan_hpc.report.document import PAGE

    inputs = tuple(map(str, md)), tuple(map(str, generated))
    fits = tuple(map(str, arrhenius))
    config = ReportConfig(
        *inputs, species, records, accept_poor_model, critic=critic, arrhenius=fits
    )
    done = report(config, output, force=force)
    if done is None:
        return
    for line in done[1]:
        say(line)
    click.echo(f"Figures and tables: {output / PAGE}")


if __name__ == "__main__":
    main()
