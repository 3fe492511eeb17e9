"""All figures of a report, its JSON and its page."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.parallel import Communicator, together
from mdgan_hpc.report import tables, temperatures
from mdgan_hpc.report.figures import coefficients, critic, motion, structure
from mdgan_hpc.report.figures.panels import Drawn
from mdgan_hpc.report.figures.sites import draw_both
from mdgan_hpc.report.page import Folded, Lines, Section, write_page
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.sentences import results_in_short
from mdgan_hpc.report.sites import side_by_side
from mdgan_hpc.report.verdict import grade, verdict_lines
from mdgan_hpc.results import plain

PAGE, NUMBERS = "report.html", "report.json"

#: Parts too large for a JSON file that people read; they stay in the analysis file.
_LARGE = ("paths", "displacements", "density", "runs", "examples")


def draw_report(found: Comparison | None, folder: Path, communicator: Communicator) -> None:
    """Write figures (PNG, PDF), ``report.json`` and ``report.html`` into `folder`.

    Every rank must call it; they share the figures, which take longer than most of the analysis.

    Parameters
    ----------
    found : Comparison or None
        That of rank 0.
    folder : path
        Exists.
    communicator : Communicator
    """
    shared: Comparison = communicator.bcast(found)
    every = _figures(shared, folder)
    mine = list(every)[communicator.rank :: communicator.size]
    drawn = together(communicator, lambda: {group: every[group]() for group in mine})
    parts = communicator.gather(drawn)
    if parts is not None:
        figures = {group: drawn for part in parts for group, drawn in part.items()}
        _write(shared, figures, folder)


def _figures(found: Comparison, folder: Path) -> dict[str, Callable[[], list[Drawn]]]:
    """Return what draws each group of figures, so that neighbours take about as long."""
    sites = found.sites
    return {
        "displacements": lambda: motion.draw_displacements(found, folder),
        "distributions": lambda: motion.draw_distributions(found, folder),
        "critic": lambda: critic.draw_critic(found, folder),
        "places": lambda: structure.draw_structure(found, folder),
        "coefficients": lambda: coefficients.draw_coefficients(found, folder),
        "jumps": lambda: [] if sites is None else draw_both(sites.md, sites.generated, folder),
        "samples": lambda: [coefficients.samples(found, folder)],
    }


def _write(found: Comparison, figures: Mapping[str, list[Drawn]], folder: Path) -> None:
    """Write the page around the figures, and the numbers."""
    name = found.system.name or "Ions"
    with written_whole(folder / PAGE) as partial:
        write_page(
            partial,
            title=f"{name}: {found.generated.label} beside {found.md.label}",
            facts=found.system.facts,
            sections=_sections(found, figures, folder),
            folder=folder,
        )
    numbers = plain(_without_large(found.to_tree()))
    with written_whole(folder / NUMBERS) as partial:
        partial.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _sections(found: Comparison, figures: Mapping[str, list[Drawn]], folder: Path) -> list[Section]:
    """Return what the page shows, from what most readers want to what few do."""
    of_motion = [*figures["critic"], *figures["displacements"], *figures["distributions"]]
    jumps: list[Section] = []
    if found.sites is not None:
        md, generated = found.sites.md, found.sites.generated
        told = side_by_side(md, generated, found.crystal)
        jumps = [Section("How the ions jump", [*told, *figures["jumps"]])]
    record = json.dumps(plain(found.provenance), indent=1, sort_keys=True)
    return [
        Section("Verdict", [Lines(verdict_lines(found), grade(found))]),
        Section("In short", [Lines(results_in_short(found))]),
        Section("Diffusion coefficient", [tables.diffusion(found), *figures["coefficients"]]),
        Section("Do the ions move as in the MD?", [tables.fidelity(found), *of_motion]),
        Section("Where the ions are", figures["places"]),
        *jumps,
        *temperatures.section(found, folder),
        Section(
            "How it was made",
            [
                tables.conditions(found),
                *figures["samples"],
                Folded("Provenance: versions, configuration, digests of the inputs", record),
            ],
        ),
    ]


def _without_large(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_large(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
        if name not in _LARGE
    }
