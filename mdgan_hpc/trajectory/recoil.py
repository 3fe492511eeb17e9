"""How heavy the ions of a trajectory are against the framework whose frame they are told in."""

import numpy as np

from mdgan_hpc.trajectory.reader import Trajectory


def recoil_of(trajectory: Trajectory) -> np.ndarray | None:
    """Return the mass of each ion over that of the framework, [N].

    None where positions are not relative to the centre of mass of a framework (``mdgan-convert
    --drift framework``), the file does not tell its masses, or only some of its ions are read: the
    others share the momentum.
    """
    masses = trajectory.parameter("framework_masses")
    known = isinstance(masses, np.ndarray) and masses.ndim == 1 and masses.dtype.kind == "f"
    if trajectory.parameter("drift") != "framework" or not known or not masses.size:
        return None
    if len(trajectory.all_species) != trajectory.n_particles:
        return None
    ions = trajectory.masses
    if ions is None:
        from ase.data import atomic_masses

        ions = atomic_masses[trajectory.species]
    least = min(masses.min(), ions.min())
    return ions / masses.sum() if np.isfinite(masses).all() and least > 0 else None
