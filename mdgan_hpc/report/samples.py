"""How many training samples a data set gives at each step skip."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.report.results import Samples


def windows_against_step_skip(
    n_records: Sequence[int] | np.ndarray,
    n_particles: Sequence[int] | np.ndarray,
    records: int,
    used_step_skip: int | None = None,
) -> Samples:
    """Count windows of `records` records against the step skip, from 1 to the longest that fits.

    Parameters
    ----------
    n_records, n_particles : sequence of int
        Stored records and particles of each run.
    records : int
        Records in a window.
    used_step_skip : int, optional
        To be marked in the picture.
    """
    longest = max(1, (max(n_records) - 1) // max(records - 1, 1))
    skip = np.unique(np.round(np.geomspace(1, longest, 60)).astype(int))
    overlapping = np.zeros(len(skip))
    independent = np.zeros(len(skip))
    for total, particles in zip(n_records, n_particles, strict=True):
        span = (records - 1) * skip + 1
        overlapping += particles * np.maximum(total - span + 1, 0)
        # Windows that do not overlap in time; interleaved ones would see the same motion.
        independent += particles * (total // (records * skip))
    return Samples(skip, overlapping, independent, records, used_step_skip)
