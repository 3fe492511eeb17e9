"""What of the data goes into a generator as numbers, beside the weights that are learned."""

from dataclasses import replace
from typing import Any

import numpy as np

from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.transition import by_level, fit
from mdgan_hpc.models.transition.calibrate import longest_lag
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.equivariance import group_arguments
from mdgan_hpc.models.transition.neighbourhood import neighbour_arguments
from mdgan_hpc.models.transition.recoil import recoil_in
from mdgan_hpc.models.transition.thermostat import held_in


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
    seen, recoil = summary, recoil_in(summary, surroundings)
    if recoil is not None:
        summary = replace(summary, displacements=summary.inertial)
    moved = by_level.scaled_displacements(summary)
    resolved = fit.predictable(moved)
    per_step = fit.records_per_step(config.records_per_step, moved)
    fitted = fit.fit_extrapolation(moved, per_step)
    fitted["one_record_alpha2"] = fit.one_record_alpha2(moved) if resolved else None
    of = config.ema_records, config.ema_share
    averages = fit.fit_averages(seen.displacements, per_step, *of)
    decays = config.ema_records[: len(averages["ema_steps"])]
    arguments = {
        **fitted,
        **averages,
        **group_arguments(summary.symmetry),
        **neighbour_arguments(summary, surroundings),
        **by_level.told_levels(summary, seen, resolved, decays, per_step),
    }
    if held := held_in(config, summary, surroundings):
        arguments["held"] = held
    elif resolved:
        groups = by_level.displacements_at_each(summary)
        arguments["msd_target"] = fit.msd_target(groups, summary.step_skip, longest_lag(config))
    if recoil is not None:
        arguments["recoil"] = recoil
    names = ("extrapolation", "whitening")
    shells = fit.variance_shells(moved, *(np.array(fitted[name]) for name in names))
    return arguments, shells
