"""The neighbour descriptor: what an ion sees of the other mobile ions of its cell.

In shells of distance, smooth in it: how many ions there are, and the sum of the unit vectors to
them. Ions of one cell see each other and their periodic images. With the radial functions
exp(-(d - r_a)^2 / 2 w_a^2) (1 + cos(pi d / d_c)) / 2 these are symmetry functions of zeroth and
first order (J. Behler, J. Chem. Phys. 134, 074106 (2011), G2).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol, Self, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import DataError
from mdgan_hpc.models.neighbour_list import TrackedNeighbours, images_within
from mdgan_hpc.progress import Progress

#: Frames described at once, and ions where lists of neighbours are kept.
_FRAMES, _IONS = 500, 1024
#: Vectors from an ion to others and their images up to which all are looked at.
_ALL_PAIRS = 128
#: How far beyond the cutoff neighbours are kept in a list, of the cutoff.
_SKIN = 0.15
#: Share of the ions that have a neighbour within the contact distance.
CONTACT_SHARE = 1e-3
#: Below it an exponential counts for nothing in single precision; one that underflows costs a CPU
#: twelve times as much.
_LEAST_EXPONENT = -80.0
#: Least scale of a shell, ions: above it a single one is a few standard deviations, not many.
_LEAST_DEVIATION = 0.2


class Shells(TypedDict):
    """The shells of a neighbour descriptor, Angstrom; see `NeighbourDescriptor`."""

    radii: list[float]
    widths: list[float]
    cutoff: float


@dataclass(frozen=True)
class Pairs:
    """Ions and what is near each, M places for each of n; a place may hold nothing.

    Attributes
    ----------
    inside : Tensor, [n, A, M]
        How far each is in each shell, from 0 to 1; 0 where a place holds nothing.
    unit : Tensor, [n, 4, M]
        Unit vectors to them, and one.
    other : Tensor, [n, M]
        Which ions they are.
    distance : Tensor, [n, M]
        Angstrom; the cutoff where a place holds nothing within it.
    of_ion : Tensor, [k], or None
        Which species the ions of a cell are, where they are told apart.
    """

    inside: Tensor
    unit: Tensor
    other: Tensor
    distance: Tensor
    of_ion: Tensor | None = None

    def summed(self) -> Tensor:
        """Return for each ion the sum over the others and their images, [A, 4, n].

        Where species are told apart, first that over those of the first species, and so on.
        """
        unit = self.unit.mT
        if self.of_ion is None:
            return (self.inside @ unit).permute(1, 2, 0)
        which = self.of_ion[(self.other % len(self.of_ion)).long()]
        each = [
            self.inside @ (unit * (which == number)[..., None])
            for number in range(int(self.of_ion.max()) + 1)
        ]
        return torch.cat(each, 1).permute(1, 2, 0)


class AlongRuns(Protocol):
    """What is told of ions of runs beside their neighbours (`neighbour_motion`)."""

    @property
    def n_rows(self) -> int:
        """Rows that it tells."""

    def of_pairs(self, number: int, frames: Tensor, pairs: Pairs) -> Tensor:
        """Return rows [n_rows, 4, n] of all ions at frames of a run, of which these are pairs."""


@dataclass(frozen=True)
class NeighbourDescriptor:
    """Describes the neighbours of ions that share a cell.

    Attributes
    ----------
    cell : Tensor, [3, 3]
        Rows are the cell vectors, Angstrom.
    radii : tuple of float, [A]
        Of the shells, Angstrom.
    widths : tuple of float, [A]
        Standard deviation of the Gaussian in distance around each radius, Angstrom.
    cutoff : float
        Distance where all shells end, Angstrom.
    images : Tensor, [s, 3]
        Lattice translations that bring a rounded difference within the cutoff.
    species : tuple of int
        Which species the ions of a cell are, from 0 on; empty where they are not told apart.
    """

    cell: Tensor
    radii: tuple[float, ...]
    widths: tuple[float, ...]
    cutoff: float
    images: Tensor
    species: tuple[int, ...] = ()

    @classmethod
    def of_cell(
        cls, cell: np.ndarray, *, radii: Sequence[float], widths: Sequence[float], cutoff: float
    ) -> Self:
        """Make the descriptor of a cell [3, 3], in double precision."""
        box = np.array(cell, float)
        images = torch.from_numpy(images_within(box, cutoff))
        return cls(torch.from_numpy(box), tuple(radii), tuple(widths), cutoff, images)

    def of_species(self, species: Sequence[int]) -> Self:
        """Return the descriptor with ions told apart by their species."""
        return replace(self, species=tuple(species))

    @property
    def n_shells(self) -> int:
        """Shells of distance, times species."""
        return len(self.radii) * (max(self.species, default=0) + 1)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the descriptor on a device and in a precision."""
        images = self.images.to(device, dtype)
        return replace(self, cell=self.cell.to(device, dtype), images=images)

    def of_places(self, places: Tensor, tracked: TrackedNeighbours | None = None) -> Tensor:
        """Describe ions at fractional places [3, B, k], k sharing a cell.

        Parameters
        ----------
        places : Tensor, [3, B, k]
        tracked : TrackedNeighbours, optional
            The same to round-off, at a cost that is linear in k; all pairs are looked at without.

        Returns
        -------
        Tensor, [A, 4, B, k]
            Of each shell the sum of unit vectors to the ions in it, and their number.
        """
        pairs = self.pairs(places, tracked)
        return torch.unflatten(pairs.summed(), 2, tuple(places.shape[1:]))

    def pairs(self, places: Tensor, tracked: TrackedNeighbours | None = None) -> Pairs:
        """Return all pairs of ions at fractional places [3, B, k], numbered along B and k.

        See `of_places`.
        """
        if tracked is None:
            apart, other = self._all_pairs(places)
        else:
            apart, other = tracked.apart(places)
        return self._weighed(apart, other)

    @cached_property
    def sees_once(self) -> bool:
        """Whether the cell is so large that no ion is seen in two images."""
        heights = 1 / torch.linalg.inv(self.cell).norm(dim=0)
        return bool(self.cutoff <= heights.min() / 2)

    def once(self, pairs: Pairs, places: Tensor) -> Pairs:
        """Return pairs in which each ion has every other one once, at its nearest image.

        What two ions have in common counts once. The images of the ion itself are in none.

        Parameters
        ----------
        pairs : Pairs
            Of ions at these places.
        places : Tensor, [3, B, k]
        """
        if self.sees_once:
            return pairs
        _, batch, k = places.shape
        if k < pairs.other.shape[1]:  # fewer than the images
            apart = self.cell.T @ _rounded_differences(places).flatten(1)
            other = _everyone(batch, k, 1, places.device)
            return self._weighed(apart.view(3, *other.shape), other)
        apart = pairs.unit[:, :3] * pairs.distance[:, None]
        fraction = torch.einsum("nim,ij->njm", apart, self.cell.inverse())
        nearest = (fraction.abs() <= 0.5).all(1, keepdim=True)
        return replace(pairs, inside=pairs.inside * nearest)

    def _all_pairs(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors [3, n, s k] from ions to all, with images near them, and who they are."""
        _, batch, k = places.shape
        apart = _rounded_differences(places)
        apart = apart[:, :, :, None] + self.images.T[:, None, None, :, None]
        apart = self.cell.T @ apart.flatten(1)
        other = _everyone(batch, k, len(self.images), places.device)
        return apart.view(3, *other.shape), other

    def around(self, apart: Tensor) -> Tensor:
        """Describe what is at fractional differences, nearest images and others included.

        Parameters
        ----------
        apart : Tensor, [3, n, m]
            From each of n places to m others; nan where there is nothing.

        Returns
        -------
        Tensor, [A, 4, n]
        """
        apart = apart - apart.round()
        apart = apart[..., None] + self.images.T[:, None, None, :]
        apart = (self.cell.T @ apart.flatten(1)).view(3, apart.shape[1], -1)
        nothing = apart.isnan()
        apart = apart.masked_fill(nothing, 2 * self.cutoff)
        return self._weighed(apart, torch.empty(0, dtype=torch.int32)).summed()

    def _weighed(self, apart: Tensor, other: Tensor) -> Pairs:
        """Return the pairs of ions with vectors [3, n, M] between them, Angstrom."""
        squared = apart.square().sum(0)
        seen = (squared > 1e-6) & (squared < self.cutoff**2)  # not itself
        distance = torch.where(seen, squared, self.cutoff**2).sqrt()
        end = 0.5 + 0.5 * torch.cos(distance * (math.pi / self.cutoff))
        narrow = [-0.5 / width**2 for width in self.widths]

        def within(radius: float | Tensor, factor: float | Tensor) -> Tensor:
            exponent = ((distance - radius).square() * factor).clamp(min=_LEAST_EXPONENT)
            return torch.exp(exponent) * end

        if distance.device.type == "cpu" and not distance.requires_grad:
            # One after the other, in place, they stay in the cache of a core.
            inside = distance.new_empty(len(self.radii), *distance.shape)
            for shell, radius, factor in zip(inside, self.radii, narrow, strict=True):
                torch.sub(distance, radius, out=shell)
                shell.square_().mul_(factor).clamp_(min=_LEAST_EXPONENT).exp_().mul_(end)
        elif distance.device.type == "cpu":
            inside = torch.stack([within(*shell) for shell in zip(self.radii, narrow, strict=True)])
        else:
            every = (distance.new_tensor(row)[:, None, None] for row in (self.radii, narrow))
            inside = within(*every)
        unit = torch.cat([apart / distance, torch.ones_like(distance)[None]])
        of_ion = torch.tensor(self.species, device=other.device) if self.species else None
        return Pairs(inside.transpose(0, 1), unit.transpose(0, 1), other, distance, of_ion)

    def tracked(self) -> TrackedNeighbours:
        """Return the neighbours, for `of_places`, of ions that move on step by step."""
        return TrackedNeighbours(self.cell, self.cutoff, _SKIN * self.cutoff)

    def of_runs(
        self,
        runs: Sequence[np.ndarray],
        *,
        beside: AlongRuns | None = None,
        silent: bool = False,
    ) -> list[np.ndarray]:
        """Describe all ions of runs [T, N, 3] at all frames, [T, N, A, 4] each, float32.

        Behind these A rows are those of `beside`. It shows how far it is, unless `silent`.
        """
        inverse = torch.linalg.inv(self.cell)
        described, rows = [], self.n_shells + (0 if beside is None else beside.n_rows)
        total = sum(map(len, runs))
        with Progress("Neighbours", total, "frames", silent=silent, interval_s=10) as progress:
            for number, run in enumerate(runs):
                places = (torch.from_numpy(run).to(self.cell.dtype) @ inverse).permute(2, 0, 1)
                found = np.empty((*run.shape[:2], rows, 4), np.float32)
                listed = self.worth_lists(run.shape[1])
                pieces = self._spans(places) if listed else self._pieces(places)
                for frames, pairs in pieces:
                    seen = pairs.summed()
                    if beside is not None:
                        seen = torch.cat([seen, beside.of_pairs(number, frames, pairs).to(seen)])
                    seen = torch.unflatten(seen, 2, (-1, run.shape[1]))
                    found[frames] = seen.permute(2, 3, 0, 1).numpy()
                    progress.update(len(frames))
                described.append(found)
        return described

    def worth_lists(self, n_ions: int) -> bool:
        """Return whether `n_ions` in the cell are so many that a list of neighbours pays."""
        return n_ions * len(self.images) > _ALL_PAIRS

    def _pieces(self, places: Tensor) -> Iterator[tuple[Tensor, Pairs]]:
        """Yield numbers of frames, and the pairs of ions at `places` [3, T, N] at them."""
        n_frames = places.shape[1]
        for first in range(0, n_frames, _FRAMES):
            frames = torch.arange(first, min(first + _FRAMES, n_frames))
            yield frames, self.pairs(places[:, frames])

    def _spans(self, places: Tensor) -> Iterator[tuple[Tensor, Pairs]]:
        """Do what `_pieces` does by lists of neighbours, with several spans of time side by side.

        In single precision: places are those in the cell, exact to a millionth of an Angstrom.
        """
        tracked = self.to(places.device, torch.float32).tracked()
        n_frames, n_ions = places.shape[1:]
        length = -(-n_frames // max(1, _IONS // n_ions))
        spans = [range(n, min(n + length, n_frames)) for n in range(0, n_frames, length)]
        for frame in range(len(spans[0])):
            frames = torch.tensor([span[frame] for span in spans if frame < len(span)])
            if frame and frame == len(spans[-1]) and len(spans) > 1:
                tracked.forget()  # the last one, which is shorter, has ended
            there = places[:, frames]
            apart, other = tracked.apart((there - there.floor()).float())
            yield frames, self._weighed(apart, other)


@dataclass(frozen=True)
class NeighbourView:
    """The neighbour descriptor as networks are shown it: in deviations from its mean.

    Attributes
    ----------
    descriptor : NeighbourDescriptor
    scales : Tensor, [2, A, 4]
        Mean and deviation (`neighbour_scales`).
    """

    descriptor: NeighbourDescriptor
    scales: Tensor

    def of_positions(self, positions: Tensor) -> Tensor:
        """Return what ions of cells at positions [B, L, k, 3] see, [B, L, k, 4 A]."""
        inverse = torch.linalg.inv(self.descriptor.cell.double())
        places = (positions.double() @ inverse).flatten(0, 1).permute(2, 0, 1)
        places = (places - places.floor()).to(self.scales.dtype)
        seen = self.descriptor.of_places(places).permute(2, 3, 0, 1)  # [B L, k, A, 4]
        mean, deviation = self.scales
        told: Tensor = ((seen - mean) / deviation).flatten(2).view(*positions.shape[:3], -1)
        return told


def _rounded_differences(places: Tensor) -> Tensor:
    """Return fractional differences [3, B, k, k] of places [3, B, k], to the last of two ions."""
    apart = places[:, :, None, :] - places[:, :, :, None]
    return apart - apart.round()


@lru_cache(maxsize=4)
def _everyone(batch: int, k: int, images: int, device: torch.device) -> Tensor:
    """Return the numbers [B k, images k] of the ions in the cell of each, images included."""
    with torch.inference_mode(False):  # kept, also for free runs that are differentiated
        number = torch.arange(batch * k, dtype=torch.int32, device=device).view(batch, 1, 1, k)
        return number.expand(-1, k, images, -1).reshape(batch * k, -1)


def contact_distance(runs: Sequence[np.ndarray], cell: np.ndarray) -> float:
    """Return the distance within which one ion in a thousand has a neighbour, Angstrom.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Mobile ions, Angstrom; about 12 000 places of ions of each run are looked at.
    cell : array, [3, 3]
        Of all of them.

    Raises
    ------
    DataError
        If ions lie on each other.
    """
    contact = contact_of(runs, [None] * len(runs), cell)
    if contact <= 0:
        raise DataError(
            "mobile ions lie on each other: no distance between neighbours can be measured",
            remedy="look for atoms given twice, or set generator.neighbours = 'off'",
        )
    return contact


def contact_of(
    runs: Sequence[np.ndarray], others: Sequence[np.ndarray | None], cell: np.ndarray
) -> float:
    """Return the distance within which one ion in a thousand has an atom, Angstrom.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Mobile ions, Angstrom; about 12 000 places of ions of each run are looked at.
    others : sequence of array [M, 3], or None
        Of each run the atoms, Angstrom; None: the other ions.
    cell : array, [3, 3]
    """
    each = zip(runs, others, strict=True)
    frames = ((frame, atoms) for run, atoms in each for frame in sampled_frames(run))
    return float(np.quantile(nearest_distances(frames, cell), CONTACT_SHARE))


def sampled_frames(run: np.ndarray) -> np.ndarray:
    """Return frames [t, N, 3] of a run [T, N, 3] with about 12 000 places of ions."""
    return run[:: max(1, run.shape[0] * run.shape[1] // 12_000)]


def nearest_distances(
    frames: Iterable[tuple[np.ndarray, np.ndarray | None]], cell: np.ndarray
) -> np.ndarray:
    """Return the distance to the nearest atom, [n], of all ions of frames, Angstrom.

    Parameters
    ----------
    frames : iterable of (array [N, 3], array [M, 3] or None)
        Ions, and the atoms; None: the other ions.
    cell : array, [3, 3]
    """
    # Images within half the longest cell vector: the nearest atom is never further.
    images = images_within(np.array(cell, float), float(np.linalg.norm(cell, axis=1).max()) / 2)
    inverse, nearest = np.linalg.inv(cell), []
    for ions, atoms in frames:
        apart = (ions[:, None] - (ions if atoms is None else atoms)) @ inverse
        apart = (apart - apart.round())[:, :, None] + images
        squared = ((apart @ cell) ** 2).sum(-1).min(2)
        if atoms is None:
            np.fill_diagonal(squared, np.inf)
        nearest.append(np.sqrt(squared.min(1)))
    return np.concatenate(nearest)


def neighbour_scales(described: Sequence[np.ndarray]) -> np.ndarray:
    """Return mean and standard deviation [2, A, 4] of descriptors; vectors have mean zero.

    Parameters
    ----------
    described : sequence of array, [T, N, A, 4]
        Of `NeighbourDescriptor.of_runs`.
    """
    every = np.concatenate([d.reshape(-1, *d.shape[2:]) for d in described])
    mean = np.zeros(every.shape[1:])
    mean[:, 3] = every[:, :, 3].mean(0)
    deviation = np.empty_like(mean)
    deviation[:, :3] = np.sqrt((every[:, :, :3] ** 2).mean((0, 2)))[:, None]
    deviation[:, 3] = every[:, :, 3].std(0)
    # In a shell that is nearly always empty the distance of a rare ion can be told.
    return np.stack([mean, np.maximum(deviation, _LEAST_DEVIATION)])
