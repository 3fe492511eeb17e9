"""How well D can be known from the hops in MD data: one rule for the report and the advice."""

import numpy as np

from mdgan_hpc.analysis.fit.results import Diffusion
from mdgan_hpc.analysis.fit.transport import information_ceiling
from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.report.results import Ceiling


def ceiling_of(md: Dynamics, diffusion: Diffusion, hop_angstrom: float) -> Ceiling:
    """Return the relative error of D that MD data allow at best.

    Parameters
    ----------
    md : Dynamics
    diffusion : Diffusion
        Of the same runs: where there is a D, the MSD over the length of a run is read from its
        line, or else the MSD at the longest lag is taken.
    hop_angstrom : float
        Length of a hop (`Fidelity.hop_angstrom`).
    """
    ions = int(md.n_particles.sum())
    span = float(np.mean(md.span_ps))
    longest = float(md.curves.msd[-1])
    total = diffusion.total
    if total is not None:
        longest = total.intercept_angstrom2 + 6 * total.d_angstrom2_per_ps * span
    n_effective, relative = information_ceiling(ions, longest, hop_angstrom)
    return Ceiling(float(n_effective), float(relative), hop_angstrom)
