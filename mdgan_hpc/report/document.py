"""All figures of a report, its JSON and its page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.report import tables, temperatures
from mdgan_hpc.report.figures import coefficients, critic, motion, structure
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


def draw_report(found: Comparison, folder: Path) -> None:
    """Write figures (PNG, PDF), ``report.json`` and ``report.html`` into `folder`.

    Parameters
    ----------
    found : Comparison
    folder : path
        Exists.
    """
    name = found.system.name or "Ions"
    with written_whole(folder / PAGE) as partial:
        write_page(
            partial,
            title=f"{name}: {found.generated.label} beside {found.md.label}",
            facts=found.system.facts,
            sections=_sections(found, folder),
            folder=folder,
        )
    numbers = plain(_without_large(found.to_tree()))
    with written_whole(folder / NUMBERS) as partial:
        partial.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _sections(found: Comparison, folder: Path) -> list[Section]:
    """Return what the page shows, from what most readers want to what few do."""
    of_d = coefficients.draw_coefficients(found, folder)
    of_motion = [*critic.draw_critic(found, folder), *motion.draw_motion(found, folder)]
    of_places = structure.draw_structure(found, folder)
    jumps: list[Section] = []
    if found.sites is not None:
        md, generated = found.sites.md, found.sites.generated
        told = side_by_side(md, generated, found.crystal)
        jumps = [Section("How the ions jump", [*told, *draw_both(md, generated, folder)])]
    record = json.dumps(plain(found.provenance), indent=1, sort_keys=True)
    return [
        Section("Verdict", [Lines(verdict_lines(found), grade(found))]),
        Section("In short", [Lines(results_in_short(found))]),
        Section("Diffusion coefficient", [tables.diffusion(found), *of_d]),
        Section("Do the ions move as in the MD?", [tables.fidelity(found), *of_motion]),
        Section("Where the ions are", of_places),
        *jumps,
        *temperatures.section(found, folder),
        Section(
            "How it was made",
            [
                tables.conditions(found),
                coefficients.samples(found, folder),
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
