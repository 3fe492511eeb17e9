"""`.fdf`: the input language as SIESTA reads it.

Labels ignore case and the characters ``-_.``; of a label given twice the first counts; ``#``, ``;``
and ``!`` begin a comment; ``%include file`` and ``label < file`` take content from other files,
``%block label < file`` a block.
Reference: A. Garcia, J. M. Soler, "FDF manual", part of the SIESTA distribution.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.data import atomic_masses

from mdgan_hpc.convert.sources.siesta.constants import UP_TO_4_1, Constants
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError
from mdgan_hpc.units import BOLTZMANN_EV_PER_K

_MAX_DEPTH = 20
_SEPARATORS = re.compile(r"[\s,=:]+")

_TIMES = {"fs": 1.0, "ps": 1e3, "ns": 1e6, "s": 1e15}
_TIMES |= {"min": 60e15, "mins": 60e15, "hour": 3.6e18, "hours": 3.6e18}
_TIMES |= {"day": 86.4e18, "days": 86.4e18}
#: Units of energy that a temperature may be given in: E = k T.
_KELVIN_PER_EV = 1.0 / BOLTZMANN_EV_PER_K
_TEMPERATURES = {"k": 1.0, "mk": 1e-3, "ev": _KELVIN_PER_EV, "mev": 1e-3 * _KELVIN_PER_EV}
_TEMPERATURES |= {"ry": 13.60580 * _KELVIN_PER_EV, "mry": 13.60580e-3 * _KELVIN_PER_EV}
_TRUE = {"", "t", "true", ".true.", "yes", "y", "on"}
_FALSE = {"f", "false", ".false.", "no", "n", "off"}


def normal(label: str) -> str:
    """Return a label as it is compared: lower case, without ``-_.``."""
    return re.sub(r"[-_.]", "", label).lower()


def number(text: str, where: object) -> float:
    """Return a Fortran number (``1.d-4`` too).

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        value = float(re.sub(r"[dD]", "e", text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{text!r} is not a number", where=where)
    return value


class Fdf:
    """The values and blocks of an input.

    Parameters
    ----------
    values : dict
        Words after each label, by normal label.
    blocks : dict
        Lines of each block, by normal label.
    where : path
        The file, for messages.
    constants : Constants
        Of the executable, for lengths in Bohr.
    """

    def __init__(
        self,
        values: dict[str, list[str]],
        blocks: dict[str, list[str]],
        where: Path,
        constants: Constants = UP_TO_4_1,
    ) -> None:
        self.values, self.blocks, self.where, self.constants = values, blocks, where, constants

    @classmethod
    def read(cls, path: Path, files: Files | None = None) -> "Fdf":
        """Read a file and all that it includes.

        Parameters
        ----------
        path : path
        files : Files, optional
            Where the files of the run are open; each is read once.

        Raises
        ------
        DataError
            For a block without an end, a missing file, or files that include each other.
        """
        if files is None:
            with Files() as files:
                return cls.read(path, files)
        values, blocks = _Parser(files, path.parent).parse(files.open(path).text(), path, 0)
        return cls(values, blocks, path)

    @classmethod
    def of_text(cls, text: str, path: Path) -> "Fdf":
        """Read the copy of an input that the output file `path` holds; it is flat."""
        values, blocks = _Parser(None, path.parent).parse(text, path, _MAX_DEPTH)
        return cls(values, blocks, path)

    def with_constants(self, constants: Constants) -> "Fdf":
        """Return the same input for an executable with these constants."""
        return Fdf(self.values, self.blocks, self.where, constants)

    def text(self, label: str, default: str = "") -> str:
        """Return the first word after `label`."""
        words = self.values.get(normal(label))
        return words[0] if words else default

    def integer(self, label: str, default: int) -> int:
        """Return an integer."""
        words = self.values.get(normal(label))
        return round(number(words[0], f"{self.where}, {label}")) if words else default

    def flag(self, label: str, default: bool = False) -> bool:
        """Return a logical value; a label alone is true."""
        words = self.values.get(normal(label))
        if words is None:
            return default
        word = words[0].lower() if words else ""
        if word not in _TRUE | _FALSE:
            raise DataError(f"{word!r} is neither true nor false", where=f"{self.where}, {label}")
        return word in _TRUE

    def _quantity(self, label: str, units: dict[str, float], default_unit: str) -> float | None:
        words = self.values.get(normal(label))
        if not words:
            return None
        where = f"{self.where}, {label}"
        unit = words[1].lower() if len(words) > 1 else default_unit
        if unit not in units:
            raise DataError(f"the unit {unit!r} is not known", where=where)
        return number(words[0], where) * units[unit]

    def time_step_fs(self) -> float:
        """Return `MD.LengthTimeStep` in fs (default 1 fs)."""
        value = self._quantity("MD.LengthTimeStep", _TIMES, "fs")
        return 1.0 if value is None else value

    def target_temperature_k(self) -> float | None:
        """Return the temperature in K that a thermostat keeps or an annealing goes to, or None.

        `MD.TargetTemperature` counts only for the kinds of run that use it; its default is 0 K.
        """
        kind = normal(self.text("MD.TypeOfRun", "CG"))
        option = normal(self.text("MD.AnnealOption", "TemperatureAndPressure"))
        anneals = kind == "anneal" and "temperature" in option
        if not anneals and kind not in ("nose", "noseparrinellorahman"):
            return None
        return self._quantity("MD.TargetTemperature", _TEMPERATURES, "k")

    def lattice_constant(self) -> float | None:
        """Return `LatticeConstant` in Angstrom, or None."""
        bohr = self.constants.angstrom_per_bohr
        lengths = {"bohr": bohr, "ang": 1.0, "nm": 10.0, "pm": 0.01, "m": 1e10, "cm": 1e8}
        return self._quantity("LatticeConstant", lengths, "bohr")

    def _rows(self, label: str, columns: int) -> np.ndarray | None:
        """Return the leading numbers of the lines of a block, [rows, columns]."""
        lines = self.blocks.get(normal(label))
        if lines is None:
            return None
        where = f"{self.where}, block {label}"
        rows = []
        for line in lines:
            words = _words(line)
            if len(words) < columns:
                raise DataError(f"{line.strip()!r} has fewer than {columns} numbers", where=where)
            rows.append([number(word, where) for word in words[:columns]])
        return np.array(rows).reshape(-1, columns)

    def _unit_cell(self) -> np.ndarray | None:
        """Return the cell before `SuperCell`, or None if SIESTA chooses one."""
        constant = self.lattice_constant()
        if constant is None:
            return None
        vectors = self._rows("LatticeVectors", 3)
        if vectors is not None:
            if len(vectors) != 3:
                raise DataError("LatticeVectors needs three vectors", where=self.where)
            return vectors * constant
        parameters = self._rows("LatticeParameters", 6)
        if parameters is None:
            return np.eye(3) * constant
        if len(parameters) != 1:
            raise DataError("LatticeParameters needs one line", where=self.where)
        return _from_parameters(parameters[0], self.where) * constant

    def _supercell(self) -> np.ndarray:
        rows = self._rows("SuperCell", 3)
        if rows is None:
            return np.eye(3, dtype=np.int64)
        matrix = np.rint(rows).astype(np.int64)
        if matrix.shape != (3, 3) or round(np.linalg.det(matrix)) == 0:
            raise DataError("SuperCell is not an invertible 3 x 3 matrix", where=self.where)
        return np.asarray(matrix)

    def cell(self) -> np.ndarray | None:
        """Return the cell of the run in Angstrom, [3, 3], or None if SIESTA chooses one."""
        unit = self._unit_cell()
        if unit is None:
            return None
        cell: np.ndarray = self._supercell() @ unit
        return cell

    def species(self) -> dict[int, tuple[int, str]]:
        """Return atomic number and label of each species index."""
        found = {}
        where = f"{self.where}, block ChemicalSpeciesLabel"
        for line in self.blocks.get("chemicalspecieslabel", []):
            words = _words(line)
            if len(words) < 3:
                raise DataError(f"{line.strip()!r} is not index, number, label", where=where)
            index = round(number(words[0], where))
            found[index] = (round(number(words[1], where)), words[2])
        return found

    def masses(self) -> dict[int, float]:
        """Return the masses that `AtomicMass` gives, by species index."""
        rows = self._rows("AtomicMass", 2)
        return {} if rows is None else {round(row[0]): float(row[1]) for row in rows}

    def atoms(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return positions [N, 3] in Angstrom and species indices [N] of the first geometry.

        With a `SuperCell` the atoms of the repeated cell, in SIESTA's order. None without the
        block, or where it is written in a way that only SIESTA resolves (Z-matrix, an origin by
        name, a structure file).
        """
        if self.flag("MD.UseStructFile") or self.values.get("atomiccoordinatesorigin"):
            return None
        rows = self._rows("AtomicCoordinatesAndAtomicSpecies", 4)
        if rows is None or not len(rows):
            return None
        wanted = self.integer("NumberOfAtoms", len(rows))
        rows = rows[: max(1, wanted)]
        positions = rows[:, :3] @ self._coordinate_vectors()
        origin = self._rows("AtomicCoordinatesOrigin", 3)
        if origin is not None and len(origin) == 1:
            positions = positions + origin @ self._coordinate_vectors()
        species = np.rint(rows[:, 3]).astype(np.int64)
        return self._repeated(positions, species)

    def _coordinate_vectors(self) -> np.ndarray:
        style = normal(self.text("AtomicCoordinatesFormat", "NotScaledCartesianBohr"))
        if style in ("bohr", "notscaledcartesianbohr"):
            return np.eye(3) * self.constants.angstrom_per_bohr
        if style in ("ang", "notscaledcartesianang"):
            return np.eye(3)
        unit = self._unit_cell()
        if unit is None:
            raise DataError(f"{style} coordinates need a cell", where=self.where)
        if style in ("fractional", "scaledbylatticevectors"):
            return unit
        if style in ("lattice", "scaledcartesian"):
            return np.eye(3) * float(self.lattice_constant() or 1.0)
        raise DataError(f"AtomicCoordinatesFormat {style} is not known", where=self.where)

    def _repeated(
        self, positions: np.ndarray, species: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Repeat the atoms over the supercell, in the order of SIESTA's `superx`."""
        matrix, unit = self._supercell(), self._unit_cell()
        if unit is None or (matrix == np.eye(3)).all():
            return positions, species
        shifts = _supercell_shifts(matrix) @ unit
        positions = (positions[None] + shifts[:, None]).reshape(-1, 3)
        return positions, np.tile(species, len(shifts))


def _supercell_shifts(matrix: np.ndarray) -> np.ndarray:
    """Return the lattice points of the unit cell inside the supercell, [n, 3] integers."""
    n_cells = abs(round(np.linalg.det(matrix)))
    if n_cells > 100_000:
        raise DataError(f"SuperCell repeats the cell {n_cells} times")
    corners = np.array(
        [matrix.T @ np.array([i, j, k]) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    if np.prod(high - low + 1.0) > 10_000_000:
        raise DataError("SuperCell is too skew to be repeated")
    grid = np.stack(
        np.meshgrid(*[np.arange(a, b + 1) for a, b in zip(low, high, strict=True)], indexing="ij"),
        axis=-1,
    )
    # superx runs over the first lattice vector fastest.
    points = grid.transpose(2, 1, 0, 3).reshape(-1, 3)
    fractions = points @ np.linalg.inv(matrix)
    inside = ((fractions > -1e-9) & (fractions < 1 - 1e-9)).all(axis=1)
    return points[inside]


def _from_parameters(values: np.ndarray, where: Path) -> np.ndarray:
    """Return the cell of lengths a, b, c and angles alpha, beta, gamma (degrees)."""
    a, b, c = values[:3]
    cosines = np.cos(np.radians(values[3:]))
    sine = math.sin(math.radians(values[5]))
    if abs(sine) < 1e-9:
        raise DataError("LatticeParameters describe a flat cell", where=where)
    xx = (cosines[0] - cosines[1] * cosines[2]) / sine
    height = 1.0 - cosines[1] ** 2 - xx**2
    if height <= 0:
        raise DataError("LatticeParameters describe no cell", where=where)
    return np.array(
        [
            [a, 0.0, 0.0],
            [b * cosines[2], b * sine, 0.0],
            [c * cosines[1], c * xx, c * math.sqrt(height)],
        ]
    )


#: What comes before a comment; a comment sign within quotes is none.
_CONTENT = re.compile(r"""(?:"[^"]*"|'[^']*'|[^#;!])*""")


def _uncommented(line: str) -> str:
    match = _CONTENT.match(line)
    return match[0] if match else line


def _words(line: str) -> list[str]:
    """Split a line into words; quotes keep blanks together."""
    words = []
    for quoted, single, plain in re.findall(
        r'"([^"]*)"|\'([^\']*)\'|([^\s,=:]+)', _uncommented(line)
    ):
        words.append(quoted or single or plain)
    return words


_Values = dict[str, list[str]]


class _Parser:
    """Values and blocks of an input and of what it includes.

    Parameters
    ----------
    files : Files or None
        None: nothing may be included.
    folder : path
        Where SIESTA runs.
    """

    def __init__(self, files: Files | None, folder: Path) -> None:
        self._files, self._folder = files, folder

    def parse(self, text: str, path: Path, depth: int) -> tuple[_Values, _Values]:
        """Return the words after each label, and the lines of each block; the first counts."""
        values: _Values = {}
        blocks: _Values = {}

        def adopt(other: tuple[_Values, _Values], names: list[str] | None = None) -> None:
            for mine, theirs in zip((values, blocks), other, strict=True):
                for name, content in theirs.items():
                    if names is None or name in names:
                        mine.setdefault(name, content)

        lines = iter(text.splitlines())
        for line in lines:
            words = _words(line)
            if not words:
                continue
            first = words[0].lower()
            at = words.index("<") if "<" in words else len(words)
            if first == "%include" and len(words) > 1:
                adopt(self._included(words[1], path, depth))
            elif first == "%block" and len(words) > 1:
                name = normal(words[1])
                if at + 1 < len(words):
                    content = self._redirected_block(name, words[at + 1], path, depth)
                else:
                    content = _block(lines, words[1], path)
                blocks.setdefault(name, content)
            elif at < len(words):
                if at + 1 < len(words):
                    names = [normal(word) for word in words[:at]]
                    adopt(self._included(words[at + 1], path, depth), names)
            else:
                values.setdefault(normal(words[0]), words[1:])
        return values, blocks

    def _text(self, name: str, path: Path) -> tuple[str, Path]:
        """Return a file that `path` names: in the run folder, where SIESTA looks, or beside it."""
        for target in (self._folder / name, path.parent / name):
            if target.is_file() and self._files is not None:
                return self._files.open(target).text(), target
        raise DataError(f"takes from {name}, which is not there", where=path)

    def _included(self, name: str, path: Path, depth: int) -> tuple[_Values, _Values]:
        if depth >= _MAX_DEPTH:
            raise DataError(f"includes {name} more than {_MAX_DEPTH} levels deep", where=path)
        return self.parse(*self._text(name, path), depth + 1)

    def _redirected_block(self, name: str, source: str, path: Path, depth: int) -> list[str]:
        """Return the block of another file, or the whole file where it has no such block."""
        if depth >= _MAX_DEPTH:
            raise DataError(f"takes block {name} from {source}, which is not there", where=path)
        text, target = self._text(source, path)
        if "%block" in text.lower():
            _, blocks = self.parse(text, target, depth + 1)
            if name in blocks:
                return blocks[name]
        return [_uncommented(line) for line in text.splitlines() if _uncommented(line).strip()]


def _block(lines: Iterator[str], name: str, path: Path) -> list[str]:
    """Return the lines of a block up to its end."""
    content: list[str] = []
    for line in lines:
        if line.split()[:1] and line.split()[0].lower() == "%endblock":
            return content
        if _uncommented(line).strip():
            content.append(_uncommented(line))
    raise DataError(f"block {name} has no end", where=path)


def standard_mass(atomic_number: int) -> float:
    """Return the mass SIESTA takes by default: the standard one rounded to 0.01 amu."""
    number = abs(atomic_number) % 200
    return round(float(atomic_masses[number]), 2) if 0 < number < len(atomic_masses) else 0.0
