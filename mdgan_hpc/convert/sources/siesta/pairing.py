"""The records of the source with what the other files of the run hold for them."""

import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.convert.frames import Frames, Source
from mdgan_hpc.convert.sources.siesta.companion import Companion, StepTable
from mdgan_hpc.convert.sources.siesta.folder import SOURCES
from mdgan_hpc.convert.sources.siesta.mde import COLUMNS, read_mde
from mdgan_hpc.convert.sources.siesta.outputs import Outputs, prints_forces
from mdgan_hpc.convert.sources.siesta.run import Run
from mdgan_hpc.errors import DataError, DataWarning

#: Angstrom up to which two files of a run tell the same position: the digits that `.ANI` prints.
_AGREES = 2e-6


def complete_frames(run: Run, *, check: bool) -> Iterator[Frames]:
    """Yield the records of the source with energies, forces and cells from wherever they are.

    Parameters
    ----------
    run : Run
    check : bool
        Compare the positions with those of another file.
    """
    frames = _with_outputs(run, _with_energies(run, run.source.frames()))
    if run.cell_changes and not getattr(run.source, "has_cell", False):
        frames = _with_cells(run, frames)
    return _checked(run, frames) if check else frames


def source_name(run: Run) -> str:
    """Return the name of the file that the positions come from."""
    path = run.files.files.get(run.source.kind)
    return path.name if path else ", ".join(output.name for output in run.files.outputs)


def _with_energies(run: Run, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Add temperature and energies from `.MDE`."""
    path = run.files.files.get("MDE")
    if path is None or run.source.kind == "out":
        yield from frames
        return
    table = StepTable(read_mde(path), COLUMNS, path)
    last = -1
    for piece in frames:
        values, steps = table.at(piece.record, piece.steps)
        piece.observables = {**piece.observables, **values}
        if piece.steps is None:
            piece.steps = steps
        last = int(piece.record[-1])
        yield piece
    table.finish(last + 1)


def _with_outputs(run: Run, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Add forces, and energies where no other file has them, from the standard outputs."""
    energies = "MDE" not in run.files.files and run.source.kind != "MD.nc"
    forces = run.source.kind != "out" and prints_forces(run.heads)
    if run.source.kind == "out" or not run.heads or not (energies or forces):
        return frames
    outputs = Outputs(
        run.heads, run.constants, energies=energies, forces=forces, dynamics=not run.relaxation
    )
    return outputs.add_to(frames)


def _with_cells(run: Run, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Add the cells from another file of the run, where the source has none."""
    for kind in SOURCES:
        other = _opened(run, kind)
        if other is not None and getattr(other, "has_cell", False):
            break
    else:
        warnings.warn(
            f"{run.files.folder}: the cell changes, but no file holds its history; the last one "
            "is used",
            DataWarning,
            stacklevel=2,
        )
        yield from frames
        return
    shift = run.source.ahead - other.ahead
    cells = Companion((p.record, {"cell": p.cells}) for p in other.frames() if p.cells is not None)
    for piece in frames:
        found = cells.at(piece.record + shift).get("cell")
        if found is None:
            found = np.full((len(piece), 3, 3), np.nan)
        piece.cells = found
        yield piece


def _opened(run: Run, kind: str) -> Source | None:
    """Open another kind of file of the run; None if there is none that can be read."""
    if kind == run.source.kind or kind not in run.openers:
        return None
    try:
        other = run.openers[kind]()
    except DataError as error:
        if kind != "out":  # an output without coordinates is no damage
            warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=3)
        return None
    return other if other.n_atoms == run.source.n_atoms else None


def _checked(run: Run, frames: Iterator[Frames]) -> Iterator[Frames]:
    """Compare the positions with those of the next best file, and report what differs."""
    other = None
    for kind in SOURCES[:-1]:
        other = _opened(run, kind)
        if other is not None:
            break
    if other is None or run.source.kind == "out" or run.source.kind not in SOURCES:
        yield from frames
        return
    compared = Companion((p.record, {"positions": p.positions}) for p in other.frames())
    differ, first, last = 0, 0, -1
    for piece in frames:
        found = compared.at(piece.record).get("positions")
        last = int(piece.record[-1])
        if found is not None:
            away = np.abs(found - piece.positions).max(axis=(1, 2))
            odd = np.flatnonzero(away > _AGREES + 1e-8 * np.abs(piece.positions).max())
            if len(odd) and not differ:
                first = int(piece.record[odd[0]])
            differ += len(odd)
        yield piece
    more = compared.beyond(last)
    name = source_name(run)
    if differ:
        warnings.warn(
            f"{run.files.folder}: {name} and {kind} contradict each other in {differ} records, "
            f"the first is {first}; {name} is used",
            DataWarning,
            stacklevel=2,
        )
    elif more:
        warnings.warn(
            f"{run.files.folder}: {kind} holds {more} records more than {name} "
            f"(--source {kind} reads them)",
            DataWarning,
            stacklevel=2,
        )
