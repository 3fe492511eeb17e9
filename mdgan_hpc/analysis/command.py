"""What `mdgan-msd` does: read, measure on all ranks, fit, and write one result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mdgan_hpc.analysis.diffusion import (
    Charges,
    Liquid,
    charges_of,
    liquid_of,
    with_conductivity,
    with_finite_size,
)
from mdgan_hpc.analysis.dynamics import lags_of, measure_dynamics
from mdgan_hpc.analysis.fit.coefficient import lags_in_window
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.transport import (
    Arrhenius,
    ConductivityLaw,
    arrhenius,
    conductivity_law,
)
from mdgan_hpc.analysis.results import Diffusion, MsdResult
from mdgan_hpc.analysis.settings import MsdConfig
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.outputs import check_output
from mdgan_hpc.parallel import require_same, together, world
from mdgan_hpc.provenance import Fingerprints, identity, provenance
from mdgan_hpc.results import check_suffix, load_results, save_results
from mdgan_hpc.trajectory.opening import all_files


def measure(config: MsdConfig) -> MsdResult | None:
    """Analyse the files, fit D and write the result; every rank must call it.

    Returns
    -------
    MsdResult or None
        On rank 0; None on the others.

    Raises
    ------
    UsageError
        If the choices contradict each other or the files.
    DataError
        If a file cannot be used.
    """
    communicator, options = world(), config.dynamics
    # What the user may have got wrong comes first: the analysis may take long.
    charges, liquid = together(communicator, lambda: _checked(config))
    require_same(communicator, lambda: identity(asdict(config), all_files(config.files)))
    with Fingerprints(config.files if communicator.rank == 0 else ()) as fingerprints:
        found = measure_dynamics(config.files, options, communicator)
        if found is None:
            return None
        inputs = fingerprints.result()
    fitted = None
    if options.full:
        fitted = with_conductivity(
            fit_diffusion(
                found,
                window_ps=config.window_ps,
                accept_poor_model=config.accept_poor_model,
            ),
            charges,
        )
        fitted = with_finite_size(fitted, liquid)
    record = provenance(config=asdict(config), inputs=inputs, ranks=communicator.size)
    result = MsdResult(found, fitted, record)
    result.save(config.output, force=config.force)
    return result


def _checked(config: MsdConfig) -> tuple[Charges | None, Liquid | None]:
    """Return charges and liquid, where asked for; raises where the choices cannot work."""
    options = config.dynamics
    check_suffix(config.output)
    check_output(config.output, force=config.force, inputs=all_files(config.files))
    beside = (config.window_ps, config.charge, config.viscosity_mpa_s)
    if not options.full and any(value is not None for value in beside):
        raise UsageError(
            "--msd-only gives no D, so --fit, --nernst-einstein and --viscosity have no use",
            remedy="leave out --msd-only",
        )
    if config.window_ps is not None:
        lags_in_window(lags_of(config.files, options), config.window_ps)
    first, kelvin = (config.files[0], options.species), config.temperature_k
    viscosity = config.viscosity_mpa_s
    return (
        None if config.charge is None else charges_of(*first, config.charge, kelvin),
        None if viscosity is None else liquid_of(*first, viscosity, kelvin),
    )


_SIGMA = ("sigma_s_per_cm", "error_s_per_cm")


@dataclass(frozen=True)
class ArrheniusPoints:
    """Diffusion coefficients against temperature, and the law through them.

    Attributes
    ----------
    fit : Arrhenius
    points : dict of array, [n]
        ``temperature_k``, ``d_angstrom2_per_ps`` with its ``error``, ``low`` and ``high`` bound,
        the fit there, whether a model ``generated`` the ions, and ``sigma_s_per_cm`` with its error
        where every result tells a conductivity: of all ions together, or else the Nernst-Einstein
        estimate.
    predicted : dict of array, [m]
        D and its 95 % interval at the temperatures asked for.
    conductivity : ConductivityLaw, optional
        Where every result tells one.
    """

    fit: Arrhenius
    points: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    conductivity: ConductivityLaw | None = None


def fit_arrhenius(
    results: Sequence[tuple[float, str]],
    output: str,
    *,
    at_k: Sequence[float] = (),
    force: bool = False,
) -> ArrheniusPoints:
    """Fit D of several results against temperature and write the fit.

    Of ions that several models generated, D is the mean over the models and its error the spread:
    what the data leave unknown is in it.

    Parameters
    ----------
    results : sequence of (temperature in K, path)
        Results of `measure` (.json or .h5).
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
    kelvin, d = columns["temperature_k"], columns["d_angstrom2_per_ps"]
    fit = arrhenius(kelvin.tolist(), d.tolist(), columns["error_angstrom2_per_ps"].tolist())
    columns["fit_angstrom2_per_ps"] = np.array([fit.at(t)[0] for t in kelvin])
    bounds = np.array([fit.interval(t) for t in at_k]).reshape(-1, 2)
    predicted = {
        "temperature_k": np.array(at_k, float),
        "d_angstrom2_per_ps": np.array([fit.at(t)[0] for t in at_k]),
        "low_angstrom2_per_ps": bounds[:, 0],
        "high_angstrom2_per_ps": bounds[:, 1],
    }
    record = provenance(inputs=[path for _, path in results])
    tree = {"arrhenius": fit.to_tree(), "points": columns, "provenance": record}
    law = _conductivity_law(found, columns)
    if law is not None:
        tree["arrhenius_conductivity"] = law.to_tree()
    save_results(output, tree | ({"predicted": predicted} if at_k else {}), table="points")
    return ArrheniusPoints(fit, columns, predicted, law)


def _conductivity_law(
    found: Sequence[Diffusion], columns: dict[str, np.ndarray]
) -> ConductivityLaw | None:
    """Return the law through the conductivities and put them into the columns, if all have one."""
    for name, of in (("conductivity", "collective"), ("nernst_einstein", "nernst_einstein")):
        estimates = [one for d in found if (one := getattr(d, name)) is not None]
        if len(estimates) == len(found):
            for field in _SIGMA:
                columns[field] = np.array([getattr(one, field) for one in estimates])
            sigma, error = (columns[field].tolist() for field in _SIGMA)
            return conductivity_law(columns["temperature_k"].tolist(), sigma, error, of)
    return None


def _columns(kelvin: Sequence[float], found: Sequence[Diffusion]) -> dict[str, np.ndarray]:
    """Return the points of an Arrhenius plot; see `ArrheniusPoints`."""
    names = ("d", "error", "low", "high")
    best = [one.ensemble or one.require() for one in found]
    columns: dict[str, np.ndarray] = {"temperature_k": np.array(kelvin, float)}
    for name in names:
        field = f"{name}_angstrom2_per_ps"
        columns[field] = np.array([getattr(one, field) for one in best])
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
