"""What a report says of several temperatures: results of `--arrhenius`, and their table."""

from collections.abc import Sequence
from pathlib import Path

from mdgan_hpc.analysis.arrhenius import ArrheniusResult
from mdgan_hpc.analysis.sites.results import Activation
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.report.figures.arrhenius import against_temperature, draw_activation
from mdgan_hpc.report.figures.panels import Drawn
from mdgan_hpc.report.numbers import between, measured
from mdgan_hpc.report.page import Section, Table
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.results import load_results


def read_arrhenius(
    paths: Sequence[str | Path],
) -> tuple[ArrheniusResult | None, Activation | None]:
    """Read results of `mdgan-msd --arrhenius` and of `mdgan-sites --arrhenius`, one of each.

    Raises
    ------
    DataError
        If a file is neither.
    UsageError
        If there are two of one kind.
    """
    of_d: ArrheniusResult | None = None
    of_jumps: Activation | None = None
    for path in paths:
        tree = load_results(path)
        try:
            if "arrhenius" in tree and of_d is None:
                of_d = ArrheniusResult.from_tree(tree)
            elif "activation" in tree and of_jumps is None:
                of_jumps = Activation.from_tree(tree["activation"])
            elif "arrhenius" in tree or "activation" in tree:
                raise UsageError(
                    "is the second result of its kind",
                    where=path,
                    remedy="fit all temperatures at once, and give --arrhenius one file of each",
                )
            else:
                raise DataError(
                    "holds no fit against the temperature",
                    where=path,
                    remedy="make it by mdgan-msd --arrhenius or mdgan-sites --arrhenius",
                )
        except DataError as error:
            if error.where:
                raise
            raise DataError(error.what, where=path) from None
    return of_d, of_jumps


def section(found: Comparison, folder: Path) -> list[Section]:
    """Return what the page shows of several temperatures, where the user gave results of them."""
    blocks: list[Table | Drawn] = []
    if found.arrhenius is not None:
        drawn = against_temperature(found.arrhenius, folder)
        blocks += [_of_d(found.arrhenius), _laws(found.arrhenius), drawn]
    if found.activation is not None:
        blocks += [_of_jumps(found.activation), draw_activation(found.activation, folder)]
    return [Section("Against the temperature", blocks)] if blocks else []


def _of_d(found: ArrheniusResult) -> Table:
    points, rows = found.points, []
    for i, kelvin in enumerate(points.temperature_k):
        d, error = points.d_angstrom2_per_ps[i], points.error_angstrom2_per_ps[i]
        ends = points.low_angstrom2_per_ps[i], points.high_angstrom2_per_ps[i]
        sigma = ""
        if points.sigma_s_per_cm is not None and points.error_s_per_cm is not None:
            sigma = measured(points.sigma_s_per_cm[i], points.error_s_per_cm[i])
        who = "generated" if points.generated[i] else "MD"
        rows.append([f"{kelvin:g} K, {who}", measured(d, error), between(*ends, error), sigma])
    predicted = found.predicted
    for i, kelvin in enumerate([] if predicted is None else predicted.temperature_k):
        assert predicted is not None
        d, error = found.arrhenius.at(float(kelvin))
        ends = predicted.low_angstrom2_per_ps[i], predicted.high_angstrom2_per_ps[i]
        rows.append([f"{kelvin:g} K, predicted", measured(d, error), between(*ends, error), ""])
    return Table(
        "Diffusion coefficient and conductivity against the temperature",
        "± is the standard error; of an ensemble it is the spread over its models. Predictions "
        "rest on the law alone.",
        ("", "D (Å²/ps)", "95 % interval", "conductivity (S/cm)"),
        rows,
    )


def _laws(found: ArrheniusResult) -> Table:
    laws = {"D, all points": found.arrhenius, "D of MD alone": found.md}
    laws["D of generated ions alone"] = found.generated
    rows = [
        [name, measured(law.activation_ev, law.activation_error_ev)]
        for name, law in laws.items()
        if law is not None
    ]
    law = found.arrhenius_conductivity
    if law is not None:
        of = "all ions together" if law.of == "collective" else "Nernst-Einstein"
        energy = measured(law.activation_ev, law.activation_error_ev)
        rows.append([f"conductivity times T, {of}", energy])
    return Table(
        "Activation energies",
        "Points of one model share what its training data leave unknown: where most are of one "
        "model, the errors are too small.",
        ("", "activation energy (eV)"),
        rows,
    )


def _of_jumps(found: Activation) -> Table:
    kinds = zip(found.name, found.activation_ev, found.activation_error_ev, strict=True)
    rows = [[f"jump {name} Å", measured(e, error)] for name, e, error in kinds]
    if found.residence is not None:
        times = found.residence
        sites = zip(times.name, times.activation_ev, times.activation_error_ev, strict=True)
        rows += [[f"residence at {name}", measured(e, error)] for name, e, error in sites]
    return Table(
        "Activation energies of jumps and residence times",
        "Of the kinds that are seen at all temperatures.",
        ("", "activation energy (eV)"),
        rows,
    )
