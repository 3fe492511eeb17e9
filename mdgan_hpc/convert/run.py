"""A run that is open for conversion: what is constant in it, and its frames."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from mdgan_hpc.convert.chain import ChainRules
from mdgan_hpc.convert.frames import Frames


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
    rules : ChainRules
        How the records make one time line.
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
    rules: ChainRules
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Number of atoms N, ghosts included."""
        return len(self.atomic_numbers)

    @property
    def time_step_fs(self) -> float:
        """Time from one step to the next at the beginning, fs."""
        return self.rules.time_steps_fs[0]

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

    def initial_geometry(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return positions [N, 3] and cell [3, 3] of the step before the first record, Angstrom.

        None where the first record is the first step.
        """
        return None
