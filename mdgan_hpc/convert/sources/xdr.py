"""XTC and TRR of GROMACS, and DCD, through MDAnalysis, frame by frame.

None of them holds elements: ``--species`` names them in the order of the atoms, such as
``Li96,O288``. XTC and TRR state times in ps; DCD states none that programs agree on, so that the
time between two frames is asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_masses

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    ForeignRun,
    Torn,
    counted_species,
    existing,
    no_frame,
    refuse_siesta_options,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.units import ANGSTROM_PER_NM, EV_PER_KJ_PER_MOL, FS_PER_PS

#: A cell of no edges: there is none.
_NO_CELL = 1e-6


class _Frame(NamedTuple):
    """A frame in our units."""

    step: int
    time_ps: float
    positions: np.ndarray
    cell: np.ndarray
    velocities: np.ndarray | None = None
    forces: np.ndarray | None = None


class XdrFile(ABC):
    """A file that MDAnalysis reads.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    n_atoms : int
    has_cell : bool
    steps : list of int
        Of the first frames; empty where they do not rise.
    interval_ps : float
        Between the first frames; 0 where none is stated.

    Raises
    ------
    DataError
        For a file without a whole frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        first = list(islice(self._frames(Torn(path)), LOOK_AHEAD))
        if not first:
            raise no_frame(path)
        self.n_atoms = len(first[0].positions)
        self.has_cell = bool(np.abs(first[0].cell).max() > _NO_CELL)
        self.has_velocities = any(frame.velocities is not None for frame in first)
        self.has_forces = any(frame.forces is not None for frame in first)
        steps = [frame.step for frame in first]
        self.steps = steps if all(b > a for a, b in pairwise(steps)) and len(steps) > 1 else []
        intervals = [b.time_ps - a.time_ps for a, b in pairwise(first)]
        self.interval_ps = float(np.median(intervals)) if intervals else 0.0

    @abstractmethod
    def _frames(self, torn: Torn) -> Iterator[_Frame]:
        """Yield the frames; what cannot be read goes to `torn` and ends them."""

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each frame, Angstrom."""
        if self.has_cell:
            for frame in self._frames(Torn(self.path)):
                yield frame.cell

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces."""
        torn, size = Torn(self.path), min(piece_records(self.n_atoms), 256)
        kept: list[_Frame] = []
        done = 0
        for frame in self._frames(torn):
            kept.append(frame)
            if len(kept) == size:
                yield self._piece(done, kept)
                done, kept = done + size, []
        if kept:
            yield self._piece(done, kept)
        torn.tell()

    def _piece(self, first: int, kept: list[_Frame]) -> Frames:
        positions = np.array([frame.positions for frame in kept])
        if not np.isfinite(positions).all():
            raise DataError("holds a position that is not a number", where=self.path)
        missing = np.full((self.n_atoms, 3), np.nan)

        def each(name: str) -> np.ndarray:
            values = [getattr(frame, name) for frame in kept]
            return np.array([missing if value is None else value for value in values])

        return Frames(
            np.arange(first, first + len(kept)),
            positions,
            np.array([frame.step for frame in kept]) if self.steps else None,
            each("velocities") if self.has_velocities else None,
            np.array([frame.cell for frame in kept]) if self.has_cell else None,
            each("forces") if self.has_forces else None,
        )


def _through(opened: Any, torn: Torn, path: Path) -> Iterator[Any]:
    """Yield the frames of an open file as far as they can be read."""
    frames, done = iter(opened), 0
    end: int | None = None  # of the last whole frame, bytes
    while True:
        try:
            frame = next(frames, None)
        except (OSError, ValueError, RuntimeError, EOFError) as error:
            if not done:
                text = " ".join(str(error).split())
                raise DataError(f"cannot be read ({text})", where=path) from error
            torn.add(done, "the rest cannot be read")
            return
        if frame is None:
            # A frame that is cut ends the file as far as MDAnalysis is concerned.
            if end is not None and end < path.stat().st_size:
                torn.add(done, "the rest cannot be read")
            return
        end = opened._bytes_tell() if hasattr(opened, "_bytes_tell") else None
        yield frame
        done += 1


class _Gromacs(XdrFile):
    """XTC or TRR; lengths in nm, times in ps."""

    def _frames(self, torn: Torn) -> Iterator[_Frame]:
        from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

        kind = TRRFile if self.path.suffix.lower() == ".trr" else XTCFile
        try:
            opened = kind(str(self.path))
        except (OSError, ValueError) as error:
            raise DataError("is no file of GROMACS, or is damaged", where=self.path) from error
        with opened:
            for frame in _through(opened, torn, self.path):
                values = frame._asdict()
                if not values.get("hasx", True):
                    continue
                velocities = values["v"] if values.get("hasv") else None
                forces = values["f"] if values.get("hasf") else None
                yield _Frame(
                    int(frame.step),
                    float(frame.time),
                    ANGSTROM_PER_NM * frame.x.astype(np.float64),
                    ANGSTROM_PER_NM * frame.box.astype(np.float64),
                    None if velocities is None else ANGSTROM_PER_NM * velocities.astype(np.float64),
                    None
                    if forces is None
                    else EV_PER_KJ_PER_MOL / ANGSTROM_PER_NM * forces.astype(np.float64),
                )


class _Dcd(XdrFile):
    """DCD; lengths in Angstrom, no times."""

    def _frames(self, torn: Torn) -> Iterator[_Frame]:
        from MDAnalysis.coordinates.DCD import DCDReader

        try:
            opened = DCDReader(str(self.path))
        except (OSError, ValueError) as error:
            raise DataError("is no DCD file, or is damaged", where=self.path) from error
        with opened:
            for step in _through(opened, torn, self.path):
                cell = step.triclinic_dimensions
                yield _Frame(
                    int(step.data.get("step", step.frame)),
                    0.0,
                    step.positions.astype(np.float64),
                    np.zeros((3, 3)) if cell is None else cell.astype(np.float64),
                )


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open an XTC, TRR or DCD file, which its ending tells.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    existing(path)
    try:
        import MDAnalysis  # noqa: F401
    except ImportError:
        raise UsageError(
            "is read through MDAnalysis, which is not installed",
            where=path,
            remedy="install mdgan-hpc[mdanalysis]",
        ) from None
    kinds: dict[str, type[XdrFile]] = {".xtc": _Gromacs, ".trr": _Gromacs, ".dcd": _Dcd}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError("does not end in .xtc, .trr or .dcd", where=path, remedy="rename it")
    file = kind(path)
    numbers = counted_species(config, file.n_atoms, path)
    if config.unwrap and not file.has_cell:
        raise UsageError("--unwrap needs a cell, and it has none", where=path)
    interval_fs = FS_PER_PS * max(file.interval_ps, 0.0)
    time_line = stated_times(path, config, file.steps, stated_interval_fs=interval_fs)
    name = path.suffix[1:].upper()
    return run_of_file(path, name, file, time_line, numbers, atomic_masses[numbers])
