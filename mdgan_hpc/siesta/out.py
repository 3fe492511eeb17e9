"""`.out`: the standard output, which tells version, input, time step, species and masses."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.siesta.constants import constants_of
from mdgan_hpc.siesta.fdf import Fdf, number
from mdgan_hpc.siesta.streams import Stream, lines

_BEGIN = re.compile(r"^\s*Begin (?:MD|CG|FIRE|Broyden|\S+) .*(?:step|move)\s*=\s*(\d+)")
_SPECIES = re.compile(r"^Species number:\s*(\d+)\s*Atomic number:\s*(-?\d+)\s*Label:\s*(\S+)")
_MASS = re.compile(r"^(\S+)\s+Z=\s*(-?\d+)\s+Mass=\s*(\S+)")
_STEP_LENGTH = re.compile(r"Length of MD time step\s*=\s*(\S+)\s*fs")
_HEAD_LINES = 2_000_000


@dataclass
class OutHead:
    """What one run's output says before its first step.

    Attributes
    ----------
    version, label, start : str
        SIESTA's version, `SystemLabel`, and when it was started; empty where it does not say.
    time_step_fs : float or None
    species : dict of index to (atomic number, label)
    masses : dict of label to mass
    fdf : Fdf or None
        The copy of the input.
    atom_species : array of int, [N], or None
    """

    version: str = ""
    label: str = ""
    start: str = ""
    time_step_fs: float | None = None
    species: dict[int, tuple[int, str]] = field(default_factory=dict)
    masses: dict[str, float] = field(default_factory=dict)
    fdf: Fdf | None = None
    atom_species: np.ndarray | None = None


def is_output(path: Path) -> bool:
    """Return whether a file begins like SIESTA's standard output."""
    try:
        with Stream(path) as stream:
            start = stream.read(65536)
    except DataError:
        return False
    return b"WELCOME TO SIESTA" in start or b"Siesta Version" in start or b"reinit:" in start


def read_head(path: Path) -> OutHead:
    """Read what comes before the first step of the (first) run in `path`."""
    with Stream(path) as stream:
        return _head(lines(stream, 65536), path)


def _head(text: Iterable[str], path: Path) -> OutHead:
    head = OutHead()
    rows = iter(text)
    atoms: list[int] = []
    for count, line in enumerate(rows):
        if _BEGIN.match(line) or count > _HEAD_LINES:
            break
        if line.startswith(("Siesta Version", "SIESTA Version", "Version", "SIESTA 3", "siesta-3")):
            head.version = head.version or line.partition(":")[2].strip() or line.strip()
        elif ">> Start of run:" in line and not head.start:
            head.start = line.partition("run:")[2].strip()
        elif "Dump of input data file" in line:
            head.fdf = _dumped(rows, path, head.version)
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
            atoms = _atom_species(rows)
    if atoms:
        head.atom_species = np.array(atoms)
    return head


def _dumped(rows: Iterator[str], path: Path, version: str) -> Fdf | None:
    content = []
    for line in rows:
        if "End of input data file" in line:
            break
        content.append(line)
        if len(content) > _HEAD_LINES:
            return None
    try:
        return Fdf.of_text("\n".join(content), path, constants_of(version))
    except DataError:
        return None  # it includes files, or was cut


def _atom_species(rows: Iterator[str]) -> list[int]:
    species = []
    for line in rows:
        words = line.split()
        if len(words) < 5 or words[0] != "siesta:" or not words[-2].isdigit():
            break
        species.append(int(words[-2]))
    return species
