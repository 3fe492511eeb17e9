"""What is compared: the material, its cell, its temperature."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.report.numbers import formula
from mdgan_hpc.results import Result
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.species import symbol
from mdgan_hpc.trajectory.temperature import temperature_of


@dataclass(frozen=True)
class System(Result):
    """The system of the MD runs.

    Attributes
    ----------
    species : str
        Of the ions that are compared; ``X`` where the files do not tell.
    material : str
        Chemical formula of all atoms of the cell, reduced; empty where not known.
    ions : int
        In the cell of the first run.
    cell : array, [3, 3], optional
        Rows are the cell vectors, Angstrom; of the first record of the first run.
    temperature_k : float, optional
        Mean over the runs of what their thermostats were set to, or else of what was measured.
    """

    species: str
    material: str
    ions: int
    cell: np.ndarray | None = None
    temperature_k: float | None = None

    @classmethod
    def of_runs(cls, paths: Sequence[str], species: str) -> "System":
        """Read what the files of the runs tell."""
        temperatures = []
        for path in paths:
            with Trajectory(path, species or None) as trajectory:
                temperatures.append(temperature_of(trajectory).k)
        known = [temperature for temperature in temperatures if temperature is not None]
        with Trajectory(paths[0], species or None) as first:
            framework = first.framework
            atoms = [*first.species, *([] if framework is None else framework.species)]
            return cls(
                species=first.require_one_species(),
                material=_reduced(Counter(map(int, atoms))) if framework is not None else "",
                ions=first.n_particles,
                cell=_first_cell(first),
                temperature_k=float(np.mean(known)) if known else None,
            )

    @property
    def name(self) -> str:
        """E.g. ``Li in LiH``; empty where the species is not known."""
        if self.species == "X":
            return ""
        return f"{self.species} in {formula(self.material)}" if self.material else self.species

    @property
    def facts(self) -> list[str]:
        """Ions, cell and temperature in words."""
        told = []
        if self.cell is not None:
            lengths = np.linalg.norm(self.cell, axis=1)
            unit = self.cell / lengths[:, None]
            angles = [math.degrees(math.acos(unit[i] @ unit[j])) for i, j in _OPPOSITE]
            told.append(
                f"{self.ions} ions in a cell of {' × '.join(f'{v:.2f}' for v in lengths)} Å"
                f" ({', '.join(f'{v:.4g}°' for v in angles)})"
            )
        if self.temperature_k is not None:
            told.append(f"{self.temperature_k:.0f} K")
        return told


def _first_cell(trajectory: Trajectory) -> np.ndarray | None:
    try:
        return np.asarray(trajectory.cells(slice(0, 1))[0])
    except DataError:
        return None


#: Pairs of cell vectors that enclose alpha, beta, gamma.
_OPPOSITE = ((1, 2), (0, 2), (0, 1))


def _reduced(counts: Counter[int]) -> str:
    """Return the formula of atomic numbers with their counts."""
    from ase.formula import Formula

    if 0 in counts:
        return ""
    named = Formula.from_dict({symbol(z): n for z, n in sorted(counts.items())})
    return named.reduce()[0].format("metal")
