"""The tables of a report."""

from mdgan_hpc.report.figures.curves import BASELINES
from mdgan_hpc.report.page import Table
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.text import diffusion_cells

#: Observables of the fidelity that are printed otherwise.
_NAMES = {"alpha2": "non-Gaussian parameter α₂", "VACF": "velocity autocorrelation (VACF)"}


def diffusion(found: Comparison) -> Table:
    """Return D of MD, generated trajectories and baselines."""
    generated = found.generated
    name = generated.label
    rows = [
        ["MD (linear fit)", *diffusion_cells(found.md.diffusion)],
        [name, *diffusion_cells(generated.diffusion)],
    ]
    if generated.window_of_md is not None:
        rows.append([f"{name}, fit window of the MD", *diffusion_cells(generated.window_of_md)])
    if generated.ensemble is not None:
        count = generated.ensemble.n_models
        rows.append([f"{name}, {count} models", *diffusion_cells(generated.ensemble)])
    rows += [
        [f"{name}, {ions}", *diffusion_cells(side.diffusion)]
        for ions, side in found.other_cells.items()
    ]
    rows += [[k, *diffusion_cells(found.baselines[k].diffusion)] for k in BASELINES]
    return Table(
        "Diffusion coefficient",
        "1 Å²/ps = 10⁻⁴ cm²/s = 10⁻⁸ m²/s; ± is the standard error. The motion is diffusive over "
        "the fit window where the log-log slope of the MSD is 1 within its error; where the MSD is "
        "no line there, the error is widened. Block bootstrap "
        "and Gaussian process are extrapolations of the MD that need no network.",
        ("", "D (Å²/ps)", "95 % interval", "fit window (ps)", "log-log slope"),
        rows,
    )


def conditions(found: Comparison) -> Table:
    """Return conditions and times."""
    columns = ("", found.md.label, found.generated.label)
    return Table("Conditions and times", "", columns, found.conditions)


def _ratio(value: float | None) -> str:
    """Return a ratio; single ions, which the baselines make, have none to the nearest other."""
    return "single ions" if value is None else f"{value:.2f}"


def fidelity(found: Comparison) -> Table:
    """Return distances to MD."""
    names = [found.generated.label, *BASELINES]
    results = [found.fidelity[name] for name in names]
    rows = [
        [
            _NAMES.get(observable, observable),
            *(_ratio(result.ratios.get(observable)) for result in results),
        ]
        for observable in results[0].ratios
    ]
    rows.append(["median", *(f"{result.median:.2f}" for result in results)])
    in_groups = [f"{result.run_median:.2f}" for result in results]
    rows.append(["median, in groups the size of an MD run", *in_groups])
    return Table(
        "Fidelity: distance to the MD, over the distance of MD runs from each other",
        "Smaller is better. 1: as far from the MD as another MD run would be. Well above 1: this "
        "is not how the ions of the MD move. In groups the size of an MD run even a perfect model "
        "has 1.",
        ("observable", *names),
        rows,
    )
