"""H5MD files of other programs, with what they do not state asked for.

Units are read, or told with ``--units length,time`` (such as ``nm,ps``); species likewise with
``--species``; the time between two frames with ``--time-step`` where there are no times. An
``image`` element makes the path unwrapped.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.data import atomic_masses

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    ForeignRun,
    existing,
    named_species,
    refuse_siesta_options,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import UsageError
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.units import FS_PER_PS


class _H5mdFile:
    """An H5MD file open for a conversion."""

    def __init__(self, path: Path, config: ConvertConfig) -> None:
        length, _, time = config.units.partition(",")
        self.path = path
        self._trajectory = Trajectory(path, units=(length.strip(), time.strip()))
        self.unwrapped = self._trajectory.has_images
        self._has_times = self._trajectory.has_times

    def close(self) -> None:
        self._trajectory.close()

    def species(self, config: ConvertConfig) -> np.ndarray:
        """Return the atomic numbers [N]."""
        stated = np.asarray(self._trajectory.species)
        given = named_species(config, self.path)
        if given and stated.all():
            raise UsageError("--species, but the file states its species", where=self.path)
        if not given and not stated.all():
            raise UsageError(
                "does not state the species of its particles",
                where=self.path,
                remedy="name the one of all particles with --species, such as Li",
            )
        if given and len(given) != 1:
            raise UsageError("--species names one element for an H5MD file", where=self.path)
        return np.full(len(stated), given[0]) if given else stated

    def masses(self, numbers: np.ndarray) -> np.ndarray:
        """Return the masses [N], those of the elements where none are stated."""
        stated = self._trajectory.masses
        return atomic_masses[numbers] if stated is None else np.asarray(stated)

    def steps(self) -> np.ndarray:
        """Return the step of each record [T]."""
        return np.asarray(self._trajectory.steps)

    def interval_fs(self) -> float:
        """Return the time between two records that the file states; 0 if it states none."""
        return self._trajectory.record_interval_ps * FS_PER_PS if self._has_times else 0.0

    def _times_ps(self) -> np.ndarray | None:
        """Return the times [T] that the file states, without the rounding of single precision."""
        if not self._has_times:
            return None
        source = self._trajectory
        passed = source.record_interval_ps * np.arange(source.n_records)
        return np.asarray(source.times_ps[0] + passed)

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each record, Angstrom."""
        if self._trajectory.has_cell and self._trajectory.constant_cell is None:
            for rows in self._slices():
                yield from self._trajectory.cells(rows)

    def frames(self) -> Iterator[Frames]:
        """Yield the records in pieces."""
        source = self._trajectory
        steps, times = self.steps(), self._times_ps()
        for rows in self._slices():
            positions = source.positions(rows).astype(np.float64)
            yield Frames(
                np.arange(source.n_records)[rows],
                positions,
                steps[rows],
                source.velocities(rows).astype(np.float64) if source.has_velocities else None,
                source.cells(rows) if source.has_cell else None,
                times_ps=None if times is None else times[rows],
            )

    def _slices(self) -> Iterator[slice]:
        size = piece_records(self._trajectory.n_particles)
        for start in range(0, self._trajectory.n_records, size):
            yield slice(start, min(start + size, self._trajectory.n_records))


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open an H5MD file.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    file = _H5mdFile(existing(path), config)
    files.add(file.close)
    numbers = file.species(config)
    time_line = stated_times(
        path,
        config,
        [int(step) for step in file.steps()[:12]],
        stated_interval_fs=file.interval_fs(),
        unwrapped=file.unwrapped,
    )
    masses = file.masses(numbers)
    return run_of_file(path, "H5MD", file, time_line, numbers, masses, unwrapped=file.unwrapped)
