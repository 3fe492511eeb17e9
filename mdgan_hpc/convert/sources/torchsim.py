"""Trajectories that torch-sim writes for itself (``TorchSimTrajectory``): HDF5, but not H5MD.

Positions in Angstrom under ``data/positions``, the cell by columns, velocities in Angstrom over
the unit of time of Angstrom, eV and u; step numbers under ``steps/positions``. No time is stored.

Source: ``torch_sim/trajectory.py`` and ``units.py`` of torch-sim 0.3.
"""

from pathlib import Path

import numpy as np
from ase import units

from mdgan_hpc import hdf5
from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.arrays import ArrayFile
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    ForeignRun,
    existing,
    refuse_siesta_options,
    refuse_stated,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.species import require_species
from mdgan_hpc.units import FS_PER_PS

#: Angstrom/ps in Angstrom over the unit of time of Angstrom, eV and u.
_VELOCITY = units.fs * FS_PER_PS


class TorchSimFile(ArrayFile):
    """A trajectory of torch-sim.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "data/positions")
        n, t = self.n_atoms, self.n_records
        self._cell = self.matrices("data/cell")
        self._velocities = self.vectors("data/velocities")
        self._forces = self.vectors("data/forces")
        self.steps = hdf5.read(hdf5.numbers(self.root, "steps/positions", (t,), kinds="iu"))
        numbers = hdf5.numbers(self.root, "data/atomic_numbers", (1, n), (t, n))
        self.numbers = require_species(hdf5.read(numbers, 0), hdf5.place(numbers))
        if len(numbers) > 1 and (hdf5.read(numbers, t - 1) != self.numbers).any():
            raise DataError("its atoms change from frame to frame", where=path)
        masses = hdf5.numbers(self.root, "data/masses", (1, n), (t, n))
        self.masses = hdf5.read(masses, 0).astype(np.float64)
        told = hdf5.numbers(self.root, "data/pbc", (None,), (None, None), kinds="biu")
        self.periodic = np.broadcast_to(hdf5.read(told).ravel()[:3].astype(bool), 3)

    def piece(self, rows: slice, stored: np.ndarray) -> Frames:
        """Return the frames of some records."""
        velocities = None if self._velocities is None else hdf5.read(self._velocities, rows)
        assert self.steps is not None
        return Frames(
            np.arange(rows.start, rows.stop),
            stored,
            self.steps[rows],
            None if velocities is None else velocities.astype(np.float64) * _VELOCITY,
            self.cell_rows(rows),
            None if self._forces is None else hdf5.read(self._forces, rows).astype(np.float64),
        )

    def cell_rows(self, rows: slice) -> np.ndarray:
        """Return the cells [t, 3, 3] of some records, Angstrom, rows are the vectors."""
        return self.rows_of(self._cell, rows).swapaxes(1, 2)


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open a trajectory of torch-sim.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    refuse_stated(config, path)
    file = TorchSimFile(existing(path))
    files.add(file.close)
    assert file.steps is not None
    time_line = stated_times(path, config, [int(step) for step in file.steps[:LOOK_AHEAD]])
    return run_of_file(
        path, "torch-sim", file, time_line, file.numbers, file.masses, periodic=file.periodic
    )
