"""The rows of the feature table, and the table itself (`feature_table`): add an input here."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mdgan_hpc.crystal.reciprocal import reciprocal_shells
from mdgan_hpc.models.base import State
from mdgan_hpc.models.condition import IonSpecies, Temperatures, Told
from mdgan_hpc.models.media import MediaDescriptor
from mdgan_hpc.models.neighbours import NeighbourDescriptor, Shells
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.features import (
    Compiled,
    Feature,
    FeatureTable,
    History,
    Inputs,
    Step,
    over,
)
from mdgan_hpc.models.transition.mixture import tiled
from mdgan_hpc.models.transition.repulsion import MeasuredRepulsion
from mdgan_hpc.models.transition.surroundings import Neighbours, SeenFramework, ToldFramework
from mdgan_hpc.models.transition.told import Species, Temperature


def feature_table(
    config: TransitionConfig,
    *,
    extrapolation: Tensor,
    primitive: np.ndarray | None,
    cell: np.ndarray | None,
    particles: int,
    told: Told | None,
    combinations: list[list[float]],
    ema_steps: list[float],
    ema_scales: list[float],
    ema_levels: list[list[float]] | None = None,
    neighbour_shells: Shells | None = None,
    neighbour_scales: list[list[list[float]]] | None = None,
    neighbour_here_scales: list[list[list[float]]] | None = None,
    neighbour_motion_scales: list[list[list[float]]] | None = None,
    framework: ToldFramework | None = None,
    ahead: list[float] | None = None,
    repulsion: MeasuredRepulsion | None = None,
    pairs_once: bool = False,
    temperature_is_input: bool = True,
) -> FeatureTable:
    """Return the table of a generator; see `TransitionGenerator` for the first arguments.

    Parameters
    ----------
    config, extrapolation, primitive, cell, particles
        Of the generator; `cell` of the ions that free runs move together.
    told : Temperatures, IonSpecies or None
        Where it is trained at several temperatures, or on several species.
    combinations : nested list, [v, p]
        Uncorrelated ones of the last displacements, newest first, of variance one (1 / Angstrom).
    ema_steps, ema_scales : list of float, [k]
        Decay times of the moving averages (steps, ascending; may be empty), and standard deviations
        of the position seen from them (Angstrom).
    ema_levels : nested list, [t, k], or None
        Those at each of several temperatures, or of each species; in models of before those of all
        alike.
    neighbour_shells : dict or None
        Radii, widths and cutoff of the neighbour descriptor, Angstrom (`NeighbourDescriptor`).
    neighbour_scales : nested list, [2, A, 4], or None
        Mean and deviation of it (`neighbours.neighbour_scales`).
    neighbour_here_scales, neighbour_motion_scales : nested list, [2, A, 4] and [2, R, 4], or None
        The same of the second view and of how the ions around move, where these are told
        (`Surroundings`).
    framework : ToldFramework or None
        The media that ions see where there is no lattice.
    ahead : list of float, [p], or None
        Where from ions see what is around them (`Surroundings`); None: from where they are.
    repulsion : MeasuredRepulsion or None
        Of ions that see each other; None in models of before.
    pairs_once : bool
        Whether two ions share noise once, at the nearest image; in models of before they do as
        often as they see images of each other.
    temperature_is_input : bool
        Of several (`Temperature`).
    """
    r = len(extrapolation)
    rows: list[Feature] = [
        LastDisplacements(combinations, r, told),
        LastResidual(r),
        MovingAverages(
            ema_steps,
            ema_scales if ema_levels is None else ema_levels,
            config.activity_floor,
            config.ema_history,
            told if ema_levels is not None else None,
        ),
    ]
    whole = primitive if cell is None else cell
    if whole is not None:
        rows.append(Place(whole, _waves_of(config, primitive, whole), extrapolation.sum(0)))
    if cell is not None and neighbour_shells is not None and neighbour_scales is not None:
        descriptor = NeighbourDescriptor.of_cell(cell, **neighbour_shells)
        if isinstance(told, IonSpecies):
            descriptor = descriptor.of_species(told.of_ion)
        of, views = (descriptor, neighbour_scales, particles), 1 + bool(neighbour_here_scales)
        beside = repulsion, pairs_once, neighbour_motion_scales
        rows.append(Neighbours(*of, ahead or [], False, *beside, views=views))
        if neighbour_here_scales is not None:
            rows.append(Neighbours(descriptor, neighbour_here_scales, particles, [], second=True))
    if framework is not None and cell is not None:
        media = MediaDescriptor(cell, framework["species"])
        rows.append(SeenFramework(media, framework["scales"], ahead or []))
    if isinstance(told, Temperatures):
        rows.append(Temperature(told, temperature_is_input))
    if isinstance(told, IonSpecies):
        rows.append(Species(told))
    return FeatureTable(rows, config.vector_bound)


def _waves_of(
    config: TransitionConfig, primitive: np.ndarray | None, cell: np.ndarray
) -> np.ndarray:
    """Return reciprocal vectors [m, 3] of the lattice in indices of the cell; none without one."""
    if primitive is None:
        return np.zeros((0, 3))
    waves = reciprocal_shells(primitive, config.reciprocal_vectors)
    return np.asarray(waves @ np.round(cell @ np.linalg.inv(primitive)).T)


class LastDisplacements(Feature):
    """Uncorrelated combinations of the last displacements.

    Parameters
    ----------
    combinations : nested list, [v, p]
        Of the last p displacements, newest first, to standard deviations.
    records_per_step : int
        r.
    by : Told, optional
        Displacements are seen in thermal ones at each temperature, or in those of the species.
    """

    name = "displacements"
    combinations: Tensor

    def __init__(
        self,
        combinations: list[list[float]],
        records_per_step: int,
        by: Told | None = None,
    ) -> None:
        super().__init__()
        self.records_per_step, self._by = records_per_step, by
        self._buffer("combinations", combinations)
        self.n_vectors, self.lags = self.combinations.shape

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"displacements": (self.lags, 3)}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        return {"displacements": history.displacements}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        last = known["displacements"]
        vectors = torch.einsum("vp,p...->v...", self.combinations, last)
        return Inputs(vectors=[vectors / known["speed"] if "speed" in known else vectors])

    def after(self, known: State, step: Step) -> State:
        """See `Feature.after`."""
        kept = known["displacements"][: self.lags - self.records_per_step]
        return {"displacements": torch.cat([step.moved.flip(0), kept])}

    def compiled(self, told: Tensor | None) -> Compiled:
        """Multiply by the matrix once for all samples."""
        combinations, (rows, p) = self.combinations, self.combinations.shape
        speed = None if self._by is None or told is None else self._by.speed(told)
        if speed is not None and not speed.ndim:
            combinations, speed = combinations / speed, None

        def inputs(known: State) -> Inputs:
            last = known["displacements"].view(p, -1)
            vectors = (combinations @ last).view(rows, 3, -1)
            return Inputs(
                vectors=[vectors if speed is None else vectors / tiled(speed, vectors.shape[2])]
            )

        return Compiled(inputs, self.after)


class LastResidual(Feature):
    """The whitened residuals of the last step.

    Parameters
    ----------
    records_per_step : int
    """

    name = "residual"

    def __init__(self, records_per_step: int) -> None:
        super().__init__()
        self.n_vectors = records_per_step

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"residual": (self.n_vectors, 3)}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        return {"residual": history.residual}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return Inputs(vectors=[known["residual"]])

    def after(self, known: State, step: Step) -> State:
        """See `Feature.after`."""
        return {"residual": step.residual}


class MovingAverages(Feature):
    """Where the ion is, seen from exponential moving averages of its position, and its activity.

    The activity of an average is a like average of the squared offset from the fastest one. They
    hold what a recurrent unit trained on windows of a picosecond does not learn to keep: where the
    ion came from, and whether it moved much of late.

    Parameters
    ----------
    decay_steps : list of float
        Ascending; may be empty.
    scales : list of float, or of lists of float
        Standard deviation of each offset, Angstrom; at each of several temperatures (or of each
        species): else how much an ion moved of late would tell its temperature, which the network
        is told, and what it makes of that would grow from step to step of a free run.
    floor : float
        Added to an activity (mean one) before its logarithm is taken.
    history : float
        Longest decay times of data that fill the averages.
    by : Told, optional
        What the scales are of.
    """

    name = "averages"
    keep: Tensor
    scales: Tensor

    def __init__(
        self,
        decay_steps: list[float],
        scales: list[float] | list[list[float]],
        floor: float,
        history: float,
        by: Told | None = None,
    ) -> None:
        super().__init__()
        self.floor, self._by = floor, by
        self.n_vectors = self.n_scalars = len(decay_steps)
        self.fill_steps = math.ceil(history * max(decay_steps, default=0.0))
        self._buffer("keep", np.exp(-1 / np.array(decay_steps)))
        self._buffer("scales", scales)

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"ema_offset": (self.n_vectors, 3), "ema_activity": (self.n_scalars,)}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        scales = self._scales(history.told)
        offset, activity = self.averages(history.steps, scales)
        first, steps = self.fill_steps, history.ends.shape[1]
        known = {"ema_offset": offset[:, first:], "ema_activity": activity[:, first:]}
        if self._by is not None:
            known["ema_scales"] = scales[:, None].expand(-1, steps, -1)
        return known

    def _scales(self, told: Tensor | None) -> Tensor:
        """Return the scales [k], or for temperatures or species [...] those [..., k]."""
        if self._by is None:
            return self.scales
        if told is None:
            raise ValueError("no temperature or species is told")
        return self._by.between(told, self.scales.log()).exp()

    def averages(self, steps: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Return offsets [B, n, k, 3] and activities [B, n, k] after displacements [B, n, 3].

        Scales are [k] or [B, k].
        """
        n = steps.shape[1]
        ages = torch.arange(n - 1, -1, -1, device=steps.device)
        powers = functional.pad(self.keep[:, None] ** ages, (0, n - 1))
        power = powers.unfold(1, n, 1).flip(1)  # of the age of i at j; 0 where it is yet to come
        offset = torch.einsum("kji,bid->bjkd", power * self.keep[:, None, None], steps)
        if not self.n_vectors:
            return offset, offset[..., 0]
        squared = offset[:, :, 0].square().sum(-1) / (3 * scales[..., :1] ** 2)
        activity = torch.einsum("kji,bi->bjk", power * (1 - self.keep)[:, None, None], squared)
        # Begun at its mean, one.
        return offset, activity + power[:, :, 0].T * self.keep

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        offset = known["ema_offset"]
        scalars = (known["ema_activity"] + self.floor).log()
        if "ema_scales" in known:
            return Inputs(vectors=[offset / known["ema_scales"][:, None]], scalars=[scalars])
        return Inputs(vectors=[offset / over(self.scales, offset)], scalars=[scalars])

    def compiled(self, told: Tensor | None) -> Compiled:
        """Multiply by inverse scales."""
        shrink = 1 / self._scales(told).movedim(-1, 0)[:, None]
        shrink = shrink if shrink.ndim == 3 else shrink[..., None]  # [k, 1, ions or 1]
        keep, floor = self.keep[:, None], self.floor
        keep_offset = keep[:, None]

        def shrunk(offset: Tensor) -> Tensor:
            each = shrink[: len(offset)]
            return offset * (each if each.shape[2] == 1 else tiled(each, offset.shape[2]))

        def inputs(known: State) -> Inputs:
            scalars = (known["ema_activity"] + floor).log()
            return Inputs(vectors=[shrunk(known["ema_offset"])], scalars=[scalars])

        def after(known: State, step: Step) -> State:
            offset = (known["ema_offset"] + step.total) * keep_offset
            squared = shrunk(offset[:1]).square().sum(1) / 3
            activity = torch.lerp(squared, known["ema_activity"], keep)
            return {"ema_offset": offset, "ema_activity": activity}

        return Compiled(inputs, after)


class Place(Feature):
    """The place in the primitive cell that the last displacements lead to, as lattice waves.

    Without a lattice there are no waves, and the place is carried for other rows.

    Parameters
    ----------
    cell : array, [3, 3]
        Whole primitive cells, in whose fractions places are carried.
    waves : array, [m, 3]
        Indices of reciprocal vectors of this cell.
    extrapolation : Tensor, [p]
        Weights of the last displacements in the extrapolated one over a step.
    """

    name = "place"
    cell: Tensor
    inverse_cell: Tensor
    waves: Tensor
    ahead: Tensor

    def __init__(self, cell: np.ndarray, waves: np.ndarray, extrapolation: Tensor) -> None:
        super().__init__()
        self._buffer("inverse_cell", np.linalg.inv(cell))
        self._buffer("cell", cell)
        self._buffer("waves", 2 * np.pi * waves.T)
        self.register_buffer("ahead", extrapolation, persistent=False)
        self.n_waves = 2 * len(waves)

    def phases(self) -> Tensor | None:
        """Return the phases of the waves, [3, m] radian per Angstrom; None without a lattice."""
        if not self.n_waves:
            return None
        return (self.inverse_cell.double() @ self.waves.double()).float()

    def carried(self) -> dict[str, tuple[int, ...]]:
        """See `Feature.carried`."""
        return {"place": (3,)}

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        fraction = history.ends @ self.inverse_cell.double()
        return {"place": (fraction - fraction.floor()).float()}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        if not self.n_waves:
            return Inputs()
        ahead = torch.einsum("p,pi...->...i", self.ahead, known["displacements"])
        there = known["place"].movedim(0, -1) + ahead @ self.inverse_cell
        phase = (there @ self.waves).movedim(-1, 0)
        return Inputs(waves=[phase.cos(), phase.sin()])

    def compiled(self, told: Tensor | None) -> Compiled:
        """Keep samples in columns."""
        ahead, to_fraction, waves = self.ahead[None], self.inverse_cell.T, self.waves.T
        p = ahead.shape[1]

        def inputs(known: State) -> Inputs:
            if not self.n_waves:
                return Inputs()
            moved = (ahead @ known["displacements"].view(p, -1)).view(3, -1)
            phase = waves @ torch.addmm(known["place"], to_fraction, moved)
            return Inputs(waves=[phase.cos(), phase.sin()])

        def after(known: State, step: Step) -> State:
            place = torch.addmm(known["place"], to_fraction, step.total)
            return {"place": place - place.floor()}

        return Compiled(inputs, after)
