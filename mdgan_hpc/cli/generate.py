"""mdgan-generate: long trajectories of many particles from a trained model."""

from pathlib import Path
from typing import Any

import click

from mdgan_hpc.cli.common import PATH, command, dry_run_option, force_option


@command("mdgan-generate")
@click.argument("model", type=PATH, metavar="RUN_OR_MODEL")
@click.option("-o", "--output", type=PATH, required=True, help="Trajectory to make (H5MD).")
@click.option("--particles", default=8192, show_default=True, help="Particles.")
@click.option(
    "--records",
    default=125_000,
    show_default=True,
    help="Records for each particle; the time between two is the model's.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of all random numbers.")
@click.option("--resume", is_flag=True, help="Go on with a partial output (also the default).")
@click.option(
    "--analyse",
    is_flag=True,
    help="MSD, alpha2, van Hove and D while generating, to OUTPUT with the ending .msd.json.",
)
@click.option(
    "--no-store", "store", flag_value=False, default=True, help="With --analyse: no positions."
)
@click.option("--every", default=1, show_default=True, help="Store every n-th record.")
@click.option("--velocities", is_flag=True, help="Store velocities (Angstrom/ps) too.")
@click.option(
    "--burn-in", default=0, show_default=True, help="Records dropped before the first stored."
)
@click.option(
    "--storage",
    type=click.Choice(["auto", "mpio", "shards"]),
    default="auto",
    show_default=True,
    help="One file by parallel HDF5, or part files under one master file.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16"]),
    default="float32",
    show_default=True,
    help="Of the network; positions are summed in float64.",
)
@click.option(
    "--alignment", "alignment_mib", default=1.0, show_default=True, help="Of chunks on disk, MiB."
)
@click.option(
    "--stripe-count", default=0, help="Lustre stripes of a file.  [default: the folder's]"
)
@click.option("--stripe-size", "stripe_size_mib", default=0, help="MiB; multiple of the alignment.")
@click.option(
    "--mpi-hint",
    "mpi_hints",
    multiple=True,
    metavar="KEY=VALUE",
    help="For MPI-IO, such as striping_factor=16; may be repeated.",
)
@click.option(
    "--files", default=0, help="Part files of shards, such as one a node.  [default: one a process]"
)
@click.option(
    "--workers", default=0, help="Processes without MPI.  [default: one for each core or GPU]"
)
@click.option(
    "--block-particles",
    default=0,
    help="Particles computed together.  [default: 256 to 1024, an eighth of all; 32768 on a GPU]",
)
@click.option(
    "--block-records", default=0, help="Records computed at once.  [default: 1024; 128 on a GPU]"
)
@click.option(
    "--max-jump",
    default=10.0,
    show_default=True,
    help="Angstrom; a larger displacement between two records ends the run.",
)
@click.option(
    "--save-interval", default=5.0, show_default=True, help="Seconds of work a kill may cost."
)
@click.option("--wall-time", type=float, help="Stop, with all saved, after this many minutes.")
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
    store: bool,
    save_interval: float,
    wall_time: float | None,
    **options: Any,
) -> None:
    """Generate the long-time motion of many particles from a trained model.

    Stopped or killed, the same command goes on where it was; with more --records or --particles
    it extends a finished file. The output is the same to the bit for any number of processes.

    \b
    Example: 8192 ions for 1 ns at 8 fs a record
      mdgan-generate runs/lzp -o lzp-generated.h5 --particles 8192 --records 125000 --seed 1
      mpiexec -n 64 mdgan-generate runs/lzp -o lzp-generated.h5
    """
    from mdgan_hpc.errors import DataError, UsageError
    from mdgan_hpc.generate.run import ANALYSIS_SUFFIX, generate
    from mdgan_hpc.outputs import refuse_existing
    from mdgan_hpc.parallel import world

    if resume and not output.exists():
        raise DataError("nothing to resume", where=output, remedy="leave --resume out to begin")
    if repack is not None and not store:
        raise UsageError("--repack needs stored positions", remedy="leave --no-store out")
    if not store and not analyse:
        raise UsageError("--no-store leaves nothing to keep", remedy="use it with --analyse")
    options |= {"store": store, "save_interval_s": save_interval, "wall_time_min": wall_time}
    if dry_run:
        from mdgan_hpc.analysis.streaming import MultiTauAnalysis
        from mdgan_hpc.generate.estimate import estimate
        from mdgan_hpc.generate.settings import GenerateConfig

        config = GenerateConfig(model=model, output=output, **options)
        lines = estimate(config, analysis=MultiTauAnalysis() if analyse else None)
        if world().rank == 0:
            click.echo("\n".join(lines))
        return
    if repack is not None:
        refuse_existing(repack, force=options["force"])
    generate(model, output, analyse=analyse, **options)
    if analyse and world().rank == 0:
        from mdgan_hpc.analysis.results import Diffusion
        from mdgan_hpc.report.text import diffusion_lines
        from mdgan_hpc.results import load_results

        path = output.with_suffix(ANALYSIS_SUFFIX)
        tree = load_results(path)
        click.echo("\n".join([*diffusion_lines(Diffusion.from_tree(tree["diffusion"])), f"Written to {path}"]))
    if repack is not None and world().rank == 0:
        from mdgan_hpc.trajectory.repack import repack as make_one_file

        make_one_file(output, repack, force=options["force"])
        click.echo(f"Written to {repack}")


if __name__ == "__main__":
    main()
