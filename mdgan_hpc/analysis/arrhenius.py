"""D and conductivity of several temperatures: the law through them, and what it predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mdgan_hpc.analysis.fit.transport import (
    Arrhenius,
    ConductivityLaw,
    arrhenius,
    conductivity_law,
)
from mdgan_hpc.analysis.results import Diffusion
from mdgan_hpc.errors import DataError
from mdgan_hpc.outputs import check_output
from mdgan_hpc.provenance import provenance
from mdgan_hpc.results import Result, check_suffix, load_results, save_results

_SIGMA = ("sigma_s_per_cm", "error_s_per_cm")


@dataclass(frozen=True)
class ArrheniusPoints(Result):
    """What is known at n temperatures.

    Attributes
    ----------
    temperature_k : array, [n]
    d_angstrom2_per_ps, error_angstrom2_per_ps : array, [n]
        With the standard error.
    low_angstrom2_per_ps, high_angstrom2_per_ps : array, [n]
        Bounds of the 95 % interval.
    generated : array of bool, [n]
        Whether a model made the ions.
    fit_angstrom2_per_ps : array, [n]
        The law there.
    sigma_s_per_cm, error_s_per_cm : array, [n], optional
        Where every result tells a conductivity: of all ions together, or else the Nernst-Einstein
        estimate.
    """

    temperature_k: np.ndarray
    d_angstrom2_per_ps: np.ndarray
    error_angstrom2_per_ps: np.ndarray
    low_angstrom2_per_ps: np.ndarray
    high_angstrom2_per_ps: np.ndarray
    generated: np.ndarray
    fit_angstrom2_per_ps: np.ndarray
    sigma_s_per_cm: np.ndarray | None = None
    error_s_per_cm: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "generated", np.asarray(self.generated, bool))


@dataclass(frozen=True)
class Predicted(Result):
    """D at temperatures asked for, with its 95 % interval; arrays [m]."""

    temperature_k: np.ndarray
    d_angstrom2_per_ps: np.ndarray
    low_angstrom2_per_ps: np.ndarray
    high_angstrom2_per_ps: np.ndarray


@dataclass(frozen=True)
class ArrheniusResult(Result):
    """Diffusion coefficients against temperature, and the law through them.

    Attributes
    ----------
    arrhenius : Arrhenius
        Through all points.
    points : ArrheniusPoints
    md, generated : Arrhenius, optional
        Through those of MD and those of generated ions alone, where there are both, each at two
        temperatures or more.
    predicted : Predicted, optional
        By the law through all points.
    arrhenius_conductivity : ConductivityLaw, optional
        Where every result tells a conductivity.
    provenance : dict
    """

    arrhenius: Arrhenius
    points: ArrheniusPoints
    md: Arrhenius | None = None
    generated: Arrhenius | None = None
    predicted: Predicted | None = None
    arrhenius_conductivity: ConductivityLaw | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def fit_arrhenius(
    results: Sequence[tuple[float, str]],
    output: str,
    *,
    at_k: Sequence[float] = (),
    force: bool = False,
) -> ArrheniusResult:
    """Fit D of several results against temperature and write the fit.

    Of ions that several models generated, D is the mean over the models and its error the spread:
    what the data leave unknown is in it.

    Parameters
    ----------
    results : sequence of (temperature in K, path)
        Results of `command.measure` (.json or .h5).
    output : path
    at_k : sequence of float
        Temperatures at which D is predicted.
    force : bool

    Raises
    ------
    DataError
        If a result holds no D.
    """
    check_suffix(output)
    check_output(output, force=force, inputs=[path for _, path in results])
    found = [_diffusion(path) for _, path in results]
    columns = _columns([t for t, _ in results], found)
    generated = columns["generated"]
    fit = _law(columns, np.ones(len(found), bool))
    columns["fit_angstrom2_per_ps"] = np.array([fit.at(t)[0] for t in columns["temperature_k"]])
    law = _conductivity_law(found, columns)
    both = all(len(np.unique(columns["temperature_k"][m])) > 1 for m in (generated, ~generated))
    result = ArrheniusResult(
        fit,
        ArrheniusPoints(**columns),
        md=_law(columns, ~generated) if both else None,
        generated=_law(columns, generated) if both else None,
        predicted=_predicted(fit, at_k) if at_k else None,
        arrhenius_conductivity=law,
        provenance=provenance(inputs=[path for _, path in results]),
    )
    save_results(output, result.to_tree(), table="points")
    return result


def _law(columns: dict[str, np.ndarray], which: np.ndarray) -> Arrhenius:
    names = ("temperature_k", "d_angstrom2_per_ps", "error_angstrom2_per_ps")
    return arrhenius(*(columns[name][which].tolist() for name in names))


def _predicted(fit: Arrhenius, at_k: Sequence[float]) -> Predicted:
    low, high = np.array([fit.interval(t) for t in at_k]).T
    return Predicted(np.array(at_k, float), np.array([fit.at(t)[0] for t in at_k]), low, high)


def _conductivity_law(
    found: Sequence[Diffusion], columns: dict[str, np.ndarray]
) -> ConductivityLaw | None:
    """Return the law through the conductivities and put them into the columns, if all have one."""
    for name, of in (("conductivity", "collective"), ("nernst_einstein", "nernst_einstein")):
        estimates = [one for d in found if (one := getattr(d, name)) is not None]
        if len(estimates) == len(found):
            for column in _SIGMA:
                columns[column] = np.array([getattr(one, column) for one in estimates])
            sigma, error = (columns[column].tolist() for column in _SIGMA)
            return conductivity_law(columns["temperature_k"].tolist(), sigma, error, of)
    return None


def _columns(kelvin: Sequence[float], found: Sequence[Diffusion]) -> dict[str, np.ndarray]:
    """Return what is known at each temperature; see `ArrheniusPoints`."""
    names = ("d", "error", "low", "high")
    best = [one.ensemble or one.require() for one in found]
    columns: dict[str, np.ndarray] = {"temperature_k": np.array(kelvin, float)}
    for name in names:
        column = f"{name}_angstrom2_per_ps"
        columns[column] = np.array([getattr(one, column) for one in best])
    columns["generated"] = np.array([one.generated for one in found])
    return columns


def _diffusion(path: str) -> Diffusion:
    """Return what a result file tells of D: a part of it, so that one without curves will do."""
    whole = load_results(path)
    tree = dict(whole.get("diffusion", {}))
    for name in ("nernst_einstein", "conductivity"):
        if name in whole:
            tree[name] = whole[name]
    try:
        diffusion = Diffusion.from_tree(tree)
        found = diffusion.require()
    except DataError as error:
        raise DataError(error.what, where=path) from None
    d, sigma = found.d_angstrom2_per_ps, found.error_angstrom2_per_ps
    if not (0 < d < np.inf and 0 < sigma < np.inf):
        raise DataError(f"D = {d:g} +- {sigma:g} A^2/ps cannot be fitted", where=path)
    return diffusion
