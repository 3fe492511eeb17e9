"""A run folder of SIESTA: which of its files tells what, and what is constant in it."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from mdgan_hpc.convert.chain import Chain, ChainRules
from mdgan_hpc.convert.frames import Frames, Source
from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.siesta.ani import AniFile
from mdgan_hpc.convert.sources.siesta.clock import wall_time_s
from mdgan_hpc.convert.sources.siesta.constants import (
    UP_TO_4_1,
    Constants,
    constants_of,
    constants_of_cells,
)
from mdgan_hpc.convert.sources.siesta.fa import read_fa
from mdgan_hpc.convert.sources.siesta.fdf import Fdf, normal, standard_mass
from mdgan_hpc.convert.sources.siesta.folder import SOURCES, RunFiles, find_files
from mdgan_hpc.convert.sources.siesta.md import MdFile
from mdgan_hpc.convert.sources.siesta.md_car import MdCarFile
from mdgan_hpc.convert.sources.siesta.mdnc import MdNcFile
from mdgan_hpc.convert.sources.siesta.out import OutFile, OutHead
from mdgan_hpc.convert.sources.siesta.pairing import Parts, complete_frames
from mdgan_hpc.convert.sources.siesta.xv import Geometry, read_struct, read_xv
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.trajectory.temperature import TARGET

#: Run types without a time line.
_RELAXATIONS = {"cg", "broyden", "fire"}
#: Files of one geometry, the one with the most digits first.
_GEOMETRIES = {"XV": read_xv, "STRUCT_NEXT_ITER": read_struct, "STRUCT_OUT": read_struct}


@dataclass(kw_only=True)
class SiestaRun(Run):
    """A run of SIESTA.

    Attributes
    ----------
    files : RunFiles
    opened : Files
    fdf : Fdf or None
    constants : Constants
    source : Source
        Where the positions come from.
    openers : dict of kind to function
        Open the positions of each kind of file there is.
    run_type : str
        `MD.TypeOfRun` in lower case; empty where it is not known.
    """

    files: RunFiles
    opened: Files
    fdf: Fdf | None
    constants: Constants
    source: Source
    openers: dict[str, Callable[[], Source]] = field(default_factory=dict)
    run_type: str = ""

    def frames(self, *, check: bool) -> Iterator[Frames]:
        """Yield the records of the source with what the other files of the run hold for them."""
        return complete_frames(
            Parts(
                files=self.files,
                opened=self.opened,
                constants=self.constants,
                source=self.source,
                openers=self.openers,
                name=self.name,
                cell_changes=_cell_changes(self.fdf, self.run_type),
                dynamics=self.run_type not in _RELAXATIONS,
            ),
            check=check,
        )

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of every record that has one, Angstrom, in a pass of its own."""
        for kind in [self.source.kind, *SOURCES]:
            source = self.openers[kind]() if kind in self.openers else None
            if source is not None and getattr(source, "has_cell", False):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DataWarning)  # told when they are used
                    for piece in source.frames():
                        yield from piece.cells if piece.cells is not None else ()
                return

    def initial_geometry(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return positions [N, 3] and cell [3, 3] of the first step, which no trajectory file has.

        In Angstrom; from the output, or else from the input.

        Raises
        ------
        DataError
            If neither tells them.
        """
        if not self.source.ahead:
            return None
        for output in self.files.outputs[:1]:
            for step in output.begin():
                if step.coordinates is not None and len(step.coordinates) == self.n_atoms:
                    lattice = self.fdf.lattice_constant() if self.fdf else None
                    return OutFile([output], self.constants, lattice).first()
        continued = self.fdf is not None and self.fdf.flag("MD.UseSaveXV")
        atoms = None if self.fdf is None or continued else self.fdf.atoms()
        if atoms is None or self.fdf is None or len(atoms[0]) != self.n_atoms:
            raise DataError(
                "no file tells the first geometry",
                where=self.where,
                remedy="leave --include-initial away",
            )
        return atoms[0], self.fdf.cell()


def open_source(path: Path, config: ConvertConfig, files: Files) -> SiestaRun:
    """Find the files of a run and read what is constant in it.

    Parameters
    ----------
    path : path
        A run folder or a trajectory file.
    config : ConvertConfig
    files : Files

    Raises
    ------
    UsageError, DataError
    """
    if config.species:
        raise UsageError(
            "--species names the types of a LAMMPS dump", remedy="give --format, or leave it away"
        )
    found, kind = find_files(path, files, config.label or None)
    heads = [output.head for output in found.outputs]
    geometries = _geometries(found, files)
    constants = _constants(found, files, heads, geometries)
    fdf = _input(found, heads, constants)
    openers = _openers(found, files, constants, fdf)
    source = _open_source(found, openers, kind if config.source == "best" else config.source)
    numbers, labels, masses = _atoms(found, heads, fdf, source, geometries)
    run_type = normal(fdf.text("MD.TypeOfRun", "CG")) if fdf else ""
    cell = _constant_cell(geometries, fdf, constants)
    rules = ChainRules(
        where=found.folder,
        ahead=source.ahead,
        first_step=_first_step(source, fdf, run_type),
        time_steps_fs=_time_steps(found, heads, fdf, run_type, config.time_step_fs),
        given_time_step=config.time_step_fs > 0,
        velocities_tell_time=_velocities_tell_time(fdf, run_type),
        dynamics=run_type not in _RELAXATIONS,
        cell=_invertible(cell),
    )
    return SiestaRun(
        where=found.folder,
        label=found.label,
        kind=source.kind,
        name=_name(found, source),
        inputs=found.paths,
        atomic_numbers=numbers,
        labels=labels,
        masses=masses,
        cell=cell,
        time_line=Chain(rules),
        time_step_fs=rules.time_steps_fs[0],
        parameters=_parameters(found, files, heads, fdf, len(numbers)),
        files=found,
        opened=files,
        fdf=fdf,
        constants=constants,
        source=source,
        openers=openers,
        run_type=run_type,
    )


def _atoms(
    files: RunFiles,
    heads: list[OutHead],
    fdf: Fdf | None,
    source: Source,
    geometries: dict[str, Geometry],
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return atomic number (0 for ghosts), species label and mass of each atom, [N] each."""
    table = (fdf.species() if fdf else {}) or (heads[0].species if heads else {})
    numbers, species = _species(files, heads, fdf, source, geometries, table)
    return numbers, *_labels_and_masses(numbers, species, table, heads, fdf)


def _name(files: RunFiles, source: Source) -> str:
    path = files.files.get(source.kind)
    return path.name if path else ", ".join(output.path.name for output in files.outputs)


def _cell_changes(fdf: Fdf | None, run_type: str) -> bool:
    """Whether the cell moves, as far as the input tells."""
    if fdf is None:
        return False
    if run_type == "anneal":
        return "pressure" in normal(fdf.text("MD.AnnealOption", "TemperatureAndPressure"))
    return run_type in {"parrinellorahman", "noseparrinellorahman"} or fdf.flag("MD.VariableCell")


def _velocities_tell_time(fdf: Fdf | None, run_type: str) -> bool:
    """Whether velocities are central differences of the positions."""
    quenched = fdf is not None and fdf.flag("MD.Quench")
    return run_type in {"verlet", "nose"} and not quenched


def _first_step(source: Source, fdf: Fdf | None, run_type: str) -> int:
    """Return the number of the first step where the source does not tell."""
    if run_type in _RELAXATIONS or not source.ahead:
        return 0
    return fdf.integer("MD.InitialTimeStep", 1) if fdf else 1


def _invertible(cell: np.ndarray | None) -> np.ndarray | None:
    return None if cell is None or abs(np.linalg.det(cell)) < 1e-9 else cell


def _parameters(
    found: RunFiles, files: Files, heads: list[OutHead], fdf: Fdf | None, n_atoms: int
) -> dict[str, Any]:
    """Return what is told of the run beside its frames."""
    told: dict[str, Any] = {"siesta_version": heads[0].version if heads else ""}
    target = None if fdf is None else fdf.target_temperature_k()
    if target is not None:
        told[TARGET] = target
    seconds = wall_time_s(found.outputs, files)
    if seconds is not None:
        told["wall_time_s"] = seconds
    path = found.files.get("FA")
    if path is not None:
        try:
            forces = read_fa(files.open(path))
        except DataError as error:
            warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=2)
        else:
            if len(forces) == n_atoms:
                told["last_forces"] = forces
    return told


def _geometries(files: RunFiles, opened: Files) -> dict[str, Geometry]:
    """Return what the files of one geometry hold, by kind, in the order of `_GEOMETRIES`."""
    found = {}
    for kind, reader in _GEOMETRIES.items():
        if kind in files.files:
            try:
                found[kind] = reader(opened.open(files.files[kind]))
            except DataError as error:
                warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=3)
    return found


def _constants(
    files: RunFiles, opened: Files, heads: list[OutHead], geometries: dict[str, Geometry]
) -> Constants:
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
            return MdNcFile(opened.open(files.files["MD.nc"])).constants
        except DataError:
            pass  # told where the file is used
    return UP_TO_4_1


def _input(files: RunFiles, heads: list[OutHead], constants: Constants) -> Fdf | None:
    for parsed in files.inputs.values():
        if isinstance(parsed, Fdf):
            return parsed.with_constants(constants)
        warnings.warn(f"{parsed}; the input is not used", DataWarning, stacklevel=3)
    dumped = heads[0].fdf if heads else None
    return None if dumped is None else dumped.with_constants(constants)


def _openers(
    files: RunFiles, opened: Files, constants: Constants, fdf: Fdf | None
) -> dict[str, Callable[[], Source]]:
    there = files.files
    openers: dict[str, Callable[[], Source]] = {
        "MD": lambda: MdFile(opened.open(there["MD"]), constants),
        "MD.nc": lambda: MdNcFile(opened.open(there["MD.nc"]), constants),
        "ANI": lambda: AniFile(opened.open(there["ANI"])),
        "MD_CAR": lambda: MdCarFile(opened.open(there["MD_CAR"])),
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
        return _real(numbers), getattr(source, "species")  # noqa: B009
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
        numbers = np.array([_symbol_number(symbol) for symbol in symbols])
        of_number = {abs(z) % 200: index for index, (z, _) in table.items()}
        return numbers, np.array([of_number.get(int(z), 0) for z in numbers])
    raise DataError(
        "no file tells the species of the atoms",
        where=files.folder,
        remedy="an .XV, .ANI, .fdf or .out file of the same run is needed",
    )


def _symbol_number(symbol: str) -> int:
    """Return the atomic number of an element symbol, 0 if it is none."""
    return int(atomic_numbers.get(symbol, 0)) if symbol != "X" else 0


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
        for parsed in files.inputs.values():
            if isinstance(parsed, DataError):
                continue  # told already where the input was read
            try:
                steps.append(parsed.time_step_fs())
            except DataError:
                continue
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
