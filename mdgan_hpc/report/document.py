"""All figures of a report, its JSON and its page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdgan_hpc.outputs import written_whole
from mdgan_hpc.report.figures import evidence, published
from mdgan_hpc.report.page import write_page
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.tables import tables
from mdgan_hpc.results import plain

PAGE, NUMBERS = "report.html", "report.json"

#: Parts too large for a JSON file that people read; they stay in the analysis file.
_LARGE = ("paths", "displacements", "density")


def draw_report(found: Comparison, folder: Path, lines: Sequence[str]) -> None:
    """Write figures (PNG, PDF), ``report.json`` and ``report.html`` into `folder`.

    Parameters
    ----------
    found : Comparison
    folder : path
        Exists.
    lines : sequence of str
        The results in sentences.
    """
    figures = published.draw(found, folder) + evidence.draw(found, folder)
    of_species = "" if found.md.dynamics.species == "X" else f" of {found.md.dynamics.species}"
    with written_whole(folder / PAGE) as partial:
        write_page(
            partial,
            title=f"Motion{of_species}: {found.md.label} and {found.generated.label}",
            lines=lines,
            tables=tables(found),
            figures=figures,
            folder=folder,
            provenance=json.dumps(plain(found.provenance), indent=1, sort_keys=True),
        )
    numbers = plain(_without_large(found.to_tree()))
    with written_whole(folder / NUMBERS) as partial:
        partial.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _without_large(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_large(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
        if name not in _LARGE
    }
