"""Trajectories of other codes, read by ASE frame by frame: whatever format it knows."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import iread
from ase.io.formats import UnknownFileTypeError

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    CellWatch,
    ForeignRun,
    Torn,
    existing,
    no_frame,
    refuse_siesta_options,
    run_of_file,
    stated_times,
    usual_difference,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.units import FS_PER_PS


class AtomsFile(ABC):
    """Frames that come as ASE's `Atoms`, with everything of a frame at the same instant.

    Parameters
    ----------
    path : path
    kind : str

    Attributes
    ----------
    n_atoms : int
    atomic_numbers : array of int, [N]
    masses : array, [N]
    periodic : array of bool, [3]
    numbers : list of int
        What the frames state of themselves; empty where they do not.
    some_cell, all_cells, some_velocities : bool
        What some or all of the frames have.

    Raises
    ------
    DataError
        For a file without a frame that can be read.
    """

    numbers: list[int]
    some_cell: bool
    all_cells: bool
    some_velocities: bool

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # told when the frames are read
            begin = [atoms for _, atoms, _ in islice(self._atoms(), LOOK_AHEAD) if len(atoms)]
        if not begin:
            raise no_frame(path)
        atoms = begin[0]
        self._first_cells = [_cell(atoms) for atoms in begin if atoms.cell.rank == 3]
        self.n_atoms = len(atoms)
        self.atomic_numbers = np.array(atoms.numbers)
        if not self.atomic_numbers.all():
            raise DataError("has atoms that are no elements", where=path)
        self.masses = np.asarray(atoms.get_masses())
        self.periodic = np.array(atoms.pbc)

    @abstractmethod
    def _atoms(self) -> Iterator[tuple[int, Atoms, int | None]]:
        """Yield record, atoms and stated number of each frame."""

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each frame that has one, Angstrom."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            watch = CellWatch(self._first_cells or [np.zeros((3, 3))])
            for _, atoms, _ in self._atoms():
                if atoms.cell.rank == 3 and watch.fits(_cell(atoms)):
                    yield _cell(atoms)

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces.

        Raises
        ------
        DataError
            If the atoms change from frame to frame.
        """
        size = min(piece_records(self.n_atoms), 256)
        self._counted = -1
        kept: list[tuple[int, Atoms, int | None]] = []
        without_cell, torn = 0, Torn(self.path)
        watch = CellWatch(self._first_cells) if self._first_cells else None
        for record, atoms, number in self._atoms():
            if not np.array_equal(atoms.numbers, self.atomic_numbers):
                raise DataError(
                    f"frame {record} holds other atoms than the first, or in another order",
                    where=self.path,
                )
            if watch and atoms.cell.rank == 3 and not watch.fits(_cell(atoms)):
                torn.add(record, "its cell is another")
                continue
            without_cell += atoms.cell.rank < 3
            kept.append((record, atoms, number))
            if len(kept) == size:
                yield self._piece(kept)
                kept = []
        if kept:
            yield self._piece(kept)
        torn.tell()
        if without_cell and self.some_cell:
            warnings.warn(
                f"{self.path}: {without_cell} frames have no cell", DataWarning, stacklevel=2
            )

    def _piece(self, kept: list[tuple[int, Atoms, int | None]]) -> Frames:
        images = [atoms for _, atoms, _ in kept]
        positions = np.array([atoms.positions for atoms in images])
        if not np.isfinite(positions).all():
            raise DataError("holds a position that is not a number", where=self.path)
        return Frames(
            np.array([record for record, *_ in kept]),
            positions,
            np.array([self._number(number) for *_, number in kept]) if self.numbers else None,
            np.array([_velocities(atoms) for atoms in images]) if self.some_velocities else None,
            np.array([_cell(atoms) for atoms in images]) if self.some_cell else None,
        )

    def _number(self, stated: int | None) -> int:
        """Return the number of the next frame; one that states none comes after the last."""
        usual = usual_difference(self.numbers[:LOOK_AHEAD])
        self._counted = self._counted + usual if stated is None else stated
        return self._counted


def _velocities(atoms: Atoms) -> np.ndarray:
    """Return velocities [N, 3] in Angstrom/ps, NaN where the frame has none."""
    if "momenta" not in atoms.arrays:
        return np.full((len(atoms), 3), np.nan)
    velocities = atoms.arrays["momenta"] / np.asarray(atoms.get_masses())[:, None]
    return np.asarray(velocities * (units.fs * FS_PER_PS))


def _cell(atoms: Atoms) -> np.ndarray:
    """Return the cell [3, 3], NaN where the frame has none."""
    return np.array(atoms.cell.array) if atoms.cell.rank == 3 else np.full((3, 3), np.nan)


class AseFile(AtomsFile):
    """A trajectory in a format that ASE reads frame by frame.

    Parameters
    ----------
    path : path
    format : str or None
        ASE's name of the format; None lets ASE find it.

    Raises
    ------
    UsageError
        For a format that ASE does not know.
    DataError
        For a file without a readable first frame.
    """

    numbers: list[int] = []  # noqa: RUF012 (none is stated)

    def __init__(self, path: Path, format: str | None) -> None:
        self.path, self._format = path, format
        first = next((atoms for _, atoms, _ in self._atoms()), None)
        if first is None:
            raise no_frame(path)
        self.some_cell = self.all_cells = bool(first.cell.rank == 3)
        self.some_velocities = "momenta" in first.arrays
        super().__init__(path, f"ASE {format or 'auto'}")

    def _atoms(self) -> Iterator[tuple[int, Atoms, int | None]]:
        try:
            for record, atoms in enumerate(iread(self.path, index=":", format=self._format)):
                yield record, atoms, None
        except UnknownFileTypeError as error:
            raise UsageError(f"its format is not known to ASE ({error})", where=self.path) from None
        except (MemoryError, UsageError, DataError, DataWarning):
            raise
        except Exception as error:  # readers of ASE raise anything on damaged files
            kind = type(error).__name__
            text = " ".join(str(error).split())
            raise DataError(f"ASE cannot read it ({kind}: {text})", where=self.path) from error


def foreign_run(path: Path, config: ConvertConfig, file: AtomsFile) -> ForeignRun:
    """Return the run that a file of `Atoms` is.

    Raises
    ------
    UsageError
        For options that it cannot carry out.
    """
    if config.species:
        raise UsageError("--species names the types of a LAMMPS dump", where=path)
    if config.unwrap and not file.all_cells:
        what = "some frames have none" if file.some_cell else "it has none"
        raise UsageError(
            f"--unwrap needs three cell vectors in every frame, and {what}",
            where=path,
            remedy="leave --unwrap away, or give a file with the cell of every frame",
        )
    time_line = stated_times(path, config, file.numbers[:LOOK_AHEAD])
    return run_of_file(
        path, file.kind, file, time_line, file.atomic_numbers, file.masses, periodic=file.periodic
    )


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open a trajectory through ASE.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    return foreign_run(path, config, AseFile(existing(path), config.format or None))
