"""Which records to learn from: one rule, for the advice before a training and for the training."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_toeplitz

from mdgan_hpc.analysis.results import Dynamics, Vacf
from mdgan_hpc.errors import DataError

#: The velocity counts as forgotten once its autocorrelation stays below this.
FORGOTTEN = 0.1
#: A record interval that follows the velocity: so many records while it is remembered.
RECORDS_PER_MEMORY = 10
#: A likelihood learns each record from those before it: records farther apart than this, ps, do not
#: resolve the vibrations of the ions and of what is around them.
LONGEST_INTERVAL_PS = 0.010
#: Of a displacement, what the best linear extrapolation of those before it leaves open (root mean
#: square) at the record interval that a likelihood learns best. Closer records follow from those
#: before them by large weights of alternating sign, which amplify every error of a free run.
INNOVATION, PAST = 0.23, 12
#: A run shall hold so many records.
LIKELIHOOD_RUN = 256
#: Its windows: so many records, but no more than this share of the shortest run.
LIKELIHOOD_RECORDS, LIKELIHOOD_SHARE = 160, 1 / 4
#: Critics judge whole windows: so many memories of the velocity, and the time to the diffusive
#: regime, but no more than this share of the shortest run.
CRITICS_MEMORIES, CRITICS_SHARE = 4, 1 / 8
LEAST_RECORDS = 32
#: Of a phase: longer ones learn the runs by heart; those of several temperatures tell more.
STEPS, STEPS_OF_SEVERAL_TEMPERATURES = 2500, 5000
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
    wanted = max(int(longest / interval * (1 + 1e-6)), _inertial_skip(found))
    shortest = int(np.min(found.n_records))
    skip = max(1, min(wanted, shortest // LIKELIHOOD_RUN))
    records = min(LIKELIHOOD_RECORDS, int(LIKELIHOOD_SHARE * shortest / skip))
    return Suggestion(skip, max(LEAST_RECORDS, records))


def innovation(products: np.ndarray, step_skip: int) -> float:
    """Return the part of a displacement that those before it do not tell, root mean square over it.

    Parameters
    ----------
    products : array, [n]
        Mean products of two displacements from frame to frame, 0 to n - 1 frames apart: the
        velocity autocorrelation, in any unit.
    step_skip : int
        Frames from one record to the next; n is at least `PAST` + 1 times that.
    """
    # A displacement over s frames is the sum of s: products at lag k s collect those around it.
    triangle = step_skip - np.abs(np.arange(1 - step_skip, step_skip))
    lags = step_skip * np.arange(PAST + 1)[:, None] + np.arange(1 - step_skip, step_skip)
    together = (triangle * products[np.abs(lags)]).sum(1)
    try:
        weights = solve_toeplitz(together[:-1], together[1:])
    except np.linalg.LinAlgError:  # as of one steady velocity: nothing is left open
        return 0.0
    return float(np.sqrt(max(0.0, 1 - weights @ together[1:] / together[0])))


def _inertial_skip(found: Dynamics) -> int:
    """Return the step skip whose `innovation`, which grows with it, is closest to `INNOVATION`."""
    assert found.vacf is not None
    products, distances = found.vacf.value, []
    for skip in range(1, (len(products) + 1) // (PAST + 1)):
        here = innovation(products, skip)
        distances.append(abs(np.log(max(here, 1e-9) / INNOVATION)))
        if here > INNOVATION:
            break
    return 1 + int(np.argmin(distances)) if distances else 1


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
