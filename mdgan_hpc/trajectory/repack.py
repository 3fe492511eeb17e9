"""Turning a trajectory of many parts into one compressed file that can be sent around."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.hdf5_output import hdf5_written
from mdgan_hpc.outputs import check_output, written_whole
from mdgan_hpc.progress import Progress
from mdgan_hpc.provenance import as_json
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.opening import files_of, seal_parameters
from mdgan_hpc.trajectory.reader import Trajectory

#: Parameters that describe the parts, not the trajectory.
_OF_PARTS = ("ledger", "provenance")


def repack(source: str | Path, target: str | Path, *, force: bool = False) -> None:
    """Write one compressed file of the same content, and read it back to compare every bit.

    Memory is bounded by a storage chunk; the target appears under its name once it is checked.

    Parameters
    ----------
    source, target : path
    force : bool
        Replace an existing target.

    Raises
    ------
    OutputExistsError
        If `target` exists and `force` is false.
    TruncatedError
        If `source` is not complete.
    DataError
        If what was written reads back differently.
    """
    check_output(target, force=force, inputs=files_of(source))
    with Trajectory(source) as trajectory, written_whole(target, force=force) as partial:
        names = ["position"] + (["velocity"] if trajectory.has_velocities else [])
        count = trajectory.n_records * trajectory.n_particles * len(names)
        with (
            hdf5_written(partial) as file,
            Progress("Compressing", count, "records") as progress,
        ):
            group = layout.write_identity(file)
            chunk = layout.chunk_shape(trajectory.n_particles, trajectory.n_records)
            shape = (trajectory.n_records, trajectory.n_particles, 3)
            for name in names:
                value = group.create_group(name).create_dataset(
                    "value", shape, np.float32, chunks=chunk, shuffle=True, compression="gzip"
                )
                unit = layout.LENGTH_UNIT if name == "position" else layout.VELOCITY_UNIT
                value.attrs["unit"] = unit
                for rows, columns in _pieces(shape, chunk):
                    values = _read(trajectory, name, rows, columns)
                    value[rows, columns] = values
                    progress.update(values.size // 3)
            _write_rest(file, group, trajectory)
        with (
            Trajectory(partial) as copy,
            Progress("Checking", count, "records") as progress,
        ):
            for name in names:
                for rows, columns in _pieces(shape, chunk):
                    there = _read(copy, name, rows, columns)
                    if there.tobytes() != _read(trajectory, name, rows, columns).tobytes():
                        raise DataError(
                            f"{name}s of records {rows.start} to {rows.stop - 1} read back "
                            "differently",
                            where=target,
                            remedy="try again, on another disk",
                        )
                    progress.update(there.size // 3)


def _pieces(
    shape: tuple[int, int, int], chunk: tuple[int, int, int]
) -> Iterator[tuple[slice, slice]]:
    for column in range(0, shape[1], chunk[1]):
        for row in range(0, shape[0], chunk[0]):
            yield (
                slice(row, min(row + chunk[0], shape[0])),
                slice(column, min(column + chunk[1], shape[1])),
            )


def _read(trajectory: Trajectory, name: str, rows: slice, columns: slice) -> np.ndarray:
    read = trajectory.positions if name == "position" else trajectory.velocities
    return np.ascontiguousarray(read(rows, columns), np.float32)


def _write_rest(file: h5py.File, group: h5py.Group, trajectory: Trajectory) -> None:
    """Write all but positions and velocities."""
    for name in ("step", "time"):
        values = trajectory.steps if name == "step" else trajectory.times_ps
        element = group["position"].create_dataset(
            name, data=values, shuffle=True, compression="gzip"
        )
        if name == "time":
            element.attrs["unit"] = layout.TIME_UNIT
    if "velocity" in group:
        layout.link_times(group["velocity"], group["position"])
    if trajectory.constant_cell is not None:
        layout.write_cell(group, trajectory.constant_cell, trajectory.n_records)
    else:
        group["box"].attrs.create("boundary", ["none"] * 3, dtype=h5py.string_dtype())
    layout.write_species(group, trajectory.species, trajectory.n_records)
    if trajectory.masses is not None:
        layout.write_masses(group, trajectory.masses, trajectory.n_records)
    kept = {name: v for name, v in trajectory.parameters.items() if name not in _OF_PARTS}
    layout.write_parameters(file["parameters"], kept)
    layout.write_parameters(file, {layout.PROVENANCE: as_json(trajectory.provenance)})
    layout.write_ledger(
        file, np.array([trajectory.n_records]), trajectory.n_particles, trajectory.n_records
    )
    seal_parameters(file)
