"""Physical constants, conversions and the one place where the time between records is computed.

Inside the package: Angstrom, ps, K, eV; diffusion coefficients in Angstrom^2/ps.
"""

FS_PER_PS = 1000.0
ANGSTROM_PER_NM = 10.0
#: CODATA 2018.
ANGSTROM_PER_BOHR = 0.529177210903

#: 1 Angstrom^2/ps = 1e-16 cm^2 / 1e-12 s.
CM2_PER_S = 1e-4
#: 1 Angstrom^2/ps in m^2/s.
M2_PER_S = 1e-8

#: CODATA 2018, exact by definition of the SI: J/K and C.
BOLTZMANN_J_PER_K = 1.380649e-23
ELEMENTARY_CHARGE_C = 1.602176634e-19
AVOGADRO = 6.02214076e23
EV_PER_KJ_PER_MOL = 1000.0 / (AVOGADRO * ELEMENTARY_CHARGE_C)
EV_PER_KCAL_PER_MOL = 4.184 * EV_PER_KJ_PER_MOL
BOLTZMANN_EV_PER_K = BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C


def record_interval_ps(stored_interval_ps: float, step_skip: int) -> float:
    """Time between two records when every `step_skip`-th stored frame is a record.

    Parameters
    ----------
    stored_interval_ps : float
        Time between two stored frames in ps: MD time step x the number of steps between frames.
    step_skip : int
        Stored frames from one record to the next, at least 1.

    Returns
    -------
    float
        Time between two records in ps.
    """
    return stored_interval_ps * step_skip
