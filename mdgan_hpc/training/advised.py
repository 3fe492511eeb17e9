"""What a configuration leaves to the advice, ``"auto"``: decided by the data before all else."""

import logging
from dataclasses import replace

from mdgan_hpc.config import AUTO
from mdgan_hpc.models import registry
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.settings import TrainingConfig
from mdgan_hpc.units import FS_PER_PS

_log = logging.getLogger(__name__)


def resolved(config: TrainingConfig, data: Dataset) -> TrainingConfig:
    """Return a configuration whose step skip, records and steps are numbers.

    Step skip and records that are left to the advice become what `mdgan-train --advise` suggests:
    for a likelihood, or for critics where no phase minimises a likelihood.

    Raises
    ------
    DataError
        If the runs are too short to look at, or the ions do not move.
    """
    # Loaded where they are asked: they take as long as the rest of a training's start.
    from mdgan_hpc.analysis.suggestion import STEPS, STEPS_OF_SEVERAL_TEMPERATURES

    steps = STEPS if data.temperatures is None else STEPS_OF_SEVERAL_TEMPERATURES
    phases = tuple(replace(p, steps=steps) if p.steps == AUTO else p for p in config.phase)
    config, asked = replace(config, phase=phases), config.data
    if AUTO not in (asked.step_skip, asked.records):
        return config
    from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
    from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
    from mdgan_hpc.analysis.suggestion import for_critics, for_likelihood, require_frames

    require_frames(min(map(len, data.runs)))
    found = dynamics_of_arrays(data.runs, data.interval_ps)
    if any(phase.likelihood is not None for phase in config.phase):
        suggested = for_likelihood(found)
    else:
        total = fit_diffusion(found).total
        suggested = for_critics(found, None if total is None else total.window_ps[0])
    skip = suggested.step_skip if asked.step_skip == AUTO else asked.step_skip
    records = asked.records
    if records == AUTO:
        # The time that the suggested window spans, at the step skip in force.
        records = max(8, round(suggested.records * suggested.step_skip / skip))
        kind = registry.get(config.generator.kind)
        records = kind.whole_records(config.generator.options, records)
    _log.info(
        "As the data advise: data.step_skip = %d (%g fs), data.records = %d (%.3g ps).",
        *(skip, skip * data.interval_ps * FS_PER_PS, records, records * skip * data.interval_ps),
    )
    return replace(config, data=replace(asked, step_skip=skip, records=records))
