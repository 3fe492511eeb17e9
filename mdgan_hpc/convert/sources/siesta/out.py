"""`.out`: the standard output.

Before the first step it tells version, input, time step, species and masses; then, with
`WriteCoorStep`, the geometry of every step, with energy and temperature of the same step.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice, tee
from pathlib import Path

import numpy as np

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.sources.siesta.constants import UP_TO_4_1, Constants
from mdgan_hpc.convert.sources.siesta.fdf import Fdf, number
from mdgan_hpc.convert.streams import Rows, Stream, lines
from mdgan_hpc.errors import DataError, DataWarning

_BEGIN = re.compile(r"^\s*Begin .*\b(?:step|move)\s*=\s*(\d+)\s*$")
_SPECIES = re.compile(r"^Species number:\s*(\d+)\s*Atomic number:\s*(-?\d+)\s*Label:\s*(\S+)")
_MASS = re.compile(r"^(\S+)\s+Z=\s*(-?\d+)\s+Mass=\s*(\S+)")
_STEP_LENGTH = re.compile(r"Length of MD time step\s*=\s*(\S+)\s*fs")
_HEAD_LINES = 2_000_000
#: First steps of an output that are looked at for coordinates.
_TRIED = 16


@dataclass
class OutHead:
    """What one run's output says before its first step.

    Attributes
    ----------
    path : path
    version, label : str
        SIESTA's version and `SystemLabel`; empty where it does not say.
    started : str
        When, in a form that sorts, then the name of the file.
    time_step_fs : float or None
    species : dict of index to (atomic number, label)
    masses : dict of label to mass
    fdf : Fdf or None
        The copy of the input.
    atom_species : array of int, [N], or None
    start : array, [N, 3], or None
        Positions that the program started from, Bohr with five decimals: those of the input, or
        of `.XV`.
    """

    path: Path = Path()
    version: str = ""
    label: str = ""
    started: str = ""
    time_step_fs: float | None = None
    species: dict[int, tuple[int, str]] = field(default_factory=dict)
    masses: dict[str, float] = field(default_factory=dict)
    fdf: Fdf | None = None
    atom_species: np.ndarray | None = None
    start: np.ndarray | None = None


def is_output(stream: Stream) -> bool:
    """Return whether a file begins like SIESTA's standard output; back at its beginning then."""
    start = stream.read(65536)
    stream.rewind()
    return b"WELCOME TO SIESTA" in start or b"Siesta Version" in start or b"reinit:" in start


def _head(rows: Rows, path: Path) -> OutHead:
    """Read what comes before the first step."""
    head = OutHead(path, started=f" {path.name}")
    for count, line in enumerate(rows):
        if _BEGIN.match(line) or count > _HEAD_LINES:
            rows.put_back(line)
            break
        if line.startswith(("Siesta Version", "SIESTA Version", "Version", "SIESTA 3", "siesta-3")):
            head.version = head.version or line.partition(":")[2].strip() or line.strip()
        elif ">> Start of run:" in line:
            head.started = f"{_sortable(line.partition('run:')[2])} {path.name}"
        elif "Dump of input data file" in line:
            head.fdf = _dumped(rows, path)
        elif line.startswith("reinit: System Label:"):
            head.label = line.partition("Label:")[2].strip()
        elif line.startswith("Species number:"):
            if match := _SPECIES.match(line):
                head.species[int(match[1])] = (int(match[2]), match[3])
        elif "Mass=" in line:
            if match := _MASS.match(line):
                head.masses[match[1]] = number(match[3], path)
        elif "Length of MD time step" in line:
            if match := _STEP_LENGTH.search(line):
                head.time_step_fs = number(match[1], path)
        elif line.startswith("siesta: Atomic coordinates (Bohr) and species"):
            head.start, head.atom_species = _start(rows)
    return head


def _sortable(date: str) -> str:
    """Return ``22-NOV-2026   6:13:14`` as ``2026-11-22T06:13:14``, anything else as it is."""
    parsed = date_of(date)
    return date.strip() if parsed is None else parsed.isoformat()


def date_of(text: str) -> datetime | None:
    """Return the date that a text such as ``22-NOV-2026   6:13:14`` is, or None."""
    try:
        return datetime.strptime(" ".join(text.title().split()), "%d-%b-%Y %H:%M:%S")
    except ValueError:
        return None


def _dumped(rows: Rows, path: Path) -> Fdf | None:
    content: list[str] = []
    for line in rows:
        if "End of input data file" in line:
            break
        if _BEGIN.match(line) or len(content) > _HEAD_LINES:
            rows.put_back(line)
            return None
        content.append(line)
    try:
        return Fdf.of_text("\n".join(content), path)
    except DataError:
        return None  # it includes files, or was cut


def _start(rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Read lines `a,2x,3f10.5,i3,...` of positions and species; the columns may touch."""
    positions, species = [], []
    for line in rows:
        if not line.startswith("siesta: ") or not line.strip()[-1:].isdigit():
            rows.put_back(line)
            break
        try:
            positions.append([float(line[a : a + 10]) for a in (10, 20, 30)])
            species.append(int(line[40:43]))
        except ValueError:
            return None, None
    if not species or not np.isfinite(positions).all():
        return None, None
    return np.array(positions), np.array(species)


_VALUES = {
    "siesta: E_KS(eV) =": ("potential_energy", "E_KS(eV) ="),
    "siesta: Temp_ion =": ("temperature", "Temp_ion ="),
    "siesta: Pressure (total):": ("pressure", "(total):"),
    "outcell: Cell volume": ("volume", ":"),
}
#: What `.out` tells of every step.
ENERGIES = ("temperature", "potential_energy", "volume", "pressure")
_PREFIXES = ("siesta: ", "outc", " ", ">> ", "reinit: ")


@dataclass
class OutStep:
    """What the output holds of one step, all of the same instant.

    Attributes
    ----------
    step : int
    unit : str
        Of the coordinates.
    coordinates : array, [N, 3], or None
    species : array of int, [N], or None
    cell : array, [3, 3], or None
        Angstrom.
    forces : array, [N, 3], or None
        eV/Angstrom.
    values : dict of name to number
    """

    step: int
    unit: str = ""
    coordinates: np.ndarray | None = None
    species: np.ndarray | None = None
    cell: np.ndarray | None = None
    forces: np.ndarray | None = None
    values: dict[str, float] = field(default_factory=dict)

    def forces_of(self, n_atoms: int) -> np.ndarray:
        """Return the forces [N, 3] on `n_atoms` atoms, NaN where they are not printed."""
        if self.forces is not None and len(self.forces) == n_atoms:
            return self.forces
        return np.full((n_atoms, 3), np.nan)


def _geometry_rows(rows: Iterator[str], limit: int = 2**22) -> tuple[list[str], str]:
    """Return the lines up to an empty one, and that one."""
    found: list[str] = []
    for line in rows:
        if not line.strip() or len(found) >= limit:
            return found, line
        found.append(line)
    return found, ""


def _coordinates(rows: Iterator[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Read lines `3f14.8,i4,...`; the columns may touch."""
    body, _ = _geometry_rows(rows)
    try:
        values = np.array([[line[a : a + 14] for a in (0, 14, 28)] for line in body], np.float64)
        species = np.array([line[42:].split()[0] for line in body], np.int64)
    except (ValueError, IndexError, OverflowError):
        return None
    if not len(body) or not np.isfinite(values).all():
        return None
    return values, species


def _forces(rows: Iterator[str]) -> np.ndarray | None:
    """Read lines `i6,3f12.6`, which `WriteForces` prints, up to a rule; the columns may touch."""
    body = []
    for line in rows:
        if not line[:6].strip().isdigit():
            break
        body.append([line[a : a + 12] for a in (6, 18, 30)])
    try:
        forces = np.array(body, np.float64)
    except ValueError:
        return None
    return forces if len(body) and np.isfinite(forces).all() else None


def _cell(rows: Iterator[str]) -> np.ndarray | None:
    body, _ = _geometry_rows(rows, 16)
    try:
        cell = np.array([line.split() for line in body[:3]], np.float64)
    except ValueError:
        return None
    return cell if cell.shape == (3, 3) and np.isfinite(cell).all() else None


def _steps(rows: Rows) -> Iterator[OutStep]:
    """Yield what the output tells of each step, in order."""
    current: OutStep | None = None
    for line in rows:
        if not line.startswith(_PREFIXES):
            continue
        if "Begin" in line and (match := _BEGIN.match(line)):
            if current is not None:
                yield current
            current = OutStep(int(match[1][:18]))
        elif current is None:
            continue
        elif line.startswith("siesta: Final energy") or ">> End of run" in line:
            yield current
            current = None
        else:
            _take(line, rows, current)
    if current is not None:
        yield current


def _take(line: str, rows: Rows, step: OutStep) -> None:
    """Take in a line that belongs to a step, and those that follow it."""
    if line.startswith("outcoor: Atomic coordinates (") and step.unit == "":
        step.unit = line.partition("(")[2].partition(")")[0].strip().lower()
        found = _coordinates(rows)
        if found is not None:
            step.coordinates, step.species = found
    elif line.startswith("outcell: Unit cell vectors"):
        step.cell = _cell(rows)
    elif line.startswith("siesta: Atomic forces (eV/Ang)") and step.forces is None:
        step.forces = _forces(rows)
    else:
        for prefix, (name, mark) in _VALUES.items():
            if line.startswith(prefix):
                words = line.partition(mark)[2].split()
                try:
                    step.values.setdefault(name, float(words[0]))
                except (ValueError, IndexError):
                    step.values.setdefault(name, float("nan"))


class Output:
    """One standard output, read once from its beginning to its end.

    Parameters
    ----------
    stream : Stream

    Attributes
    ----------
    path : path
    head : OutHead
        What comes before the first step.
    """

    def __init__(self, stream: Stream) -> None:
        self.path = stream.path
        rows = Rows(lines(stream, 65536))
        self.head = _head(rows, self.path)
        self._all = _steps(rows)

    def begin(self, n: int = 1) -> list[OutStep]:
        """Return the first `n` steps, or as many as there are."""
        ahead, self._all = tee(self._all)
        return list(islice(ahead, n))

    def steps(self) -> Iterator[OutStep]:
        """Return all steps in order; several readers may ask before the reading begins."""
        mine, self._all = tee(self._all)
        return mine

    def close(self) -> None:
        """Keep no step for further readers."""
        self._all = iter(())


class OutFile:
    """The standard outputs of a run as a source of positions.

    Parameters
    ----------
    outputs : list of Output
        In the order in which they were written.
    constants : Constants
    lattice_constant : float, optional
        Angstrom; coordinates printed as ``scaled`` need it.

    Attributes
    ----------
    n_atoms : int
    species : array of int, [N]
        Species index, from 1.

    Raises
    ------
    DataError
        If no step has its coordinates printed.
    """

    kind = "out"
    ahead = 0
    has_cell = True

    def __init__(
        self,
        outputs: list[Output],
        constants: Constants = UP_TO_4_1,
        lattice_constant: float | None = None,
    ) -> None:
        self.path = outputs[0].path
        self._constants, self._lattice = constants, lattice_constant
        for step in chain.from_iterable(output.begin(_TRIED) for output in outputs):
            if step.coordinates is not None and step.species is not None:
                self.n_atoms = len(step.coordinates)
                self.species = step.species
                self._first = step
                self._has_forces = step.forces is not None
                self._cartesian(step, step.cell)
                break
        else:
            raise DataError(
                "has no coordinates of the steps",
                where=self.path,
                remedy="they are printed with WriteCoorStep T",
            )
        self._steps = [output.steps() for output in outputs]

    def first(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return positions [N, 3] and cell [3, 3] of the first step that has them, Angstrom."""
        return self._cartesian(self._first, self._first.cell), self._first.cell

    def _cartesian(self, step: OutStep, cell: np.ndarray | None) -> np.ndarray:
        assert step.coordinates is not None
        if step.unit == "ang":
            return step.coordinates
        if step.unit == "bohr":
            return step.coordinates * self._constants.angstrom_per_bohr
        if step.unit == "fractional" and cell is not None:
            return np.asarray(step.coordinates @ cell)
        if step.unit == "scaled" and self._lattice is not None:
            return step.coordinates * self._lattice
        raise DataError(
            f"coordinates in the unit {step.unit!r} need what the output does not tell "
            "(cell or lattice constant)",
            where=self.path,
            remedy="put the .fdf file of the run beside it",
        )

    def frames(self) -> Iterator[Frames]:
        """Yield the steps with coordinates in pieces; others keep their place."""
        rows: list[tuple[int, OutStep, np.ndarray, np.ndarray | None]] = []
        cell: np.ndarray | None = None
        left_out = 0
        record = -1
        for record, step in enumerate(chain.from_iterable(self._steps)):
            cell = step.cell if step.cell is not None else cell
            if step.coordinates is None or len(step.coordinates) != self.n_atoms:
                left_out += 1
                continue
            rows.append((record, step, self._cartesian(step, cell), cell))
            if len(rows) == piece_records(self.n_atoms):
                yield self._frames(rows)
                rows = []
        if rows:
            yield self._frames(rows)
        if left_out:
            warnings.warn(
                f"{self.path}: {left_out} of {record + 1} steps have no complete coordinates "
                "and are left out",
                DataWarning,
                stacklevel=2,
            )

    def _frames(self, rows: list[tuple[int, OutStep, np.ndarray, np.ndarray | None]]) -> Frames:
        has_cells = all(cell is not None for *_, cell in rows)
        steps = [step for _, step, *_ in rows]
        return Frames(
            np.array([record for record, *_ in rows]),
            np.array([positions for *_, positions, _ in rows]),
            np.array([step.step for step in steps]),
            cells=np.array([cell for *_, cell in rows]) if has_cells else None,
            forces=np.array([step.forces_of(self.n_atoms) for step in steps])
            if self._has_forces
            else None,
            observables={
                name: np.array([step.values.get(name, np.nan) for step in steps])
                for name in ENERGIES
            },
        )
