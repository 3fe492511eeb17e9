"""Which records to learn from: one rule, for the advice before a training and for the training."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.results import Dynamics, Vacf
from mdgan_hpc.errors import DataError

#: The velocity counts as forgotten once its autocorrelation stays below this.
FORGOTTEN = 0.1
#: A record interval that follows the velocity: so many records while it is remembered.
RECORDS_PER_MEMORY = 10
#: A likelihood learns each record from those before it: records farther apart than this, ps, do not
#: resolve the vibrations of the ions and of what is around them.
LONGEST_INTERVAL_PS = 0.010
#: A run shall hold so many records.
LIKELIHOOD_RUN = 256
#: Its windows: so many records, but no more than this share of the shortest run.
LIKELIHOOD_RECORDS, LIKELIHOOD_SHARE = 160, 1 / 4
#: Critics judge whole windows: so many memories of the velocity, and the time to the diffusive
#: regime, but no more than this share of the shortest run.
CRITICS_MEMORIES, CRITICS_SHARE = 4, 1 / 8
LEAST_RECORDS = 32
#: Frames of a run below which nothing can be said.
FEWEST_FRAMES = 32


@dataclass(frozen=True)
class Suggestion:
    """A step skip, and the records of a training window.

    Attributes
    ----------
    step_skip : int
        Stored frames from one record to the next.
    records : int
    """

    step_skip: int
    records: int


def require_frames(shortest: int) -> None:
    """Raise `DataError` where the shortest run has too few frames to say anything."""
    if shortest < FEWEST_FRAMES:
        raise DataError(
            f"a run of {shortest} frames is too short to learn from",
            remedy=f"give runs of {FEWEST_FRAMES} frames at least, better of thousands",
        )


def velocity_memory_ps(found: Dynamics) -> float:
    """Return the time from which on the velocity is forgotten.

    Raises
    ------
    DataError
        If the ions do not move.
    """
    vacf: Vacf | None = found.vacf
    if vacf is None or not vacf.value[0] > 0:
        raise DataError("the ions do not move: there is nothing to learn")
    above = np.flatnonzero(np.abs(vacf.value) >= FORGOTTEN * vacf.value[0])
    return float(vacf.time_ps[min(above[-1] + 1, len(vacf.time_ps) - 1)])


def for_likelihood(found: Dynamics) -> Suggestion:
    """Return what a likelihood learns best from."""
    interval = found.record_interval_ps
    longest = min(velocity_memory_ps(found) / RECORDS_PER_MEMORY, LONGEST_INTERVAL_PS)
    shortest = int(np.min(found.n_records))
    skip = max(1, min(int(longest / interval * (1 + 1e-6)), shortest // LIKELIHOOD_RUN))
    records = min(LIKELIHOOD_RECORDS, int(LIKELIHOOD_SHARE * shortest / skip))
    return Suggestion(skip, max(LEAST_RECORDS, records))


def for_critics(found: Dynamics, diffusive_ps: float | None) -> Suggestion:
    """Return what critics judge best.

    Parameters
    ----------
    found : Dynamics
    diffusive_ps : float or None
        Where the fit of D begins, if there is a D.
    """
    interval, memory = found.record_interval_ps, velocity_memory_ps(found)
    skip = max(1, round(memory / RECORDS_PER_MEMORY / interval))
    wanted = max(CRITICS_MEMORIES * memory, diffusive_ps or 0.0) / (skip * interval)
    shortest = int(np.min(found.n_records))
    return Suggestion(skip, int(max(LEAST_RECORDS, min(wanted, CRITICS_SHARE * shortest / skip))))
