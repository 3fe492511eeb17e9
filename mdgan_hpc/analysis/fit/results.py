"""Diffusion coefficients and what is made of them, as typed objects of a result file."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.results import Result
from mdgan_hpc.units import CM2_PER_S, M2_PER_S
from mdgan_hpc.verdict import Verdict


@dataclass(frozen=True)
class Refused(Result):
    """A quantity that the data do not give.

    Attributes
    ----------
    refused : str
        Why.
    """

    refused: str


@dataclass(frozen=True)
class Coefficient(Result):
    """A diffusion coefficient with everything needed to judge it.

    Attributes
    ----------
    d_angstrom2_per_ps : float
    error_angstrom2_per_ps : float
        Standard error.
    low_angstrom2_per_ps, high_angstrom2_per_ps : float
        Bounds of the 95 % interval.
    intercept_angstrom2 : float
        c of MSD = c + 2 d D t.
    dimensions : int
        3, or 1 for one axis.
    window_ps : tuple of float
        First and last lag of the fit.
    window_chosen : str
        ``by rule`` or ``given``.
    slope, slope_error : float
        Exponent of the MSD over the window, by the same covariance.
    n_independent : float
        Particles x run length / first lag of the fit.
    d_ols_angstrom2_per_ps, error_ols_angstrom2_per_ps : float
        Ordinary least squares over the same lags, and the error it claims: for comparison only.
    line_misfit : float, optional
        Root of chi-squared per degree of freedom where a line fits the MSD so badly that it is no
        chance (5 %), else one; the error has been multiplied by it.
    birge_ratio : float, optional
        By how much independent samples scatter more than the error of each explains; the error
        has been multiplied by it where it is above one.
    """

    d_angstrom2_per_ps: float
    error_angstrom2_per_ps: float
    low_angstrom2_per_ps: float
    high_angstrom2_per_ps: float
    intercept_angstrom2: float
    dimensions: int
    window_ps: tuple[float, float]
    window_chosen: str
    slope: float
    slope_error: float
    n_independent: float
    d_ols_angstrom2_per_ps: float
    error_ols_angstrom2_per_ps: float
    line_misfit: float | None = None
    birge_ratio: float | None = None

    DERIVED: ClassVar[tuple[str, ...]] = (
        "d_cm2_per_s",
        "error_cm2_per_s",
        "d_m2_per_s",
        "error_m2_per_s",
    )

    @property
    def d_cm2_per_s(self) -> float:
        """D in cm2/s."""
        return self.d_angstrom2_per_ps * CM2_PER_S

    @property
    def error_cm2_per_s(self) -> float:
        """Standard error in cm2/s."""
        return self.error_angstrom2_per_ps * CM2_PER_S

    @property
    def d_m2_per_s(self) -> float:
        """D in m2/s."""
        return self.d_angstrom2_per_ps * M2_PER_S

    @property
    def error_m2_per_s(self) -> float:
        """Standard error in m2/s."""
        return self.error_angstrom2_per_ps * M2_PER_S

    def to_tree(self) -> dict[str, Any]:
        """Return the result tree, D in three units."""
        tree = super().to_tree()
        tree["window_ps"] = np.array(self.window_ps)
        return tree | {name: getattr(self, name) for name in self.DERIVED}


@dataclass(frozen=True)
class Collective(Coefficient):
    """Diffusion coefficient of all ions of a cell together, and the Haven ratio.

    Attributes
    ----------
    haven_ratio, haven_error : float
        D / D_collective and its standard error: below one where ions move on behind each other.
    """

    haven_ratio: float = float("nan")
    haven_error: float = float("nan")


@dataclass(frozen=True)
class DiffusionTensor(Result):
    """The diffusion tensor; its trace is three times D.

    Attributes
    ----------
    d_angstrom2_per_ps, error_angstrom2_per_ps : array, [3, 3]
        Components and their standard errors.
    principal_angstrom2_per_ps, principal_error_angstrom2_per_ps : array, [3]
        Along the principal axes, the largest first.
    axes : array, [3, 3]
        Rows are the unit vectors of the principal axes.
    axes_error_degrees : array, [3]
        Standard errors of their directions; 90 where they are not known.
    isotropy_probability : float
        That an isotropic medium shows as much anisotropy by chance. Principal values always differ:
        where this is not small, the difference is noise.
    """

    d_angstrom2_per_ps: np.ndarray
    error_angstrom2_per_ps: np.ndarray
    principal_angstrom2_per_ps: np.ndarray
    principal_error_angstrom2_per_ps: np.ndarray
    axes: np.ndarray
    axes_error_degrees: np.ndarray
    isotropy_probability: float


@dataclass(frozen=True)
class GreenKubo(Result):
    """Diffusion coefficient of all ions of a cell together, from the spectrum of their current.

    Attributes
    ----------
    d_angstrom2_per_ps, error_angstrom2_per_ps : float
        Standard error.
    low_angstrom2_per_ps, high_angstrom2_per_ps : float
        Bounds of the 95 % interval.
    n_coefficients : int
        Cepstral coefficients kept.
    n_spectra : int
        Periodograms in the mean.
    """

    d_angstrom2_per_ps: float
    error_angstrom2_per_ps: float
    low_angstrom2_per_ps: float
    high_angstrom2_per_ps: float
    n_coefficients: int
    n_spectra: int


@dataclass(frozen=True)
class FiniteSize(Result):
    """D of an infinite liquid, from that in a cubic periodic cell.

    Attributes
    ----------
    d_angstrom2_per_ps, error_angstrom2_per_ps : float
        Corrected D; the error is that of the D measured.
    correction_angstrom2_per_ps : float
        What was added.
    viscosity_mpa_s, edge_angstrom, temperature_k : float
        What it rests on.
    """

    d_angstrom2_per_ps: float
    error_angstrom2_per_ps: float
    correction_angstrom2_per_ps: float
    viscosity_mpa_s: float
    edge_angstrom: float
    temperature_k: float


@dataclass(frozen=True)
class Choice(Result):
    """What the choice of the fit window rests on.

    Attributes
    ----------
    lag_ps, slope, slope_error : array, [n]
        Log-log slope of the MSD from a lag to about twice it, and its standard error.
    """

    lag_ps: np.ndarray
    slope: np.ndarray
    slope_error: np.ndarray


@dataclass(frozen=True)
class Counted(Result):
    """D and its standard error as programs give them that count independent observations."""

    d_angstrom2_per_ps: float
    error_angstrom2_per_ps: float


@dataclass(frozen=True)
class Conductivity(Result):
    """Ionic conductivity.

    Attributes
    ----------
    sigma_s_per_cm, error_s_per_cm : float
    low_s_per_cm, high_s_per_cm : float, optional
        Bounds of the 95 % interval, of D alone; those of files of before are not known.
    n_ions : int
    volume_a3 : float
        Angstrom^3.
    charge : float
        Elementary charges.
    temperature_k : float
    """

    sigma_s_per_cm: float
    error_s_per_cm: float
    n_ions: int
    volume_a3: float
    charge: float
    temperature_k: float
    low_s_per_cm: float | None = None
    high_s_per_cm: float | None = None


@dataclass(frozen=True)
class OnsagerConductivity(Result):
    """What S species carry together.

    Attributes
    ----------
    sigma_s_per_cm, error_s_per_cm : float
        Ionic conductivity, from the motion of all ions together.
    transference, transference_error : array, [S]
        Share of each species in it; in the frame of reference of the positions.
    charges : array, [S]
        Of an ion, elementary charges.
    temperature_k, volume_a3 : float
    haven_ratio, haven_error : float, optional
        Conductivity as if ions moved independently (Nernst-Einstein) over `sigma_s_per_cm`; where
        each species has a D.
    """

    sigma_s_per_cm: float
    error_s_per_cm: float
    transference: np.ndarray
    transference_error: np.ndarray
    charges: np.ndarray
    temperature_k: float
    volume_a3: float
    haven_ratio: float | None = None
    haven_error: float | None = None


@dataclass(frozen=True)
class Onsager(Result):
    """Onsager coefficients L_ij of S species, symmetric.

    Attributes
    ----------
    species : tuple of str
    n_ions : array of int, [S]
        In a cell.
    d_angstrom2_per_ps, error_angstrom2_per_ps : array, [S, S]
        D_ij = k T V L_ij / sqrt(N_i N_j), and its standard error. D_ii is D of the ions of a
        species together; of ions that move independently it is their D, and D_ij is zero.
    window_ps : tuple of float
        First and last lag of the fit.
    l_per_joule_metre_second, l_error_per_joule_metre_second : array, [S, S], optional
        L_ij, of numbers of ions; where temperature and volume are known.
    conductivity : OnsagerConductivity, optional
        Where charges were given.
    """

    species: tuple[str, ...]
    n_ions: np.ndarray
    d_angstrom2_per_ps: np.ndarray
    error_angstrom2_per_ps: np.ndarray
    window_ps: tuple[float, float]
    l_per_joule_metre_second: np.ndarray | None = None
    l_error_per_joule_metre_second: np.ndarray | None = None
    conductivity: OnsagerConductivity | None = None

    def to_tree(self) -> dict[str, Any]:
        """Return the result tree."""
        tree = super().to_tree()
        return tree | {"window_ps": np.array(self.window_ps)}


@dataclass(frozen=True)
class Ensemble(Result):
    """D of several models: their mean with its whole interval.

    Attributes
    ----------
    n_models : int
    d_angstrom2_per_ps, error_angstrom2_per_ps : float
        Mean, and standard deviation over the models.
    low_angstrom2_per_ps, high_angstrom2_per_ps : float
        Bounds of the 95 % interval.
    low68_angstrom2_per_ps, high68_angstrom2_per_ps : float
        Bounds of the 68 % interval.
    models_error_angstrom2_per_ps : float
        Share of the error that data and training have.
    ions_error_angstrom2_per_ps : float
        Share that the number of generated ions of a model has.
    d_of_models : array, [n]
    refused : int
        Models whose motion gives no D.
    """

    n_models: int
    d_angstrom2_per_ps: float
    error_angstrom2_per_ps: float
    low_angstrom2_per_ps: float
    high_angstrom2_per_ps: float
    low68_angstrom2_per_ps: float
    high68_angstrom2_per_ps: float
    models_error_angstrom2_per_ps: float
    ions_error_angstrom2_per_ps: float
    d_of_models: np.ndarray
    refused: int = 0


@dataclass(frozen=True)
class CollectiveEnsemble(Ensemble):
    """D of all ions of a cell together over several models, and the Haven ratio over them.

    Attributes
    ----------
    haven_ratio, haven_error : float
        Mean, and standard deviation over the models.
    haven_low, haven_high, haven_low68, haven_high68 : float
        Bounds of the 95 % and of the 68 % interval.
    haven_of_models : array, [n]
    """

    haven_ratio: float = float("nan")
    haven_error: float = float("nan")
    haven_low: float = float("nan")
    haven_high: float = float("nan")
    haven_low68: float = float("nan")
    haven_high68: float = float("nan")
    haven_of_models: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Diffusion(Result):
    """The diffusion coefficient of a `Dynamics`, in all directions and along each axis.

    Attributes
    ----------
    total : Coefficient, optional
        Missing where there is none; `refused` tells why.
    refused : str, optional
    choice : Choice, optional
        Where the window was chosen by rule.
    independent_observations : Counted, optional
        Where fourth moments are known.
    collective : Collective or Refused, optional
        Of ions that saw each other among atoms that stand still.
    x, y, z : Coefficient or Refused, optional
        Along an axis, over the same window.
    tensor : DiffusionTensor, optional
    green_kubo : GreenKubo, optional
        As `collective`, from the spectrum of the current.
    nernst_einstein, conductivity, conductivity_green_kubo : Conductivity, optional
        As if ions moved independently, and of all ions together by Einstein's relation and by
        Green and Kubo's.
    finite_size : FiniteSize, optional
        D of an infinite liquid, where its viscosity was given.
    ensemble : Ensemble, optional
        Over the models, where several made the trajectories.
    ensemble_collective : CollectiveEnsemble, optional
        The same of all ions together, where `collective` is known of each model.
    generated : bool
        Whether a model made the trajectories: the error of `total` is then that of the number of
        generated ions alone.
    verdict : Verdict, optional
        Whether that model moves as the MD does.
    """

    total: Coefficient | None = None
    choice: Choice | None = None
    independent_observations: Counted | None = None
    collective: Collective | Refused | None = None
    x: Coefficient | Refused | None = None
    y: Coefficient | Refused | None = None
    z: Coefficient | Refused | None = None
    refused: str | None = None
    nernst_einstein: Conductivity | None = None
    conductivity: Conductivity | None = None
    conductivity_green_kubo: Conductivity | None = None
    tensor: DiffusionTensor | None = None
    green_kubo: GreenKubo | None = None
    finite_size: FiniteSize | None = None
    ensemble: Ensemble | None = None
    ensemble_collective: CollectiveEnsemble | None = None
    generated: bool = False
    verdict: Verdict | None = None

    def require(self) -> Coefficient:
        """Return `total`.

        Raises
        ------
        DataError
            If there is none.
        """
        if self.total is None:
            raise DataError(self.refused or "holds no diffusion coefficient")
        return self.total
