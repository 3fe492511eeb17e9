"""mdgan-sites: the sites of ions in a crystal, and their jumps between them."""

from pathlib import Path
from typing import Any

import click

from mdgan_hpc.analysis.sites.settings import SitesConfig, SitesRun
from mdgan_hpc.cli.common import (
    PATH,
    command,
    force_option,
    kelvin_and_result,
    options_of,
    require_files,
    say,
)


@command("mdgan-sites")
@click.argument("files", nargs=-1, type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="Result: .json, .csv (kinds of jumps) or .h5 (all).",
)
@options_of(SitesConfig)
@options_of(SitesRun, "figures")
@click.option(
    "--arrhenius",
    multiple=True,
    metavar="KELVIN=RESULT",
    help="Fit the rate of each kind of jump through results of this command; repeat.",
)
@force_option
def main(
    files: tuple[Path, ...],
    output: Path,
    figures: str,
    arrhenius: tuple[str, ...],
    force: bool,
    **choices: Any,
) -> None:
    """Sites of the ions in FILES, and their jumps: occupancies, residence times (ps), rates of
    each kind of jump (1/ps), back jumps, correlation factor, attempt frequency (1/ps), free
    energies (eV), chains and the network, with standard errors.

    FILES are H5MD trajectories with unwrapped positions, replicas of one system in a crystal.
    Runs on MPI ranks: mpiexec -n 4 mdgan-sites ...

    \b
    Example:
      mdgan-sites run1.h5 run2.h5 run3.h5 -o sites.json --figures sites
    """
    require_files(*files)
    from mdgan_hpc.analysis.sites.command import find_jumps, fit_activation
    from mdgan_hpc.errors import UsageError
    from mdgan_hpc.outputs import require_place

    if bool(files) == bool(arrhenius):
        raise UsageError("give either trajectory files or --arrhenius")
    if figures:
        require_place(Path(figures).absolute())
    if arrhenius:
        points = [kelvin_and_result(text, "sites900.json") for text in arrhenius]
        fit = fit_activation(points, str(output), force=force)
        for name, energy, error in zip(
            fit.name, fit.activation_ev, fit.activation_error_ev, strict=True
        ):
            click.echo(f"{name} A: activation energy {energy:.3f} +- {error:.3f} eV")
        for text in fit.unmatched or ():
            click.echo(f"Left out: {text}")
        times = fit.residence
        if times is not None:
            for name, energy, error in zip(
                times.name, times.activation_ev, times.activation_error_ev, strict=True
            ):
                click.echo(f"Residence at {name}: activation energy {energy:.3f} +- {error:.3f} eV")
        if figures:
            from mdgan_hpc.report.figures.arrhenius import draw_activation

            draw_activation(fit, Path(figures))
            click.echo(f"Figures in {figures}")
    else:
        run = SitesRun(
            tuple(str(f) for f in files), str(output), SitesConfig(**choices), figures, force
        )
        found = find_jumps(run)
        if found is None:
            return
        from mdgan_hpc.report.sites import lines

        for line in lines(found):
            say(line)
        if figures:
            from mdgan_hpc.report.figures.sites import draw_alone

            draw_alone(found, Path(figures))
            click.echo(f"Figures in {figures}")
    click.echo(f"Written to {output}")


if __name__ == "__main__":
    main()
