"""What `mdgan-sites` does: find the sites, count the jumps on all ranks, write one result."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from mdgan_hpc.analysis.sites.activation import activation
from mdgan_hpc.analysis.sites.measure import measure_jumps
from mdgan_hpc.analysis.sites.results import Activation, SitesResult
from mdgan_hpc.analysis.sites.settings import SitesRun
from mdgan_hpc.outputs import check_output
from mdgan_hpc.parallel import require_same, together, world
from mdgan_hpc.provenance import Fingerprints, identity, provenance
from mdgan_hpc.results import check_suffix, save_results
from mdgan_hpc.trajectory.opening import all_files


def find_jumps(run: SitesRun) -> SitesResult | None:
    """Analyse the files and write the result; every rank must call it.

    Returns
    -------
    SitesResult or None
        On rank 0; None on the others.

    Raises
    ------
    UsageError
        If the choices contradict each other or the files.
    DataError
        If a file cannot be used.
    """
    communicator = world()
    inputs = together(communicator, lambda: _checked(run))
    require_same(communicator, lambda: identity(asdict(run), inputs))
    with Fingerprints(run.files if communicator.rank == 0 else ()) as fingerprints:
        found = measure_jumps(run.files, run.choices, communicator)
        if found is None:
            return None
        digests = fingerprints.result()
    record = provenance(config=asdict(run), inputs=digests, ranks=communicator.size)
    found = replace(found, provenance=record)
    found.save(run.output, force=run.force)
    return found


def _checked(run: SitesRun) -> list[Path]:
    """Return the files that are read; raises where the output cannot be written."""
    inputs = list(all_files(run.files))
    if run.choices.sites:
        inputs.append(Path(run.choices.sites))
    check_suffix(run.output)
    check_output(run.output, force=run.force, inputs=inputs)
    return inputs


def fit_activation(
    results: Sequence[tuple[float, str]], output: str, *, force: bool = False
) -> Activation:
    """Fit the rate of each kind of jump against temperature and write the fits.

    Parameters
    ----------
    results : sequence of (temperature in K, path)
        Results of `find_jumps` (.json or .h5) with the same sites.
    output : path
    force : bool

    Raises
    ------
    DataError
        If no kind of jump was seen at all temperatures.
    """
    check_suffix(output)
    check_output(output, force=force, inputs=[path for _, path in results])
    fit = activation([(t, SitesResult.load(path)) for t, path in results])
    record = provenance(inputs=[path for _, path in results])
    save_results(output, {"activation": fit.to_tree(), "provenance": record}, table="activation")
    return fit
