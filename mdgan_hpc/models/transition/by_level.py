"""What changes with the temperature or the species, where a generator is trained on several.

Displacements are measured in thermal ones, which scale with sqrt(T), or in those of the species;
the noise calibration is interpolated in 1/T, or that of the species; start states are those of the
nearest temperature with their speeds rescaled, as a Maxwell distribution does.
"""

from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import DataSummary, State
from mdgan_hpc.models.condition import Temperatures, Told
from mdgan_hpc.models.transition import fit
from mdgan_hpc.models.transition.mixture import NoiseByEnergy


class Levels(TypedDict, total=False):
    """Arguments of `TransitionGenerator` where the data are at several temperatures, or of several
    species.
    """

    temperatures: dict[str, Any]
    kinds: dict[str, Any]
    levels: list[tuple[float, float | None]]
    ema_levels: list[list[float]]


def scaled_displacements(summary: DataSummary) -> list[np.ndarray]:
    """Return displacements over those at each temperature or of each species; else as they are."""
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if summary.species:
        scales = _scales(summary)
        each = zip(summary.displacements, summary.kinds, strict=True)
        return [moved / scales[kinds][:, None] for moved, kinds in each]
    if temperatures is None or kelvin is None:
        return summary.displacements
    return [
        moved / temperatures.speed(k)
        for moved, k in zip(summary.displacements, kelvin, strict=True)
    ]


def _of_levels(summary: DataSummary) -> list[list[np.ndarray]]:
    """Return the displacements at each temperature, or of each species; nothing where it is one."""
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if summary.species:
        each = list(zip(summary.displacements, summary.kinds, strict=True))
        return [[d[:, kinds == s] for d, kinds in each] for s in range(len(summary.species))]
    if temperatures is None or kelvin is None:
        return []
    pairs = list(zip(summary.displacements, kelvin, strict=True))
    return [[d for d, k in pairs if k == level] for level in temperatures.kelvin]


def _scales(summary: DataSummary) -> np.ndarray:
    """Return the displacements of one record of each species, over their root mean square [S]."""
    rms = np.array([_rms(mine) for mine in _of_levels(summary)])
    return np.asarray(rms / np.sqrt((rms**2).mean()))


def _rms(displacements: list[np.ndarray]) -> float:
    square = sum(float((d**2).sum()) for d in displacements) / sum(d.size for d in displacements)
    return float(square**0.5)


def told_levels(
    summary: DataSummary, resolved: bool, decay_records: list[float], per_step: int
) -> Levels:
    """Return what is measured at each temperature, or of each species; nothing where it is one.

    Parameters
    ----------
    summary : DataSummary
    resolved : bool
        Whether a record resolves the velocity of an ion.
    decay_records : list of float
        Decay times of the moving averages.
    per_step : int
        Records in a step.
    """
    each = _of_levels(summary)
    if not each:
        return {}
    found: Levels = {
        "ema_levels": [
            fit.fit_averages(mine, per_step, decay_records, 0.0)["ema_scales"] for mine in each
        ]
    }
    temperatures = summary.temperatures
    if temperatures is not None:
        found["temperatures"] = temperatures.to_plain()
        strains = [temperatures.strain(level) for level in temperatures.kelvin]
        each = [
            mine if strain is None else [d @ strain for d in mine]
            for mine, strain in zip(each, strains, strict=True)
        ]
    else:
        found["kinds"] = {
            "species": list(summary.species),
            "of_ion": summary.run_kinds[0].tolist(),
            "scales": _scales(summary).tolist(),
        }
    found["levels"] = [
        (_rms(mine), fit.one_record_alpha2(mine) if resolved else None) for mine in each
    ]
    return found


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
    by: Told, levels: Tensor, told: Tensor, last: Tensor, mean_square: float, bound: float
) -> Tensor:
    """Return the logarithm [B, n] of the calibrated noise along data.

    Parameters
    ----------
    by : Told
    levels : Tensor, [t, 2]
        Of each temperature or species: logarithm of the noise, and its change with the kinetic
        energy.
    told : Tensor, [B]
        To the ions.
    last : Tensor, [B, n, 3]
        Displacements before each step, Angstrom.
    mean_square : float
        Of displacements at the reference, Angstrom^2.
    bound : float
        Of `NoiseByEnergy`.
    """
    noise, slope = by.between(told[:, None], levels).unbind(-1)
    scaled = last / by.speed(told)[:, None, None]
    return noise + NoiseByEnergy(slope, mean_square, bound).log_factor(scaled, -1)
