"""``mdgan-train``: learn a generator from a few short runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdgan_hpc.cli.common import PATH, FiniteRange, command, require_files
from mdgan_hpc.threads import MOST

if TYPE_CHECKING:
    from mdgan_hpc.training.settings import TrainingConfig


@command("mdgan-train")
@click.argument("config", type=PATH, required=False, metavar="[CONFIG]")
@click.option(
    "--data",
    "data",
    type=PATH,
    multiple=True,
    help="Trajectory of one run, from mdgan-convert. Once for each run.",
)
@click.option("--out", type=PATH, help="Run folder for model and checkpoints.")
@click.option(
    "--species",
    metavar="SYMBOL",
    help="The ions to learn, where the files hold several species; Na,Cl: both together.",
)
@click.option(
    "--temperature",
    "temperature_k",
    type=FiniteRange(min=0, min_open=True),
    multiple=True,
    metavar="KELVIN",
    help="Of the runs, where their files do not tell it: once for all, or once for each in the "
    "order of --data. Of runs at several temperatures comes one model for all between.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a configuration key, as in phase.steps=500, or phase.2.steps=500 where there "
    "are several phases. Repeatable.",
)
@click.option(
    "--replica",
    default=0,
    show_default=True,
    type=click.IntRange(min=0, max=10**6),
    help="Bootstrap replica: 1, 2, ... resample runs and ions; 0 takes them as they are.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=2, max=10**4),
    help="Train the model of all data and so many bootstrap replicas, as many at a time as there "
    "are ranks, cores or GPUs; mdgan-generate makes one file of all of them.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a training; an error if there is none. "
    "Without it, a run folder with a training is continued too.",
)
@click.option(
    "--wall-time",
    type=FiniteRange(min=0, min_open=True),
    metavar="MIN",
    help="Save and stop after so many minutes (exit status 75).",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1, max=MOST),
    help="Of each process.  [default: OMP_NUM_THREADS, the cores of a task of Slurm, or 1]",
)
@click.option(
    "--advise",
    is_flag=True,
    help="Look at the data: memory times (ps), hops, the best error of D they allow, "
    "a suggested step skip and window; stop.",
)
@click.option(
    "--figure",
    type=PATH,
    metavar="FILE",
    help="With --advise: draw the number of samples against the step skip (.png, .pdf).",
)
@click.option(
    "--show-config",
    is_flag=True,
    help='Print every key with its value and meaning; stop. With --data, "auto" as it becomes.',
)
def main(
    config: Path | None,
    data: tuple[Path, ...],
    out: Path | None,
    species: str | None,
    temperature_k: tuple[float, ...],
    overrides: tuple[str, ...],
    replica: int,
    replicas: int | None,
    resume: bool,
    wall_time: float | None,
    threads: int | None,
    advise: bool,
    figure: Path | None,
    show_config: bool,
) -> None:
    """Train a generator of ion trajectories on the runs given by --data.

    CONFIG is a TOML file, or the name of one that comes with the program (default, demo, lizr2po43,
    mdgan-2018, mdgan-multi-particle); without one the defaults hold. Times: one record is
    data.step_skip stored frames. Killed or stopped (Ctrl-C too), the same command goes on from the
    last checkpoint. Several processes (torchrun, srun, mpiexec) share each batch.

    \b
    Example:
      mdgan-train default --data run1.h5 --data run2.h5 --data run3.h5 \\
          --out runs/li --set phase.steps=3000
    """
    require_files(*data)
    from mdgan_hpc.config import as_toml
    from mdgan_hpc.errors import UsageError
    from mdgan_hpc.training.settings import TrainingConfig, read_config

    def settings() -> TrainingConfig:
        return read_config(config, overrides)

    if show_config:
        shown = settings()
        if data:
            from mdgan_hpc.training.advised import resolved
            from mdgan_hpc.training.data.dataset import Dataset

            shown = resolved(shown, Dataset.read(data, species, temperature_k))
        click.echo("\n".join(as_toml(shown)))
        return
    if not data:
        raise UsageError("--data is missing", remedy="name the trajectory of each run")
    if figure is not None and (not advise or figure.suffix not in (".png", ".pdf")):
        raise UsageError("--figure goes with --advise and ends in .png or .pdf")
    if advise:
        _advise(settings(), data, species, temperature_k, figure)
        return
    if out is None:
        raise UsageError("--out is missing", remedy="name the run folder")
    if resume and not (out / "config.json").exists():
        raise UsageError("holds no training to go on with", where=out, remedy="omit --resume")
    from mdgan_hpc.parallel import detect_launch
    from mdgan_hpc.training.ensemble import train_ensemble
    from mdgan_hpc.training.run import train

    more: dict[str, Any] = {"wall_time_min": wall_time, "species": species}
    more["temperature_k"] = temperature_k
    if replicas is None:
        model = train(settings, data, out, replica=replica, threads=threads, **more)
    elif replica or threads:
        raise UsageError(f"give {'--replica' if replica else '--threads'} or --replicas, not both")
    else:
        model = train_ensemble(settings, data, out, replicas=replicas, **more)
    if detect_launch().rank == 0:
        click.echo(f"model: {model}")


def _advise(
    config: "TrainingConfig",
    data: tuple[Path, ...],
    species: str | None,
    temperature_k: tuple[float, ...],
    figure: Path | None,
) -> None:
    """Print what the data can teach, beside what the configuration asks for."""
    from mdgan_hpc.report.advice import advise_each

    each = advise_each(data, species=species or "", temperature_k=temperature_k)
    if None in each:
        for line in each[None].lines(config.data.step_skip, config.data.records):
            click.echo(line)
        samples = each[None].samples
    else:
        from mdgan_hpc.report.samples import windows_against_step_skip
        from mdgan_hpc.training.advised import resolved
        from mdgan_hpc.training.data.dataset import Dataset

        for kelvin, advice in each.items():
            click.echo(f"At {kelvin:.0f} K:")
            for line in advice.lines():
                click.echo(f"  {line}")
        runs = Dataset.read(data, species, temperature_k)
        config = resolved(config, runs)
        chosen = config.data
        interval_ps = runs.record_interval_ps(chosen.step_skip)
        click.echo(
            f"A model of all of them uses    data.step_skip = {chosen.step_skip} "
            f"({1000 * interval_ps:g} fs), data.records = {chosen.records} "
            f"({chosen.records * interval_ps:.3g} ps), "
            f"{config.steps} steps"
        )
        lengths, ions = zip(*(run.shape[:2] for run in runs.runs), strict=True)
        samples = windows_against_step_skip(lengths, ions, chosen.records, chosen.step_skip)
    if figure is not None:
        from mdgan_hpc.report.figures.coefficients import draw_samples

        draw_samples(samples, figure)
        click.echo(f"figure: {figure}")


if __name__ == "__main__":
    main()
