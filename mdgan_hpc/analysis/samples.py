"""How many training samples a data set gives at each step skip."""

from collections.abc import Sequence

import numpy as np


def windows_against_step_skip(
    n_records: Sequence[int], n_particles: Sequence[int], records: int
) -> dict[str, np.ndarray]:
    """Count windows of `records` records against the step skip.

    Parameters
    ----------
    n_records, n_particles : sequence of int
        Stored records and particles of each run.
    records : int
        Records in a window.

    Returns
    -------
    dict
        ``step_skip`` [S] from 1 to the longest that fits one window; ``overlapping`` [S], windows
        from every start; ``independent`` [S], windows that do not overlap in time.
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
    return {"step_skip": skip, "overlapping": overlapping, "independent": independent}
