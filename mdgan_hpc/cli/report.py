"""mdgan-report: figures, table and page of MD beside MD-GAN."""

from pathlib import Path

import click

from mdgan_hpc.cli.common import PATH, command, force_option


@command("mdgan-report")
@click.option("--md", multiple=True, required=True, type=PATH, help="MD trajectory; repeat.")
@click.option(
    "--generated",
    multiple=True,
    required=True,
    type=PATH,
    help="Generated trajectory; repeat for models of bootstrap replicas.",
)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the report.")
@click.option(
    "--records",
    default=128,
    show_default=True,
    help="Records in a training sample, where the generated file does not tell.",
)
@force_option
def main(
    md: tuple[Path, ...], generated: tuple[Path, ...], output: Path, records: int, force: bool
) -> None:
    """Figures and tables of generated trajectories beside the MD they were learned from: ion
    paths (A), displacements (A against ps), MSD (A^2 against ps), samples against step skip,
    D (A^2/ps, cm2/s) with errors, conditions and times. PNG, PDF, report.json and report.html.

    Runs on MPI ranks: mpiexec -n 4 mdgan-report ...

    \b
    Example:
      mdgan-report --md run1.h5 --md run2.h5 --generated gen.h5 -o report
    """
    from mdgan_hpc.analysis.comparison import ReportConfig
    from mdgan_hpc.analysis.report import prepare

    config = ReportConfig(tuple(map(str, md)), tuple(map(str, generated)), records)
    prepared = prepare(config, output, force=force)
    if prepared is None:
        return
    from mdgan_hpc.figures.report import PAGE, draw_report

    tree, lines = prepared
    draw_report(tree, output, lines)
    for line in lines:
        click.echo(line)
    click.echo(f"Figures and tables: {output / PAGE}")


if __name__ == "__main__":
    main()
