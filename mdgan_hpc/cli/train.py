"""``mdgan-train``: learn a generator from a few short runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

from mdgan_hpc.cli.common import PATH, command


@command("mdgan-train")
@click.argument("config", type=PATH, required=False)
@click.option(
    "--data",
    "data",
    type=PATH,
    multiple=True,
    required=True,
    help="Trajectory of one run, from mdgan-convert. Once for each run.",
)
@click.option("--out", type=PATH, help="Run folder for model and checkpoints.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a configuration key, as in train.steps=500. Repeatable.",
)
@click.option(
    "--replica",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Bootstrap replica: 1, 2, ... resample runs and ions; 0 takes them as they are.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a training; an error if there is none. "
    "Without it, a run folder with a training is continued too.",
)
@click.option(
    "--wall-time",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MIN",
    help="Save and stop after so many minutes (exit status 75).",
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
    "--show-config", is_flag=True, help="Print every key with its value and meaning; stop."
)
def main(
    config: Path | None,
    data: tuple[Path, ...],
    out: Path | None,
    overrides: tuple[str, ...],
    replica: int,
    resume: bool,
    wall_time: float | None,
    advise: bool,
    figure: Path | None,
    show_config: bool,
) -> None:
    """Train a generator of ion trajectories on the runs given by --data.

    CONFIG is a TOML file (see configs/); without one the defaults hold. Times: one record is
    data.step_skip stored frames. Killed or stopped, the same command goes on from the last
    checkpoint. Several processes (torchrun, srun, mpiexec) share each batch.

    \b
    Example:
      mdgan-train configs/default.toml --data run1.h5 --data run2.h5 --data run3.h5 \\
          --out runs/li --set train.steps=5000
    """
    from mdgan_hpc.config import load_config
    from mdgan_hpc.errors import UsageError
    from mdgan_hpc.training.settings import TrainingConfig

    settings = load_config(TrainingConfig, config, overrides)
    if show_config:
        _print_config(settings)
        return
    if figure is not None and (not advise or figure.suffix not in (".png", ".pdf")):
        raise UsageError("--figure goes with --advise and ends in .png or .pdf")
    if advise:
        from mdgan_hpc.report.advice import advise as look

        advice = look(data)
        for line in advice.lines(settings.data.step_skip, settings.data.records):
            click.echo(line)
        if figure is not None:
            from mdgan_hpc.report.figures.published import draw_samples

            draw_samples(advice.samples, figure)
            click.echo(f"figure: {figure}")
        return
    if out is None:
        raise UsageError("--out is missing", remedy="name the run folder")
    if resume and not (out / "config.json").exists():
        raise UsageError("holds no training to go on with", where=out, remedy="omit --resume")
    from mdgan_hpc.parallel import detect_launch
    from mdgan_hpc.training.figure import draw_training
    from mdgan_hpc.training.metrics import METRICS_NAME
    from mdgan_hpc.training.run import run_training

    model = run_training(
        settings,
        data,
        out,
        replica=replica,
        wall_time_min=wall_time,
        evaluation=_evaluation,
        watch=lambda: draw_training(out / METRICS_NAME, out / "training.png"),
    )
    if detect_launch().rank != 0:
        return
    if model is None:
        click.echo(f"{out}: finished already, nothing to do")
        return
    click.echo(f"model: {model}")


def _evaluation(
    runs: "list[np.ndarray]", interval_ps: float, primitive: "np.ndarray | None"
) -> "Callable[[np.ndarray, float], dict[str, float]]":
    """Compare free runs with MD and show the numbers."""
    from mdgan_hpc.analysis.fidelity import Fidelity

    reference = Fidelity(runs, interval_ps, primitive)

    def compare(positions: "np.ndarray", interval_ps: float) -> dict[str, float]:
        result = reference.compare(positions, interval_ps)
        name, worst = result.worst
        click.echo(
            f"free runs against MD (1: as far as another MD run): median {result.median:.2f}, "
            f"worst {worst:.2f} ({name}), MSD at {result.msd_ps:.3g} ps {result.msd_ratio:.2f} "
            f"times that of MD, drift z {abs(result.drift_z).max():.1f}",
            err=True,
        )
        ratios = {f"fidelity {name}": round(value, 3) for name, value in result.ratios.items()}
        msd = {"msd_ratio": round(result.msd_ratio, 4)}
        return {"score": round(result.root_mean_square, 4), **msd, **ratios}

    return compare


def _print_config(settings: object) -> None:
    import dataclasses

    for section in dataclasses.fields(settings):  # type: ignore[arg-type]
        values = getattr(settings, section.name)
        click.echo(f"[{section.name}]")
        for field in dataclasses.fields(values):
            value = getattr(values, field.name)
            shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
            click.echo(f"{field.name} = {shown}  # {field.metadata['help']}")
        click.echo()


if __name__ == "__main__":
    main()
