"""Which ions see each other: the neighbour descriptor that a configuration and data ask for."""

import logging
from typing import Any

import numpy as np

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.neighbours import NeighbourDescriptor, contact_distance, neighbour_scales
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition import fit
from mdgan_hpc.models.transition.config import TransitionConfig

_log = logging.getLogger(__name__)
#: Share of what an ion's own motion leaves open from which on it sees how its neighbours move.
_TOLD = 0.15
#: Frames of which one is looked at for the scale of that.
_EVERY = 7
#: Ions in a supercell at most: one process moves them all.
_MOST_IONS = 1_000_000


def descriptor_for(config: TransitionConfig, summary: DataSummary) -> NeighbourDescriptor | None:
    """Return the neighbour descriptor; see `Generator.neighbour_descriptor`."""
    if config.neighbours == "off":
        return None
    reason = _why_alone(config, summary)
    if reason and config.neighbours == "on":
        raise UsageError(
            f"generator.neighbours = 'on', but {reason}",
            remedy="use 'auto' or 'off', or other data",
        )
    if reason:
        _log.info("Each ion is generated alone, without neighbours: %s.", reason)
        return None
    assert summary.cell is not None
    contact = contact_distance(summary.runs, summary.cell)
    radii = contact * np.array(config.neighbour_radii)
    return NeighbourDescriptor.of_cell(
        summary.cell,
        radii=radii.tolist(),
        widths=(config.neighbour_width * radii).tolist(),
        cutoff=config.neighbour_cutoff * contact,
    )


def neighbour_arguments(
    summary: DataSummary, descriptor: NeighbourDescriptor | None, per_step: int
) -> dict[str, Any]:
    """Return the arguments of a generator whose ions see each other by `descriptor`.

    Its change over a step is shown where ions are so dense that it tells much of how they move on.
    """
    if descriptor is None:
        return {}
    assert summary.neighbours is not None
    arguments = {
        "particles": summary.ions_per_run,
        "cell": descriptor.cell.tolist(),
        "neighbour_shells": {
            "radii": list(descriptor.radii),
            "widths": list(descriptor.widths),
            "cutoff": descriptor.cutoff,
        },
        "neighbour_scales": neighbour_scales(summary.neighbours).tolist(),
    }
    told = fit.told_by_neighbours(summary.runs, summary.neighbours, summary.step_skip)
    if told > _TOLD:
        share = f"{100 * told:.0f} % of what its own motion leaves open"
        _log.info("Ions see how their neighbours move, which tells %s.", share)
        lag = per_step * summary.step_skip
        changes = [d[lag::_EVERY] - d[:-lag:_EVERY] for d in summary.neighbours]
        arguments["neighbour_changes"] = neighbour_scales(changes)[1].tolist()
    return arguments


def repeated(arguments: dict[str, Any], ions: int, supercell: Supercell) -> dict[str, Any]:
    """Return the arguments of a generator of `ions` in a cell, for a supercell.

    Raises
    ------
    UsageError
        If that holds too many ions.
    """
    if ions * supercell.n_cells > _MOST_IONS:
        raise UsageError(
            f"a supercell of {supercell} cells holds {ions * supercell.n_cells} ions, more than "
            f"{_MOST_IONS}",
            remedy="use a smaller one",
        )
    return {**arguments, "repeats": None if supercell.n_cells == 1 else list(supercell.repeats)}


def side_by_side(
    ions: int, cell: list[list[float]] | None, repeats: list[int] | None
) -> tuple[Supercell | None, int, np.ndarray | None]:
    """Return the supercell of free runs, its ions and its vectors: of one cell, or of several."""
    if repeats is None or cell is None:
        return None, ions, None if cell is None else np.array(cell)
    supercell = Supercell((repeats[0], repeats[1], repeats[2]))
    return supercell, ions * supercell.n_cells, supercell.of_cell(np.array(cell))


def _why_alone(config: TransitionConfig, summary: DataSummary) -> str:
    """Return why the ions of the data cannot see each other, or nothing."""
    primitive, ions = summary.symmetry.primitive, summary.ions_per_run
    if primitive is None or summary.cell is None:
        return "they need the lattice of a crystal (data.symmetry)"
    if ions is None:
        return "the runs hold different numbers of ions"
    if not 1 < ions <= config.neighbour_ions:
        most = config.neighbour_ions
        return f"a run has {ions} ions, not from 2 to generator.neighbour_ions = {most}"
    whole = summary.cell @ np.linalg.inv(primitive)
    if np.abs(whole - np.round(whole)).max() >= 0.05:
        return "the cell of the runs is not a whole number of primitive cells"
    return ""
