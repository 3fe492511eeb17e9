"""Making and extending the files of a trajectory in blocks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mdgan_hpc.hdf5_integrity import seal_places
from mdgan_hpc.hdf5_output import hdf5_written
from mdgan_hpc.outputs import replaced, written_whole
from mdgan_hpc.provenance import as_json
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.blocks.ledger import COMPLETED, STATES, pack_slot
from mdgan_hpc.trajectory.blocks.plan import PLAN, POSITION, SETTINGS, BlockPlan, Part
from mdgan_hpc.trajectory.opening import seal_parameters
from mdgan_hpc.trajectory.placement import Placement


def _early(fill: float | int | None = None) -> h5py.h5p.PropDCID:
    """All space allocated at once and never filled: later writes touch raw data only."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if fill is not None:
        properties.set_fill_value(np.array(fill, np.float32))
    return properties


@contextmanager
def _new_file(path: Path, placement: Placement) -> Iterator[h5py.File]:
    placement.reserve(path)
    options: dict[str, Any] = {**placement.file_options()}
    with hdf5_written(path, **options) as file:
        yield file


def _make_datasets(file: h5py.File, plan: BlockPlan, shape: tuple[int, int]) -> None:
    """Make the pre-sized datasets of records and particles, `shape` (records, particles)."""
    for name in plan.datasets():
        chunk = (min(plan.chunk_records, shape[0]), min(plan.chunk_particles, shape[1]), 3)
        dataset = file.create_dataset(
            name, (*shape, 3), "<f4", chunks=chunk, dcpl=_early(np.nan), fillvalue=np.nan
        )
        dataset.attrs["unit"] = layout.LENGTH_UNIT if name == POSITION else layout.VELOCITY_UNIT
        seal_places(dataset)


def _make_ledger(
    file: h5py.File, plan: BlockPlan, completed: Sequence[int], slots: Sequence[bytes]
) -> None:
    """Make the ledger of the blocks of one file, with what is known of each."""
    n = len(completed)
    file.create_dataset(COMPLETED, (n,), "<i8", dcpl=_early())[:] = completed
    state = file.create_dataset(STATES, (n, 2, plan.slot_bytes), "u1", dcpl=_early())
    for i, slot in enumerate(slots):
        rows = np.zeros((2, plan.slot_bytes), np.uint8)
        rows[0, : len(slot)] = np.frombuffer(slot, np.uint8)
        state[i] = rows
    _describe_blocks(file, plan)


def _describe_blocks(file: h5py.File, plan: BlockPlan) -> None:
    ledger = file[layout.LEDGER]
    ledger.attrs["block_particles"] = plan.block_particles
    ledger.attrs["chunk"] = (plan.chunk_records, plan.chunk_particles)


@dataclass(frozen=True)
class Description:
    """What the master file says beside the data.

    Attributes
    ----------
    species : array, [N]
        Atomic numbers of the particles.
    cell : array [3, 3] or None
        Angstrom.
    record_interval_ps : float
        Time between two stored records.
    step_interval : int
        Generated records from one stored record to the next.
    settings : mapping
        What a run must share with this one to go on with it.
    parameters, provenance : mapping
        See `layout.write_parameters`.
    """

    species: np.ndarray
    cell: np.ndarray | None
    record_interval_ps: float
    step_interval: int
    settings: Mapping[str, Any]
    parameters: Mapping[str, Any]
    provenance: Mapping[str, Any]


def make_part(
    master: Path,
    plan: BlockPlan,
    part: Part,
    states: Mapping[int, tuple[int, bytes]],
    placement: Placement,
    settings: Mapping[str, Any],
) -> None:
    """Make one part file.

    Parameters
    ----------
    master : path
    plan : BlockPlan
    part : Part
    states : mapping
        Of a block to completed records and rollout state so far.
    placement : Placement
    settings : mapping
        Those of the master (`Description`).
    """
    blocks = range(part.first_block, part.first_block + part.n_blocks)
    with (
        written_whole(master.parent / part.name) as partial,
        _new_file(partial, placement) as file,
    ):
        _make_datasets(file, plan, (part.n_records, part.n_blocks * plan.block_particles))
        known = [states.get(block, (0, b"")) for block in blocks]
        slots = [pack_slot(1, done, state) if state else b"" for done, state in known]
        _make_ledger(file, plan, [done for done, _ in known], slots)
        told = layout.generation_of(settings, part.name)
        file[layout.LEDGER].attrs[layout.GENERATION] = told


def make_master(
    path: Path, plan: BlockPlan, description: Description, placement: Placement
) -> None:
    """Make the file under the output's name, which the caller has claimed; after its parts.

    With ``mpio`` it holds the pre-sized datasets themselves.
    """
    with replaced(path) as partial:
        _write_master(partial, plan, description, placement)


def _write_master(
    path: Path, plan: BlockPlan, description: Description, placement: Placement
) -> None:
    with _new_file(path, placement if plan.storage == "mpio" else Placement()) as file:
        group = layout.write_identity(file)
        if plan.storage == "mpio":
            _make_datasets(file, plan, (plan.n_records, plan.n_particles))
            _make_ledger(file, plan, [0] * plan.n_blocks, [])
        else:
            _join_parts(file, plan)
        if plan.positions:
            layout.write_regular_times(
                group["position"],
                plan.n_records,
                description.step_interval,
                description.record_interval_ps,
            )
            if plan.velocities:
                layout.link_times(group["velocity"], group["position"])
            if description.cell is None:
                group["box"].attrs.create("boundary", ["none"] * 3, dtype=h5py.string_dtype())
            else:
                layout.write_cell(group, description.cell, plan.n_records)
            layout.write_species(group, description.species, plan.n_records)
        layout.write_parameters(file["parameters"], description.parameters)
        texts = {
            layout.PROVENANCE: as_json(description.provenance),
            PLAN: json.dumps(asdict(plan)),
            SETTINGS: json.dumps(dict(description.settings), sort_keys=True),
        }
        layout.write_parameters(file, texts)
        seal_parameters(file)


def _join_parts(file: h5py.File, plan: BlockPlan) -> None:
    """Present the parts as datasets of the whole."""
    p, n = plan.block_particles, plan.n_particles
    for name in plan.datasets():
        joined = h5py.VirtualLayout((plan.n_records, n, 3), "<f4")
        for part in plan.parts:
            width = part.n_blocks * p
            source = h5py.VirtualSource(part.name, name, (part.n_records, width, 3), "<f4")
            rows = slice(part.first_record, part.first_record + part.n_records)
            first = part.first_block * p
            last = min(first + width, n)
            joined[rows, first:last] = source[:, : last - first]
        dataset = file.create_virtual_dataset(name, joined, fillvalue=np.nan)
        dataset.attrs["unit"] = layout.LENGTH_UNIT if name == POSITION else layout.VELOCITY_UNIT
    ledger = h5py.VirtualLayout((plan.n_blocks,), "<i8")
    for part in plan.parts:
        own = plan.ledger_of(part)
        if own:
            source = h5py.VirtualSource(part.name, COMPLETED, (part.n_blocks,), "<i8")
            first, last = own[0], own[-1] + 1
            ledger[first:last] = source[first - part.first_block : last - part.first_block]
    file.create_virtual_dataset(COMPLETED, ledger, fillvalue=0)
    _describe_blocks(file, plan)


def extend_whole_file(
    path: Path,
    plan: BlockPlan,
    longer: BlockPlan,
    description: Description,
    placement: Placement,
) -> None:
    """Put a longer single file in the place of one of `plan`, with what is complete copied.

    Chunks cannot be added to a pre-sized file without a moment in which a kill would destroy it,
    so the old file stays untouched until the new one is whole.
    """
    with replaced(path) as partial:
        _write_master(partial, longer, description, placement)
        with h5py.File(path, "r") as old, hdf5_written(partial, "r+") as new:
            _copy(old, new, plan, longer)


def _copy(old: h5py.File, new: h5py.File, plan: BlockPlan, longer: BlockPlan) -> None:
    """Copy what is complete of a file into a longer one."""
    n = plan.n_particles
    for name in plan.datasets():
        height = plan.chunk_records
        for row in range(0, plan.n_records, height):
            rows = slice(row, min(row + height, plan.n_records))
            for column in range(0, n, plan.block_particles):
                columns = slice(column, min(column + plan.block_particles, n))
                new[name][rows, columns] = old[name][rows, columns]
    new[COMPLETED][: plan.n_blocks] = old[COMPLETED][:]
    for block in range(plan.n_blocks):
        new[STATES][block] = old[STATES][block]
    if longer.n_particles > n and n % plan.block_particles:
        # The last block gets particles whose records were computed, but not stored.
        new[COMPLETED][plan.n_blocks - 1] = 0
        new[STATES][plan.n_blocks - 1] = 0
