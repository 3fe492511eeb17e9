"""Reading trajectories: ours and other H5MD files, in pieces, in Angstrom and ps."""

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError, TruncatedError, UsageError
from mdgan_hpc.inputs import require_memory
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.cells import cells_of, require_whole
from mdgan_hpc.trajectory.framework import Framework, FrameworkAverage, framework_of
from mdgan_hpc.trajectory.opening import Elements
from mdgan_hpc.trajectory.species import (
    Selection,
    atomic_numbers_of,
    composition,
    read_block,
    require_species,
    symbol,
)
from mdgan_hpc.trajectory.times import interval_of, steps_of, times_of

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
        self._elements = Elements(self.path)
        self.file = self._elements.file
        self._position: h5py.Dataset = self._elements.position
        try:
            if not incomplete_ok and not self.complete:
                done = int(self.completed_records.min())
                raise TruncatedError(
                    f"is incomplete: {done} of {self.n_records} records of all particles are there",
                    where=path,
                    remedy="make it again: it goes on from there; or use mdgan-msd --incomplete",
                )
            self._length = layout.length_factor(self._position, units[0])
            self._length_unit = layout.unit_of(self._position) or units[0]
            self._elements.require_ids()
            self._selection: Selection | None = None
            if species is not None:
                self._selection = Selection.of_species(
                    self.all_species, atomic_numbers_of(species), self.path
                )
        except BaseException:
            self.close()
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
        return self._elements.n_records

    @property
    def n_particles(self) -> int:
        """Number of particles N."""
        return self._elements.n_atoms if self._selection is None else len(self._selection)

    @property
    def chunk(self) -> tuple[int, int]:
        """Records and particles of a storage block: the unit that is read without waste."""
        if self._position.is_virtual and self._elements.chunk is not None:
            records, particles = self._elements.chunk
        elif self._position.chunks:
            records, particles, _ = self._position.chunks
        else:
            records, particles = self.n_records, self._elements.n_atoms
        if self._selection is not None:
            particles = min(int(particles), self.n_particles)
        return int(records), int(particles)

    @property
    def block_particles(self) -> int:
        """Particles of a block of a generated file, which are equally far; all in other files."""
        return self._elements.block_particles

    @cached_property
    def completed_records(self) -> np.ndarray:
        """Records complete in each particle block, [n_blocks]; all in files of others."""
        return self._elements.completed_records()

    @property
    def complete(self) -> bool:
        """Whether every block has all its records."""
        return bool((self.completed_records >= self.n_records).all())

    @cached_property
    def all_species(self) -> np.ndarray:
        """Atomic numbers of all particles of the file; zeros where it does not tell."""
        values = self._elements.first_row("species")
        if values is None:
            return np.zeros(self._elements.n_atoms, np.int32)
        return require_species(values, self.path)

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
        every = self._elements.first_row("mass")
        if every is None or self._selection is None:
            return every
        return np.asarray(every[self._selection.index])

    @cached_property
    def steps(self) -> np.ndarray:
        """MD step of each record, [T]."""
        return steps_of(self._elements)[: self.n_records]

    @cached_property
    def times_ps(self) -> np.ndarray:
        """Time of each record in ps, [T] float64."""
        return times_of(self._elements, self._units[1])[: self.n_records]

    @cached_property
    def record_interval_ps(self) -> float:
        """Time between two records in ps.

        Raises
        ------
        DataError
            If the records are not evenly spaced in time.
        """
        return interval_of(self._elements, self.times_ps)

    @cached_property
    def constant_cell(self) -> np.ndarray | None:
        """The cell [3, 3] in Angstrom if it is the same in all records, else None.

        None also where there is no cell.
        """
        edges = self._elements.edges()
        if edges is None:
            return None
        if self._fixed_cell:
            return np.asarray(self._as_cells(edges, hdf5.read(edges)[None])[0])
        first = hdf5.read(edges, 0)
        for start in range(0, self.n_records, 65536):
            if (hdf5.read(edges, slice(start, start + 65536)) != first).any():
                return None
        return np.asarray(self._as_cells(edges, first[None])[0])

    def cells(self, records: slice = slice(None)) -> np.ndarray:
        """Return the cells [t, 3, 3] in Angstrom of a range of records.

        Raises
        ------
        DataError
            If the file has no cell.
        """
        edges = self._elements.edges()
        if edges is None:
            raise DataError("has no cell", where=self.path)
        if self._fixed_cell:
            count = len(range(*records.indices(self.n_records)))
            return np.repeat(self.constant_cell[None], count, axis=0)  # type: ignore[index]
        return self._as_cells(edges, hdf5.read(edges, records))

    @property
    def _fixed_cell(self) -> bool:
        return isinstance(hdf5.find(self._elements.group, "box/edges"), h5py.Dataset)

    def _as_cells(self, edges: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
        """Return stored edges [t, 3, 3], or [t, 3] of orthorhombic boxes, as cells [t, 3, 3]."""
        cells = cells_of(edges, rows, constant=self._fixed_cell)
        return layout.length_factor(edges, self._length_unit) * cells

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
        if not self.file:
            raise UsageError("is closed", where=self.path, remedy="open it again")
        if not (isinstance(records, slice) and isinstance(particles, slice)):
            raise UsageError("records and particles are ranges", remedy="as in slice(0, 100)")
        if out is None:
            require_memory(self._bytes(selection, records, particles), self.path)
        values = _read(self._position, selection, records, particles, out)
        if self._length != 1.0:
            values = values * self._length
        if not self._elements.has("image"):
            return values
        flags = self._elements.vectors("image")
        image = require_whole(flags, _read(flags, selection, records, particles))
        constant = self.constant_cell
        cells = self.cells(records) if constant is None else constant
        return np.asarray(values + image @ cells)

    def _bytes(self, selection: Selection | None, records: slice, particles: slice) -> int:
        """Return the memory that records of particles take."""
        n = self._elements.n_atoms if selection is None else len(selection)
        rows, columns = range(self.n_records)[records], range(n)[particles]
        return 3 * len(rows) * len(columns) * int(self._position.dtype.itemsize)

    @property
    def has_images(self) -> bool:
        """Whether the cell that each particle is in is stored, so that positions are unwrapped."""
        return self._elements.has("image")

    @property
    def has_times(self) -> bool:
        """Whether times are stored."""
        return self._elements.of_records("time") is not None

    @property
    def has_velocities(self) -> bool:
        """Whether velocities are stored."""
        return self._elements.has("velocity")

    def velocities(
        self, records: slice = slice(None), particles: slice = slice(None)
    ) -> np.ndarray:
        """Return velocities [t, n, 3] in Angstrom/ps of a range of records and particles."""
        value = self._elements.vectors("velocity")
        read = _read(value, self._selection, records, particles)
        return np.asarray(read * np.float32(layout.velocity_factor(value, " ".join(self._units))))

    @property
    def has_forces(self) -> bool:
        """Whether forces are stored."""
        return self._elements.has("forces")

    def forces(self, records: slice = slice(None)) -> np.ndarray:
        """Return forces [t, N, 3] in eV/Angstrom of a range of records; NaN where unknown."""
        return _read(self._elements.vectors("forces"), self._selection, records, slice(None))

    @property
    def has_cell(self) -> bool:
        """Whether a cell is stored."""
        return self._elements.edges() is not None

    @property
    def observables(self) -> list[str]:
        """Names of the time-dependent observables."""
        return self._elements.observables()

    def observable(self, name: str) -> np.ndarray | None:
        """Return an observable [T] (temperature in K, energies in eV), or None."""
        return self._elements.observable(name)

    @property
    def parameters(self) -> dict[str, Any]:
        """The constants of ``parameters/``: numbers, arrays, texts, and mappings of them."""
        return self._elements.parameters()

    def parameter(self, name: str) -> Any:
        """Return one of `parameters`, or None if absent."""
        return self.parameters.get(name)

    def number(self, name: str) -> float | None:
        """Return one of `parameters` that is a finite number, or None if absent.

        Raises
        ------
        DataError
            If it is anything else.
        """
        return self._elements.number(name)

    def recorded(self, name: str) -> dict[str, Any]:
        """Return a parameter that is a record in JSON, such as ``model_provenance``; or {}."""
        return self._elements.text_of_json(name)

    @property
    def generated(self) -> bool:
        """Whether a model made it."""
        return any(
            name in self.parameters
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
        stored, n = self.parameter("simulated_together"), self._elements.n_atoms
        if stored is not None and not (
            isinstance(stored, int | float) and stored >= 1 and stored == int(stored)
        ):
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
            return framework_of(values, f"{self.path}:/{layout.FRAMEWORK}")
        if (
            self._selection is None
            or self.generated
            or len(self._selection) == self._elements.n_atoms
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
        if not np.isfinite(average.mean).all():
            bad = index[~np.isfinite(average.mean).all(1)][0]
            raise DataError(f"has positions of particle {bad} that are no numbers", where=self.path)
        return Framework(self.all_species[index], average.mean, average.rms_displacement)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the file came to be; empty for files of others."""
        return self._elements.text_of_json("provenance")


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
