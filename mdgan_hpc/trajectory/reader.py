"""Reading trajectories: ours and other H5MD files, in pieces, in Angstrom and ps."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from mdgan_hpc.errors import DataError, TruncatedError
from mdgan_hpc.trajectory import layout

#: Relative difference of record intervals up to which they count as equal (text formats round).
_UNEVEN = 1e-4


@dataclass(frozen=True)
class Framework:
    """The atoms that were not selected, averaged over the run.

    Attributes
    ----------
    species : array of int, [M]
        Atomic numbers.
    position : array, [M, 3]
        Mean positions in the frame of the trajectory, Angstrom.
    rms_displacement : array, [M]
        Root mean square distance from the mean position, Angstrom: large where there is no lattice.
    """

    species: np.ndarray
    position: np.ndarray
    rms_displacement: np.ndarray


class Trajectory:
    """An H5MD file open for reading; use as a context manager.

    Parameters
    ----------
    path : path
        The file. One particle group, or one called ``trajectory`` or ``all``.
    incomplete_ok : bool
        Open a file that is still being written (`completed_records` says how far it got).

    Raises
    ------
    DataError
        If it is no H5MD file, has no positions, or a shard of it is missing.
    TruncatedError
        If it is incomplete and `incomplete_ok` is false.
    """

    def __init__(self, path: str | Path, *, incomplete_ok: bool = False) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise DataError("no such file", where=path)
        try:
            self.file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(
                "is not an HDF5 file, or is damaged",
                where=path,
                remedy="a trajectory made by mdgan-convert or mdgan-generate is needed",
            ) from error
        try:
            self._group = self._find_group()
            self._position: h5py.Dataset = self._group["position/value"]
            self._check_shape()
            self._check_shards()
            if not incomplete_ok and not self.complete:
                done = int(self.completed_records.min())
                raise TruncatedError(
                    f"is incomplete: {done} of {self.n_records} records of all particles are there",
                    where=path,
                    remedy="run the command that makes it again: it goes on from there",
                )
            self._length = layout.length_factor(self._position)
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

    def _find_group(self) -> h5py.Group:
        particles = self.file.get("particles")
        if "h5md" not in self.file or not isinstance(particles, h5py.Group):
            raise DataError("is not an H5MD trajectory", where=self.path)
        names = [
            name
            for name in particles
            if isinstance(particles.get(name), h5py.Group) and "position/value" in particles[name]
        ]
        for name in ("trajectory", "all"):
            if name in names:
                return particles[name]
        if not names and layout.LEDGER in self.file:
            raise DataError(
                "holds no positions: it was made with --no-store",
                where=self.path,
                remedy="its analysis lies beside it, with the ending .msd.json",
            )
        if len(names) != 1:
            raise DataError(
                f"has {len(names)} particle groups with positions ({', '.join(names) or 'none'})",
                where=self.path,
                remedy="one, or one called 'trajectory', is needed",
            )
        return particles[names[0]]

    def _check_shape(self) -> None:
        shape = self._position.shape
        if len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise DataError(f"positions have the shape {shape}, not [T, N, 3]", where=self.path)

    def _check_shards(self) -> None:
        """A virtual dataset reads a missing file as fill values, so look for the files."""
        if not self._position.is_virtual:
            return
        for name in sorted({source.file_name for source in self._position.virtual_sources()}):
            if name != "." and not (self.path.parent / name).exists():
                raise DataError(
                    f"its part {name} is missing",
                    where=self.path,
                    remedy="move a file together with the folder of its parts",
                )

    @property
    def n_records(self) -> int:
        """Number of records T."""
        return int(self._position.shape[0])

    @property
    def n_particles(self) -> int:
        """Number of particles N."""
        return int(self._position.shape[1])

    @property
    def chunk(self) -> tuple[int, int]:
        """Records and particles of a storage block: the unit that is read without waste."""
        ledger = self.file.get(layout.LEDGER)
        if ledger is not None and self._position.is_virtual:
            records, particles = ledger.attrs["chunk"]
            return int(records), int(particles)
        if self._position.chunks:
            return self._position.chunks[:2]
        return self.n_records, self.n_particles

    @cached_property
    def completed_records(self) -> np.ndarray:
        """Records complete in each particle block, [n_blocks]; all in files of others."""
        ledger = self.file.get(layout.LEDGER)
        if ledger is None:
            return np.array([self.n_records])
        return ledger["completed_records"][:]

    @property
    def complete(self) -> bool:
        """Whether every block has all its records."""
        return bool((self.completed_records >= self.n_records).all())

    @cached_property
    def species(self) -> np.ndarray:
        """Atomic numbers [N]; zeros where the file does not tell."""
        if "species" not in self._group:
            return np.zeros(self.n_particles, np.int32)
        element = self._group["species"]
        values = element["value"][0] if isinstance(element, h5py.Group) else element[:]
        return np.asarray(values, np.int32)

    @cached_property
    def masses(self) -> np.ndarray | None:
        """Masses [N] in atomic mass units, or None."""
        element = self._group.get("mass")
        if element is None:
            return None
        return element["value"][0] if isinstance(element, h5py.Group) else element[:]

    @cached_property
    def steps(self) -> np.ndarray:
        """MD step of each record, [T]."""
        step = self._group["position/step"]
        if step.shape == ():
            return int(step[()]) * np.arange(self.n_records) + int(step.attrs.get("offset", 0))
        return step[: self.n_records]

    @cached_property
    def times_ps(self) -> np.ndarray:
        """Time of each record in ps, [T] float64."""
        if "time" not in self._group["position"]:
            raise DataError("has no times", where=self.path)
        time = self._group["position/time"]
        factor = layout.time_factor(time)
        if time.shape == ():
            offset = float(time.attrs.get("offset", 0.0))
            return factor * (float(time[()]) * np.arange(self.n_records) + offset)
        return factor * time[: self.n_records]

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
        intervals = np.diff(self.times_ps)
        mean = float((self.times_ps[-1] - self.times_ps[0]) / (self.n_records - 1))
        odd = np.flatnonzero(np.abs(intervals - mean) > _UNEVEN * abs(mean) + 1e-9)
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
            return layout.length_factor(edges) * _as_matrix(edges[:])
        value = edges["value"]
        first = value[0]
        for start in range(0, len(value), 65536):
            if (value[start : start + 65536] != first).any():
                return None
        return layout.length_factor(value) * _as_matrix(first)

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
        return layout.length_factor(value) * np.stack([_as_matrix(row) for row in value[records]])

    @property
    def position_type(self) -> np.dtype:
        """The type of number in which positions are stored."""
        return np.dtype(self._position.dtype)

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
        if out is None:
            values = self._position[records, particles]
        else:
            self._position.read_direct(out, np.s_[records, particles])
            values = out
        if self._length != 1.0:
            values = values * self._length
        if "image/value" not in self._group:
            return values
        image = self._group["image/value"][records, particles].astype(np.float64)
        constant = self.constant_cell
        cells = self.cells(records) if constant is None else constant
        return values + image @ cells

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
        return value[records, particles] * np.float32(layout.velocity_factor(value))

    @property
    def has_forces(self) -> bool:
        """Whether forces are stored."""
        return "forces/value" in self._group

    def forces(self, records: slice = slice(None)) -> np.ndarray:
        """Return forces [t, N, 3] in eV/Angstrom of a range of records; NaN where unknown."""
        if not self.has_forces:
            raise DataError("has no forces", where=self.path)
        return self._group["forces/value"][records]

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
        return None if element is None else element[:]

    def parameter(self, name: str) -> Any:
        """Return a constant of ``parameters/``: a number, an array, a text, or None if absent."""
        item = self.file.get(f"parameters/{name}")
        if item is None:
            return None
        if isinstance(item, h5py.Group):
            return {key: self.parameter(f"{name}/{key}") for key in item}
        value = item[()]
        return value.decode() if isinstance(value, bytes) else value

    @cached_property
    def simulated_together(self) -> int:
        """Particles, following each other, that saw each other; those of MD all do."""
        return int(self.parameter("simulated_together") or self.n_particles)

    @cached_property
    def framework(self) -> Framework | None:
        """The averaged atoms that were not selected, or None if unknown."""
        values = self.parameter("framework")
        if not values:
            return None
        return Framework(values["species"], values["position"], values["rms_displacement"])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the file came to be; empty for files of others."""
        text = self.parameter("provenance")
        return json.loads(text) if text else {}


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a file of this package came to be, complete or not."""
    with h5py.File(path, "r") as file:
        return json.loads(file[layout.PROVENANCE][()])


def _as_matrix(edges: np.ndarray) -> np.ndarray:
    """H5MD allows an orthorhombic box as three lengths."""
    return np.diag(edges) if np.ndim(edges) == 1 else np.asarray(edges, np.float64)
