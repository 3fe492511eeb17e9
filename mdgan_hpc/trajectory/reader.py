"""Reading trajectories: ours and other H5MD files, in pieces, in Angstrom and ps."""

import json
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from mdgan_hpc.errors import DataError, TruncatedError, UsageError
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.framework import Framework, FrameworkAverage
from mdgan_hpc.trajectory.opening import open_file, particle_group, require_parts
from mdgan_hpc.trajectory.species import (
    Selection,
    atomic_number,
    composition,
    read_block,
    symbol,
)

#: Relative difference of record intervals up to which they count as equal (text formats round).
_UNEVEN = 1e-4

#: Bytes read at once where atoms are averaged.
_AVERAGE_BYTES = 64 * 2**20


class Trajectory:
    """An H5MD file open for reading; use as a context manager.

    Parameters
    ----------
    path : path
        The file. One particle group, or one called ``trajectory`` or ``all``.
    species : str or int, optional
        Chemical symbol or atomic number: the trajectory is that of these particles alone, numbered
        from zero in the order of the file.
    units : (str, str)
        Units of length and time, such as ``("nm", "ps")``, of a file that does not state them.
    incomplete_ok : bool
        Open a file that is still being written (`completed_records` says how far it got).

    Raises
    ------
    DataError
        If it is no H5MD file, has no positions, or a shard of it is missing.
    TruncatedError
        If it is incomplete and `incomplete_ok` is false.
    UsageError
        If it holds no particle of `species`.
    """

    def __init__(
        self,
        path: str | Path,
        species: str | int | None = None,
        *,
        units: tuple[str, str] = ("", ""),
        incomplete_ok: bool = False,
    ) -> None:
        self.path = Path(path)
        self._units = units
        self.file = open_file(self.path)
        try:
            self._group = particle_group(self.file, self.path)
            self._position: h5py.Dataset = self._group["position/value"]
            require_parts(self._position, self.path)
            if not incomplete_ok and not self.complete:
                done = int(self.completed_records.min())
                raise TruncatedError(
                    f"is incomplete: {done} of {self.n_records} records of all particles are there",
                    where=path,
                    remedy="make it again: it goes on from there; or use mdgan-msd --incomplete",
                )
            self._length = layout.length_factor(self._position, units[0])
            self._length_unit = layout.unit_of(self._position) or units[0]
            self._selection: Selection | None = None
            if species is not None:
                self._selection = Selection.of_species(
                    self.all_species, atomic_number(species), self.path
                )
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @property
    def n_records(self) -> int:
        """Number of records T."""
        return int(self._position.shape[0])

    @property
    def n_particles(self) -> int:
        """Number of particles N."""
        return int(self._position.shape[1]) if self._selection is None else len(self._selection)

    @property
    def chunk(self) -> tuple[int, int]:
        """Records and particles of a storage block: the unit that is read without waste."""
        ledger = self.file.get(layout.LEDGER)
        if ledger is not None and self._position.is_virtual:
            records, particles = ledger.attrs["chunk"]
        elif self._position.chunks:
            records, particles, _ = self._position.chunks
        else:
            records, particles = self.n_records, self.n_particles
        if self._selection is not None:
            particles = min(int(particles), self.n_particles)
        return int(records), int(particles)

    @cached_property
    def completed_records(self) -> np.ndarray:
        """Records complete in each particle block, [n_blocks]; all in files of others."""
        ledger = self.file.get(layout.LEDGER)
        if ledger is None:
            return np.array([self.n_records])
        return np.asarray(ledger["completed_records"])

    @property
    def complete(self) -> bool:
        """Whether every block has all its records."""
        return bool((self.completed_records >= self.n_records).all())

    @cached_property
    def all_species(self) -> np.ndarray:
        """Atomic numbers of all particles of the file; zeros where it does not tell."""
        values = self._constant_row("species")
        if values is None:
            return np.zeros(self._position.shape[1], np.int32)
        return np.asarray(values, np.int32)

    def _constant_row(self, name: str) -> np.ndarray | None:
        """The first record of an element that all particles of the file have, or None."""
        element = self._group.get(name)
        if element is None:
            return None
        return np.asarray(element["value"][0] if isinstance(element, h5py.Group) else element[:])

    @cached_property
    def species(self) -> np.ndarray:
        """Atomic numbers [N]; zeros where the file does not tell."""
        every = self.all_species
        return every if self._selection is None else every[self._selection.index]

    @property
    def species_names(self) -> list[str]:
        """Chemical symbols of the species, by atomic number; ``X`` where it is not known."""
        return [symbol(z) for z in np.unique(self.species)]

    def require_one_species(self) -> str:
        """Return the chemical symbol of the only species; ``X`` where the file does not tell.

        Raises
        ------
        UsageError
            Naming the species, if there are several.
        """
        names = self.species_names
        if len(names) > 1:
            raise UsageError(
                f"holds {len(names)} species ({composition(self.species)}), which do not move "
                "alike",
                where=self.path,
                remedy=f"name one of them: --species {names[0]}",
            )
        return names[0]

    @cached_property
    def masses(self) -> np.ndarray | None:
        """Masses [N] in atomic mass units, or None."""
        every = self._constant_row("mass")
        return every if every is None or self._selection is None else every[self._selection.index]

    @cached_property
    def steps(self) -> np.ndarray:
        """MD step of each record, [T]."""
        step = self._group["position/step"]
        if step.shape == ():
            return int(step[()]) * np.arange(self.n_records) + int(step.attrs.get("offset", 0))
        return np.asarray(step[: self.n_records])

    @cached_property
    def times_ps(self) -> np.ndarray:
        """Time of each record in ps, [T] float64."""
        if "time" not in self._group["position"]:
            raise DataError("has no times", where=self.path)
        time = self._group["position/time"]
        factor = layout.time_factor(time, self._units[1])
        if time.shape == ():
            offset = float(time.attrs.get("offset", 0.0))
            return np.asarray(factor * (float(time[()]) * np.arange(self.n_records) + offset))
        return factor * np.asarray(time[: self.n_records])

    @cached_property
    def record_interval_ps(self) -> float:
        """Time between two records in ps.

        Raises
        ------
        DataError
            If the records are not evenly spaced in time.
        """
        if self.n_records < 2:
            raise DataError("has a single record, no interval", where=self.path)
        times = self.times_ps
        intervals = np.diff(times)
        mean = float((times[-1] - times[0]) / (self.n_records - 1))
        rounding = layout.time_rounding(self._group["position/time"], float(times.max()))
        odd = np.flatnonzero(np.abs(intervals - mean) > _UNEVEN * abs(mean) + rounding)
        if mean <= 0 or odd.size:
            at = int(odd[0]) if odd.size else 0
            raise DataError(
                f"records {at} and {at + 1} are {intervals[at]:g} ps apart, others {mean:g} ps",
                where=self.path,
                remedy="split the trajectory where its time step changes",
            )
        return mean

    @cached_property
    def constant_cell(self) -> np.ndarray | None:
        """The cell [3, 3] in Angstrom if it is the same in all records, else None.

        None also where there is no cell.
        """
        edges = self._group.get("box/edges")
        if edges is None:
            return None
        if isinstance(edges, h5py.Dataset):
            return layout.length_factor(edges, self._length_unit) * _as_matrix(edges[:])
        value = edges["value"]
        first = value[0]
        for start in range(0, len(value), 65536):
            if (value[start : start + 65536] != first).any():
                return None
        return layout.length_factor(value, self._length_unit) * _as_matrix(first)

    def cells(self, records: slice = slice(None)) -> np.ndarray:
        """Return the cells [t, 3, 3] in Angstrom of a range of records.

        Raises
        ------
        DataError
            If the file has no cell.
        """
        edges = self._group.get("box/edges")
        if edges is None:
            raise DataError("has no cell", where=self.path)
        if isinstance(edges, h5py.Dataset):
            count = len(range(*records.indices(self.n_records)))
            return np.repeat(self.constant_cell[None], count, axis=0)  # type: ignore[index]
        value = edges["value"]
        factor = layout.length_factor(value, self._length_unit)
        return factor * np.stack([_as_matrix(row) for row in value[records]])

    @property
    def position_type(self) -> np.dtype[Any]:
        """The type of number in which positions are stored."""
        stored: np.dtype[Any] = self._position.dtype
        return stored

    def positions(
        self,
        records: slice = slice(None),
        particles: slice = slice(None),
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return positions [t, n, 3] in Angstrom of a range of records and particles.

        Where the file has an ``image`` element, positions are unwrapped by it. `out` is memory of
        that shape, of `position_type`, to read into: fresh memory takes as long as the reading.
        """
        return self._unwrapped(self._selection, records, particles, out)

    def _unwrapped(
        self,
        selection: Selection | None,
        records: slice,
        particles: slice,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        values = _read(self._position, selection, records, particles, out)
        if self._length != 1.0:
            values = values * self._length
        if "image/value" not in self._group:
            return values
        image = _read(self._group["image/value"], selection, records, particles)
        constant = self.constant_cell
        cells = self.cells(records) if constant is None else constant
        return np.asarray(values + image.astype(np.float64) @ cells)

    @property
    def has_velocities(self) -> bool:
        """Whether velocities are stored."""
        return "velocity/value" in self._group

    def velocities(
        self, records: slice = slice(None), particles: slice = slice(None)
    ) -> np.ndarray:
        """Return velocities [t, n, 3] in Angstrom/ps of a range of records and particles."""
        if not self.has_velocities:
            raise DataError("has no velocities", where=self.path)
        value = self._group["velocity/value"]
        read = _read(value, self._selection, records, particles)
        return np.asarray(read * np.float32(layout.velocity_factor(value, " ".join(self._units))))

    @property
    def has_forces(self) -> bool:
        """Whether forces are stored."""
        return "forces/value" in self._group

    def forces(self, records: slice = slice(None)) -> np.ndarray:
        """Return forces [t, N, 3] in eV/Angstrom of a range of records; NaN where unknown."""
        if not self.has_forces:
            raise DataError("has no forces", where=self.path)
        return _read(self._group["forces/value"], self._selection, records, slice(None))

    @property
    def has_cell(self) -> bool:
        """Whether a cell is stored."""
        return "box/edges" in self._group

    @property
    def observables(self) -> list[str]:
        """Names of the time-dependent observables."""
        group = self.file.get("observables", {})
        return [name for name in group if f"{name}/value" in group]

    def observable(self, name: str) -> np.ndarray | None:
        """Return an observable [T] (temperature in K, energies in eV), or None."""
        element = self.file.get(f"observables/{name}/value")
        return None if element is None else np.asarray(element)

    def parameter(self, name: str) -> Any:
        """Return a constant of ``parameters/``: a number, an array, a text, or None if absent."""
        item = self.file.get(f"parameters/{name}")
        if item is None:
            return None
        if isinstance(item, h5py.Group):
            return {key: self.parameter(f"{name}/{key}") for key in item}
        value = item[()]
        return value.decode() if isinstance(value, bytes) else value

    @property
    def generated(self) -> bool:
        """Whether a model made it."""
        return any(
            f"parameters/{name}" in self.file
            for name in ("generator_label", "model_provenance", "simulated_together")
        )

    @property
    def label(self) -> str:
        """What made the trajectory: the label of its generator, ``generated``, or ``MD``."""
        return str(self.parameter("generator_label") or ("generated" if self.generated else "MD"))

    @cached_property
    def ions_per_cell(self) -> int:
        """Particles, following each other, that saw each other; those of MD all do.

        Raises
        ------
        DataError
            If the file gives no possible number.
        """
        stored, n = self.parameter("simulated_together"), int(self._position.shape[1])
        if stored is not None and not (stored >= 1 and stored == int(stored)):
            raise DataError(
                f"parameters/simulated_together is {stored}, not a number of particles",
                where=self.path,
            )
        together = int(stored or n)
        if self._selection is None:
            return together
        return self._selection.within(together, n, self.path)

    @cached_property
    def framework(self) -> Framework | None:
        """The averaged atoms that were not selected, or None if unknown.

        Those that the file tells, or the average of the other species of an MD file.
        """
        values = self.parameter("framework")
        if values:
            return Framework(values["species"], values["position"], values["rms_displacement"])
        if (
            self._selection is None
            or self.generated
            or len(self._selection) == len(self.all_species)
        ):
            return None
        return self._averaged(np.setdiff1d(np.arange(len(self.all_species)), self._selection.index))

    def _averaged(self, index: np.ndarray) -> Framework:
        """Average the particles of the file with these numbers over all records."""
        others, average = Selection(index), FrameworkAverage(len(index))
        step = max(1, _AVERAGE_BYTES // (24 * len(index)))
        for start in range(0, self.n_records, step):
            records = slice(start, min(start + step, self.n_records))
            average.add(self._unwrapped(others, records, slice(None)).astype(np.float64))
        return Framework(self.all_species[index], average.mean, average.rms_displacement)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the file came to be; empty for files of others."""
        text = self.parameter("provenance")
        return dict(json.loads(text)) if text else {}


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a file of this package came to be, complete or not."""
    with h5py.File(path, "r") as file:
        return dict(json.loads(file[layout.PROVENANCE][()]))


def _read(
    dataset: h5py.Dataset,
    selection: Selection | None,
    records: slice,
    particles: slice,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Rows [t, n, ...] of a dataset: of all particles of the file, or of a selection of them."""
    if selection is None:
        return read_block(dataset, records, particles, out)
    return selection.read(dataset, records, particles, out)


def _as_matrix(edges: np.ndarray) -> np.ndarray:
    """H5MD allows an orthorhombic box as three lengths."""
    return np.diag(edges) if np.ndim(edges) == 1 else np.asarray(edges, np.float64)
