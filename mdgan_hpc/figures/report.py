"""All figures of a report, its JSON and its page, from the result tree of a comparison."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdgan_hpc.figures import evidence, published
from mdgan_hpc.figures.page import Table, write_page
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.results import plain

PAGE, NUMBERS = "report.html", "report.json"

#: Parts of the tree too large for a JSON file that people read; they stay in the analysis file.
_LARGE = ("paths", "displacements", "density")


def draw_report(tree: Mapping[str, Any], folder: Path, lines: Sequence[str]) -> None:
    """Write figures (PNG, PDF), ``report.json`` and ``report.html`` into `folder`.

    Parameters
    ----------
    tree : mapping
        Of `analysis.comparison.compare`.
    folder : path
        Exists.
    lines : sequence of str
        The results in sentences.
    """
    figures = published.draw(tree, folder) + evidence.draw(tree, folder)
    provenance = json.dumps(plain(tree["provenance"]), indent=1, sort_keys=True)
    with written_whole(folder / PAGE) as partial:
        write_page(
            partial,
            title="Ion motion: MD and MD-GAN",
            lines=lines,
            tables=_tables(tree),
            figures=figures,
            folder=folder,
            provenance=provenance,
        )
    with written_whole(folder / NUMBERS) as partial:
        partial.write_text(json.dumps(plain(_without_large(tree)), indent=1) + "\n")


def _without_large(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_large(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
        if name not in _LARGE
    }


def _tables(tree: Mapping[str, Any]) -> list[Table]:
    tables: list[Table] = [
        ("Diffusion coefficient", tree["diffusion_table"][0], tree["diffusion_table"][1:]),
        ("Conditions and times", ("", "MD", "MD-GAN"), tree["conditions"]),
        _fidelity(tree["fidelity"]),
    ]
    if "sites" in tree:
        tables.append(_sites(tree["sites"]))
    return tables


def _fidelity(fidelity: Mapping[str, Any]) -> Table:
    names = list(fidelity)
    rows = [
        [observable, *(f"{fidelity[n]['ratios'][observable]:.2f}" for n in names)]
        for observable in fidelity[names[0]]["ratios"]
    ]
    rows.append(["median", *(f"{fidelity[n]['median']:.2f}" for n in names)])
    in_groups = [f"{fidelity[n]['run_median']:.2f}" for n in names]
    rows.append(["median, in groups the size of an MD run", *in_groups])
    return "Fidelity: distance to MD over the distance among MD runs", ("", *names), rows


def _sites(sites: Mapping[str, Any]) -> Table:
    def row(name: str, key: str, form: str) -> list[str]:
        return [name, *(format(float(sites[p][key]), form) for p in ("md", "generated"))]

    rows = [
        ["Sites in the primitive cell", str(len(sites["fraction"])), ""],
        row("Mean residence time (ps)", "mean_residence_ps", ".3g"),
        row("Hop rate of an ion (1/ps)", "hop_rate_per_ps", ".3g"),
        row("Back-jump probability", "back_jump_probability", ".3f"),
        row("Hop length, rms (Å)", "hop_length", ".3g"),
        row("Hops seen", "n_hops", ".0f"),
    ]
    return "Sites and hops", ("", "MD", "MD-GAN"), rows
