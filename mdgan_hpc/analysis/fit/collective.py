"""D of the motion of all ions of a cell together, and the Haven ratio."""

from dataclasses import fields

import numpy as np

from mdgan_hpc.analysis.fit.coefficient import fit_coefficient
from mdgan_hpc.analysis.fit.covariance import Sampling
from mdgan_hpc.analysis.fit.results import Coefficient, Collective, Refused
from mdgan_hpc.analysis.fit.window import NotDiffusiveError
from mdgan_hpc.analysis.results import Dynamics


def fit_collective(dynamics: Dynamics, total: Coefficient) -> Collective | Refused:
    """Return D of the motion of all ions of a cell together, and the Haven ratio.

    The summed displacement of the N ions of a cell, squared, over N, grows as 6 D_c t; the charge
    they carry diffuses so. The Haven ratio is D / D_c: below one where ions move on behind each
    other.

    Parameters
    ----------
    dynamics : Dynamics
        With cells.
    total : Coefficient
        D of single ions; its window is used.

    References
    ----------
    G. E. Murch, Solid State Ionics 7, 177 (1982), the Haven ratio.
    """
    curves, cells = dynamics.curves, dynamics.cells
    if cells is None or curves.msd_collective is None:
        raise ValueError("needs the collective motion")
    # One independent sample a cell; a sum over many ions is as good as Gaussian.
    sampling = Sampling(np.asarray(cells.number), np.asarray(dynamics.span_ps))
    try:
        together = fit_coefficient(
            curves.lag_ps, curves.msd_collective, sampling, window_ps=total.window_ps
        )
    except NotDiffusiveError as refused:
        return Refused(refused.what)
    d, error = total.d_angstrom2_per_ps, total.error_angstrom2_per_ps
    ratio = d / together.d_angstrom2_per_ps
    relative = together.error_angstrom2_per_ps / together.d_angstrom2_per_ps
    known = {item.name: getattr(together, item.name) for item in fields(together)}
    return Collective(
        **known, haven_ratio=ratio, haven_error=float(ratio * np.hypot(error / d, relative))
    )
