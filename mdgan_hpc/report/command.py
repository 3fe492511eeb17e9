"""What `mdgan-report` does: the analysis computed once and kept in the folder, then drawn."""

from dataclasses import asdict, replace
from pathlib import Path

from mdgan_hpc.errors import DataError, OutputExistsError
from mdgan_hpc.parallel import world
from mdgan_hpc.provenance import Fingerprints, provenance
from mdgan_hpc.report.comparison import compare, fingerprint
from mdgan_hpc.report.conditions import trained_on
from mdgan_hpc.report.document import draw_report
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.sentences import sentences
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.results import load_results, save_results

ANALYSIS = "analysis.h5"


def report(
    config: ReportConfig, folder: str | Path, *, force: bool = False
) -> tuple[Comparison, list[str]] | None:
    """Compare, and write figures, tables and page into `folder`; every rank must call it.

    Parameters
    ----------
    config : ReportConfig
    folder : path
        What it holds of the same inputs is used again.
    force : bool
        Replace the report of other inputs.

    Returns
    -------
    (comparison, lines) or None
        The results, and the same in sentences, on rank 0; None on the others.

    Raises
    ------
    OutputExistsError
        If `folder` holds the report of other inputs and `force` is false.
    """
    folder = Path(folder)
    found = prepare(config, folder, force=force)
    if found is None:
        return None
    lines = sentences(found)
    draw_report(found, folder, lines)
    return found, lines


def prepare(config: ReportConfig, folder: Path, *, force: bool = False) -> Comparison | None:
    """Compute what a report shows, or take it from `folder` if nothing changed since."""
    communicator = world()
    key = fingerprint(config)
    kept = communicator.bcast(_kept(folder, key, force) if communicator.rank == 0 else None)
    if kept:
        if communicator.rank != 0:
            return None
        return Comparison.from_tree(load_results(folder / ANALYSIS))
    files = (*config.md, *config.generated)
    with Fingerprints(files if communicator.rank == 0 else ()) as fingerprints:
        found = compare(config, communicator)
        if found is None:
            return None
        inputs = fingerprints.result()
    record = provenance(config=asdict(config), inputs=inputs, ranks=communicator.size)
    rows = [*found.conditions, *trained_on(config, inputs)]
    found = replace(found, conditions=rows, provenance=record, key=key)
    folder.mkdir(parents=True, exist_ok=True)
    save_results(folder / ANALYSIS, found.to_tree())
    return found


def _kept(folder: Path, key: str, force: bool) -> bool:
    """Tell whether `folder` holds the analysis of the same inputs."""
    if not folder.exists() or force:
        return False
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / ANALYSIS).exists()):
        raise OutputExistsError(
            "exists already and is no report", where=folder, remedy="choose another path"
        )
    if not (folder / ANALYSIS).exists():
        return False
    try:
        same = load_results(folder / ANALYSIS).get("key") == key
    except DataError:
        same = False
    if not same:
        raise OutputExistsError(
            "holds the report of other inputs or of another version",
            where=folder,
            remedy="choose another path or use --force",
        )
    return True
