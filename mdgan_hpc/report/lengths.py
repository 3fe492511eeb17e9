"""How D and its error depend on the length of the trajectory."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays, open_runs
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.report.results import LengthCurve

#: Parts of the whole length at which D is fitted.
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
#: Records of a part below which none is fitted.
_FEWEST_RECORDS = 64
#: Positions that are read at most, and records that are kept of them.
_POSITIONS = 12_000_000
_RECORDS = 6000


def d_against_length(runs: Sequence[np.ndarray], interval_ps: float) -> LengthCurve:
    """Fit D to the beginnings of runs, up to their whole length.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Unwrapped positions of replicas, Angstrom; none give an empty curve.
    interval_ps : float
        Between two records.
    """
    shortest = min(map(len, runs), default=0)
    rows = []
    for share in SHARES:
        records = round(share * shortest)
        if records < _FEWEST_RECORDS:
            continue
        part = dynamics_of_arrays([run[:records] for run in runs], interval_ps)
        total = fit_diffusion(part).total
        if total is not None:
            interval = total.low_angstrom2_per_ps, total.high_angstrom2_per_ps
            rows.append([(records - 1) * interval_ps, total.d_angstrom2_per_ps, *interval])
    span, d, low, high = np.array(rows).reshape(-1, 4).T
    return LengthCurve(span, d, low, high, sum(run.shape[1] for run in runs))


def beginnings(paths: Sequence[str], species: str) -> tuple[list[np.ndarray], float]:
    """Return positions [T, N, 3] of some ions of each file over its whole length, thinned.

    Returns
    -------
    runs : list of array
        As many records of each.
    interval_ps : float
        Between two of the records that are kept.
    """
    with open_runs(paths, species) as trajectories:
        records = min(t.n_records for t in trajectories)
        every = max(1, records // _RECORDS)
        runs = []
        for t in trajectories:
            fits = _POSITIONS // (records * len(paths))
            cell = t.ions_per_cell if t.ions_per_cell <= fits else 1
            ions = min(t.n_particles, max(cell, fits // cell * cell))
            runs.append(t.positions(slice(0, records), slice(0, ions))[::every])
        return runs, every * trajectories[0].record_interval_ps
