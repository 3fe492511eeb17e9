"""What of the data goes into a generator as numbers, beside the weights that are learned."""

from typing import Any

import numpy as np

from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.transition import fit, thermal
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.equivariance import group_arguments
from mdgan_hpc.models.transition.neighbourhood import neighbour_arguments

#: Records in a step where inertia is resolved (`fit.predictable`).
_RECORDS_PER_STEP = 2


def measured(
    config: TransitionConfig, summary: DataSummary, surroundings: Surroundings | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the arguments of a `TransitionGenerator` for data, and `fit.variance_shells` [32].

    Parameters
    ----------
    config : TransitionConfig
    summary : DataSummary
    surroundings : Surroundings or None
    """
    moved = thermal.thermal_displacements(summary)
    resolved = fit.predictable(moved)
    per_step = config.records_per_step or (_RECORDS_PER_STEP if resolved else 1)
    fitted = fit.fit_extrapolation(moved, per_step)
    fitted["one_record_alpha2"] = fit.one_record_alpha2(moved) if resolved else None
    averages = fit.fit_averages(
        summary.displacements, per_step, config.ema_records, config.ema_share
    )
    arguments = {
        **fitted,
        **averages,
        **group_arguments(summary.symmetry),
        **neighbour_arguments(summary, surroundings, per_step),
        **thermal.told_temperatures(summary, resolved),
        **_levels_of(averages, summary, config, per_step),
    }
    names = ("extrapolation", "whitening")
    shells = fit.variance_shells(moved, *(np.array(fitted[name]) for name in names))
    return arguments, shells


def _levels_of(
    averages: dict[str, list[float]], summary: DataSummary, config: TransitionConfig, per_step: int
) -> dict[str, list[list[float]]]:
    """Return the scales of the moving averages at each temperature, where there are several."""
    temperatures, kelvin = summary.temperatures, summary.temperature_k
    if temperatures is None or kelvin is None:
        return {}
    decays = config.ema_records[: len(averages["ema_steps"])]
    levels = []
    for level in temperatures.kelvin:
        mine = [d for d, k in zip(summary.displacements, kelvin, strict=True) if k == level]
        levels.append(fit.fit_averages(mine, per_step, decays, 0.0)["ema_scales"])
    return {"ema_levels": levels}
