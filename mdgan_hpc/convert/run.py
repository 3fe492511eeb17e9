"""A run that is open for conversion: what is constant in it, and its frames."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.timeline import TimeLine


@dataclass(kw_only=True)
class Run(ABC):
    """What every source opens: a folder of SIESTA, or one file of another code.

    Attributes
    ----------
    where : path
        The folder or file, for messages.
    label : str
        Name of the run.
    kind, name : str
        Kind and name of the file that the positions come from.
    inputs : list of path
        Every file that is read.
    atomic_numbers : array of int, [N]
        0 for ghosts, which are left out.
    labels : list of str, [N]
        Species labels, as the code calls them.
    masses : array, [N]
        Atomic mass units.
    cell : array, [3, 3], or None
        Constant cell, Angstrom; None where it is not known, or comes with the frames.
    time_line : TimeLine
        Puts the records on one time line.
    time_step_fs : float
        Time from one record to the next at the beginning, fs.
    unwrapped : bool
        The file states the unwrapped path: it is taken as it is.
    periodic : array of bool, [3]
        Cell vectors along which coordinates may be folded.
    parameters : dict
        Further constants for ``parameters/`` of the trajectory file.
    """

    where: Path
    label: str
    kind: str
    name: str
    inputs: list[Path]
    atomic_numbers: np.ndarray
    labels: list[str]
    masses: np.ndarray
    cell: np.ndarray | None
    time_line: TimeLine
    time_step_fs: float
    unwrapped: bool = False
    periodic: np.ndarray = field(default_factory=lambda: np.ones(3, bool))
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Number of atoms N, ghosts included."""
        return len(self.atomic_numbers)

    @property
    def elements(self) -> list[str]:
        """Element symbol of each atom, [N]."""
        return [chemical_symbols[z] for z in self.atomic_numbers]

    @abstractmethod
    def frames(self, *, check: bool) -> Iterator[Frames]:
        """Yield the records in order, in pieces; to be asked once.

        Parameters
        ----------
        check : bool
            Compare the files of the run with each other where there are several.
        """

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of every record that has one, Angstrom, in a pass of its own."""
        return iter(())

    def mean_cell(self) -> np.ndarray | None:
        """Return the mean [3, 3] of a cell that changes, Angstrom; None if it does not."""
        total, count, first, changes = np.zeros((3, 3)), 0, None, False
        for cell in self.cells():
            first = cell if first is None else first
            changes |= bool(np.abs(cell - first).max() > 1e-7 * np.abs(first).max())
            total, count = total + cell, count + 1
        return total / count if changes else None

    def initial_geometry(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return positions [N, 3] and cell [3, 3] of the step before the first record, Angstrom.

        None where the first record is the first step.
        """
        return None
