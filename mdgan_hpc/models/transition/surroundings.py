"""The rows of the feature table that show an ion what is around it."""

from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor

from mdgan_hpc.models.base import State
from mdgan_hpc.models.media import MediaDescriptor, SpeciesAtoms
from mdgan_hpc.models.neighbour_motion import MotionDescriptor
from mdgan_hpc.models.neighbours import NeighbourDescriptor, Pairs
from mdgan_hpc.models.transition.features import (
    Compiled,
    Feature,
    History,
    Inputs,
    nothing,
    over,
)
from mdgan_hpc.models.transition.repulsion import MeasuredRepulsion


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
    """The neighbour descriptor of each ion, from one place: ahead of it, or where it is.

    Data bring it along, free runs look at the places.

    Parameters
    ----------
    descriptor : NeighbourDescriptor
    scales : nested list, [2, A, 4]
        Mean and standard deviation (`neighbour_scales`).
    particles : int
        k that share a cell.
    ahead : list of float
        Of `Surroundings`.
    second : bool
        Whether it is the second view, around where ions are.
    repulsion, pairs_once : MeasuredRepulsion or None, and bool
        Of `feature_table`.
    motion_scales : nested list, [2, R, 4], or None
        Where how others move is told: mean and standard deviation of that.
    views : int
        Of data: behind these is how others move.
    """

    name = "neighbours"
    scales: Tensor
    motion_scales: Tensor
    cell: Tensor
    images: Tensor

    def __init__(
        self,
        descriptor: NeighbourDescriptor,
        scales: list[list[list[float]]],
        particles: int,
        ahead: list[float],
        second: bool = False,
        repulsion: MeasuredRepulsion | None = None,
        pairs_once: bool = False,
        motion_scales: list[list[list[float]]] | None = None,
        views: int = 1,
    ) -> None:
        super().__init__()
        if second:
            self.name = "neighbours_here"
        self._from, self._second, self._once = LookingFrom(tuple(ahead)), second, pairs_once
        self.particles, self._shells, self._repulsion = particles, descriptor, repulsion
        self._buffer("cell", descriptor.cell.numpy())
        self._buffer("images", descriptor.images.numpy())
        self._buffer("scales", scales)
        self.shells = self.n_vectors = self.n_scalars = descriptor.n_shells
        self._motion, self._behind = None, views * self.shells
        if motion_scales is not None:
            self._motion = MotionDescriptor(self.shells, len(ahead))
            self._buffer("motion_scales", motion_scales)
            self.n_vectors += self._motion.n_rows
            self.n_scalars += self._motion.n_scalars

    def descriptor(self) -> NeighbourDescriptor:
        """Return the descriptor, in single precision on the device of this model."""
        return replace(self._shells, cell=self.cell, images=self.images)

    def looked_along(self, known: State) -> Tensor:
        """Return the fractional places [B, n, 3] that ions look from, along data."""
        last = {name: known[name].movedim((0, 1), (-2, -1)) for name in ("place", "displacements")}
        return self._from.looked(last, self.cell).movedim(0, -1)

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        if history.neighbours is None:
            raise ValueError("the windows bring no neighbour descriptor")
        first = self.shells if self._second else 0  # behind both views is the framework
        seen = {self.name: history.neighbours[:, :, first : first + self.shells]}
        if self._motion is not None:
            rows = slice(self._behind, self._behind + self._motion.n_rows)
            seen["motion"] = history.neighbours[:, :, rows]
        return seen

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return self._seen(known[self.name], known.get("motion"))

    def compiled(self, told: Tensor | None) -> Compiled:
        """Describe the places of the ions that share a cell: neighbouring columns."""
        descriptor, k = self.descriptor(), self.particles
        tracked = descriptor.tracked() if descriptor.worth_lists(k) else None
        latest: list[tuple[Pairs, Tensor]] = []

        def inputs(known: State) -> Inputs:
            places = torch.unflatten(self._from.looked(known, descriptor.cell), 1, (-1, k))
            every = descriptor.pairs(places, tracked)
            latest[:] = [(every, places)]
            moves = None
            if self._motion is not None:
                told = self._motion.told(known["displacements"])
                moves = self._motion.of_pairs(every, told, k)
            return self._seen(every.summed(), moves)

        begin = nothing if tracked is None else tracked.forget

        def pairs() -> Pairs:
            every, places = latest[0]
            return descriptor.once(every, places) if self._once else every

        return Compiled(inputs, self.after, begin, pairs, self._repulsion)

    def _seen(self, now: Tensor, moves: Tensor | None) -> Inputs:
        scaled = _scaled(now, self.scales)
        vectors, scalars = [scaled[:, :3]], [scaled[:, 3]]
        if self._motion is not None and moves is not None:
            scaled = _scaled(moves, self.motion_scales)
            vectors.append(scaled[:, :3])
            scalars.append(scaled[: self._motion.n_scalars, 3])
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
        scaled = _scaled(now, self.scales)
        return Inputs(vectors=[scaled[:, :3]], scalars=[scaled[:, 3]])


def _scaled(now: Tensor, scales: Tensor) -> Tensor:
    """Return what is seen [A, 4, ...] in deviations from its mean, given both, [2, A, 4]."""
    mean, deviation = (over(s, now) for s in scales)
    return (now - mean) / deviation
