"""H5MD files of other programs, with what they do not state asked for.

Units are read, or told with ``--units length,time`` (such as ``nm,ps``); species likewise with
``--species``; the time between two frames with ``--time-step`` where there are no times. An
``image`` element makes the path unwrapped. What is stored at other steps than the positions is
left out.

LAMMPS (``dump h5md``) states no units, and its species are its types. GROMACS states nm, ps and
kJ/mol/nm, masses, and atomic numbers where its topology has them.

Sources: ``src/H5MD/dump_h5md.cpp`` of LAMMPS; the class H5mdParticleBlock of GROMACS 2026.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from ase.data import atomic_masses

from mdgan_hpc import hdf5
from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    ForeignRun,
    counted_species,
    element_of_mass,
    existing,
    named_species,
    refuse_siesta_options,
    run_of_file,
    stated_times,
)
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.layout import unit_of
from mdgan_hpc.trajectory.opening import Elements
from mdgan_hpc.trajectory.species import require_species
from mdgan_hpc.units import (
    ANGSTROM_PER_NM,
    EV_PER_KCAL_PER_MOL,
    EV_PER_KJ_PER_MOL,
    FS_PER_PS,
)

#: Units of length, time and force of the styles of LAMMPS, which its H5MD files do not state.
_LAMMPS = {
    "metal": ("Angstrom", "ps", "eV Angstrom-1"),
    "real": ("Angstrom", "fs", "kcal mol-1 Angstrom-1"),
    "nano": ("nm", "ns", ""),
}
#: eV/Angstrom in units of force.
_FORCES = {
    "eV Angstrom-1": 1.0,
    "kJ mol-1 nm-1": EV_PER_KJ_PER_MOL / ANGSTROM_PER_NM,
    "kJ mol-1 Angstrom-1": EV_PER_KJ_PER_MOL,
    "kcal mol-1 Angstrom-1": EV_PER_KCAL_PER_MOL,
}


class _H5mdFile:
    """An H5MD file open for a conversion."""

    def __init__(self, path: Path, config: ConvertConfig) -> None:
        self.path = path
        self._elements = Elements(path)
        try:
            creator = hdf5.find(self._elements.root, "h5md/creator")
            told = None if creator is None else hdf5.attribute(creator, "name")
            self.of_lammps = str(told).lower() == "lammps"
            length, time, self._force_unit = self._units(config)
            self._trajectory = Trajectory(path, units=(length, time))
            self._refuse_other_units(length, time)
            self._refuse_ours()
        except BaseException:
            self._elements.file.close()
            raise
        self.unwrapped = self._trajectory.has_images
        self.periodic = self._boundary()
        self._has_times = self._trajectory.has_times
        self._has_velocities = self._in_step("velocity")
        self._forces = next(filter(self._in_step, ("forces", "force")), "")
        self._force_factor = self._factor_of_forces()

    def _refuse_ours(self) -> None:
        """Refuse what was converted or generated: another drift would be taken off."""
        if self._trajectory.generated or "drift" in self._trajectory.parameters:
            raise UsageError(
                "is a trajectory file that mdgan_hpc wrote, without drift and with the average of "
                "the other atoms",
                where=self.path,
                remedy="take records or ions of it by --export h5md",
            )

    def _refuse_other_units(self, length: str, time: str) -> None:
        """Refuse units on the command line that the file contradicts."""
        for given, dataset in (
            (length, self._elements.position),
            (time, self._elements.of_records("time")),
        ):
            stated = "" if dataset is None else unit_of(dataset)
            if given and stated and given != stated:
                raise UsageError(
                    f"--units says {given}, the file {stated}",
                    where=self.path,
                    remedy="leave --units away",
                )

    def close(self) -> None:
        self._trajectory.close()
        self._elements.file.close()

    def _units(self, config: ConvertConfig) -> tuple[str, str, str]:
        """Return the units of length, time and force that the user tells, or empty texts."""
        length, _, time = config.units.partition(",")
        if not self.of_lammps or time:
            return length.strip(), time.strip(), ""
        if config.units not in _LAMMPS:
            raise UsageError(
                "H5MD files of LAMMPS state no units",
                where=self.path,
                remedy=f"give its style with --units: {', '.join(_LAMMPS)}; or as in nm,ps",
            )
        return _LAMMPS[config.units]

    def _boundary(self) -> np.ndarray:
        """Return which cell vectors are periodic, [3]."""
        box = hdf5.find(self._elements.group, "box")
        told = None if box is None else hdf5.attribute(box, "boundary")
        each = [] if told is None else list(np.atleast_1d(told))
        words = [word.decode() if isinstance(word, bytes) else str(word) for word in each]
        return np.array([w != "none" for w in words]) if len(words) == 3 else np.ones(3, bool)

    def _in_step(self, element: str) -> bool:
        """Whether an element is stored at the records of the positions; warns if at others."""
        group = self._elements.group
        if not self._elements.has(element):
            return False
        value = hdf5.numbers(group, f"{element}/value", (None, self._elements.n_atoms, 3))
        if len(value) == self._elements.n_records:
            steps = [hdf5.find(group, f"{name}/step") for name in ("position", element)]
            rows = [hdf5.read(s) for s in steps if isinstance(s, h5py.Dataset)]
            if len(rows) < 2 or np.array_equal(rows[0], rows[1]):
                return True
        warnings.warn(
            f"{self.path}: {element} is left out, which is stored at other steps than positions",
            DataWarning,
            stacklevel=2,
        )
        return False

    def _factor_of_forces(self) -> float | None:
        """Return eV/Angstrom in the unit of forces; None where there are none, or no unit."""
        if not self._forces:
            return None
        value = self._elements.vectors(self._forces)
        return _FORCES.get((unit_of(value) or self._force_unit).replace("/", " "))

    def species(self, config: ConvertConfig) -> np.ndarray:
        """Return the atomic numbers [N].

        Raises
        ------
        UsageError
            If the file states none and none are given, or both are.
        """
        if self.of_lammps:
            return self._of_types(config)
        stated = np.asarray(self._elements.first_row("species"))
        known = stated.ndim == 1 and bool((stated > 0).all())
        if known and config.species:
            raise UsageError("--species, but the file states its species", where=self.path)
        if known:
            return require_species(stated, self.path)
        masses = self._elements.first_row("mass")
        if masses is not None and not config.species and (masses > 0).all():
            return np.array([element_of_mass(float(mass), self.path) for mass in masses])
        return counted_species(config, self._elements.n_atoms, self.path)

    def _of_types(self, config: ConvertConfig) -> np.ndarray:
        """Return the atomic numbers [N] of a file of LAMMPS, whose species are its types."""
        types, given = self._elements.first_row("species"), named_species(config, self.path)
        if types is None:
            return counted_species(config, self._elements.n_atoms, self.path)
        highest = int(types.max())
        if types.min() < 1 or len(given) < highest:
            raise UsageError(
                f"its species are types of LAMMPS, 1 to {highest}",
                where=self.path,
                remedy="name the elements in this order with --species, such as Li,O",
            )
        return np.array(given)[types.astype(np.intp) - 1]

    def masses(self, numbers: np.ndarray) -> np.ndarray:
        """Return the masses [N], those of the elements where none are stated."""
        stated = self._elements.first_row("mass")
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
        """Yield the records in pieces.

        Raises
        ------
        DataError
            At the first record with a position that is no number.
        """
        source = self._trajectory
        steps, times = self.steps(), self._times_ps()
        for rows in self._slices():
            positions = source.positions(rows).astype(np.float64)
            whole: np.ndarray = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
            bad = len(whole) if whole.all() else int(np.argmin(whole))
            rows = slice(rows.start, rows.start + bad)
            if bad:
                yield Frames(
                    np.arange(source.n_records)[rows],
                    positions[:bad],
                    steps[rows],
                    source.velocities(rows).astype(np.float64) if self._has_velocities else None,
                    source.cells(rows) if source.has_cell else None,
                    self._forces_of(rows),
                    times_ps=None if times is None else times[rows],
                )
            if bad < len(whole):
                raise DataError(
                    f"record {rows.stop} has a position that is not a number",
                    where=self.path,
                    remedy=f"leave it out: --records 0:{rows.stop}",
                )

    def _forces_of(self, rows: slice) -> np.ndarray | None:
        """Return forces [t, N, 3] in eV/Angstrom, or None."""
        if self._force_factor is None:
            return None
        stored = hdf5.read(self._elements.vectors(self._forces), rows)
        return np.asarray(self._force_factor * stored.astype(np.float64))

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
    more = {"unwrapped": file.unwrapped, "periodic": file.periodic}
    return run_of_file(path, "H5MD", file, time_line, numbers, masses, **more)
