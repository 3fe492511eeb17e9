"""What changes with the temperature or the species, where a generator is trained on several.

Displacements are measured in thermal ones, which scale with sqrt(T), or in those of the species;
the noise calibration is interpolated in 1/T, or that of the species; start states are those of the
nearest temperature with their speeds rescaled, as a Maxwell distribution does.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import DataSummary, State
from mdgan_hpc.models.condition import IonSpecies, Temperatures, Told
from mdgan_hpc.models.transition import fit
from mdgan_hpc.models.transition.calibrate import MsdTarget, Target
from mdgan_hpc.models.transition.mixture import NoiseByEnergy
from mdgan_hpc.models.transition.network import Weights


class Levels(TypedDict, total=False):
    """Arguments of `TransitionGenerator` where the data are at several temperatures, or of several
    species.
    """

    temperatures: dict[str, Any]
    temperature_is_input: bool
    ion_species: dict[str, Any]
    levels: list[tuple[float, float | None]]
    ema_levels: list[list[float]]


def scaled_displacements(summary: DataSummary) -> list[np.ndarray]:
    """Return displacements over those at each temperature or of each species; else as they are."""
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if summary.species:
        scales = _scales(summary)
        pairs = zip(summary.displacements, summary.which_species, strict=True)
        return [moved / scales[which][:, None] for moved, which in pairs]
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
        pairs = list(zip(summary.displacements, summary.which_species, strict=True))
        return [[d[:, which == s] for d, which in pairs] for s in range(len(summary.species))]
    if temperatures is None or kelvin is None:
        return []
    at_k = list(zip(summary.displacements, kelvin, strict=True))
    return [[d for d, k in at_k if k == level] for level in temperatures.kelvin]


def displacements_at_each(summary: DataSummary) -> list[list[np.ndarray]]:
    """Return displacements at each temperature, in its cell, or of each species; else all."""
    moved, temperatures = _of_levels(summary), summary.temperatures
    if temperatures is None:
        return moved or [summary.displacements]
    strains = [temperatures.strain(level) for level in temperatures.kelvin]
    return [
        mine if strain is None else [d @ strain for d in mine]
        for mine, strain in zip(moved, strains, strict=True)
    ]


def _scales(summary: DataSummary) -> np.ndarray:
    """Return the displacements of one record of each species, over their root mean square [S]."""
    rms = np.array([_rms(mine) for mine in _of_levels(summary)])
    return np.asarray(rms / np.sqrt((rms**2).mean()))


def _rms(displacements: list[np.ndarray]) -> float:
    square = sum(float((d**2).sum()) for d in displacements) / sum(d.size for d in displacements)
    return float(square**0.5)


def told_levels(
    summary: DataSummary,
    seen: DataSummary,
    resolved: bool,
    decay_records: list[float],
    per_step: int,
) -> Levels:
    """Return what is measured at each temperature, or of each species; nothing where it is one.

    Parameters
    ----------
    summary, seen : DataSummary
        With displacements in the frame in which steps are predicted, and in that of positions.
    resolved : bool
        Whether a record resolves the velocity of an ion.
    decay_records : list of float
        Decay times of the moving averages.
    per_step : int
        Records in a step.
    """
    moved = displacements_at_each(summary)
    if len(moved) == 1:
        return {}
    found: Levels = {
        "ema_levels": [
            fit.fit_averages(mine, per_step, decay_records, 0.0)["ema_scales"]
            for mine in _of_levels(seen)
        ]
    }
    temperatures = summary.temperatures
    if temperatures is not None:
        found["temperatures"] = temperatures.to_plain()
        found["temperature_is_input"] = False
    else:
        found["ion_species"] = {
            "species": list(summary.species),
            "of_ion": summary.run_species[0].tolist(),
            "scales": _scales(summary).tolist(),
        }
    found["levels"] = [
        (_rms(mine), fit.one_record_alpha2(mine) if resolved else None) for mine in moved
    ]
    return found


def targets(
    levels: Sequence[tuple[float, float | None]],
    msd_targets: Sequence[MsdTarget | None],
    ion_species: IonSpecies | None,
    particles: int,
) -> list[list[Target]]:
    """Return what the noise is to meet together: by all ions at each temperature, or each species.

    Parameters
    ----------
    levels : sequence of (float, float or None)
        Of `TransitionGenerator`.
    msd_targets : sequence of MsdTarget or None
        At each of them.
    ion_species : IonSpecies or None
        Species.
    particles : int
        Ions of a cell.
    """
    squares = [(3 * one_record**2, alpha2) for one_record, alpha2 in levels]
    numbers = list(zip(squares, msd_targets, strict=True))
    if ion_species is None:
        return [[Target(*pair, slice(None), far)] for pair, far in numbers]
    of_ion = np.resize(ion_species.of_ion, particles)
    each = [np.flatnonzero(of_ion == s) for s in range(len(numbers))]
    return [[Target(*n, ions, far) for (n, far), ions in zip(numbers, each, strict=True)]]


def at(
    weights: Weights, temperatures: Temperatures | None, components: int, kelvin: float | None
) -> Weights:
    """Return the weights at a temperature; as they are where there is one alone.

    Parameters
    ----------
    weights : dict
        Of `Network.dense_weights`.
    temperatures : Temperatures or None
    components : int
        Gaussians.
    kelvin : float or None
    """
    if temperatures is None or kelvin is None or "out_slope" not in weights:
        return weights
    left = dict(weights)
    slope, bias_slope = left.pop("out_slope"), left.pop("out_bias_slope")
    told = torch.full_like(bias_slope[0], temperatures.inverse(kelvin, 0.5))
    told[: 2 * components] = temperatures.inverse(kelvin)  # logarithms of weights and of widths
    left["out"] = left["out"] + told[:, None] * slope
    left["out_bias"] = left["out_bias"] + told * bias_slope
    return left


def each(
    weights: Weights, temperatures: Temperatures | None, components: int, kelvin: Tensor
) -> list[tuple[int, Weights]]:
    """Return how many samples, one after another, have which weights.

    Few where those of one temperature follow each other. Parameters as of `at`, `kelvin` [B].
    """
    counted: tuple[Tensor, Tensor] = torch.unique_consecutive(kelvin, return_counts=True)
    levels, counts = (x.tolist() for x in counted)
    return [
        (n, at(weights, temperatures, components, k)) for n, k in zip(counts, levels, strict=True)
    ]


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


def of_species(
    species: IonSpecies, told: Tensor | None, levels: Tensor, mean_square: float, bound: float
) -> NoiseByEnergy:
    """Return the calibrated noise of the ions of a cell; parameters as of `log_noise`."""
    assert told is not None
    level, slope, _ = species.between(told, levels).unbind(-1)
    return NoiseByEnergy(slope, mean_square * species.speed(told) ** 2, bound, level)


def friction(
    of_all: Tensor, species: IonSpecies | None, told: Tensor | None, levels: Tensor | None
) -> Tensor:
    """Return the calibrated friction, [] of all ions, or [k] of the ions of a cell by species."""
    if species is None or told is None or levels is None:
        return of_all
    return species.between(told, levels)[:, 2]


def with_friction(state: dict[str, Tensor], name: str) -> None:
    """Give levels of before there was friction [t, 2] none: [t, 3]."""
    if name in state and state[name].shape[1] == 2:
        state[name] = torch.nn.functional.pad(state[name], (0, 1))


def log_noise(
    by: Told, levels: Tensor, told: Tensor, last: Tensor, mean_square: float, bound: float
) -> Tensor:
    """Return the logarithm [B, n] of the calibrated noise along data.

    Parameters
    ----------
    by : Told
    levels : Tensor, [t, 3]
        `Level` of each temperature or species.
    told : Tensor, [B]
        To the ions.
    last : Tensor, [B, n, 3]
        Displacements before each step, Angstrom.
    mean_square : float
        Of displacements at the reference, Angstrom^2.
    bound : float
        Of `NoiseByEnergy`.
    """
    noise, slope, _ = by.between(told[:, None], levels).unbind(-1)
    scaled = last / by.speed(told)[:, None, None]
    return noise + NoiseByEnergy(slope, mean_square, bound).log_factor(scaled, -1)
