"""mdgan-msd: how ions move, and their diffusion coefficient."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdgan_hpc.analysis.settings import DynamicsConfig, MsdConfig
from mdgan_hpc.cli.common import (
    PATH,
    FiniteRange,
    command,
    force_option,
    help_of,
    kelvin_and_result,
    options_of,
    require_files,
    say,
)

if TYPE_CHECKING:
    from mdgan_hpc.analysis.results import Diffusion, MixtureResult, MsdResult


@command("mdgan-msd")
@click.argument("files", nargs=-1, type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, help="Result: .json, .csv (curves) or .h5 (all)."
)
@options_of(DynamicsConfig, "species")
@click.option("--fit", "window_ps", metavar="START:STOP", help=help_of(MsdConfig, "window_ps"))
@options_of(DynamicsConfig, "every_lag", "max_fraction", "per_particle", "full", "incomplete")
@options_of(DynamicsConfig, "device")
@click.option(
    "--nernst-einstein",
    "charge",
    metavar="CHARGE[,CHARGE]",
    help=help_of(MsdConfig, "charge"),
)
@options_of(MsdConfig, "temperature_k", "viscosity_mpa_s", "accept_poor_model")
@click.option(
    "--arrhenius",
    multiple=True,
    metavar="KELVIN=RESULT",
    help="Fit D = D0 exp(-Ea/kT) through results of this command, e.g. 900=msd900.json; repeat.",
)
@click.option(
    "--at",
    "at_k",
    type=FiniteRange(min=0, min_open=True),
    multiple=True,
    metavar="KELVIN",
    help="With --arrhenius: D at this temperature, with its 95 % interval; repeat.",
)
@click.option(
    "--figure",
    "drawing",
    type=PATH,
    metavar="FILE",
    help="With --arrhenius: draw D against 1000/T, MD beside generated ions (.png, .pdf).",
)
@force_option
def main(
    files: tuple[Path, ...],
    output: Path,
    window_ps: str | None,
    charge: str | None,
    temperature_k: float | None,
    viscosity_mpa_s: float | None,
    arrhenius: tuple[str, ...],
    at_k: tuple[float, ...],
    drawing: Path | None,
    accept_poor_model: bool,
    force: bool,
    **dynamics: Any,
) -> None:
    """Mean squared displacement (A^2 against ps) of the ions in FILES, over all time origins,
    and the diffusion coefficient D (A^2/ps, cm2/s, m2/s) with its error.

    FILES are H5MD trajectories with unwrapped positions, replicas of one system; they are never
    joined in time. Runs on MPI ranks: mpiexec -n 4 mdgan-msd ...

    \b
    Example:
      mdgan-msd run1.h5 run2.h5 run3.h5 -o msd.json
    """
    require_files(*files)
    from mdgan_hpc.analysis.command import measure
    from mdgan_hpc.errors import UsageError

    if bool(files) == bool(arrhenius):
        raise UsageError("give either trajectory files or --arrhenius")
    if not arrhenius and (at_k or drawing):
        raise UsageError("--at and --figure go with --arrhenius")
    if arrhenius:
        points = [kelvin_and_result(text, "msd900.json") for text in arrhenius]
        _fit_arrhenius(points, output, at_k, drawing, force)
    else:
        result = measure(
            MsdConfig(
                files=tuple(str(f) for f in files),
                output=str(output),
                window_ps=None if window_ps is None else _window(window_ps),
                charge=None if charge is None else _charges(charge),
                temperature_k=temperature_k,
                viscosity_mpa_s=viscosity_mpa_s,
                accept_poor_model=accept_poor_model,
                dynamics=DynamicsConfig(**dynamics),
                force=force,
            )
        )
        if result is None:
            return
        for line in _told(result):
            say(line)
    click.echo(f"Written to {output}")


def _fit_arrhenius(
    results: list[tuple[float, str]],
    output: Path,
    at_k: tuple[float, ...],
    drawing: Path | None,
    force: bool,
) -> None:
    """Fit, write, draw and tell."""
    from mdgan_hpc.analysis.arrhenius import fit_arrhenius
    from mdgan_hpc.errors import UsageError
    from mdgan_hpc.outputs import check_output
    from mdgan_hpc.report.figures.arrhenius import draw_arrhenius

    if drawing is not None:
        if drawing.suffix not in (".png", ".pdf"):
            raise UsageError("--figure ends in .png or .pdf")
        check_output(drawing, force=force, inputs=[path for _, path in results])
    found = fit_arrhenius(results, str(output), at_k=at_k, force=force)
    fit = found.arrhenius
    click.echo(
        f"Activation energy {fit.activation_ev:.3f} +- {fit.activation_error_ev:.3f} eV, "
        f"D0 {fit.d0:.3g} A^2/ps (log D0 +- {fit.log_d0_error:.2g})"
    )
    for name, alone in (("MD", found.md), ("generated ions", found.generated)):
        if alone is not None:
            energy = f"{alone.activation_ev:.3f} +- {alone.activation_error_ev:.3f} eV"
            click.echo(f"Activation energy of {name} alone {energy}")
    law = found.arrhenius_conductivity
    if law is not None:
        of = "all ions together" if law.of == "collective" else "Nernst-Einstein estimates"
        click.echo(
            f"Conductivity ({of}): activation energy of sigma T {law.activation_ev:.3f} +- "
            f"{law.activation_error_ev:.3f} eV, prefactor {law.prefactor_s_k_per_cm:.3g} S K/cm"
        )
    for kelvin in at_k:
        low, high = fit.interval(kelvin)
        click.echo(
            f"D at {kelvin:g} K: {fit.at(kelvin)[0]:.3g} A^2/ps "
            f"(95 % interval {low:.3g} to {high:.3g})"
        )
    if drawing is not None:
        draw_arrhenius(found, drawing)
        click.echo(f"figure: {drawing}")


def _told(result: "MsdResult | MixtureResult") -> list[str]:
    """Return what is printed of a result: of several species each alone, then together."""
    from mdgan_hpc.analysis.results import MixtureResult
    from mdgan_hpc.report.text import onsager_lines

    if not isinstance(result, MixtureResult):
        return _lines(result.diffusion)
    each = [_lines(found.diffusion, f"D of {name}") for name, found in result.species.items()]
    generated = any(found.dynamics.generated for found in result.species.values())
    together = onsager_lines(result.onsager, generated=generated)
    return [*(line for lines in each for line in lines), *together]


def _lines(diffusion: "Diffusion | None", name: str = "D") -> list[str]:
    """Return what is printed of D and of the conductivity."""
    from mdgan_hpc.report.text import carried, diffusion_lines

    if diffusion is None:
        return []
    lines = diffusion_lines(diffusion, name)
    independent, together = diffusion.nernst_einstein, diffusion.conductivity
    if independent is not None:
        lines.append(
            "Nernst-Einstein estimate of the conductivity, as if ions moved independently: "
            f"{carried(independent)} at {independent.temperature_k:.0f} K"
        )
    if together is not None:
        lines.append(f"Conductivity from the motion of all ions together: {carried(together)}")
    spectral = diffusion.conductivity_green_kubo
    if spectral is not None:
        lines.append(
            f"The same by Green-Kubo, from the spectrum of the current: {carried(spectral)}"
        )
    return lines


def _charges(text: str) -> tuple[float, ...]:
    import math

    from mdgan_hpc.errors import UsageError

    try:
        charges = tuple(float(v) for v in text.split(","))
    except ValueError:
        charges = (math.nan,)
    if not all(map(math.isfinite, charges)):
        raise UsageError(
            f"--nernst-einstein {text} is no charge in elementary charges",
            remedy="as in 1, or 1,-1 for two species",
        )
    return charges


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
