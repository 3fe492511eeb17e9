"""Radial distribution of the mobile ions, where generated ions saw each other as those of MD do."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.dynamics import open_runs
from mdgan_hpc.analysis.observables.pairs import radial_distribution
from mdgan_hpc.report.results import Pairs

#: Generated records and ions that are looked at.
_RECORDS, _IONS = 2000, 512


def compare_pairs(
    md: Sequence[np.ndarray],
    cell: np.ndarray | None,
    generated: Sequence[str],
    species: str,
) -> Pairs | None:
    """Return the radial distribution functions of MD and generated ions.

    Parameters
    ----------
    md : sequence of array, [T, N, 3]
        Positions of the MD runs, Angstrom.
    cell : array, [3, 3] or None
        Of the MD runs, Angstrom.
    generated : sequence of path
    species : str

    Returns
    -------
    Pairs or None
        None where the cell changes or is not known, there is one ion in it, or generated ions
        did not see each other.
    """
    if cell is None or min(run.shape[1] for run in md) < 2:
        return None
    with open_runs(generated, species) as trajectories:
        first = trajectories[0]
        n = first.ions_per_cell
        if n < 2 or first.n_particles % n:
            return None
        ions = min(first.n_particles, max(n, _IONS // n * n))
        own = cell if first.constant_cell is None else first.constant_cell
        made = first.positions(slice(0, min(first.n_records, _RECORDS)), slice(0, ions))
    runs = [radial_distribution(run, cell, run.shape[1]) for run in md]
    r, of_model = radial_distribution(made, own, n)
    weights = [run.shape[0] * run.shape[1] for run in md]
    # The larger cell shows longer distances.
    common = min(len(r), len(runs[0][0]))
    each = np.array([g[:common] for _, g in runs])
    of_md = np.average(each, axis=0, weights=weights)
    return Pairs(r[:common], of_md, each, of_model[:common])
