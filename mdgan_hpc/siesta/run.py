"""A run folder: which files belong to the run, and what is constant in it."""

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.siesta.ani import AniFile
from mdgan_hpc.siesta.ase_source import AseFile
from mdgan_hpc.siesta.constants import UP_TO_4_1, Constants, constants_of
from mdgan_hpc.siesta.fdf import Fdf, normal, standard_mass, symbol_number
from mdgan_hpc.siesta.frames import Source
from mdgan_hpc.siesta.md import MdFile
from mdgan_hpc.siesta.md_car import MdCarFile
from mdgan_hpc.siesta.mdnc import MdNcFile
from mdgan_hpc.siesta.out import OutFile, OutHead, is_output, read_head, read_steps
from mdgan_hpc.siesta.streams import plain_name
from mdgan_hpc.siesta.xv import Geometry, read_struct, read_xv

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
#: Run types without a time line.
_RELAXATIONS = {"cg", "broyden", "fire"}


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


@dataclass
class Run:
    """A run and what is constant in it.

    Attributes
    ----------
    files : RunFiles
    head : OutHead
        Of the first standard output; empty without one.
    fdf : Fdf or None
    constants : Constants
    source : Source
        Where the positions come from.
    atomic_numbers : array of int, [N]
        0 for ghosts.
    labels : list of str, [N]
    masses : array, [N]
    time_steps_fs : list of float
        Of each start of the program, in order; the last holds for all further ones.
    cell : array, [3, 3], or None
        Constant cell, Angstrom.
    run_type : str
        `MD.TypeOfRun` in lower case; empty where it is not known.
    openers : dict of kind to function
        Open the positions of each kind of file there is.
    """

    files: RunFiles
    head: OutHead
    fdf: Fdf | None
    constants: Constants
    source: Source
    atomic_numbers: np.ndarray
    labels: list[str]
    masses: np.ndarray
    time_steps_fs: list[float]
    cell: np.ndarray | None
    run_type: str = ""
    openers: dict[str, Callable[[], Source]] = field(default_factory=dict)

    @property
    def relaxation(self) -> bool:
        """Whether it is no dynamics."""
        return self.run_type in _RELAXATIONS

    @property
    def cell_changes(self) -> bool:
        """Whether the cell moves, as far as the input tells."""
        if self.fdf is None:
            return False
        if self.run_type == "anneal":
            return "pressure" in normal(self.fdf.text("MD.AnnealOption", "TemperatureAndPressure"))
        return self.run_type in {"parrinellorahman", "noseparrinellorahman"} or (
            self.fdf.flag("MD.VariableCell")
        )

    @property
    def velocities_tell_time(self) -> bool:
        """Whether velocities are central differences of the positions."""
        quenched = self.fdf is not None and self.fdf.flag("MD.Quench")
        return self.run_type in {"verlet", "nose"} and not quenched

    def initial_geometry(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return positions [N, 3] and cell [3, 3] of the first step, which no trajectory file has.

        In Angstrom; from the output, or else from the input.

        Raises
        ------
        DataError
            If neither tells them.
        """
        for path in self.files.outputs[:1]:
            step = next(read_steps(path), None)
            if step is not None and step.coordinates is not None:
                lattice = self.fdf.lattice_constant() if self.fdf else None
                if len(step.coordinates) == self.source.n_atoms:
                    first = next(OutFile([path], self.constants, lattice).frames())
                    return first.positions[0], None if first.cells is None else first.cells[0]
        continued = self.fdf is not None and self.fdf.flag("MD.UseSaveXV")
        atoms = None if self.fdf is None or continued else self.fdf.atoms()
        if atoms is None or self.fdf is None or len(atoms[0]) != self.source.n_atoms:
            raise DataError(
                "no file tells the first geometry",
                where=self.files.folder,
                remedy="leave --include-initial away",
            )
        return atoms[0], self.fdf.cell()

    @property
    def elements(self) -> list[str]:
        """Element symbol of each atom."""
        return [chemical_symbols[z] for z in self.atomic_numbers]


def open_run(
    path: Path, *, source: str | None = None, label: str | None = None, time_step_fs: float = 0.0
) -> Run:
    """Find the files of a run and read what is constant in it.

    Parameters
    ----------
    path : path
        A run folder or a trajectory file.
    source : str, optional
        Take the positions from this kind of file; otherwise the best there is.
    label : str, optional
        Which run, where a folder holds several.
    time_step_fs : float
        Time step, where no file tells it.

    Raises
    ------
    UsageError, DataError
    """
    files, kind = find_files(path, label)
    heads = [read_head(output) for output in files.outputs]
    heads.sort(key=lambda head: head.started)
    files.outputs = [head.path for head in heads]
    head = heads[0] if heads else OutHead()
    constants = constants_of(head.version)
    fdf = _input(files, head, constants)
    openers = _openers(files, constants, fdf)
    opened = _open_source(files, openers, source or kind)
    n_atoms = opened.n_atoms
    numbers, species = _species(files, head, fdf, opened, n_atoms)
    table = (fdf.species() if fdf else {}) or head.species
    known_masses = {
        index: head.masses[name] for index, (_, name) in table.items() if name in head.masses
    }
    known_masses |= fdf.masses() if fdf else {}
    labels, masses = [], []
    for index, z in zip(species, numbers, strict=True):
        labels.append(table.get(int(index), (0, chemical_symbols[z]))[1])
        masses.append(known_masses.get(int(index)) or standard_mass(z))
    run_type = normal(fdf.text("MD.TypeOfRun", "CG")) if fdf else ""
    steps = [time_step_fs] if time_step_fs else _time_steps(files, heads, fdf)
    if run_type in _RELAXATIONS:
        steps = [1.0]
        warnings.warn(
            f"{files.folder}: is a relaxation ({run_type}), not dynamics; times count its steps",
            DataWarning,
            stacklevel=2,
        )
    if not steps:
        raise UsageError(
            "no file tells the time step (.fdf or .out)",
            where=files.folder,
            remedy="give it with --time-step, in fs",
        )
    if min(steps) <= 0:
        raise DataError(
            f"the time step is {min(steps):g} fs",
            where=files.folder,
            remedy="give it with --time-step, in fs",
        )
    return Run(
        files,
        head,
        fdf,
        constants,
        opened,
        numbers,
        labels,
        np.array(masses),
        steps,
        _constant_cell(files, fdf, constants),
        run_type,
        openers,
    )


def open_foreign(path: Path, format: str, time_step_fs: float, species: list[str]) -> Run:
    """Open a trajectory of another code through ASE.

    Parameters
    ----------
    path : path
    format : str
        ASE's name of the format, or ``auto``.
    time_step_fs : float
        Time between two frames.
    species : list of str
        Elements of the types of a LAMMPS dump.

    Raises
    ------
    UsageError, DataError
    """
    if not path.is_file():
        raise UsageError("no such file", where=path)
    if not time_step_fs:
        raise UsageError(
            "--format needs the time between two frames", remedy="give it with --time-step, in fs"
        )
    source = AseFile(path, format, species)
    return Run(
        RunFiles(path.parent, path.stem, {source.kind: path}),
        OutHead(),
        None,
        UP_TO_4_1,
        source,
        source.atomic_numbers,
        [chemical_symbols[z] for z in source.atomic_numbers],
        source.masses,
        [time_step_fs],
        None,
    )


def _time_steps(files: RunFiles, heads: list[OutHead], fdf: Fdf | None) -> list[float]:
    """Return the time step of each start, from the outputs or else the inputs by name."""
    told = [head.time_step_fs for head in heads if head.time_step_fs]
    if told or fdf is None:
        return told
    steps = []
    for entry in files.inputs:
        try:
            steps.append(Fdf.read(entry).time_step_fs())
        except DataError:
            continue  # told already where the input was read
    return steps or [fdf.time_step_fs()]


def _input(files: RunFiles, head: OutHead, constants: Constants) -> Fdf | None:
    for entry in files.inputs:
        try:
            return Fdf.read(entry, constants)
        except DataError as error:
            warnings.warn(f"{error}; the input is not used", DataWarning, stacklevel=3)
    return head.fdf


def _openers(
    files: RunFiles, constants: Constants, fdf: Fdf | None
) -> dict[str, Callable[[], Source]]:
    there = files.files
    openers: dict[str, Callable[[], Source]] = {
        "MD": lambda: MdFile(there["MD"], constants),
        "MD.nc": lambda: MdNcFile(there["MD.nc"], constants),
        "ANI": lambda: AniFile(there["ANI"]),
        "MD_CAR": lambda: MdCarFile(there["MD_CAR"]),
    }
    openers = {kind: opener for kind, opener in openers.items() if kind in there}
    if files.outputs:
        lattice = fdf.lattice_constant() if fdf else None
        openers["out"] = lambda: OutFile(files.outputs, constants, lattice)
    return openers


def _open_source(
    files: RunFiles, openers: dict[str, Callable[[], Source]], wanted: str | None
) -> Source:
    if wanted is not None:
        if wanted not in openers:
            raise UsageError(
                f"there is no {wanted} to read (there: {', '.join(openers) or 'none'})",
                where=files.folder,
            )
        return openers[wanted]()
    errors = []
    for kind in SOURCES:
        if kind not in openers:
            continue
        try:
            source = openers[kind]()
        except DataError as error:
            errors.append(error)
            continue
        for damage in errors:
            warnings.warn(f"{damage}; {kind} is read instead", DataWarning, stacklevel=3)
        return source
    raise errors[0]


def _geometry(files: RunFiles) -> tuple[Geometry, bool] | None:
    """Return species and cell of the last geometry and whether it is in Bohr."""
    for kind, reader, in_bohr in (
        ("XV", read_xv, True),
        ("STRUCT_OUT", read_struct, False),
        ("STRUCT_NEXT_ITER", read_struct, False),
    ):
        if kind in files.files:
            try:
                return reader(files.files[kind]), in_bohr
            except DataError as error:
                warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=4)
    return None


def _species(
    files: RunFiles, head: OutHead, fdf: Fdf | None, source: Source, n_atoms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers (0 for ghosts) and species indices, [N] each."""
    geometry = _geometry(files)
    table = (fdf.species() if fdf else {}) or head.species
    if geometry is not None and len(geometry[0].species) == n_atoms:
        return _real(geometry[0].atomic_numbers), geometry[0].species
    numbers = getattr(source, "atomic_numbers", None)
    if numbers is not None:
        return _real(numbers), source.species  # type: ignore[attr-defined]
    indices = getattr(source, "species", head.atom_species)
    if indices is None and fdf is not None:
        try:
            atoms = fdf.atoms()
            indices = None if atoms is None else atoms[1]
        except DataError:
            indices = None
    if indices is not None and len(indices) == n_atoms and all(int(i) in table for i in indices):
        return _real(np.array([table[int(i)][0] for i in indices])), indices
    symbols = getattr(source, "symbols", None)
    if symbols is not None:
        numbers = np.array([symbol_number(symbol) for symbol in symbols])
        of_number = {abs(z) % 200: index for index, (z, _) in table.items()}
        return numbers, np.array([of_number.get(int(z), 0) for z in numbers])
    raise DataError(
        "no file tells the species of the atoms",
        where=files.folder,
        remedy="an .XV, .ANI, .fdf or .out file of the same run is needed",
    )


def _real(numbers: np.ndarray) -> np.ndarray:
    """Return atomic numbers with 0 for ghosts; pseudo-atoms (Z + 200) become their element."""
    numbers = np.where(numbers < 0, 0, numbers)
    numbers = np.where(numbers > 200, numbers % 200, numbers)
    return np.where(numbers < len(chemical_symbols), numbers, 0)


def _constant_cell(files: RunFiles, fdf: Fdf | None, constants: Constants) -> np.ndarray | None:
    geometry = _geometry(files)
    if geometry is not None:
        return geometry[0].cell * (constants.angstrom_per_bohr if geometry[1] else 1.0)
    return fdf.cell() if fdf is not None else None
