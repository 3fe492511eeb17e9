"""A run: which of its files tells what, and what is constant in it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from mdgan_hpc.convert.frames import Source
from mdgan_hpc.convert.sources.ase import AseFile
from mdgan_hpc.convert.sources.siesta.ani import AniFile
from mdgan_hpc.convert.sources.siesta.constants import (
    UP_TO_4_1,
    Constants,
    constants_of,
    constants_of_cells,
)
from mdgan_hpc.convert.sources.siesta.fdf import Fdf, normal, standard_mass, symbol_number
from mdgan_hpc.convert.sources.siesta.folder import SOURCES, RunFiles, find_files
from mdgan_hpc.convert.sources.siesta.md import MdFile
from mdgan_hpc.convert.sources.siesta.md_car import MdCarFile
from mdgan_hpc.convert.sources.siesta.mdnc import MdNcFile
from mdgan_hpc.convert.sources.siesta.out import OutFile, OutHead, read_head, read_steps
from mdgan_hpc.convert.sources.siesta.xv import Geometry, read_struct, read_xv
from mdgan_hpc.errors import DataError, DataWarning, UsageError

#: Run types without a time line.
_RELAXATIONS = {"cg", "broyden", "fire"}
#: Files of one geometry, the one with the most digits first.
_GEOMETRIES = {"XV": read_xv, "STRUCT_NEXT_ITER": read_struct, "STRUCT_OUT": read_struct}


@dataclass
class Run:
    """A run and what is constant in it.

    Attributes
    ----------
    files : RunFiles
    heads : list of OutHead
        Of the standard outputs, in the order in which they were started.
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
    heads: list[OutHead]
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
    def version(self) -> str:
        """SIESTA's version as the first output tells it, or empty."""
        return self.heads[0].version if self.heads else ""

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

    @property
    def elements(self) -> list[str]:
        """Element symbol of each atom."""
        return [chemical_symbols[z] for z in self.atomic_numbers]

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
    heads = sorted((read_head(output) for output in files.outputs), key=lambda head: head.started)
    files.outputs = [head.path for head in heads]
    geometries = _geometries(files)
    constants = _constants(files, heads, geometries)
    fdf = _input(files, heads, constants)
    openers = _openers(files, constants, fdf)
    opened = _open_source(files, openers, source or kind)
    table = (fdf.species() if fdf else {}) or (heads[0].species if heads else {})
    numbers, species = _species(files, heads, fdf, opened, geometries, table)
    labels, masses = _labels_and_masses(numbers, species, table, heads, fdf)
    run_type = normal(fdf.text("MD.TypeOfRun", "CG")) if fdf else ""
    return Run(
        files=files,
        heads=heads,
        fdf=fdf,
        constants=constants,
        source=opened,
        atomic_numbers=numbers,
        labels=labels,
        masses=masses,
        time_steps_fs=_time_steps(files, heads, fdf, run_type, time_step_fs),
        cell=_constant_cell(geometries, fdf, constants),
        run_type=run_type,
        openers=openers,
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
        files=RunFiles(path.parent, path.stem, {source.kind: path}),
        heads=[],
        fdf=None,
        constants=UP_TO_4_1,
        source=source,
        atomic_numbers=source.atomic_numbers,
        labels=[chemical_symbols[z] for z in source.atomic_numbers],
        masses=source.masses,
        time_steps_fs=[time_step_fs],
        cell=None,
    )


def _geometries(files: RunFiles) -> dict[str, Geometry]:
    """Return what the files of one geometry hold, by kind, in the order of `_GEOMETRIES`."""
    found = {}
    for kind, reader in _GEOMETRIES.items():
        if kind in files.files:
            try:
                found[kind] = reader(files.files[kind])
            except DataError as error:
                warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=3)
    return found


def _constants(files: RunFiles, heads: list[OutHead], geometries: dict[str, Geometry]) -> Constants:
    """Return the factors of the executable.

    The same cell stands in Bohr in `.XV` and in Angstrom in the other files of one geometry:
    that settles it, whatever the version was compiled with. Else the version tells.
    """
    if "XV" in geometries:
        for kind, geometry in geometries.items():
            known = constants_of_cells(geometries["XV"].cell, geometry.cell)
            if kind != "XV" and known is not None:
                return known
    if heads and heads[0].version:
        return constants_of(heads[0].version)
    if "MD.nc" in files.files:
        try:
            return MdNcFile(files.files["MD.nc"]).constants
        except DataError:
            pass  # told where the file is used
    return UP_TO_4_1


def _input(files: RunFiles, heads: list[OutHead], constants: Constants) -> Fdf | None:
    for entry in files.inputs:
        try:
            return Fdf.read(entry, constants)
        except DataError as error:
            warnings.warn(f"{error}; the input is not used", DataWarning, stacklevel=3)
    return heads[0].fdf if heads else None


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


def _species(
    files: RunFiles,
    heads: list[OutHead],
    fdf: Fdf | None,
    source: Source,
    geometries: dict[str, Geometry],
    table: dict[int, tuple[int, str]],
) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers (0 for ghosts) and species indices, [N] each."""
    for geometry in geometries.values():
        if len(geometry.species) == source.n_atoms:
            return _real(geometry.atomic_numbers), geometry.species
    numbers = getattr(source, "atomic_numbers", None)
    if numbers is not None:
        return _real(numbers), source.species  # type: ignore[attr-defined]
    indices = getattr(source, "species", heads[0].atom_species if heads else None)
    if indices is None and fdf is not None:
        try:
            atoms = fdf.atoms()
            indices = None if atoms is None else atoms[1]
        except DataError:
            indices = None
    if (
        indices is not None
        and len(indices) == source.n_atoms
        and all(int(i) in table for i in indices)
    ):
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


def _labels_and_masses(
    numbers: np.ndarray,
    species: np.ndarray,
    table: dict[int, tuple[int, str]],
    heads: list[OutHead],
    fdf: Fdf | None,
) -> tuple[list[str], np.ndarray]:
    """Return species label and mass of each atom: the input's, the output's, or the default."""
    told = heads[0].masses if heads else {}
    known = {index: told[name] for index, (_, name) in table.items() if name in told}
    known |= fdf.masses() if fdf else {}
    labels, masses = [], []
    for index, z in zip(species, numbers, strict=True):
        labels.append(table.get(int(index), (0, chemical_symbols[z]))[1])
        masses.append(known.get(int(index)) or standard_mass(z))
    return labels, np.array(masses)


def _time_steps(
    files: RunFiles, heads: list[OutHead], fdf: Fdf | None, run_type: str, given_fs: float
) -> list[float]:
    """Return the time step of each start: given, from the outputs, or the inputs by name."""
    if run_type in _RELAXATIONS:
        warnings.warn(
            f"{files.folder}: is a relaxation ({run_type}), not dynamics; times count its steps",
            DataWarning,
            stacklevel=3,
        )
        return [1.0]
    steps = [given_fs] if given_fs else [h.time_step_fs for h in heads if h.time_step_fs]
    if not steps and fdf is not None:
        for entry in files.inputs:
            try:
                steps.append(Fdf.read(entry).time_step_fs())
            except DataError:
                continue  # told already where the input was read
        steps = steps or [fdf.time_step_fs()]
    remedy = "give it with --time-step, in fs"
    if not steps:
        raise UsageError(
            "no file tells the time step (.fdf or .out)", where=files.folder, remedy=remedy
        )
    if min(steps) <= 0:
        raise DataError(f"the time step is {min(steps):g} fs", where=files.folder, remedy=remedy)
    return steps


def _constant_cell(
    geometries: dict[str, Geometry], fdf: Fdf | None, constants: Constants
) -> np.ndarray | None:
    for kind, geometry in geometries.items():
        return geometry.cell * (constants.angstrom_per_bohr if kind == "XV" else 1.0)
    return fdf.cell() if fdf is not None else None
