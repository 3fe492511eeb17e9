"""The file vaspout.h5 of VASP.

Fractions of the cell under ``intermediate/ion_dynamics/position_ions``, folded into the cell; the
cell beside them, in Angstrom; forces in eV/Angstrom. The time between two records is POTIM of an
MD, times ML_OUTBLOCK from 6.4.3 on (before, every step is written). Velocities, which only some
runs have, are left out: VASP states neither their unit nor their instant.

Sources: pages "Vaspout.h5" and "ML_OUTBLOCK" of the VASP wiki; the schema of py4vasp 0.10.
"""

import math
import re
from pathlib import Path

import h5py
import numpy as np
from ase.data import atomic_masses

from mdgan_hpc import hdf5
from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.arrays import ArrayFile
from mdgan_hpc.convert.sources.foreign import (
    ForeignRun,
    element_number,
    existing,
    refuse_siesta_options,
    refuse_stated,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.temperature import TARGET

_DYNAMICS = "intermediate/ion_dynamics"
_IONS = "results/positions"
#: From this version on ML_OUTBLOCK holds for this file.
_OUTBLOCK_HOLDS = (6, 4, 3)


class VaspoutFile(ArrayFile):
    """A vaspout.h5.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, f"{_DYNAMICS}/position_ions")
        self._cell = self.matrices(f"{_DYNAMICS}/lattice_vectors")
        self._scale = self._number(f"{_DYNAMICS}/scale", 1.0)
        self._forces = self.vectors(f"{_DYNAMICS}/forces")
        self.numbers = self._species()
        if not self._number(f"{_IONS}/direct_coordinates", 1):
            raise DataError("its coordinates are not direct", where=path)

    def _number(self, name: str, otherwise: float) -> float:
        """Return a number of the file, or what stands for one that is not there.

        Raises
        ------
        DataError
            If it is no finite number.
        """
        found = hdf5.find(self.root, name)
        if found is None:
            return otherwise
        value = float(hdf5.read(hdf5.numbers(self.root, name, ())))
        if not math.isfinite(value):
            raise DataError("is no number", where=hdf5.place(found))
        return value

    def _species(self) -> np.ndarray:
        names = hdf5.find(self.root, f"{_IONS}/ion_types")
        counts = hdf5.read(hdf5.numbers(self.root, f"{_IONS}/number_ion_types", (None,)))
        if not isinstance(names, h5py.Dataset) or names.shape != counts.shape:
            raise DataError("does not name its ion types", where=f"{self.path}:/{_IONS}")
        with hdf5.damage_told(names):
            words = [bytes(word).decode() for word in names.asstr()[()].astype("S")]
        numbers = [element_number(re.split(r"[_/]", w.strip())[0], self.path) for w in words]
        if counts.min() < 0 or counts.sum() != self.n_atoms:
            raise DataError(
                f"counts {counts.sum()} ions, its positions {self.n_atoms}", where=self.path
            )
        return np.repeat(numbers, counts)

    def interval_fs(self) -> float:
        """Return the time between two records that the file states; 0 if it states none."""
        incar = "input/incar"
        step = self._number(f"{incar}/POTIM", 0.0)
        if self._number(f"{incar}/IBRION", -1) != 0 or step <= 0:
            return 0.0
        block = self._number(f"{incar}/ML_OUTBLOCK", 1)
        if block == 1:
            return step
        version = tuple(self._number(f"version/{n}", 0) for n in ("major", "minor", "patch"))
        if not version[0]:
            return 0.0
        return step * block if version >= _OUTBLOCK_HOLDS else step

    def temperature_k(self) -> float | None:
        """Return the temperature that the thermostat was set to, where it is one."""
        first = self._number("input/incar/TEBEG", 0.0)
        last = self._number("input/incar/TEEND", first)
        return first if first > 0 and first == last else None

    def piece(self, rows: slice, stored: np.ndarray) -> Frames:
        """Return the frames of some records."""
        cells = self.cell_rows(rows)
        return Frames(
            np.arange(rows.start, rows.stop),
            stored @ cells,
            cells=cells,
            forces=None if self._forces is None else hdf5.read(self._forces, rows),
        )

    def cell_rows(self, rows: slice) -> np.ndarray:
        """Return the cells [t, 3, 3] of some records, Angstrom, rows are the vectors."""
        return self._scale * self.rows_of(self._cell, rows)


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open a vaspout.h5.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    refuse_stated(config, path)
    file = VaspoutFile(existing(path))
    files.add(file.close)
    time_line = stated_times(path, config, [], stated_interval_fs=file.interval_fs())
    kelvin = file.temperature_k()
    return run_of_file(
        path,
        "vaspout.h5",
        file,
        time_line,
        file.numbers,
        atomic_masses[file.numbers],
        parameters={} if kelvin is None else {TARGET: kelvin},
    )
