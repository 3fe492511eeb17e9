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
from mdgan_hpc.models.transition.repulsion import measured_repulsion

_log = logging.getLogger(__name__)
#: Share of what an ion's own motion leaves open from which on an ion of a crystal looks around
#: where it is, beside ahead.
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
    radii, cutoff = _shells(config, contact, summary)
    neighbours = NeighbourDescriptor.of_cell(
        summary.cell,
        radii=radii,
        widths=[config.neighbour_width * radius for radius in radii],
        cutoff=cutoff,
    )
    if summary.species:
        neighbours = neighbours.of_species(summary.run_species[0].tolist())
    ahead = _ahead(config, summary)
    if summary.symmetry.primitive is not None:
        _refuse_framework(config, "the framework is a crystal, where the place of an ion tells all")
        dense = _dense(neighbours, summary)
        return Surroundings(neighbours, **ahead, here=dense, moving=dense)
    if not summary.media:
        _refuse_framework(config, "no atoms that stay in place are known")
        return Surroundings(neighbours, **ahead, here=True)
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
    return Surroundings(neighbours, media, **ahead, here=True)


def _shells(
    config: TransitionConfig, contact: float, summary: DataSummary
) -> tuple[list[float], float]:
    """Return radii and cutoff of the neighbour descriptor, Angstrom.

    Charges that are dilute are not screened by others nearby: they repel each other further than
    contact distances tell. Beyond as many ions as there are in two cells they are all images.
    """
    assert summary.cell is not None
    assert summary.ions_per_run is not None
    radii = [contact * radius for radius in config.neighbour_radii]
    cutoff = contact * config.neighbour_cutoff
    count = min(config.neighbour_count, 2 * summary.ions_per_run)
    volume = abs(np.linalg.det(summary.cell)) * count / summary.ions_per_run
    reach = (3 * volume / (4 * np.pi)) ** (1 / 3)
    ratio = radii[-1] / radii[-2] if len(radii) > 1 else 1.0
    while ratio > 1 and cutoff < reach:
        radii.append(radii[-1] * ratio)
        cutoff *= ratio
    return radii, cutoff


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
        _log.info("Ions see how their neighbours move, which tells %s.", share)
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
    first, views, every = descriptor.n_shells, surroundings.n_views, surroundings.n_mobile

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
        "pairs_once": True,
    }
    repulsion = measured_repulsion(summary.runs, descriptor.cell.numpy(), summary.run_species)
    if repulsion is not None:
        arguments["repulsion"] = repulsion
    if surroundings.media is not None:
        arguments["framework"] = {
            "species": surroundings.media.species,
            "scales": scales(slice(every, None)),
        }
    if surroundings.ahead:
        arguments["ahead"] = list(surroundings.ahead)
    if surroundings.here:
        arguments["neighbour_here_scales"] = scales(slice(first, views))
    if surroundings.motion is not None:
        arguments["neighbour_motion_scales"] = scales(slice(views, every))
    return arguments


def require_possible(arguments: dict[str, Any], ions: int, supercell: Supercell) -> None:
    """Refuse a supercell that a generator of `ions` in a cell cannot fill.

    Raises
    ------
    UsageError
        If it holds too many or too few ions, if there is a framework without a lattice, or no site
        for ions that are added.
    """
    if supercell.ions is not None:
        _require_sites(arguments, supercell.ions)
    if arguments.get("framework") is not None:
        raise UsageError(
            "each cell has a disordered framework of its own, which ends at its border",
            remedy="leave --supercell out",
        )
    if supercell.n_ions(ions) > _MOST_IONS:
        raise UsageError(
            f"a supercell of {supercell} cells holds {supercell.n_ions(ions)} ions, more than "
            f"{_MOST_IONS}",
            remedy="use a smaller one",
        )


def _require_sites(arguments: dict[str, Any], ions: int) -> None:
    if arguments.get("primitive") is None or arguments.get("ion_species") is not None:
        raise UsageError(
            "--ions removes or adds ions of one species at the sites of a crystal",
            remedy="leave it out",
        )
    if ions < 2:
        raise UsageError(
            f"--ions {ions}: a single ion sees no others", remedy="ask for two or more"
        )


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
