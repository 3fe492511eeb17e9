"""The tables of a report."""

from mdgan_hpc.report.page import Table
from mdgan_hpc.report.results import Comparison, SitesCompared
from mdgan_hpc.report.text import diffusion_cells


def tables(found: Comparison) -> list[Table]:
    """Return headings, column names and rows."""
    every = [
        _diffusion(found),
        ("Conditions and times", ("", found.md.label, found.generated.label), found.conditions),
        _fidelity(found),
    ]
    if found.sites is not None:
        every.append(_sites(found.sites, found))
    return every


def _diffusion(found: Comparison) -> Table:
    generated = found.generated
    name = generated.label
    columns = ("", "D (Å²/ps)", "95 % interval", "D (cm²/s)", "fit window (ps)", "log-log slope")
    rows = [
        ["MD (linear extrapolation)", *diffusion_cells(found.md.diffusion)],
        [name, *diffusion_cells(generated.diffusion)],
    ]
    if generated.window_of_md is not None:
        rows.append([f"{name}, window of the MD", *diffusion_cells(generated.window_of_md)])
    if generated.ensemble is not None:
        count = generated.ensemble.n_models
        rows.append([f"{name}, {count} models", *diffusion_cells(generated.ensemble)])
    rows += [[k, *diffusion_cells(side.diffusion)] for k, side in found.baselines.items()]
    return "Diffusion coefficient", columns, rows


def _fidelity(found: Comparison) -> Table:
    names, results = list(found.fidelity), list(found.fidelity.values())
    rows = [
        [observable, *(f"{result.ratios[observable]:.2f}" for result in results)]
        for observable in results[0].ratios
    ]
    rows.append(["median", *(f"{result.median:.2f}" for result in results)])
    in_groups = [f"{result.run_median:.2f}" for result in results]
    rows.append(["median, in groups the size of an MD run", *in_groups])
    return "Fidelity: distance to MD over the distance among MD runs", ("", *names), rows


def _sites(sites: SitesCompared, found: Comparison) -> Table:
    def row(name: str, key: str, form: str) -> list[str]:
        return [name, *(format(getattr(part, key), form) for part in (sites.md, sites.generated))]

    rows = [
        ["Sites in the primitive cell", str(len(sites.fraction)), ""],
        row("Mean residence time (ps)", "mean_residence_ps", ".3g"),
        row("Hop rate of an ion (1/ps)", "hop_rate_per_ps", ".3g"),
        row("Back-jump probability", "back_jump_probability", ".3f"),
        row("Hop length, rms (Å)", "hop_length", ".3g"),
        row("Hops seen", "n_hops", ".0f"),
    ]
    return f"Sites and hops ({found.crystal})", ("", found.md.label, found.generated.label), rows
