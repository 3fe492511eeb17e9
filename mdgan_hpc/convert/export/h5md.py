"""A part of a trajectory as a file of ours: fewer records or ions, and all else as it was."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.convert.export.excerpt import Excerpt
from mdgan_hpc.convert.frames import UNITS
from mdgan_hpc.errors import UsageError
from mdgan_hpc.provenance import Fingerprints, as_json, provenance
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.opening import files_of
from mdgan_hpc.trajectory.writer import TrajectoryWriter

#: Parameters that tell of the file, not of its trajectory; forces of the last frame go with it.
_OF_FILE = ("ledger", "provenance", "last_forces")
#: Where the provenance of the file is kept that this one is a part of.
_SOURCE = "source_provenance"


def export_h5md(excerpt: Excerpt, path: Path) -> None:
    """Write positions, velocities, forces, observables and all that the file tells of the system.

    Raises
    ------
    UsageError
        If some ions of a generated cell are picked and others are not: what is left were no cell.
    """
    source = excerpt.trajectory
    chosen, together = excerpt.chosen, source.ions_per_cell
    if source.generated and together > 1:
        cells = chosen.reshape(-1, together)
        if (cells.any(1) != cells.all(1)).any():
            raise UsageError(
                f"--select takes cells of {together} ions apart that were generated together",
                where=source.path,
                remedy=f"choose whole cells, such as 1-{together}, or leave it away",
            )
    cell, observables = source.constant_cell, source.observables
    with (
        Fingerprints(files_of(source.path)) as fingerprints,
        TrajectoryWriter(
            path,
            species=excerpt.species,
            cell=cell,
            masses=None if source.masses is None else source.masses[chosen],
            parameters=_parameters(excerpt),
            force=True,
        ) as writer,
    ):
        values = {name: excerpt.observable(name) for name in observables}
        done = 0
        for piece in excerpt.pieces():
            rows = slice(done, done + len(piece.record))
            writer.append(
                piece.positions,
                piece.steps,
                piece.times_ps,
                cells=piece.cells if cell is None else None,
                velocities=piece.velocities,
                forces=piece.forces,
                observables={
                    name: (found[rows], UNITS.get(name, ""))
                    for name, found in values.items()
                    if found is not None
                },
            )
            done = rows.stop
        writer.set_provenance(
            provenance(config=asdict(excerpt.config), inputs=fingerprints.result(), ranks=1)
        )


def _parameters(excerpt: Excerpt) -> Mapping[str, Any]:
    """Return the constants of the part."""
    source, every = excerpt.trajectory, excerpt.config.every
    told = {name: v for name, v in source.parameters.items() if name not in _OF_FILE}
    if "stored_interval_ps" in told:
        told["stored_interval_ps"] = every * float(told["stored_interval_ps"])
    if told.get("species_labels"):
        labels = np.array(str(told["species_labels"]).split(","))
        told["species_labels"] = ",".join(labels[excerpt.chosen])
    if layout.MODELS in told:
        told[layout.MODELS] = np.asarray(told[layout.MODELS])[excerpt.chosen]
    return told | {_SOURCE: as_json(source.provenance)}
