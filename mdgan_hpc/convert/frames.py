"""What the readers hand on, and what becomes of it: consecutive records as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

import numpy as np

#: Bytes of float64 positions in one piece of a reader: what stays in the cache of a core.
PIECE_BYTES = 2**18
#: Bytes of positions handed to the file at a time: large writes, little memory.
_GATHERED_BYTES = 4 * 2**20

#: Units of the observables, by name.
UNITS = {
    "temperature": "K",
    "potential_energy": "eV",
    "conserved_energy": "eV",
    "volume": "Angstrom3",
    "pressure": "kBar",
}

_Piece = TypeVar("_Piece", "Frames", "TimedFrames")


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
    forces : array, [n, N, 3], or None
        eV/Angstrom.
    observables : dict of name to array [n]
    times_ps : array, [n], or None
        Times stated in the file.
    """

    record: np.ndarray
    positions: np.ndarray
    steps: np.ndarray | None = None
    velocities: np.ndarray | None = None
    cells: np.ndarray | None = None
    forces: np.ndarray | None = None
    observables: dict[str, np.ndarray] = field(default_factory=dict)
    times_ps: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.record)

    def __getitem__(self, rows: slice | np.ndarray) -> "Frames":
        return _cut(self, rows)


@dataclass
class TimedFrames:
    """Frames with all quantities of the same instant, [n] each.

    Attributes
    ----------
    steps : array of int, [n]
        Counted through all restarts.
    times_ps : array, [n]
    positions, velocities, cells, forces, observables
        As in `Frames`; NaN where unknown.
    """

    steps: np.ndarray
    times_ps: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray | None
    cells: np.ndarray | None
    forces: np.ndarray | None
    observables: dict[str, np.ndarray]

    def __getitem__(self, rows: slice | np.ndarray) -> "TimedFrames":
        return _cut(self, rows)


def _each(pieces: list[_Piece], combine: Any) -> _Piece:
    """Return a piece whose arrays are `combine` of the list of those of the pieces."""
    values: dict[str, Any] = {}
    for name in (f.name for f in fields(pieces[0])):
        parts: list[Any] = [getattr(piece, name) for piece in pieces]
        if isinstance(parts[0], dict):
            values[name] = {key: combine([part[key] for part in parts]) for key in parts[0]}
        else:
            values[name] = None if parts[0] is None else combine(parts)
    return type(pieces[0])(**values)


def _cut(piece: _Piece, rows: slice | np.ndarray) -> _Piece:
    return _each([piece], lambda parts: parts[0][rows])


def gathered(
    pieces: Iterator[TimedFrames], n_bytes: int = _GATHERED_BYTES
) -> Iterator[TimedFrames]:
    """Yield the same frames in pieces of about `n_bytes` of positions."""
    kept: list[TimedFrames] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += piece.positions.nbytes
        if size >= n_bytes:
            yield _each(kept, np.concatenate)
            kept, size = [], 0
    if kept:
        yield _each(kept, np.concatenate)


class Source(Protocol):
    """A file, or several, that hold the positions of a run record by record.

    Attributes
    ----------
    kind : str
        Name of the file kind.
    n_atoms : int
    ahead : int
        Positions of the record labelled step s are those of step s + `ahead`; velocities, forces
        and energies are always those of step s.
    """

    kind: str
    n_atoms: int
    ahead: int

    def frames(self) -> Iterator[Frames]:
        """Yield all records in order, in pieces."""


def piece_records(n_atoms: int) -> int:
    """Return how many records make one piece."""
    return max(1, PIECE_BYTES // (24 * n_atoms))
