"""The rows of the feature table that show an ion what is around it."""

from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor

from mdgan_hpc.models.base import State
from mdgan_hpc.models.media import MediaDescriptor, SpeciesAtoms
from mdgan_hpc.models.neighbours import NeighbourDescriptor, Pairs
from mdgan_hpc.models.transition.features import (
    Compiled,
    Feature,
    History,
    Inputs,
    Step,
    nothing,
    over,
)


@dataclass(frozen=True)
class LookingFrom:
    """Where ions look from: where they are, or where inertia leads them to.

    Attributes
    ----------
    ahead : tuple of float
        Of `Surroundings`.
    """

    ahead: tuple[float, ...]

    def looked(self, known: State, cell: Tensor) -> Tensor:
        """Return fractional places [3, ...] in a cell, given what is known, [..., samples]."""
        place = known["place"]
        if not self.ahead:
            return place
        last = known["displacements"][: len(self.ahead)]
        moved = torch.tensordot(last.new_tensor(self.ahead), last, 1)
        there: Tensor = place + torch.tensordot(cell.inverse().T.to(last), moved, 1)
        return there


class Neighbours(Feature):
    """The neighbour descriptor of each ion, and where asked for how it changed over the last step.

    Data bring it along, free runs look at the places. From the change an ion knows how those around
    it move.

    Parameters
    ----------
    descriptor : NeighbourDescriptor
    scales : nested list, [2, A, 4]
        Mean and standard deviation (`neighbour_scales`).
    changes : nested list, [A, 4], or None
        Standard deviation of the change over a step; None: the change is not shown.
    particles : int
        k that share a cell.
    ahead : list of float
        Of `Surroundings`.
    """

    name = "neighbours"
    scales: Tensor
    changes: Tensor
    cell: Tensor
    images: Tensor

    def __init__(
        self,
        descriptor: NeighbourDescriptor,
        scales: list[list[list[float]]],
        changes: list[list[float]] | None,
        particles: int,
        ahead: list[float],
    ) -> None:
        super().__init__()
        self._from = LookingFrom(tuple(ahead))
        self.particles, self.shows_change = particles, changes is not None
        self._shells = descriptor
        self._buffer("cell", descriptor.cell.numpy())
        self._buffer("images", descriptor.images.numpy())
        self._buffer("scales", scales)
        if changes is not None:
            self._buffer("changes", changes)
        self.shells = descriptor.n_shells
        self.n_vectors = self.n_scalars = self.shells * (1 + self.shows_change)

    def descriptor(self) -> NeighbourDescriptor:
        """Return the descriptor, in single precision on the device of this model."""
        return replace(self._shells, cell=self.cell, images=self.images)

    def looked_along(self, known: State) -> Tensor:
        """Return the fractional places [B, n, 3] that ions look from, along data."""
        last = {name: known[name].movedim((0, 1), (-2, -1)) for name in ("place", "displacements")}
        return self._from.looked(last, self.cell).movedim(0, -1)

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"neighbours_before": (self.shells, 4)} if self.shows_change else {}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        now = history.neighbours
        if now is None:
            raise ValueError("the windows bring no neighbour descriptor")
        now = now[:, :, : self.shells]  # behind them is the framework
        if not self.shows_change:
            return {"neighbours": now}
        # Nothing is known before the first step.
        before = torch.cat([now[:, :1], now[:, :-1]], 1)
        return {"neighbours": now, "neighbours_before": before}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return self._seen(known["neighbours"], known.get("neighbours_before"))

    def compiled(self, told: Tensor | None) -> Compiled:
        """Describe the places of the ions that share a cell: neighbouring columns."""
        descriptor, k = self.descriptor(), self.particles
        tracked = descriptor.tracked() if descriptor.worth_lists(k) else None
        latest: list[Pairs] = []
        described: list[Tensor] = []

        def inputs(known: State) -> Inputs:
            places = torch.unflatten(self._from.looked(known, descriptor.cell), 1, (-1, k))
            latest[:] = [descriptor.pairs(places, tracked)]
            described[:] = [latest[0].summed()]
            return self._seen(described[0], known.get("neighbours_before"))

        def after(known: State, step: Step) -> State:
            return {"neighbours_before": described[0]} if self.shows_change else {}

        begin = nothing if tracked is None else tracked.forget
        return Compiled(inputs, after, begin, lambda: latest[0])

    def _seen(self, now: Tensor, before: Tensor | None) -> Inputs:
        mean, deviation = (over(s, now) for s in self.scales)
        scaled = (now - mean) / deviation
        vectors, scalars = [scaled[:, :3]], [scaled[:, 3]]
        if before is not None:
            change = (now - before) / over(self.changes, now)
            vectors.append(change[:, :3])
            scalars.append(change[:, 3])
        return Inputs(vectors=vectors, scalars=scalars)


class ToldFramework(TypedDict):
    """Arguments of `SeenFramework` as a model file holds them.

    Attributes
    ----------
    species : list of SpeciesAtoms
        Of `MediaDescriptor`.
    scales : nested list, [2, F, 4]
        Mean and deviation of what ions see of it (`neighbour_scales`).
    """

    species: list[SpeciesAtoms]
    scales: list[list[list[float]]]


class SeenFramework(Feature):
    """The atoms around an ion that stay in place, where there is no lattice.

    Parameters
    ----------
    media : MediaDescriptor
    scales : nested list, [2, F, 4]
        Mean and standard deviation (`neighbour_scales`).
    ahead : list of float
        Of `Surroundings`.
    """

    name = "framework"
    scales: Tensor

    def __init__(
        self, media: MediaDescriptor, scales: list[list[list[float]]], ahead: list[float]
    ) -> None:
        super().__init__()
        self._media, self._from = media, LookingFrom(tuple(ahead))
        self._buffer("scales", scales)
        self.n_vectors = self.n_scalars = media.n_shells

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"medium": ()}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        if history.neighbours is None or history.medium is None:
            raise ValueError("the windows bring no framework")
        medium = history.medium.float()[:, None].expand(-1, history.ends.shape[1])
        return {"framework": history.neighbours[:, :, -self.n_vectors :], "medium": medium}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return self._seen(known["framework"])

    def compiled(self, told: Tensor | None) -> Compiled:
        """Look at the places of the ions."""
        media = self._media.on(self.scales.device, self.scales.dtype)

        def inputs(known: State) -> Inputs:
            there = self._from.looked(known, media.cell)
            return self._seen(media.around(there, known["medium"].long()))

        return Compiled(inputs, lambda known, step: {"medium": known["medium"]})

    def _seen(self, now: Tensor) -> Inputs:
        mean, deviation = (over(s, now) for s in self.scales)
        scaled = (now - mean) / deviation
        return Inputs(vectors=[scaled[:, :3]], scalars=[scaled[:, 3]])
