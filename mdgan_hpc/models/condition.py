"""What a sample is told beside its past: the temperature, or the species of each ion.

A generator trained on runs at several temperatures makes free runs at any temperature between.
Physics does a part of it. Speeds are Maxwell's, so that displacements over one record scale with
sqrt(T). The lattice expands: all runs are mapped into one frame, in which the network works, and
what it emits is mapped into the cell at the temperature of the free run.

Where ions of several species are generated together, each is told which it is; displacements are
measured in those of its species.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import UsageError

#: How far beyond the training temperatures free runs are made, with a warning: share of 1/T.
BEYOND = 0.1
#: Relative difference up to which a temperature is one that the generator was trained at.
_SAME = 1e-6

Kelvin = TypeVar("Kelvin", float, Tensor)


@dataclass(frozen=True)
class Temperatures:
    """The temperatures that a generator was trained at, two or more.

    Attributes
    ----------
    kelvin : tuple of float, [n]
        Ascending.
    cells : array, [n, 3, 3] or None
        At each of them, rows are the cell vectors, Angstrom; None where it is not known.
    frame : array, [3, 3] or None
        The cell that the positions of all runs are mapped to, Angstrom; None where they are as they
        were.
    """

    name: ClassVar[str] = "temperature"
    kelvin: tuple[float, ...]
    cells: np.ndarray | None = None
    frame: np.ndarray | None = None

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Return what `to_plain` gave.

        Raises
        ------
        ValueError
            If these are no temperatures.
        """
        kelvin = tuple(float(k) for k in plain["kelvin"])
        cells, frame = (
            None if plain[name] is None else np.array(plain[name], float)
            for name in ("cells", "frame")
        )
        if len(kelvin) < 2 or kelvin[0] <= 0 or sorted(set(kelvin)) != list(kelvin):
            raise ValueError("temperatures must be two or more, above 0 and ascending")
        if cells is not None and cells.shape != (len(kelvin), 3, 3):
            raise ValueError("a temperature has no cell")
        return cls(kelvin, cells, frame)

    def to_plain(self) -> dict[str, Any]:
        """Return numbers and lists."""
        cells, frame = (None if x is None else x.tolist() for x in (self.cells, self.frame))
        return {"kelvin": list(self.kelvin), "cells": cells, "frame": frame}

    def some(self, kelvin: Sequence[float]) -> "Temperatures | None":
        """Return some of the temperatures; None where it is one alone."""
        if len(kelvin) < 2:
            return None
        kept = [self.kelvin.index(k) for k in kelvin]
        cells = None if self.cells is None else self.cells[kept]
        return Temperatures(tuple(kelvin), cells, self.frame)

    @property
    def text(self) -> str:
        """The temperatures in words."""
        *others, last = [f"{k:.0f}" for k in self.kelvin]
        return f"{', '.join(others)} and {last} K"

    # What the network is told -------------------------------------------------------------------

    @cached_property
    def reference_k(self) -> float:
        """The temperature whose inverse is the mean of the inverse ones, K."""
        return float(1 / np.mean(1 / np.array(self.kelvin)))

    def inverse(self, kelvin: Kelvin, power: float = 1.0) -> Kelvin:
        """Return T^-power less its mean over the training temperatures, over its deviation there.

        Logarithms of rates are linear in 1/T. Forces and lengths, in thermal displacements, are so
        in 1/sqrt(T).
        """
        known = np.array(self.kelvin) ** -power
        inverse: Kelvin = (kelvin**-power - float(known.mean())) / float(known.std())
        return inverse

    def speed(self, kelvin: Kelvin) -> Kelvin:
        """Return sqrt(T / reference): thermal speeds, in those at the reference."""
        speed: Kelvin = (kelvin / self.reference_k) ** 0.5
        return speed

    def between(self, kelvin: Tensor, values: Tensor) -> Tensor:
        """Interpolate values [n, m] at temperatures [...], linearly in 1/T, to [..., m].

        Beyond the training temperatures those of the nearest one.
        """
        levels = values.new_tensor([-1 / k for k in self.kelvin])
        at = (-1 / kelvin.to(values)).clamp(float(levels[0]), float(levels[-1]))
        return _piecewise(at, levels, values)

    # Cells --------------------------------------------------------------------------------------

    def cell(self, kelvin: float) -> np.ndarray | None:
        """Return the cell [3, 3] at a temperature: linear in T, also a little beyond."""
        if self.cells is None:
            return None
        levels, cells = torch.tensor(self.kelvin).double(), torch.from_numpy(self.cells)
        cell: np.ndarray = _piecewise(torch.tensor([kelvin]).double(), levels, cells)[0].numpy()
        return cell

    def strain(self, kelvin: float) -> np.ndarray | None:
        """Return the map [3, 3] from the frame to the cell at a temperature: positions @ map."""
        cell = self.cell(kelvin)
        if self.frame is None or cell is None:
            return None
        strain: np.ndarray = np.linalg.inv(self.frame) @ cell
        return strain

    # Free runs ----------------------------------------------------------------------------------

    def nearest(self, kelvin: float) -> int:
        """Return the number of the training temperature whose inverse is nearest."""
        return int(np.abs(1 / np.array(self.kelvin) - 1 / kelvin).argmin())

    def was_trained_at(self, kelvin: float) -> bool:
        """Tell whether this is one of the training temperatures."""
        return abs(self.kelvin[self.nearest(kelvin)] - kelvin) <= _SAME * kelvin

    def require(self, kelvin: float | None) -> float:
        """Return a temperature at which the generator can make free runs.

        Raises
        ------
        UsageError
            If none is given, or it is too far from the training temperatures.
        """
        low, high = self.kelvin[0], self.kelvin[-1]
        trained = f"the model was trained at {self.text}"
        remedy = f"use --temperature with {low:.0f} to {high:.0f} K"
        if kelvin is None:
            raise UsageError(f"{trained}: at which temperature are ions to move?", remedy=remedy)
        least, most = low / (1 + BEYOND), high / (1 - BEYOND)
        if not least * (1 - _SAME) <= kelvin <= most * (1 + _SAME):
            raise UsageError(f"{kelvin:g} K is too far: {trained}", remedy=remedy)
        return kelvin

    def is_beyond(self, kelvin: float) -> bool:
        """Tell whether a temperature is not between those of the training."""
        low, high = self.kelvin[0], self.kelvin[-1]
        return not low * (1 - _SAME) <= kelvin <= high * (1 + _SAME)


@dataclass(frozen=True)
class IonSpecies:
    """The species of ions that are generated together, two or more.

    Attributes
    ----------
    species : tuple of int, [S]
        Atomic numbers, ascending.
    of_ion : tuple of int, [k]
        Which of them each ion of a cell is.
    scales : tuple of float, [S]
        Displacement of one record of each, over the root mean square of these.
    """

    name: ClassVar[str] = "species"
    species: tuple[int, ...]
    of_ion: tuple[int, ...]
    scales: tuple[float, ...]

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Return what `dataclasses.asdict` gave.

        Raises
        ------
        ValueError
            If these are no species of ions.
        """
        species, of_ion = (tuple(int(n) for n in plain[name]) for name in ("species", "of_ion"))
        scales = tuple(float(x) for x in plain["scales"])
        known = len(species) == len(scales) >= 2 and set(of_ion) == set(range(len(species)))
        if not known or min(scales) <= 0 or not 0 < min(species) <= max(species) <= 118:
            raise ValueError("ions have no species, or a species no scale")
        return cls(species, of_ion, scales)

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of the ions of a cell, [k]."""
        return np.array(self.species)[list(self.of_ion)]

    def speed(self, which: Tensor) -> Tensor:
        """Return the displacements of species [...], in their root mean square."""
        return torch.tensor(self.scales, device=which.device)[which.long()]

    def between(self, which: Tensor, values: Tensor) -> Tensor:
        """Return the values [S, m] of species [...], [..., m]; compare `Temperatures.between`."""
        return values[which.long()]


#: What changes from sample to sample, given as a number for each: kelvin, or which species.
Told = Temperatures | IonSpecies


def _piecewise(at: Tensor, levels: Tensor, values: Tensor) -> Tensor:
    """Interpolate values [n, ...] known at ascending levels [n]; linear beyond the ends too."""
    left = torch.searchsorted(levels[1:-1].contiguous(), at)
    share = (at - levels[left]) / (levels[left + 1] - levels[left])
    share = share.view(*share.shape, *[1] * (values.ndim - 1))
    return values[left] * (1 - share) + values[left + 1] * share
