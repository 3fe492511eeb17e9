"""What the readers of other codes' files share: the run they open, species, torn frames."""

import re
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.timeline import StatedRules, StatedTimes
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.inputs import require_file

#: First records that tell how far the numbers of records usually are apart.
LOOK_AHEAD = 12
#: Part of its longest component by which a cell may change from frame to frame.
_CELL_CHANGE = 0.2
#: Difference in u up to which a mass belongs to an element: its isotopes, and rounding.
_ISOTOPES = 1.1


@dataclass(kw_only=True)
class ForeignRun(Run):
    """One file of another code.

    Attributes
    ----------
    read : function
        Yields the frames.
    read_cells : function
        Yields the cells alone.
    """

    read: Callable[[], Iterator[Frames]]
    read_cells: Callable[[], Iterator[np.ndarray]] = field(default=lambda: iter(()))

    def frames(self, *, check: bool) -> Iterator[Frames]:
        """Yield the records in order, in pieces."""
        return self.read()

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of every record that has one, Angstrom, in a pass of its own."""
        return self.read_cells()


class Streamed(Protocol):
    """A file that is read from its beginning, frame by frame, as often as asked."""

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces."""

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each frame that has one, Angstrom."""


def run_of_file(
    path: Path,
    kind: str,
    file: Streamed,
    time_line: StatedTimes,
    numbers: np.ndarray,
    masses: np.ndarray,
    **more: Any,
) -> ForeignRun:
    """Return the run that a file is.

    Parameters
    ----------
    path : path
    kind : str
        What to call the format.
    file : Streamed
    time_line : StatedTimes
    numbers : array of int, [N]
        Atomic numbers.
    masses : array, [N]
        Atomic mass units.
    **more
        Further fields of `Run`.
    """
    return ForeignRun(
        where=path,
        label=path.stem,
        kind=kind,
        name=path.name,
        inputs=[path],
        atomic_numbers=numbers,
        labels=[chemical_symbols[z] for z in numbers],
        masses=masses,
        cell=None,
        time_line=time_line,
        time_step_fs=time_line.rules.interval_fs,
        read=file.frames,
        read_cells=file.cells,
        **more,
    )


def existing(path: Path) -> Path:
    """Return a path that is a file.

    Raises
    ------
    UsageError
        If it is none.
    """
    try:
        return require_file(path)
    except DataError as error:
        raise UsageError(error.what, where=path) from None


def refuse_siesta_options(config: ConvertConfig, path: Path) -> None:
    """Raise for options that only a run folder of SIESTA gives a meaning.

    Raises
    ------
    UsageError
    """
    given = [
        option
        for option, value in (
            ("--source", config.source != "best"),
            ("--label", config.label),
            ("--include-initial", config.include_initial),
        )
        if value
    ]
    if given:
        raise UsageError(
            f"{given[0]} is for run folders of SIESTA", where=path, remedy="leave it away"
        )


def stated_times(
    path: Path,
    config: ConvertConfig,
    steps: Sequence[int],
    *,
    stated_interval_fs: float = 0.0,
    unwrapped: bool = False,
    renumbered: bool = False,
) -> StatedTimes:
    """Return the time line of a file.

    Parameters
    ----------
    path : path
    config : ConvertConfig
    steps : sequence of int
        What the first records state.
    stated_interval_fs : float
        Time between two records that the file itself states; 0: none.
    unwrapped, renumbered : bool
        As in `StatedRules`.

    Raises
    ------
    UsageError
        If no time is given, or one that contradicts the file.
    """
    given, stated = config.time_step_fs, stated_interval_fs
    if not given and not stated:
        raise UsageError(
            "does not state the time between two frames",
            where=path,
            remedy="give it with --time-step, in fs",
        )
    if given and stated and abs(given / stated - 1) > 0.01:
        raise UsageError(
            f"--time-step {given:g} fs contradicts the file, whose frames are {stated:g} fs apart",
            where=path,
            remedy="leave it away",
        )
    usual = usual_difference(steps)
    return StatedTimes(
        StatedRules(path, stated or given, usual, unwrapped=unwrapped, renumbered=renumbered)
    )


def usual_difference(steps: Sequence[int]) -> int:
    """Return the commonest positive difference of successive numbers; 1 without any."""
    ahead = [int(b) - int(a) for a, b in pairwise(steps) if b > a]
    return Counter(ahead).most_common(1)[0][0] if ahead else 1


def element_number(name: str, where: object) -> int:
    """Return the atomic number of an element symbol.

    Raises
    ------
    UsageError
        If it is none.
    """
    number = atomic_numbers.get(name, 0)
    if not number:
        raise UsageError(f"{name!r} is no element", where=where, remedy="name them with --species")
    return int(number)


def named_species(config: ConvertConfig, where: object) -> list[int]:
    """Return the atomic numbers that --species names."""
    words = [word.strip() for word in config.species.split(",") if word.strip()]
    wrong = [word for word in words if not atomic_numbers.get(word)]
    if wrong:
        raise UsageError(f"--species {','.join(wrong)}: no such element", where=where)
    return [int(atomic_numbers[word]) for word in words]


def refuse_stated(config: ConvertConfig, path: Path) -> None:
    """Raise for options that tell what the file states itself.

    Raises
    ------
    UsageError
    """
    for option, value in (("--species", config.species), ("--units", config.units)):
        if value:
            raise UsageError(
                f"{option}, but the file states them", where=path, remedy="leave it away"
            )


def counted_species(config: ConvertConfig, n_atoms: int, where: object) -> np.ndarray:
    """Return the atomic numbers [N] that --species names of a file that names none.

    One element is that of all atoms; several are counted in the order of the atoms: ``Li96,O288``.

    Raises
    ------
    UsageError
        If it names none, or another number of atoms.
    """
    remedy = "name them in the order of the atoms with --species, such as Li or Li96,O288"
    words = [word.strip() for word in config.species.split(",") if word.strip()]
    if not words:
        raise UsageError("does not state the species of its atoms", where=where, remedy=remedy)
    if len(words) == 1 and words[0] in atomic_numbers:
        return np.full(n_atoms, element_number(words[0], where))
    found = [re.fullmatch(r"([A-Z][a-z]?)([0-9]{1,9})", word) for word in words]
    if not all(found):
        raise UsageError(f"--species {config.species} is no count", where=where, remedy=remedy)
    counts = [int(match[2]) for match in found if match]
    if sum(counts) != n_atoms:
        raise UsageError(
            f"--species {config.species} names {sum(counts)} atoms, there are {n_atoms}",
            where=where,
        )
    return np.repeat([element_number(match[1], where) for match in found if match], counts)


def element_of_mass(mass: float, where: object) -> int:
    """Return the atomic number of the element with this mass, u.

    Raises
    ------
    UsageError
        If there is none.
    """
    number = 1 + int(np.argmin(np.abs(atomic_masses[1:] - mass)))
    if abs(atomic_masses[number] - mass) > 0.05:
        raise UsageError(
            f"the mass {mass:g} is that of no element", where=where, remedy="give --species"
        )
    return number


def check_masses(numbers: np.ndarray, masses: np.ndarray, where: object) -> None:
    """Compare stated masses [N] with those of the elements [N].

    Raises
    ------
    UsageError
        If a mass belongs to another element.
    """
    standard = atomic_masses[numbers]
    away = np.abs(masses - standard)
    wrong = np.flatnonzero(away > np.maximum(_ISOTOPES, 0.03 * standard))
    if len(wrong):
        atom = int(wrong[0])
        raise UsageError(
            f"an atom of {chemical_symbols[numbers[atom]]} has the mass {masses[atom]:g}",
            where=where,
            remedy="give the elements in the order of the types with --species",
        )


class CellWatch:
    """Knows a damaged cell: from frame to frame none changes by more than a fifth.

    Parameters
    ----------
    cells : sequence of array, [3, 3]
        Of the first frames, Angstrom; their median is where it begins.
    """

    def __init__(self, cells: Sequence[np.ndarray]) -> None:
        self._last = np.median(np.array(cells), axis=0)

    def fits(self, cell: np.ndarray) -> bool:
        """Whether a cell [3, 3] may follow the last that fitted."""
        if cell is self._last:
            return True
        fits = bool(np.abs(cell - self._last).max() <= _CELL_CHANGE * np.abs(self._last).max())
        if fits:
            self._last = cell
        return fits


class RepeatedLines:
    """Finds frames that end with the atoms of another, where lines of a file came twice.

    Such a frame is the last before the repetition. It begins as itself and ends as the frame that
    stands before the one repeated: its last line is that one's.
    """

    #: So many frames back is looked.
    _REMEMBERED = 10_000

    def __init__(self) -> None:
        self._before: OrderedDict[int, str | bytes] = OrderedDict()  # each number: the line before

    def mixed(
        self,
        number: int | None,
        last: str | bytes,
        next_number: int | None,
        next_last: str | bytes,
    ) -> bool:
        """Return whether a frame is such a one.

        Parameters
        ----------
        number, next_number : int, optional
            Step or number of the frame and of the one that follows.
        last, next_last : str or bytes
            Their last lines.
        """
        if number is None or next_number is None:
            return False
        if next_number <= number and next_number in self._before:
            # A frozen atom has the same line everywhere, which tells nothing.
            return self._before[next_number] == last != next_last
        self._before.setdefault(next_number, last)
        if len(self._before) > self._REMEMBERED:
            self._before.popitem(last=False)
        return False


#: What is said of such a frame.
OTHER_ATOMS = "its atoms may be those of another frame"


class Torn:
    """Counts frames that are left out, and tells of them in one line."""

    def __init__(self, path: Path) -> None:
        self._path, self.count, self._first = path, 0, 0
        self._why: Counter[str] = Counter()

    def add(self, record: int, why: str) -> None:
        """Take in a frame and what is wrong with it."""
        self._first = record if not self.count else self._first
        self.count += 1
        self._why[why] += 1

    def tell(self) -> None:
        """Warn of the frames that were left out."""
        if not self.count:
            return
        frames = "frame is" if self.count == 1 else "frames are"
        why = ", ".join(self._why)
        warnings.warn(
            f"{self._path}: {self.count} torn {frames} left out, the first is frame "
            f"{self._first} ({why})",
            DataWarning,
            stacklevel=3,
        )


def no_frame(path: Path) -> DataError:
    """Return the error of a file without a whole frame."""
    return DataError("holds no whole frame", where=path, remedy="is it of the format named?")
