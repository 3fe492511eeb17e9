"""What is made of diffusion coefficients: their information ceiling, the Arrhenius law, the
Nernst-Einstein estimate of the conductivity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mdgan_hpc.analysis.fit.covariance import gls
from mdgan_hpc.analysis.fit.results import Conductivity, FiniteSize
from mdgan_hpc.errors import UsageError
from mdgan_hpc.results import Result
from mdgan_hpc.units import BOLTZMANN_EV_PER_K, BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C, M2_PER_S

#: Standard normal quantile of a 95 % interval.
_TWO_SIDED_95 = 1.959964


def information_ceiling(
    n_particles: int, longest_msd: float, hop_length: float
) -> tuple[float, float]:
    """Return the number of effective hops, and the relative error of D they allow at best.

    Parameters
    ----------
    n_particles : int
        Ions of all training runs.
    longest_msd : float
        MSD over the length of a run, Angstrom^2.
    hop_length : float
        Distance between neighbouring sites, Angstrom.

    References
    ----------
    X. He et al., npj Comput. Mater. 4, 18 (2018): relative standard deviation
    3.43 / sqrt(N_eff) + 0.04.
    """
    n_effective = n_particles * longest_msd / hop_length**2
    return n_effective, 3.43 / np.sqrt(n_effective) + 0.04


@dataclass(frozen=True)
class Arrhenius(Result):
    """D = D0 exp(-Ea / kT) through coefficients at several temperatures.

    Attributes
    ----------
    activation_ev, activation_error_ev : float
    d0, log_d0_error : float
        Angstrom^2/ps, and the standard error of its logarithm.
    covariance : array, [2, 2]
        Of (log D0, Ea).
    """

    activation_ev: float
    activation_error_ev: float
    d0: float
    log_d0_error: float
    covariance: np.ndarray

    def at(self, temperature_k: float) -> tuple[float, float]:
        """Return D at a temperature and its standard error, in Angstrom^2/ps."""
        beta = 1 / (BOLTZMANN_EV_PER_K * temperature_k)
        d = self.d0 * np.exp(-self.activation_ev * beta)
        gradient = np.array([1.0, -beta])
        return float(d), float(d * np.sqrt(gradient @ self.covariance @ gradient))

    def interval(self, temperature_k: float) -> tuple[float, float]:
        """Return the bounds of the 95 % interval of D at a temperature, in Angstrom^2/ps.

        Of log D, whose error is normal: far from the points it is wide and above zero.
        """
        d, error = self.at(temperature_k)
        factor = float(np.exp(_TWO_SIDED_95 * error / d))
        return d / factor, d * factor


def arrhenius(
    temperature_k: Sequence[float], d: Sequence[float], error: Sequence[float]
) -> Arrhenius:
    """Fit log D against 1/T, each point weighted by its own relative error.

    Raises
    ------
    UsageError
        With fewer than two different temperatures.
    """
    t, d_, e = (np.asarray(v, float) for v in (temperature_k, d, error))
    if len(np.unique(t)) < 2:
        raise UsageError("an Arrhenius fit needs at least two temperatures")
    design = np.stack([np.ones_like(t), -1 / (BOLTZMANN_EV_PER_K * t)], axis=1)
    parameters, covariance, _ = gls(design, np.log(d_), np.diag((e / d_) ** 2))
    return Arrhenius(
        float(parameters[1]),
        float(np.sqrt(covariance[1, 1])),
        float(np.exp(parameters[0])),
        float(np.sqrt(covariance[0, 0])),
        covariance,
    )


def nernst_einstein(
    d: float, *, n_ions: int, volume_a3: float, charge: float, temperature_k: float
) -> float:
    """Return the Nernst-Einstein estimate of the conductivity in S/cm.

    n q^2 D / (k T): what the conductivity would be if ions moved independently of each other.

    Parameters
    ----------
    d : float
        Angstrom^2/ps.
    n_ions : int
        Mobile ions in the volume.
    volume_a3 : float
        Angstrom^3.
    charge : float
        In elementary charges.
    temperature_k : float
    """
    density_per_m3 = n_ions / (volume_a3 * 1e-30)
    q = charge * ELEMENTARY_CHARGE_C
    siemens_per_m = density_per_m3 * q**2 * d * M2_PER_S / (BOLTZMANN_J_PER_K * temperature_k)
    return siemens_per_m / 100


class Measured(Protocol):
    """A diffusion coefficient with its standard error and 95 % interval, Angstrom^2/ps."""

    @property
    def d_angstrom2_per_ps(self) -> float: ...

    @property
    def error_angstrom2_per_ps(self) -> float: ...

    @property
    def low_angstrom2_per_ps(self) -> float: ...

    @property
    def high_angstrom2_per_ps(self) -> float: ...


def conductivity(
    coefficient: Measured, *, n_ions: int, volume_a3: float, charge: float, temperature_k: float
) -> Conductivity:
    """Return the conductivity that a diffusion coefficient means (`nernst_einstein`).

    Of D of single ions it is the Nernst-Einstein estimate, of D of all ions together that of the
    charge they carry.
    """
    d = coefficient.d_angstrom2_per_ps
    sigma = nernst_einstein(
        d, n_ions=n_ions, volume_a3=volume_a3, charge=charge, temperature_k=temperature_k
    )
    error, low, high = (
        sigma * (part / d)
        for part in (
            coefficient.error_angstrom2_per_ps,
            coefficient.low_angstrom2_per_ps,
            coefficient.high_angstrom2_per_ps,
        )
    )
    return Conductivity(sigma, error, n_ions, volume_a3, charge, temperature_k, low, high)


#: Of a cubic lattice of point charges in a neutral background, from Ewald's sum.
_XI = 2.837297


def finite_size(
    coefficient: Measured, *, edge_angstrom: float, viscosity_mpa_s: float, temperature_k: float
) -> FiniteSize:
    """Return D of an infinite liquid, from that in a cubic cell with periodic boundaries.

    D + xi k T / (6 pi eta L): what the flow that a moving particle drives through the periodic
    cells holds back. For a liquid; a framework that stands still lets no flow arise.

    Parameters
    ----------
    coefficient : Measured
    edge_angstrom : float
        L.
    viscosity_mpa_s : float
        eta, of the same liquid (in the same model), which hardly depends on the size.
    temperature_k : float

    References
    ----------
    I.-C. Yeh, G. Hummer, J. Phys. Chem. B 108, 15873 (2004), equation 12; B. Dünweg, K. Kremer,
    J. Chem. Phys. 99, 6983 (1993).
    """
    edge_m, viscosity_pa_s = edge_angstrom * 1e-10, viscosity_mpa_s * 1e-3
    kt = BOLTZMANN_J_PER_K * temperature_k
    added = _XI * kt / (6 * np.pi * viscosity_pa_s * edge_m) / M2_PER_S
    return FiniteSize(
        coefficient.d_angstrom2_per_ps + float(added),
        coefficient.error_angstrom2_per_ps,
        float(added),
        viscosity_mpa_s,
        edge_angstrom,
        temperature_k,
    )


@dataclass(frozen=True)
class ConductivityLaw(Result):
    """sigma T = A exp(-Ea / kT) through conductivities at several temperatures.

    Attributes
    ----------
    activation_ev, activation_error_ev : float
    prefactor_s_k_per_cm, log_prefactor_error : float
        A, and the standard error of its logarithm.
    of : str
        Which conductivity: ``collective`` motion, or ``nernst_einstein``.
    """

    activation_ev: float
    activation_error_ev: float
    prefactor_s_k_per_cm: float
    log_prefactor_error: float
    of: str


def conductivity_law(
    temperature_k: Sequence[float], sigma: Sequence[float], error: Sequence[float], of: str
) -> ConductivityLaw:
    """Fit log (sigma T) against 1/T, each point weighted by its own relative error.

    Parameters
    ----------
    temperature_k, sigma, error : sequence of float
        K, S/cm.
    of : str
        As in `ConductivityLaw`.

    Raises
    ------
    UsageError
        With fewer than two different temperatures.
    """
    t = np.asarray(temperature_k, float)
    products, errors = t * np.asarray(sigma), t * np.asarray(error)
    fit = arrhenius(t.tolist(), products.tolist(), errors.tolist())
    return ConductivityLaw(fit.activation_ev, fit.activation_error_ev, fit.d0, fit.log_d0_error, of)
