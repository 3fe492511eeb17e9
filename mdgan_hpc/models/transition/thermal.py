"""What changes with the temperature, where a generator was trained at several.

Displacements are measured in thermal ones, which scale with sqrt(T); the noise calibration is
interpolated in 1/T; start states are those of the nearest temperature with their speeds rescaled,
as a Maxwell distribution does.
"""

from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import DataSummary, State
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.models.transition import fit
from mdgan_hpc.models.transition.mixture import NoiseByEnergy


class Told(TypedDict, total=False):
    """Arguments of `TransitionGenerator` where the data are at several temperatures."""

    temperatures: dict[str, Any]
    levels: list[tuple[float, float | None]]


def thermal_displacements(summary: DataSummary) -> list[np.ndarray]:
    """Return displacements in Angstrom at the reference temperature, or as they are at one."""
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if temperatures is None or kelvin is None:
        return summary.displacements
    each = zip(summary.displacements, kelvin, strict=True)
    return [moved / temperatures.speed(k) for moved, k in each]


def told_temperatures(summary: DataSummary, resolved: bool) -> Told:
    """Return the temperatures of the data and what is measured at each; nothing where it is one.

    Parameters
    ----------
    summary : DataSummary
    resolved : bool
        Whether a record resolves the velocity of an ion.
    """
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if temperatures is None or kelvin is None:
        return {}
    levels: list[tuple[float, float | None]] = []
    for level in temperatures.kelvin:
        strain = temperatures.strain(level)
        each = zip(summary.displacements, kelvin, strict=True)
        mine = [moved if strain is None else moved @ strain for moved, k in each if k == level]
        square = sum(float((d**2).sum()) for d in mine) / sum(d.size for d in mine)
        levels.append((square**0.5, fit.one_record_alpha2(mine) if resolved else None))
    return {"temperatures": temperatures.to_plain(), "levels": levels}


def nearest_starts(start_k: Tensor, temperature_k: float) -> Tensor:
    """Return which start states [n] are of the temperature nearest to one, by 1/T."""
    distance = (1 / start_k - 1 / temperature_k).abs()
    return torch.nonzero(distance <= distance.min() * (1 + 1e-4))[:, 0]


def rescaled(
    state: State, temperatures: Temperatures, start_k: Tensor, temperature_k: float
) -> State:
    """Return states of ions at temperatures [B] with the speeds that they have at another."""
    factor = temperatures.speed(temperature_k) / temperatures.speed(start_k)
    return state | {"displacements": state["displacements"] * factor[:, None, None]}


def log_noise(
    temperatures: Temperatures,
    levels: Tensor,
    kelvin: Tensor,
    last: Tensor,
    mean_square: float,
    bound: float,
) -> Tensor:
    """Return the logarithm [B, n] of the calibrated noise along data.

    Parameters
    ----------
    temperatures : Temperatures
    levels : Tensor, [t, 2]
        Of each of them: logarithm of the noise, and its change with the kinetic energy.
    kelvin : Tensor, [B]
        Of the ions.
    last : Tensor, [B, n, 3]
        Displacements before each step, Angstrom.
    mean_square : float
        Of displacements at the reference temperature, Angstrom^2.
    bound : float
        Of `NoiseByEnergy`.
    """
    noise, slope = temperatures.between(kelvin[:, None], levels).unbind(-1)
    thermal = last / temperatures.speed(kelvin)[:, None, None]
    return noise + NoiseByEnergy(slope, mean_square, bound).log_factor(thermal, -1)
