"""What the readers hand on: consecutive records of one file as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

#: Bytes of float64 positions in one piece of a reader: what stays in the cache of a core.
PIECE_BYTES = 2**18

#: Units of the observables, by name.
UNITS = {
    "temperature": "K",
    "potential_energy": "eV",
    "conserved_energy": "eV",
    "volume": "Angstrom3",
    "pressure": "kBar",
}


@dataclass
class Frames:
    """n consecutive records as one file holds them.

    Attributes
    ----------
    record : array of int, [n]
        Place in the file, from 0; a torn record keeps its place, so places may be missing.
    positions : array, [n, N, 3]
        Angstrom.
    steps : array of int, [n], or None
        Step numbers printed in the file.
    velocities : array, [n, N, 3], or None
        Angstrom/ps.
    cells : array, [n, 3, 3], or None
        Angstrom, rows are the vectors.
    observables : dict of name to array [n]
    """

    record: np.ndarray
    positions: np.ndarray
    steps: np.ndarray | None = None
    velocities: np.ndarray | None = None
    cells: np.ndarray | None = None
    observables: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.record)

    def __getitem__(self, rows: slice | np.ndarray) -> "Frames":
        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return Frames(
            self.record[rows],
            self.positions[rows],
            cut(self.steps),
            cut(self.velocities),
            cut(self.cells),
            {name: values[rows] for name, values in self.observables.items()},
        )


class Source(Protocol):
    """A file, or several, that hold the positions of a run record by record.

    Attributes
    ----------
    kind : str
        Name of the file kind.
    n_atoms : int
    ahead : int
        Positions of the record labelled step s are those of step s + `ahead`; velocities and
        energies are always those of step s.
    """

    kind: str
    n_atoms: int
    ahead: int

    def frames(self) -> Iterator[Frames]:
        """Yield all records in order, in pieces."""


def piece_records(n_atoms: int) -> int:
    """Return how many records make one piece."""
    return max(1, PIECE_BYTES // (24 * n_atoms))
