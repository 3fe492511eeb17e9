"""Writing a trajectory of unknown length frame by frame, in bounded memory."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.hdf5_output import Hdf5Writer
from mdgan_hpc.outputs import write_error, written_whole
from mdgan_hpc.provenance import as_json
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.opening import seal_parameters


class _Element:
    """Frames of one time-dependent dataset.

    Parameters
    ----------
    values : array, [n, ...]
    kind : type
        Of the numbers in the file.
    chunk : tuple of int
    unit : str
    """

    def __init__(
        self, values: np.ndarray, kind: type[np.generic], chunk: tuple[int, ...], unit: str = ""
    ) -> None:
        self.values = np.asarray(values, kind)
        self.chunk, self.unit = chunk, unit

    def create(self, file: h5py.File, name: str) -> h5py.Dataset:
        """Make the dataset, without frames yet."""
        shape = self.values.shape[1:]
        dataset = file.create_dataset(
            name, (0, *shape), self.values.dtype, chunks=self.chunk, maxshape=(None, *shape)
        )
        if self.unit:
            dataset.attrs["unit"] = self.unit
        return dataset


class TrajectoryWriter:
    """Appends frames to an H5MD file that appears under its name only when it is complete.

    Used as a context manager: leaving it normally finishes the file, leaving it by an exception
    removes what was written.

    Parameters
    ----------
    path : path
        The file to make.
    species : array of int, [N]
        Atomic numbers.
    cell : array, [3, 3], optional
        Constant cell in Angstrom, rows are the vectors. Without it and without cells in `append`
        the boundary is ``none``.
    masses : array, [N], optional
        Atomic mass units.
    parameters : mapping, optional
        Constants for ``parameters/`` (see `layout.write_parameters`).
    force : bool
        Replace an existing file.

    Raises
    ------
    OutputExistsError
        If `path` exists and `force` is false.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        species: np.ndarray,
        cell: np.ndarray | None = None,
        masses: np.ndarray | None = None,
        parameters: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        self.n_particles = len(species)
        self.n_records = 0
        self._species = np.asarray(species, np.int32)
        self._cell = None if cell is None else np.asarray(cell, np.float64)
        self._parameters: dict[str, Any] = dict(parameters or {})
        self._provenance: dict[str, Any] = {}
        with ExitStack() as stack:
            partial = stack.enter_context(written_whole(path, force=force))
            self._writer = stack.enter_context(Hdf5Writer(partial))
            self._open = stack.pop_all()
        self._file = self._writer.file
        self._group = layout.write_identity(self._file)
        self._masses = masses
        self._elements: dict[str, h5py.Dataset] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            if value is not None:
                raise value
            self._finish()

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Add constants known only after reading, such as the mean framework."""
        self._parameters.update(values)

    def set_provenance(self, record: Mapping[str, Any]) -> None:
        """Store how the file came to be (`mdgan_hpc.provenance.provenance`)."""
        self._provenance = dict(record)

    def append(
        self,
        positions: np.ndarray,
        steps: np.ndarray,
        times_ps: np.ndarray,
        *,
        cells: np.ndarray | None = None,
        velocities: np.ndarray | None = None,
        forces: np.ndarray | None = None,
        observables: Mapping[str, tuple[np.ndarray, str]] | None = None,
    ) -> None:
        """Add n frames; every call must bring the same kinds of data.

        Parameters
        ----------
        positions : array, [n, N, 3]
            Unwrapped, Angstrom; stored as float32.
        steps : array of int, [n]
        times_ps : array, [n]
        cells : array, [n, 3, 3], optional
            Angstrom; only when no constant cell was given.
        velocities : array, [n, N, 3], optional
            Angstrom/ps, of the same instants as the positions; NaN where unknown.
        forces : array, [n, N, 3], optional
            eV/Angstrom, likewise.
        observables : mapping of name to (array [n], unit), optional
            Of the same instants as the positions; NaN where unknown.
        """
        n, particles = len(positions), layout.GROUP
        chunk = layout.chunk_shape(self.n_particles)
        new = {
            f"{particles}/position/value": _Element(
                positions, np.float32, chunk, layout.LENGTH_UNIT
            ),
            f"{particles}/position/step": _Element(steps, np.int64, (8192,)),
            f"{particles}/position/time": _Element(times_ps, np.float64, (8192,), layout.TIME_UNIT),
        }
        for name, values, unit in (
            ("velocity", velocities, layout.VELOCITY_UNIT),
            ("forces", forces, layout.FORCE_UNIT),
        ):
            if values is not None:
                new[f"{particles}/{name}/value"] = _Element(values, np.float32, chunk, unit)
        if cells is not None:
            shape = (4096, 3, 3)
            new[f"{particles}/box/edges/value"] = _Element(
                cells, np.float64, shape, layout.LENGTH_UNIT
            )
        for name, (values, unit) in (observables or {}).items():
            new[f"observables/{name}/value"] = _Element(values, np.float64, (8192,), unit)
        self._require_same_kinds(new)
        for name, element in new.items():
            dataset = self._elements[name]
            dataset.resize(self.n_records + n, axis=0)
            dataset[self.n_records :] = element.values
        self.n_records += n
        try:
            self._writer.check()
        except OSError as error:
            raise write_error(error, self.path) from error

    def _require_same_kinds(self, new: Mapping[str, "_Element"]) -> None:
        """Make the datasets at the first frames; refuse others later."""
        for name, element in new.items():
            if name not in self._elements:
                if self.n_records:
                    raise DataError(f"{name} is missing in earlier frames", where=self.path)
                self._elements[name] = element.create(self._file, name)
        if self._elements.keys() != new.keys():
            missing = ", ".join(sorted(self._elements.keys() - new.keys()))
            raise DataError(f"{missing} is missing in later frames", where=self.path)

    def _finish(self) -> None:
        if not self._elements:
            raise DataError("no frame was read, nothing to write", where=self.path)
        file, group = self._file, self._group
        if "edges" in group["box"]:
            layout.link_times(group["box/edges"], group["position"])
        elif self._cell is not None:
            layout.write_cell(group, self._cell, self.n_records)
        else:
            group["box"].attrs.create("boundary", ["none"] * 3, dtype=h5py.string_dtype())
        layout.write_species(group, self._species, self.n_records)
        if self._masses is not None:
            layout.write_masses(group, self._masses, self.n_records)
        for name in ("velocity", "forces"):
            if name in group:
                layout.link_times(group[name], group["position"])
        for element in file["observables"].values():
            layout.link_times(element, group["position"])
        layout.write_parameters(file["parameters"], self._parameters)
        if self._provenance:
            layout.write_parameters(file, {layout.PROVENANCE: as_json(self._provenance)})
        layout.write_ledger(file, np.array([self.n_records]), self.n_particles, self.n_records)
        seal_parameters(file)
