"""mdgan-generate: long trajectories of many particles from a trained model."""

from pathlib import Path
from typing import Any

import click

from mdgan_hpc.cli.common import (
    PATH,
    command,
    dry_run_option,
    force_option,
    given,
    options_of,
    say,
)
from mdgan_hpc.generate.settings import GenerateConfig


@command("mdgan-generate")
@click.argument("model", type=PATH, metavar="RUN_OR_MODEL")
@click.option("-o", "--output", type=PATH, required=True, help="Trajectory to make (H5MD).")
@options_of(GenerateConfig, omit=("force",))
@click.option("--resume", is_flag=True, help="Go on with a partial output (also the default).")
@click.option(
    "--analyse",
    is_flag=True,
    help="MSD, alpha2, van Hove and D while generating, to OUTPUT with the ending .msd.json.",
)
@click.option("--repack", type=PATH, help="Then make this one compressed file, and check it.")
@dry_run_option
@force_option
def main(
    model: Path,
    output: Path,
    resume: bool,
    repack: Path | None,
    dry_run: bool,
    analyse: bool,
    **options: Any,
) -> None:
    """Generate the long-time motion of many particles from a trained model.

    Stopped or killed, the same command goes on where it was; with more --records or --particles
    it extends a finished file. Options left out are those of an output that exists. The output is
    the same to the bit for any number of processes.

    \b
    Example: 8192 ions for 1 ns at 8 fs a record
      mdgan-generate runs/lzp -o lzp-generated.h5 --particles 8192 --records 125000 --seed 1
      mpiexec -n 64 mdgan-generate runs/lzp -o lzp-generated.h5
    """
    from mdgan_hpc.errors import DataError, UsageError
    from mdgan_hpc.generate.run import ANALYSIS_SUFFIX, analysis_of, config_of, generate
    from mdgan_hpc.models.file import MODEL_NAME
    from mdgan_hpc.outputs import check_output
    from mdgan_hpc.parallel import world
    from mdgan_hpc.trajectory.opening import files_of

    if resume and not output.exists():
        raise DataError("nothing to resume", where=output, remedy="leave --resume out to begin")
    options = given(**options, analyse=analyse)
    config, analysed = config_of(model, output, **options)
    if repack is not None and not config.store:
        raise UsageError("--repack needs stored positions", remedy="leave --no-store out")
    if dry_run:
        from mdgan_hpc.generate.estimate import estimate

        lines = estimate(config, analysis=analysis_of(config, analysed))
        if world().rank == 0:
            click.echo("\n".join(lines))
        return
    if repack is not None:
        file = model / MODEL_NAME if model.is_dir() else model
        check_output(repack, force=config.force, inputs=[file, output, *files_of(output)])
    generate(model, output, **options)
    if world().rank != 0:
        return
    if analysed:
        _tell(output.with_suffix(ANALYSIS_SUFFIX))
    if repack is not None:
        from mdgan_hpc.trajectory.repack import repack as make_one_file

        make_one_file(output, repack, force=config.force)
        click.echo(f"Written to {repack}")


def _tell(result: Path) -> None:
    """Say what was measured while generating."""
    from mdgan_hpc.analysis.results import Diffusion
    from mdgan_hpc.report.text import diffusion_lines
    from mdgan_hpc.results import load_results

    diffusion = Diffusion.from_tree(load_results(result)["diffusion"])
    for line in diffusion_lines(diffusion):
        say(line)
    click.echo(f"Written to {result}")


if __name__ == "__main__":
    main()
