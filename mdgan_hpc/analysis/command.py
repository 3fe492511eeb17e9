"""What `mdgan-msd` does: read, measure on all ranks, fit, and write one result."""

from dataclasses import asdict

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
from mdgan_hpc.analysis.results import MsdResult
from mdgan_hpc.analysis.settings import MsdConfig
from mdgan_hpc.errors import UsageError
from mdgan_hpc.outputs import check_output
from mdgan_hpc.parallel import require_same, together, world
from mdgan_hpc.provenance import Fingerprints, identity, provenance
from mdgan_hpc.results import check_suffix
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
