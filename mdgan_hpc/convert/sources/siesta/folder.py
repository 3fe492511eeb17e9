"""A run folder: which files belong to which run."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

from mdgan_hpc.convert.sources.siesta.fdf import Fdf
from mdgan_hpc.convert.sources.siesta.out import is_output, read_head
from mdgan_hpc.convert.streams import plain_name
from mdgan_hpc.errors import DataError, UsageError

#: Kinds of files of a run by the end of their names; the longer ends first.
_ENDS = {
    ".STRUCT_NEXT_ITER": "STRUCT_NEXT_ITER",
    ".STRUCT_OUT": "STRUCT_OUT",
    ".MD_CAR": "MD_CAR",
    ".MD.nc": "MD.nc",
    ".MDE": "MDE",
    ".FA": "FA",
    ".ANI": "ANI",
    ".MD": "MD",
    ".XV": "XV",
}
#: Best first: `.MD` has full precision, velocities and step numbers.
SOURCES = ("MD", "MD.nc", "ANI", "MD_CAR", "out")


@dataclass
class RunFiles:
    """The files of one run.

    Attributes
    ----------
    folder : path
    label : str
        `SystemLabel`.
    files : dict of kind to path
    outputs : list of path
        Standard outputs, in the order in which they were started.
    inputs : list of path
        `.fdf` files of the label.
    """

    folder: Path
    label: str
    files: dict[str, Path]
    outputs: list[Path] = field(default_factory=list)
    inputs: list[Path] = field(default_factory=list)


def find_files(path: Path, label: str | None = None) -> tuple[RunFiles, str | None]:
    """Find the run in a folder, or the run that a file belongs to.

    Parameters
    ----------
    path : path
        A run folder, or one trajectory file in it.
    label : str, optional
        Which run, where a folder holds several.

    Returns
    -------
    files : RunFiles
    source : str or None
        The kind of `path` if it is a file.

    Raises
    ------
    UsageError
        If there is no such folder, no run in it, or several.
    """
    source = None
    if path.is_file():
        label, source = _label_and_kind(path)
        if source is None and is_output(path):
            label, source = read_head(path).label, "out"
        if source not in SOURCES:
            raise UsageError(
                "is not a trajectory file of SIESTA", where=path, remedy="give a run folder"
            )
        folder = path.parent
    elif path.is_dir():
        folder = path
    else:
        raise UsageError("no such folder", where=path)
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=folder) from error

    by_label: dict[str, dict[str, Path]] = {}
    outputs: dict[str, list[tuple[str, Path]]] = {}
    fdfs: list[Path] = []
    for entry in entries:
        name, kind = _label_and_kind(entry)
        if kind is not None:
            # An uncompressed file beside its compressed copy comes first.
            kinds = by_label.setdefault(name, {})
            if kind not in kinds or entry.name < kinds[kind].name:
                kinds[kind] = entry
        elif plain_name(entry).endswith(".fdf"):
            fdfs.append(entry)
        elif plain_name(entry).endswith((".out", ".log")) and is_output(entry):
            outputs.setdefault(read_head(entry).label, []).append((entry.name, entry))
    labels = [
        name for name, kinds in by_label.items() if any(kind in SOURCES for kind in kinds)
    ] or list(outputs)
    if source == "out" and label not in labels:
        labels.append(str(label))
    if not labels:
        raise UsageError(
            "holds no run",
            where=folder,
            remedy="a folder with .MD, .MD.nc, .ANI, .MD_CAR or SIESTA's standard output is needed",
        )
    if label is None:
        if len(labels) > 1:
            raise UsageError(
                f"holds {len(labels)} runs ({', '.join(sorted(labels))})",
                where=folder,
                remedy="choose one with --label, or give a trajectory file instead of the folder",
            )
        label = labels[0]
    elif label not in labels:
        near = difflib.get_close_matches(label, labels, n=1)
        raise UsageError(
            f"holds no run {label!r} (there: {', '.join(sorted(labels))})",
            where=folder,
            remedy=f"did you mean {near[0]}?" if near else "",
        )
    run = RunFiles(folder, label, by_label.get(label, {}))
    run.outputs = [entry for _, entry in sorted(outputs.get(label, []))]
    run.inputs = [entry for entry in fdfs if _is_input_of(entry, label, len(fdfs))]
    if path.is_file() and source is not None and source != "out":
        run.files[source] = path
    return run, source


def _label_and_kind(path: Path) -> tuple[str, str | None]:
    name = plain_name(path)
    for end, kind in _ENDS.items():
        if name.endswith(end) and len(name) > len(end):
            return name.removesuffix(end), kind
    return name, None


def _is_input_of(path: Path, label: str, n_inputs: int) -> bool:
    if path.name.startswith("fdf-"):
        return False
    try:
        named = Fdf.read(path).text("SystemLabel", "siesta")
    except DataError:
        return n_inputs == 1 or plain_name(path) == f"{label}.fdf"
    return named == label
