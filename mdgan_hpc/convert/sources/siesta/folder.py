"""A run folder: which files belong to which run."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from mdgan_hpc.convert.sources.siesta.fdf import Fdf
from mdgan_hpc.convert.sources.siesta.out import Output, is_output
from mdgan_hpc.convert.streams import Files, plain_name
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
    outputs : list of Output
        Standard outputs, in the order in which they were started.
    inputs : dict of path to Fdf, or to the error that reading it ended in
        `.fdf` files of the label.
    """

    folder: Path
    label: str
    files: dict[str, Path]
    outputs: list[Output] = field(default_factory=list)
    inputs: dict[Path, Fdf | DataError] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """All files of the run."""
        return [*self.files.values(), *(output.path for output in self.outputs), *self.inputs]


def find_files(path: Path, files: Files, label: str | None = None) -> tuple[RunFiles, str | None]:
    """Find the run in a folder, or the run that a file belongs to.

    Parameters
    ----------
    path : path
        A run folder, or one trajectory file in it.
    files : Files
        Opens them; standard outputs and inputs are read here, as they tell whose they are.
    label : str, optional
        Which run, where a folder holds several.

    Returns
    -------
    run : RunFiles
    source : str or None
        The kind of `path` if it is a file.

    Raises
    ------
    UsageError
        If there is no such folder, no run in it, or several.
    """
    folder = path if path.is_dir() else path.parent
    if not (path.is_dir() or path.is_file()):
        raise UsageError("no such folder", where=path)
    found = _look(folder, files)
    source = None
    if path.is_file():
        label, source = _label_and_kind(path)
        own = [output for output in found.outputs if output.path == path]
        if source is None and (own or is_output(files.open(path))):
            found.outputs += [] if own else [Output(files.open(path))]
            label, source = (own or found.outputs)[-1].head.label, "out"
        if source not in SOURCES:
            remedy = (
                "give a run folder of SIESTA; "
                "of a file of another program tell --format (auto: by its content)"
            )
            if h5py.is_hdf5(path):
                remedy = (
                    "of another program tell --format (h5md, vaspout); of a file that mdgan_hpc "
                    "wrote --export h5md takes a part"
                )
            raise UsageError("is not a trajectory file of SIESTA", where=path, remedy=remedy)
    label = _chosen_label(found, label, folder)
    run = RunFiles(folder, label, found.by_label.get(label, {}))
    run.outputs = sorted(
        (output for output in found.outputs if output.head.label == label),
        key=lambda output: output.head.started,
    )
    run.inputs = {
        entry: parsed
        for entry, parsed in found.inputs.items()
        if _is_input_of(entry, parsed, label, len(found.inputs))
    }
    if path.is_file() and source is not None and source != "out":
        run.files[source] = path
    return run, source


@dataclass
class _Found:
    """What lies in a folder: files by label and kind, outputs and inputs of any label."""

    by_label: dict[str, dict[str, Path]] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    inputs: dict[Path, Fdf | DataError] = field(default_factory=dict)


def _look(folder: Path, files: Files) -> _Found:
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=folder) from error
    found = _Found()
    for entry in entries:
        name, kind = _label_and_kind(entry)
        if kind is not None:
            # An uncompressed file beside its compressed copy comes first.
            kinds = found.by_label.setdefault(name, {})
            if kind not in kinds or entry.name < kinds[kind].name:
                kinds[kind] = entry
        elif plain_name(entry).endswith(".fdf"):
            try:
                found.inputs[entry] = Fdf.read(entry, files)
            except DataError as error:
                found.inputs[entry] = error
        elif plain_name(entry).endswith((".out", ".log")) and _is_output(entry, files):
            found.outputs.append(Output(files.open(entry)))
    return found


def _is_output(path: Path, files: Files) -> bool:
    try:
        return is_output(files.open(path))
    except DataError:
        return False


def _chosen_label(found: _Found, label: str | None, folder: Path) -> str:
    """Return the label of the run that is meant.

    Raises
    ------
    UsageError
        If there is none, or several and none is named.
    """
    outputs = list(dict.fromkeys(output.head.label for output in found.outputs))
    labels = [
        name for name, kinds in found.by_label.items() if any(kind in SOURCES for kind in kinds)
    ] or outputs
    if label is not None and label in outputs and label not in labels:
        labels.append(label)
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
        return labels[0]
    if label not in labels:
        near = difflib.get_close_matches(label, labels, n=1)
        raise UsageError(
            f"holds no run {label!r} (there: {', '.join(sorted(labels))})",
            where=folder,
            remedy=f"did you mean {near[0]}?" if near else "",
        )
    return label


def _label_and_kind(path: Path) -> tuple[str, str | None]:
    name = plain_name(path)
    for end, kind in _ENDS.items():
        if name.endswith(end) and len(name) > len(end):
            return name.removesuffix(end), kind
    return name, None


def _is_input_of(path: Path, parsed: Fdf | DataError, label: str, n_inputs: int) -> bool:
    if path.name.startswith("fdf-"):
        return False
    if isinstance(parsed, DataError):
        return n_inputs == 1 or plain_name(path) == f"{label}.fdf"
    return parsed.text("SystemLabel", "siesta") == label
