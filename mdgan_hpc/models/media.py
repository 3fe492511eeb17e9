"""What an ion sees where there is no lattice: other mobile ions, and the framework of its run.

The atoms that stay in place in a glass are a medium. In shells of distance, around each of its
species: how many atoms there are, and the sum of the unit vectors to them, as `neighbours` does it
for mobile ions. Forces of pairs are sums of such vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.neighbour_motion import MotionAlongRuns, MotionDescriptor
from mdgan_hpc.models.neighbours import NeighbourDescriptor, Shells, contact_of

#: Frames described at once.
_FRAMES = 500


@dataclass(frozen=True)
class Medium:
    """Atoms that stay in place, in the frame of the ions.

    Attributes
    ----------
    species : array, [M]
        Atomic numbers.
    position : array, [M, 3]
        Mean positions, Angstrom.
    """

    species: np.ndarray
    position: np.ndarray


class SpeciesAtoms(TypedDict):
    """One species of the media, in model files: `places` [n][m][3] in the cell, and its shells."""

    species: int
    places: list[list[list[float]]]
    shells: Shells


@dataclass(frozen=True)
class MediaDescriptor:
    """Describes the framework around ions, of several media in one cell.

    Attributes
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    species : list of SpeciesAtoms
        Of each species the fractional places of its atoms in each medium, and its shells.
    """

    cell: np.ndarray
    species: list[SpeciesAtoms]

    @classmethod
    def of_media(
        cls,
        media: Sequence[Medium],
        runs: Sequence[tuple[int, np.ndarray]],
        cell: np.ndarray,
        *,
        radii: Sequence[float],
        width: float,
        cutoff: float,
    ) -> Self:
        """Make the descriptor of media.

        Parameters
        ----------
        media : sequence of Medium
        runs : sequence of int and array [T, N, 3]
            Ions, and the medium that they move in.
        cell : array, [3, 3]
        radii, width, cutoff : float
            Of the shells in contact distances, which are measured for each species; the width in
            radii. All species end at the cutoff of the nearest one; shells beyond are left out.
        """
        inverse = np.linalg.inv(cell)
        every = sorted({int(s) for medium in media for s in medium.species})
        atoms = {s: [m.position[m.species == s] for m in media] for s in every}
        contact = {s: _contact(atoms[s], runs, cell) for s in every}
        end = cutoff * min(contact.values())
        found: list[SpeciesAtoms] = []
        for species in every:
            at = [r for r in (contact[species] * radius for radius in radii) if r < end]
            shells: Shells = {"radii": at, "widths": [width * r for r in at], "cutoff": end}
            places = [(p @ inverse).tolist() for p in atoms[species]]
            found.append({"species": species, "places": places, "shells": shells})
        shown = [one for one in found if one["shells"]["radii"]]
        return cls(np.array(cell, float), shown)

    @property
    def n_shells(self) -> int:
        """Of all species together."""
        return sum(len(one["shells"]["radii"]) for one in self.species)

    def on(self, device: torch.device, dtype: torch.dtype) -> "MediaOnDevice":
        """Return what describes places on a device and in a precision."""
        return MediaOnDevice(
            [_Atoms.of(one, self.cell, device, dtype) for one in self.species],
            torch.tensor(self.cell, device=device, dtype=dtype),
        )


def _contact(
    atoms: Sequence[np.ndarray], runs: Sequence[tuple[int, np.ndarray]], cell: np.ndarray
) -> float:
    """Return `contact_of` the ions of runs and atoms [M, 3] in their media, where there are any."""
    there = [(run, atoms[medium]) for medium, run in runs if len(atoms[medium])]
    return contact_of([run for run, _ in there], [mine for _, mine in there], cell)


@dataclass(frozen=True)
class _Atoms:
    """The atoms of one species in all media.

    Attributes
    ----------
    places : Tensor, [n, 3, m]
        Fractional; a medium with fewer atoms has some at nan.
    shells : NeighbourDescriptor
    """

    places: Tensor
    shells: NeighbourDescriptor

    @classmethod
    def of(
        cls, found: SpeciesAtoms, cell: np.ndarray, device: torch.device, dtype: torch.dtype
    ) -> Self:
        most = max(map(len, found["places"]))
        places = torch.full((len(found["places"]), 3, most), torch.nan, dtype=dtype)
        for medium, atoms in enumerate(found["places"]):
            places[medium, :, : len(atoms)] = torch.tensor(atoms, dtype=dtype).reshape(-1, 3).T
        shells = NeighbourDescriptor.of_cell(cell, **found["shells"])
        return cls(places.to(device), shells.to(device, dtype))


@dataclass(frozen=True)
class MediaOnDevice:
    """Describes the framework around places, on one device."""

    atoms: list[_Atoms]
    cell: Tensor

    def around(self, places: Tensor, medium: Tensor) -> Tensor:
        """Return what ions at fractional places [3, n] in media [n] see, [shells, 4, n]."""
        seen = []
        for one in self.atoms:
            there = one.places[medium].movedim(0, 1)  # [3, n, m]
            seen.append(one.shells.around(there - places[:, :, None]))
        return torch.cat(seen)


@dataclass(frozen=True)
class Surroundings:
    """What ions of a cell see: each other, and the media that they move in.

    Attributes
    ----------
    neighbours : NeighbourDescriptor
    media : MediaDescriptor or None
        None in a crystal, where the place tells it, and in a liquid.
    ahead : tuple of float, [p]
        Weights of the last displacements, newest first: ions see what is around the place that
        inertia leads them to by the end of a step. Empty: around where they are.
    here : bool
        Whether those that look ahead then see the other ions around where they are, too, from which
        they know how these move.
    step_skip : int
        Frames of the runs from one of these displacements to the next.
    moving : bool
        Whether those that look ahead are told how the ions around them move.
    """

    neighbours: NeighbourDescriptor
    media: MediaDescriptor | None = None
    ahead: tuple[float, ...] = ()
    here: bool = False
    step_skip: int = 1
    moving: bool = False

    @property
    def motion(self) -> MotionDescriptor | None:
        """How the ions around an ion move, where it is told."""
        known = self.moving and len(self.ahead) > 1
        return MotionDescriptor(self.neighbours.n_shells, len(self.ahead)) if known else None

    @property
    def n_views(self) -> int:
        """Shells of the mobile ions, of both views where there are two."""
        return self.neighbours.n_shells * (2 if self.here else 1)

    @property
    def n_mobile(self) -> int:
        """Rows of the mobile ions: of both views, and of how they move."""
        return self.n_views + (0 if self.motion is None else self.motion.n_rows)

    @property
    def n_shells(self) -> int:
        """Rows of the mobile ions, and of the media behind them."""
        return self.n_mobile + (0 if self.media is None else self.media.n_shells)

    def of_runs(
        self,
        runs: Sequence[np.ndarray],
        medium: Sequence[int] = (),
        inertial: Sequence[np.ndarray] = (),
        *,
        silent: bool = False,
    ) -> list[np.ndarray]:
        """Describe what ions of runs [T, N, 3] in media see at all frames, [T, N, shells, 4].

        `inertial` are the runs in the frame that displacements are remembered in, if another.
        """
        here = None
        if self.here or not self.ahead:
            here = self.neighbours.of_runs(runs, silent=silent)
        if here is not None and not self.ahead and not self.media:
            return here
        return self._with_ahead(runs, here, medium, inertial, silent)

    def of_runs_backwards(
        self,
        runs: Sequence[np.ndarray],
        medium: Sequence[int],
        described: Sequence[np.ndarray],
        inertial: Sequence[np.ndarray] = (),
        *,
        silent: bool = False,
    ) -> list[np.ndarray] | None:
        """Describe what ions see where time runs backwards, at the same frames, [T, N, shells, 4].

        None where that is what they see anyway, around where they are. `described` is what
        `of_runs` found.
        """
        if not self.ahead:
            return None
        turned, inertial = (
            [np.ascontiguousarray(run[::-1]) for run in every] for every in (runs, inertial)
        )
        around = slice(self.neighbours.n_shells, self.n_views)
        here = [seen[::-1, :, around] for seen in described] if self.here else None
        return [seen[::-1] for seen in self._with_ahead(turned, here, medium, inertial, silent)]

    def _with_ahead(
        self,
        runs: Sequence[np.ndarray],
        here: Sequence[np.ndarray] | None,
        medium: Sequence[int],
        inertial: Sequence[np.ndarray],
        silent: bool,
    ) -> list[np.ndarray]:
        """Put together what ions see: ahead of them, around where they are, how others move."""
        led = [self.led_to(run) for run in runs] if self.ahead else runs
        views = [] if here is None else [here]
        if self.ahead:
            moves, shells = self.motion, self.neighbours.n_shells
            along = (
                None if moves is None else MotionAlongRuns(moves, inertial or runs, self.step_skip)
            )
            ahead = self.neighbours.of_runs(led, beside=along, silent=silent)
            views.insert(0, [seen[:, :, :shells] for seen in ahead])
            if along is not None:
                views.append([seen[:, :, shells:] for seen in ahead])
        described = []
        for number, run in enumerate(led):
            found = np.empty((*run.shape[:2], self.n_shells, 4), np.float32)
            np.concatenate([view[number] for view in views], 2, out=found[:, :, : self.n_mobile])
            if self.media is not None:
                self._see_framework(run, medium[number], found[:, :, self.n_mobile :])
            described.append(found)
        return described

    def _see_framework(self, run: np.ndarray, medium: int, out: np.ndarray) -> None:
        """Describe the framework of a medium around the ions of a run, [T, N, shells, 4]."""
        assert self.media is not None
        framework = self.media.on(torch.device("cpu"), torch.float32)
        for frames, places in _pieces(run @ np.linalg.inv(self.media.cell)):
            every = torch.full((places.shape[1],), medium)
            seen = framework.around(places, every).movedim(2, 0)
            out[frames] = torch.unflatten(seen, 0, (-1, run.shape[1]))

    def led_to(self, run: np.ndarray) -> np.ndarray:
        """Return where inertia leads ions of a run [T, N, 3] to, as far as their past is known."""
        there, skip = run.copy(), self.step_skip
        for lag, weight in enumerate(self.ahead):
            last = len(run) - lag * skip
            if last > skip:
                there[lag * skip + skip :] += weight * (run[skip:last] - run[: last - skip])
        return there


def _pieces(fractions: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Yield frames and the places [3, n] of their ions, inside the cell."""
    for first in range(0, len(fractions), _FRAMES):
        part = fractions[first : first + _FRAMES].reshape(-1, 3)
        yield (
            slice(first, min(first + _FRAMES, len(fractions))),
            torch.from_numpy((part - np.floor(part)).astype(np.float32)).T.contiguous(),
        )
