"""What `mdgan-report` does: the analysis computed once and kept in the folder, then drawn."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from mdgan_hpc.errors import DataError, OutputExistsError
from mdgan_hpc.outputs import check_output, claimed_by_ranks, is_temporary, sweep
from mdgan_hpc.parallel import Communicator, require_same, together, world
from mdgan_hpc.provenance import Fingerprints, identity, provenance
from mdgan_hpc.report.comparison import compare, fingerprint
from mdgan_hpc.report.conditions import trained_on
from mdgan_hpc.report.document import NUMBERS, PAGE, draw_report
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.sentences import sentences
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.report.temperatures import read_arrhenius
from mdgan_hpc.results import load_results, save_results
from mdgan_hpc.trajectory.opening import all_files

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
    folder, communicator = Path(folder), world()
    files = [*all_files((*config.md, *config.generated)), *map(Path, config.arrhenius)]
    together(communicator, lambda: _check(folder, files))
    require_same(communicator, lambda: identity(asdict(config), files, str(force)))
    kept = _kept_by_all(config, folder, communicator, force=force)
    with claimed_by_ranks(folder / "report", communicator):
        sweep(folder)
        found = prepare(config, folder, communicator, kept=kept)
        draw_report(found, folder, communicator)
    return None if found is None else (found, sentences(found))


def _check(folder: Path, files: Sequence[Path]) -> None:
    """Raise unless the report can be written, and replaces nothing that is read."""
    own = [f for f in files if f.name in (ANALYSIS, PAGE, NUMBERS) or f.suffix in (".png", ".pdf")]
    for file in own:
        check_output(folder / file.name, force=True, inputs=[file])
    check_output(folder / "report", force=True)


def _kept_by_all(
    config: ReportConfig, folder: Path, communicator: Communicator, *, force: bool
) -> tuple[str, bool]:
    """Return the key of the inputs, and whether `folder` holds their analysis."""

    def look() -> tuple[str, bool]:
        key = fingerprint(config)
        return key, communicator.rank == 0 and _kept(folder, key, force)

    found: tuple[str, bool] = communicator.bcast(together(communicator, look))
    return found


def prepare(
    config: ReportConfig, folder: Path, communicator: Communicator, *, kept: tuple[str, bool]
) -> Comparison | None:
    """Compute what a report shows, or take it from `folder` if nothing changed since."""
    key, unchanged = kept
    if unchanged:
        if communicator.rank != 0:
            return None
        return Comparison.from_tree(load_results(folder / ANALYSIS))
    of_d, of_jumps = together(communicator, lambda: read_arrhenius(config.arrhenius))
    files = (*config.md, *config.generated, *config.arrhenius)
    with Fingerprints(files if communicator.rank == 0 else ()) as fingerprints:
        found = compare(config, communicator)
        if found is None:
            return None
        inputs = fingerprints.result()
    record = provenance(config=asdict(config), inputs=inputs, ranks=communicator.size)
    rows = [*found.conditions, *trained_on(config, inputs)]
    found = replace(
        found,
        conditions=rows,
        provenance=record,
        key=key,
        arrhenius=of_d,
        activation=of_jumps,
    )
    save_results(folder / ANALYSIS, found.to_tree())
    return found


def _kept(folder: Path, key: str, force: bool) -> bool:
    """Tell whether `folder` holds the analysis of the same inputs."""
    if not folder.exists() or force:
        return False
    held = folder.is_dir() and any(not is_temporary(entry.name) for entry in folder.iterdir())
    if not folder.is_dir() or (held and not (folder / ANALYSIS).exists()):
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
