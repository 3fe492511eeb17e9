"""What ions see around them: the descriptors that a configuration and data ask for."""

import logging
from typing import Any

import numpy as np

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.media import MediaDescriptor, Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor, contact_distance, neighbour_scales
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition import by_level, fit
from mdgan_hpc.models.transition.config import TransitionConfig

_log = logging.getLogger(__name__)
#: Share of what an ion's own motion leaves open from which on it looks ahead in a crystal.
_TOLD = 0.15
#: Ions in a supercell at most: one process moves them all.
_MOST_IONS = 1_000_000
#: Contact distance below which ions go through each other, Angstrom.
_LEAST_CONTACT = 0.5


def surroundings_for(config: TransitionConfig, summary: DataSummary) -> Surroundings | None:
    """Return what ions see; see `Generator.surroundings`."""
    if config.neighbours == "off":
        if summary.species:
            raise UsageError(
                "ions of several species are generated together, never one by one",
                remedy="leave generator.neighbours = 'off' out, or train on one species",
            )
        return None
    reason, contact = _why_alone(config, summary), 0.0
    if reason and (config.neighbours == "on" or summary.species):
        if summary.species:
            raise UsageError(f"several species, but {reason}", remedy="name one with --species")
        raise UsageError(
            f"generator.neighbours = 'on', but {reason}",
            remedy="use 'auto' or 'off', or other data",
        )
    if not reason:
        assert summary.cell is not None
        contact = contact_distance(summary.runs, summary.cell)
        if contact < _LEAST_CONTACT and config.neighbours == "auto" and not summary.species:
            reason = f"they come within {contact:.2g} Angstrom of each other, as if not there"
    if reason:
        _refuse_framework(config, f"each ion is generated alone: {reason}")
        _log.info("Each ion is generated alone, without neighbours: %s.", reason)
        return None
    assert summary.cell is not None
    radii = contact * np.array(config.neighbour_radii)
    neighbours = NeighbourDescriptor.of_cell(
        summary.cell,
        radii=radii.tolist(),
        widths=(config.neighbour_width * radii).tolist(),
        cutoff=config.neighbour_cutoff * contact,
    )
    if summary.species:
        neighbours = neighbours.of_species(summary.run_species[0].tolist())
    if summary.symmetry.primitive is not None:
        _refuse_framework(config, "the framework is a crystal, where the place of an ion tells all")
        more = _ahead(config, summary) if _dense(neighbours, summary) else {}
        return Surroundings(neighbours, **more)
    more = _ahead(config, summary)
    if not summary.media:
        _refuse_framework(config, "no atoms that stay in place are known")
        return Surroundings(neighbours, **more)
    media = MediaDescriptor.of_media(
        summary.media,
        list(zip(summary.run_medium, summary.runs, strict=True)),
        summary.cell,
        radii=config.framework_radii,
        width=config.neighbour_width,
        cutoff=config.framework_cutoff,
    )
    atoms = sum(len(one["places"][0]) for one in media.species)
    _log.info("Ions see the framework: %d media, %d atoms in the first.", len(summary.media), atoms)
    return Surroundings(neighbours, media, **more)


def _ahead(config: TransitionConfig, summary: DataSummary) -> dict[str, Any]:
    """Return what lets ions look ahead: to forces at the end of a step, or free runs heat up."""
    weights = fit.inertia(config.records_per_step, by_level.scaled_displacements(summary))
    return {"ahead": tuple(weights), "step_skip": summary.step_skip}


def _dense(neighbours: NeighbourDescriptor, summary: DataSummary) -> bool:
    """Tell whether ions are so dense that how others move tells much of how an ion moves on."""
    told = fit.told_by_neighbours(
        summary.runs[0], lambda run: neighbours.of_runs([run], silent=True)[0], summary.step_skip
    )
    if told > _TOLD:
        share = f"{100 * told:.0f} % of what its own motion leaves open"
        _log.info("Ions look ahead: how their neighbours move tells %s.", share)
    return told > _TOLD


def _refuse_framework(config: TransitionConfig, reason: str) -> None:
    """Refuse what would say how a framework is seen, where none is."""
    if given := config.changed("framework_"):
        raise UsageError(
            f"generator.{given[0]} has no effect: {reason}", remedy="leave it out of [generator]"
        )


def neighbour_arguments(summary: DataSummary, surroundings: Surroundings | None) -> dict[str, Any]:
    """Return the arguments of a generator whose ions see their surroundings."""
    if surroundings is None:
        return {}
    assert summary.neighbours is not None
    descriptor = surroundings.neighbours
    first, every = descriptor.n_shells, surroundings.n_mobile

    def scales(shells: slice) -> list[list[list[float]]]:
        found: list[list[list[float]]] = neighbour_scales(
            [seen[:, :, shells] for seen in summary.neighbours or ()]
        ).tolist()
        return found

    arguments: dict[str, Any] = {
        "particles": summary.ions_per_run,
        "cell": descriptor.cell.tolist(),
        "neighbour_shells": {
            "radii": list(descriptor.radii),
            "widths": list(descriptor.widths),
            "cutoff": descriptor.cutoff,
        },
        "neighbour_scales": scales(slice(first)),
    }
    if surroundings.media is not None:
        arguments["framework"] = {
            "species": surroundings.media.species,
            "scales": scales(slice(every, None)),
        }
    if surroundings.ahead:
        arguments["ahead"] = list(surroundings.ahead)
        arguments["neighbour_here_scales"] = scales(slice(first, every))
    return arguments


def repeated(arguments: dict[str, Any], ions: int, supercell: Supercell) -> dict[str, Any]:
    """Return the arguments of a generator of `ions` in a cell, for a supercell.

    Raises
    ------
    UsageError
        If that holds too many ions, or there is a framework without a lattice.
    """
    if arguments.get("framework") is not None:
        raise UsageError(
            "each cell has a disordered framework of its own, which ends at its border",
            remedy="leave --supercell out",
        )
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
    if summary.cell is None:
        return "the cell of the runs is not known, not constant or not the same"
    if ions is None:
        return "the runs hold different numbers of ions"
    if not 1 < ions <= config.neighbour_ions:
        most = config.neighbour_ions
        return f"a run has {ions} ions, not from 2 to generator.neighbour_ions = {most}"
    if primitive is None:
        seen = config.neighbours == "on" or summary.species or summary.media
        return "" if seen else "there is no lattice, and generator.neighbours is not 'on'"
    whole = summary.cell @ np.linalg.inv(primitive)
    if np.abs(whole - np.round(whole)).max() >= 0.05:
        return "the cell of the runs is not a whole number of primitive cells"
    return ""
