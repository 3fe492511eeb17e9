"""The records of the source with what the other files of the run hold for them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.convert.frames import Frames, Source
from mdgan_hpc.convert.sources.siesta.companion import Companion, StepTable, Table
from mdgan_hpc.convert.sources.siesta.constants import Constants
from mdgan_hpc.convert.sources.siesta.folder import SOURCES, RunFiles
from mdgan_hpc.convert.sources.siesta.mde import COLUMNS, read_mde
from mdgan_hpc.convert.sources.siesta.outputs import Outputs, prints_forces
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError, DataWarning

#: Angstrom up to which two files of a run tell the same position: the digits that `.ANI` prints.
_AGREES = 2e-6


@dataclass
class Parts:
    """What the frames of a run are put together from.

    Attributes
    ----------
    files : RunFiles
    opened : Files
    constants : Constants
    source : Source
        Where the positions come from.
    openers : dict of kind to function
        Open the positions of each kind of file there is.
    name : str
        Name of the file that the positions come from.
    cell_changes, dynamics : bool
    """

    files: RunFiles
    opened: Files
    constants: Constants
    source: Source
    openers: dict[str, Callable[[], Source]]
    name: str
    cell_changes: bool
    dynamics: bool


def complete_frames(run: Parts, *, check: bool) -> Iterator[Frames]:
    """Return the records of the source with energies, forces and cells from wherever they are.

    Each file is read once; one that holds both the cells and positions to compare serves for both.

    Parameters
    ----------
    run : Parts
    check : bool
        Compare the positions with those of another file.
    """
    frames = _with_outputs(run, _with_energies(run, run.source.frames()))
    others = _Others(run)
    cells = compared = None
    if run.cell_changes and not getattr(run.source, "has_cell", False):
        cells = others.first(SOURCES, with_cell=True)
        if cells is None:
            warnings.warn(
                f"{run.files.folder}: the cell changes, but no file holds its history; the last "
                "one is used",
                DataWarning,
                stacklevel=2,
            )
    if check and run.source.kind != "out":
        compared = others.first(SOURCES[:-1])
    for output in run.files.outputs:
        output.close()
    return _with_others(run, frames, cells, compared)


class _Others:
    """Opens other files of the run than the source, each once."""

    def __init__(self, run: Parts) -> None:
        self._run = run
        self._opened: dict[str, Source | None] = {run.source.kind: None}

    def first(self, kinds: Sequence[str], *, with_cell: bool = False) -> Source | None:
        """Return the first that is there, can be read, and has what is wanted."""
        for kind in kinds:
            if kind not in self._opened:
                self._opened[kind] = self._open(kind)
            other = self._opened[kind]
            if other is not None and (not with_cell or getattr(other, "has_cell", False)):
                return other
        return None

    def _open(self, kind: str) -> Source | None:
        if kind not in self._run.openers:
            return None
        try:
            other = self._run.openers[kind]()
        except DataError as error:
            if kind != "out":  # an output without coordinates is no damage
                warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=4)
            return None
        return other if other.n_atoms == self._run.source.n_atoms else None


def _with_energies(run: Parts, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Add temperature and energies from `.MDE`."""
    path = run.files.files.get("MDE")
    if path is None or run.source.kind == "out":
        yield from frames
        return
    table = StepTable(read_mde(run.opened.open(path)), COLUMNS, path)
    last = -1
    for piece in frames:
        values, steps = table.at(piece.record, piece.steps)
        piece.observables = {**piece.observables, **values}
        if piece.steps is None:
            piece.steps = steps
        last = int(piece.record[-1])
        yield piece
    table.finish(last + 1)


def _with_outputs(run: Parts, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Add forces, and energies where no other file has them, from the standard outputs."""
    energies = "MDE" not in run.files.files and run.source.kind != "MD.nc"
    forces = run.source.kind != "out" and prints_forces(run.files.outputs)
    if run.source.kind == "out" or not run.files.outputs or not (energies or forces):
        return frames
    outputs = Outputs(
        run.files.outputs,
        run.constants,
        energies=energies,
        forces=forces,
        dynamics=run.dynamics,
    )
    return outputs.add_to(frames)


def _table(pieces: Iterator[Frames]) -> Iterator[tuple[np.ndarray, Table]]:
    for piece in pieces:
        cells = {} if piece.cells is None else {"cell": piece.cells}
        yield piece.record, {"positions": piece.positions, **cells}


def _with_others(
    run: Parts, frames: Iterator[Frames], cells: Source | None, compared: Source | None
) -> Iterator[Frames]:
    """Add the cells of another file, and compare the positions with those of the next best one."""
    cell_table = None if cells is None else Companion(_table(cells.frames()))
    if compared is cells:
        table = cell_table
    else:
        table = None if compared is None else Companion(_table(compared.frames()))
    shift = 0 if cells is None else run.source.ahead - cells.ahead
    comparison = _Comparison()
    for piece in frames:
        found: Table = {}
        if cell_table is not None:
            found = cell_table.at(piece.record + shift)
            piece.cells = found.get("cell", np.full((len(piece), 3, 3), np.nan))
        if table is not None:
            if table is not cell_table:
                found = table.at(piece.record)
            comparison.add(piece, found.get("positions"))
        yield piece
    if table is not None and compared is not None:
        comparison.tell(run, compared.kind, table)


class _Comparison:
    """Counts the records in which two files contradict each other."""

    def __init__(self) -> None:
        self.differ, self.first, self.last = 0, 0, -1

    def add(self, piece: Frames, positions: np.ndarray | None) -> None:
        """Take in a piece and the positions [n, N, 3] that the other file has, NaN for none."""
        self.last = int(piece.record[-1])
        if positions is None:
            return
        away = np.abs(positions - piece.positions).max(axis=(1, 2))
        odd = np.flatnonzero(away > _AGREES + 1e-8 * np.abs(piece.positions).max())
        if len(odd) and not self.differ:
            self.first = int(piece.record[odd[0]])
        self.differ += len(odd)

    def tell(self, run: Parts, kind: str, table: Companion) -> None:
        """Warn of what differs, or else of records that only the other file has."""
        more = table.beyond(self.last)
        if self.differ:
            warnings.warn(
                f"{run.files.folder}: {run.name} and {kind} contradict each other in "
                f"{self.differ} records, the first is {self.first}; {run.name} is used",
                DataWarning,
                stacklevel=3,
            )
        elif more:
            warnings.warn(
                f"{run.files.folder}: {kind} holds {more} records more than {run.name} "
                f"(--source {kind} reads them)",
                DataWarning,
                stacklevel=3,
            )
