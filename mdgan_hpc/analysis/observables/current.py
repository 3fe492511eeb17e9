"""The spectrum of the current: of the summed velocity of all ions of a cell.

The velocity over a stride is the mean of the true one, so that its spectrum at zero frequency is
that of the true one at any stride: the factor sinc^2 of the mean is one there, and zero where
higher frequencies are folded onto it.
"""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.observables.collective import CollectiveSums
from mdgan_hpc.analysis.observables.msd import total
from mdgan_hpc.analysis.results import CurrentSpectrum


def current_spectrum(runs: Sequence[CollectiveSums], interval_ps: float) -> CurrentSpectrum | None:
    """Return the mean periodogram of the current of all cells, pieces and axes.

    Parameters
    ----------
    runs : sequence of CollectiveSums
    interval_ps : float
        Time between two records.

    Returns
    -------
    CurrentSpectrum or None
        None where no ions saw each other, or runs are too short.
    """
    used = [run for run in runs if run.sums["spectra"][0] and run.ions_per_cell > 1]
    if not used:
        return None
    points, step_ps = used[0].points, used[0].stride * interval_ps
    power = total(run.sums["current_power"] / run.ions_per_cell for run in used)
    number = sum(int(run.sums["spectra"][0]) for run in used)
    return CurrentSpectrum(
        frequency_thz=np.fft.rfftfreq(points, step_ps),
        value=power / (number * points * step_ps),
        n_spectra=number,
    )
