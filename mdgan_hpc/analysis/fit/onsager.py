"""Onsager coefficients: how the ions of one species move with those of another.

The summed displacements of species i and j over a time t, R_i and R_j, have the mean product
<R_i . R_j> = 6 k T V L_ij t. The charge that all carry together, and the share of each species in
it, follow from the matrix.

References
----------
K. D. Fong, H. K. Bergstrom, B. D. McCloskey, K. K. Mandadapu, AIChE J. 66, e17091 (2020): L^ij as
integrals of correlations and as slopes of displacement products, there for moles in place of ions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.fit.coefficient import fit_coefficient, lags_in_window
from mdgan_hpc.analysis.fit.covariance import Sampling, fit_line, slope_weights
from mdgan_hpc.analysis.fit.results import (
    Diffusion,
    Onsager,
    OnsagerConductivity,
    Refused,
)
from mdgan_hpc.analysis.fit.transport import nernst_einstein
from mdgan_hpc.analysis.fit.window import NotDiffusiveError
from mdgan_hpc.analysis.results import CollectiveProducts
from mdgan_hpc.units import BOLTZMANN_J_PER_K, M2_PER_S


@dataclass(frozen=True)
class Conditions:
    """What L_ij and the conductivity need beside the motion.

    Attributes
    ----------
    temperature_k : float
    volume_a3 : float
        Of a cell, Angstrom^3.
    charges : tuple of float, optional
        Of an ion of each species, elementary charges.
    """

    temperature_k: float
    volume_a3: float
    charges: tuple[float, ...] | None = None


def fit_onsager(
    products: CollectiveProducts,
    alone: Mapping[str, Diffusion],
    conditions: Conditions | None = None,
) -> Onsager | Refused:
    """Return the matrix of all pairs of species, or why there is none.

    The slope of a fitted line is a weighted sum of the values at its lags. The weights are those of
    the fit of the trace, one set for all elements: the matrix is symmetric, and what is summed from
    it, as the conductivity, is what the summed displacements give in the same fit.

    Errors are those of a Gaussian process, cov(D_ij, D_kl) ~ D_ik D_jl + D_il D_jk (Isserlis), with
    the factor that gives the trace its error.

    Parameters
    ----------
    products : CollectiveProducts
    alone : mapping of Diffusion
        D of each species. The window is what those that have a D share.
    conditions : Conditions, optional
    """
    found = [d.total for d in alone.values() if d.total is not None]
    if not found:
        return Refused("no species has a diffusion coefficient")
    window = max(d.window_ps[0] for d in found), min(d.window_ps[1] for d in found)
    lag, matrix = products.lag_ps, products.product_angstrom2
    trace = np.trace(matrix, axis1=1, axis2=2)
    index = lags_in_window(lag, window)
    share = matrix[index[0]] / trace[index[0]]
    # All components of all species at once, as far as they are independent of each other.
    sampling = Sampling(
        np.asarray(products.n_cells), np.asarray(products.span_ps), float((share**2).sum()) / 3
    )
    try:
        total = fit_coefficient(lag, trace, sampling, window_ps=window)
    except NotDiffusiveError as refused:
        return Refused(refused.what)
    line = fit_line(lag, trace, index, sampling)
    t = lag[index]
    weights = slope_weights(np.stack([np.ones_like(t), t], axis=1), line.covariance)
    d = np.einsum("l,lij->ij", weights, matrix[index]) / 6
    # The weights follow the covariance, which follows the line: equal but for the last digits.
    d *= total.d_angstrom2_per_ps / np.trace(d)
    factor = total.error_angstrom2_per_ps**2 / (2 * float((d**2).sum()))
    diagonal = np.diag(d)
    error = np.sqrt(factor * (np.outer(diagonal, diagonal) + d**2))
    per_volume, conductivity = None, None
    if conditions is not None:
        thermal = BOLTZMANN_J_PER_K * conditions.temperature_k * conditions.volume_a3 * 1e-30
        ions = np.sqrt(np.outer(products.n_ions, products.n_ions))
        per_volume = ions * M2_PER_S / thermal
        conductivity = _conductivity(d, factor, products, alone, conditions)
    return Onsager(
        species=products.species,
        n_ions=np.asarray(products.n_ions),
        d_angstrom2_per_ps=d,
        error_angstrom2_per_ps=error,
        window_ps=(float(t[0]), float(t[-1])),
        l_per_joule_metre_second=None if per_volume is None else d * per_volume,
        l_error_per_joule_metre_second=None if per_volume is None else error * per_volume,
        conductivity=conductivity,
    )


def _conductivity(
    d: np.ndarray,
    factor: float,
    products: CollectiveProducts,
    alone: Mapping[str, Diffusion],
    conditions: Conditions,
) -> OnsagerConductivity | None:
    """Return the conductivity and transference numbers; None without charges, or of none at all."""
    if conditions.charges is None:
        return None
    charges = np.asarray(conditions.charges)
    carried = charges * np.sqrt(products.n_ions)
    currents = d @ carried
    together = float(carried @ currents)
    if together <= 0:
        return None
    unit = nernst_einstein(
        1.0,
        n_ions=1,
        volume_a3=conditions.volume_a3,
        charge=1.0,
        temperature_k=conditions.temperature_k,
    )
    # By the propagation of errors, with covariances of the elements as in `fit_onsager`.
    transference = carried * currents / together
    spread = factor * (carried**2 * np.diag(d) / together - transference**2)
    sigma, relative = unit * together, float(np.sqrt(2 * factor))
    haven = haven_error = None
    independent = _as_if_independent(products, alone, charges)
    if independent is not None:
        haven = independent[0] / together
        haven_error = float(haven * np.hypot(independent[1] / independent[0], relative))
    return OnsagerConductivity(
        sigma_s_per_cm=sigma,
        error_s_per_cm=sigma * relative,
        transference=transference,
        transference_error=np.sqrt(np.maximum(spread, 0.0)),
        haven_ratio=haven,
        haven_error=haven_error,
        charges=charges,
        temperature_k=conditions.temperature_k,
        volume_a3=conditions.volume_a3,
    )


def _as_if_independent(
    products: CollectiveProducts, alone: Mapping[str, Diffusion], charges: np.ndarray
) -> tuple[float, float] | None:
    """Return the sum of z^2 N D over species and its error; None where one has no D."""
    found = [alone[name].total for name in products.species]
    each = [d for d in found if d is not None]
    if len(each) < len(found):
        return None
    weights = products.n_ions * charges**2
    errors = weights * [d.error_angstrom2_per_ps for d in each]
    return float(weights @ [d.d_angstrom2_per_ps for d in each]), float(np.linalg.norm(errors))
