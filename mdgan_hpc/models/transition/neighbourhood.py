"""Which ions see each other: the neighbour descriptor that a configuration and data ask for."""

import logging
from typing import Any

import numpy as np

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.neighbours import NeighbourDescriptor, contact_distance, neighbour_scales
from mdgan_hpc.models.transition.config import TransitionConfig

_log = logging.getLogger(__name__)


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
    summary: DataSummary, descriptor: NeighbourDescriptor | None
) -> dict[str, Any]:
    """Return the arguments of a generator whose ions see each other by `descriptor`."""
    if descriptor is None:
        return {}
    assert summary.neighbours is not None
    return {
        "particles": summary.ions_per_run,
        "cell": descriptor.cell.tolist(),
        "neighbour_shells": {
            "radii": list(descriptor.radii),
            "widths": list(descriptor.widths),
            "cutoff": descriptor.cutoff,
        },
        "neighbour_scales": neighbour_scales(summary.neighbours).tolist(),
    }


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
