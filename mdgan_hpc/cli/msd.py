"""mdgan-msd: how ions move, and their diffusion coefficient."""

from pathlib import Path

import click

from mdgan_hpc.cli.common import PATH, command, force_option


@command("mdgan-msd")
@click.argument("files", nargs=-1, type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, help="Result: .json, .csv (curves) or .h5 (all)."
)
@click.option(
    "--species",
    default="",
    metavar="SYMBOL",
    help="Species to analyse, e.g. Li; needed where the files hold several.",
)
@click.option(
    "--fit",
    metavar="START:STOP",
    help="Fit window in ps, e.g. 2:20; by rule (log-log slope near 1) if not given.",
)
@click.option("--every-lag", is_flag=True, help="All lags instead of 20 a decade.")
@click.option(
    "--max-lag", default=0.5, show_default=True, help="Longest lag as a share of the run."
)
@click.option("--per-particle", is_flag=True, help="Keep the MSD of each particle (.h5, .json).")
@click.option(
    "--msd-only", is_flag=True, help="The MSD alone, faster: no D, as its error needs the rest."
)
@click.option(
    "--device",
    default="",
    metavar="NAME",
    help="Compute by PyTorch on this device, e.g. cuda; on the processor if not given.",
)
@click.option(
    "--nernst-einstein",
    "charge",
    type=float,
    metavar="CHARGE",
    help="Estimate the conductivity (S/cm) of ions of this charge as if they moved independently; "
    "and tell that of their motion together where they were simulated together.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    help="K, for that; of the files if not given.",
)
@click.option(
    "--arrhenius",
    multiple=True,
    metavar="KELVIN=RESULT",
    help="Fit D = D0 exp(-Ea/kT) through results of this command, e.g. 900=msd900.json; repeat.",
)
@force_option
def main(
    files: tuple[Path, ...],
    output: Path,
    species: str,
    fit: str | None,
    every_lag: bool,
    max_lag: float,
    per_particle: bool,
    msd_only: bool,
    device: str,
    charge: float | None,
    temperature: float | None,
    arrhenius: tuple[str, ...],
    force: bool,
) -> None:
    """Mean squared displacement (A^2 against ps) of the ions in FILES, over all time origins,
    and the diffusion coefficient D (A^2/ps, cm2/s, m2/s) with its error.

    FILES are H5MD trajectories with unwrapped positions, replicas of one system; they are never
    joined in time. Runs on MPI ranks: mpiexec -n 4 mdgan-msd ...

    \b
    Example:
      mdgan-msd run1.h5 run2.h5 run3.h5 -o msd.json
    """
    from mdgan_hpc.analysis.command import MsdConfig, fit_arrhenius, measure
    from mdgan_hpc.analysis.plan import DynamicsConfig
    from mdgan_hpc.errors import UsageError

    if bool(files) == bool(arrhenius):
        raise UsageError("give either trajectory files or --arrhenius")
    if arrhenius:
        fit_arrhenius([_point(text) for text in arrhenius], str(output), force=force)
        return

    measure(
        MsdConfig(
            files=tuple(str(f) for f in files),
            output=str(output),
            window_ps=None if fit is None else _window(fit),
            charge=charge,
            temperature_k=temperature,
            dynamics=DynamicsConfig(
                every_lag=every_lag,
                max_fraction=max_lag,
                full=not msd_only,
                per_particle=per_particle,
                device=device,
                species=species,
            ),
            force=force,
        )
    )


def _point(text: str) -> tuple[float, str]:
    from mdgan_hpc.errors import UsageError

    kelvin, equals, path = text.partition("=")
    try:
        temperature = float(kelvin)
    except ValueError:
        temperature = 0.0
    if not equals or temperature <= 0:
        raise UsageError(f"--arrhenius {text} is not KELVIN=RESULT", remedy="as in 900=msd900.json")
    return temperature, path


def _window(text: str) -> tuple[float, float]:
    from mdgan_hpc.errors import UsageError

    try:
        start, stop = (float(v) for v in text.split(":"))
    except ValueError:
        raise UsageError(
            f"--fit {text} is not START:STOP in ps", remedy="as in --fit 2:20"
        ) from None
    if not 0 < start < stop:
        raise UsageError(f"--fit {text}: the start must be above 0 and below the stop")
    return start, stop


if __name__ == "__main__":
    main()
