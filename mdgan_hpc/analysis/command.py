"""What `mdgan-msd` does: read, measure on all ranks, fit, and write one result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

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
from mdgan_hpc.analysis.fit.onsager import Conditions
from mdgan_hpc.analysis.mixture import (
    conditions_of,
    measure_mixture,
    mixture_result,
    species_of,
)
from mdgan_hpc.analysis.results import (
    CollectiveProducts,
    Diffusion,
    Dynamics,
    MixtureResult,
    MsdResult,
)
from mdgan_hpc.analysis.settings import MsdConfig
from mdgan_hpc.errors import UsageError
from mdgan_hpc.outputs import check_output
from mdgan_hpc.parallel import Communicator, require_same, together, world
from mdgan_hpc.provenance import Fingerprints, identity, provenance
from mdgan_hpc.results import check_suffix
from mdgan_hpc.trajectory.opening import all_files


@dataclass(frozen=True)
class _Beside:
    """What fits need beside the motion of a species, where it was asked for."""

    charges: Charges | None
    liquid: Liquid | None


def measure(config: MsdConfig) -> MsdResult | MixtureResult | None:
    """Analyse the files, fit D and write the result; every rank must call it.

    Returns
    -------
    MsdResult, MixtureResult or None
        On rank 0, the latter where several species are named; None on the others.

    Raises
    ------
    UsageError
        If the choices contradict each other or the files.
    DataError
        If a file cannot be used.
    """
    communicator = world()
    species = together(communicator, lambda: species_of(config.dynamics.species))
    # What the user may have got wrong comes first: the analysis may take long.
    beside, told = together(communicator, lambda: _checked(config, species))
    require_same(communicator, lambda: identity(asdict(config), all_files(config.files)))
    with Fingerprints(config.files if communicator.rank == 0 else ()) as fingerprints:
        found = _measured(config, species, communicator)
        if found is None:
            return None
        inputs = fingerprints.result()
    each, products = found
    fits = {name: _fitted(config, d, beside[name]) for name, d in each.items()}
    record = provenance(config=asdict(config), inputs=inputs, ranks=communicator.size)
    result: MsdResult | MixtureResult
    if len(species) > 1:
        known = {name: fit for name, fit in fits.items() if fit is not None}
        result = replace(mixture_result(each, known, products, told), provenance=record)
    else:
        result = MsdResult(each[species[0]], fits[species[0]], record)
    result.save(config.output, force=config.force)
    return result


def _measured(
    config: MsdConfig, species: tuple[str, ...], communicator: Communicator
) -> tuple[Mapping[str, Dynamics], CollectiveProducts | None] | None:
    """Return the dynamics of each species, and how several move together, on rank 0."""
    if len(species) > 1:
        return measure_mixture(config.files, species, config.dynamics, communicator)
    found = measure_dynamics(config.files, config.dynamics, communicator)
    return None if found is None else ({species[0]: found}, None)


def _fitted(config: MsdConfig, found: Dynamics, beside: _Beside) -> Diffusion | None:
    if not config.dynamics.full:
        return None
    fitted = fit_diffusion(
        found, window_ps=config.window_ps, accept_poor_model=config.accept_poor_model
    )
    return with_finite_size(with_conductivity(fitted, beside.charges), beside.liquid)


def _checked(
    config: MsdConfig, species: tuple[str, ...]
) -> tuple[dict[str, _Beside], Conditions | None]:
    """Return what the fits need beside the motion; raises where the choices cannot work."""
    options, several = config.dynamics, len(species) > 1
    check_suffix(config.output)
    check_output(config.output, force=config.force, inputs=all_files(config.files))
    if not options.full and (several or config.asks_beside):
        raise UsageError(
            "--msd-only gives no D, so several species, --fit, --nernst-einstein and --viscosity "
            "have no use",
            remedy="leave out --msd-only",
        )
    if several and config.output.endswith(".csv"):
        raise UsageError(
            "several species make no table of columns", remedy="end the output in .json or .h5"
        )
    charges = config.charge or (None,) * len(species)
    told = None
    if several:
        told = conditions_of(config.files[0], species, config.charge, config.temperature_k)
    elif len(charges) > 1:
        raise UsageError(
            f"{len(charges)} charges are given for one species",
            remedy="name the species: --species Na,Cl",
        )
    if config.window_ps is not None:
        for name in species:
            lags_in_window(lags_of(config.files, replace(options, species=name)), config.window_ps)
    each = zip(species, charges, strict=True)
    return {name: _beside(config, name, charge) for name, charge in each}, told


def _beside(config: MsdConfig, species: str, charge: float | None) -> _Beside:
    """Return what the fits of one species need beside the motion."""
    path, kelvin, viscosity = config.files[0], config.temperature_k, config.viscosity_mpa_s
    return _Beside(
        None if charge is None else charges_of(path, species, charge, kelvin),
        None if viscosity is None else liquid_of(path, species, viscosity, kelvin),
    )
