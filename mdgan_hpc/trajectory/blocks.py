"""Pre-sized trajectories that many processes write at once, block by block, and can resume.

A block is P particles. Its records are stored in order, in pieces of any length; beside the data
lies a ledger: how many records of each block are complete, and the carry, an opaque text of bytes
from which the writer goes on. Everything is allocated when the file is made, so that later writes
are raw data only and no kill can harm the structure of the file.

Two storages present the same tree:

- ``shards``: a folder of part files, each a rectangle of blocks and records, under one small
  master file whose virtual datasets join them. HDF5 lays the parts out; their raw data is then
  written by plain positioned writes, which need no MPI and run beside the computation.
- ``mpio``: one file, written through parallel HDF5 by collective calls that every rank makes
  equally often.

The carry of a block has two slots with a checksum each, used in turn, so that one is always whole.
"""

import itertools
import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.outputs import commit, written_whole
from mdgan_hpc.provenance import as_json
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.placement import Placement

_POSITION = f"{layout.GROUP}/position/value"
_VELOCITY = f"{layout.GROUP}/velocity/value"
_COMPLETED = f"{layout.LEDGER}/completed_records"
_CARRY = f"{layout.LEDGER}/carry"
_STORAGE = f"{layout.LEDGER}/storage"
_IDENTITY = f"{layout.LEDGER}/settings"

_CHUNK_PARTICLES = 256

#: Carry slot: sequence number, completed records, length and CRC-32 of the carry.
_SLOT = struct.Struct("<QQQI")


@dataclass(frozen=True)
class Part:
    """One rectangle of the trajectory: a part file, or (``mpio``) the whole file.

    Attributes
    ----------
    name : str
        Path relative to the master's folder.
    first_record, n_records, first_block, n_blocks : int
    """

    name: str
    first_record: int
    n_records: int
    first_block: int
    n_blocks: int

    def has_block(self, block: int) -> bool:
        """Whether records of `block` lie here."""
        return self.first_block <= block < self.first_block + self.n_blocks


@dataclass(frozen=True)
class BlockPlan:
    """What a pre-sized trajectory is made of.

    Attributes
    ----------
    storage : str
        ``shards`` or ``mpio``.
    n_records, n_particles : int
        T and N.
    block_particles : int
        P; the last block is stored whole, and cut where it is read.
    chunk_records, chunk_particles : int
        Of a storage chunk; blocks are whole chunks wide.
    velocities : bool
    positions : bool
        Whether positions are stored at all, or the ledger alone.
    carry_bytes : int
        Most bytes of a block's carry.
    parts : tuple of Part
        Later parts extend earlier ones in records or blocks.
    """

    storage: str
    n_records: int
    n_particles: int
    block_particles: int
    chunk_records: int
    chunk_particles: int
    velocities: bool
    positions: bool
    carry_bytes: int
    parts: tuple[Part, ...]

    @property
    def n_blocks(self) -> int:
        """Number of particle blocks."""
        return -(-self.n_particles // self.block_particles)

    @property
    def slot_bytes(self) -> int:
        """Bytes of one carry slot."""
        return _SLOT.size + self.carry_bytes

    def home(self, block: int) -> Part:
        """Return the part that holds the ledger of a block: the last one made for it."""
        return next(part for part in reversed(self.parts) if part.has_block(block))

    def ledger_of(self, part: Part) -> list[int]:
        """Return the blocks whose ledger a part holds."""
        blocks = range(part.first_block, min(part.first_block + part.n_blocks, self.n_blocks))
        return [block for block in blocks if self.home(block) is part]

    def datasets(self) -> list[str]:
        """Return the names of the datasets over records and particles."""
        return ([_POSITION] if self.positions else []) + ([_VELOCITY] if self.velocities else [])


def chunk_shape(block_particles: int) -> tuple[int, int]:
    """Return records and particles of a chunk of at most 4 MiB that divides a block of particles.

    Written by time and read by particle, both without much waste; a power of two of records, so
    that the usual 256 particles give exactly 3 MiB, a multiple of the alignment.
    """
    width = block_particles
    if width > _CHUNK_PARTICLES:
        divisors = [w for w in range(1, _CHUNK_PARTICLES + 1) if block_particles % w == 0]
        width = divisors[-1]
    return 1 << max(0, (layout.CHUNK_BYTES // (12 * width)).bit_length() - 1), width


def plan_parts(
    master: Path, rows: range, blocks: range, n_files: int, *, number: int = 0
) -> list[Part]:
    """Divide a rectangle of records and blocks into part files named from `number` on."""
    n_files = max(1, min(n_files, len(blocks)))
    cuts = [blocks.start + len(blocks) * i // n_files for i in range(n_files + 1)]
    folder = parts_folder(master).name
    return [
        Part(f"{folder}/part-{number + i:05d}.h5", rows.start, len(rows), a, b - a)
        for i, (a, b) in enumerate(itertools.pairwise(cuts))
    ]


def parts_folder(master: str | Path) -> Path:
    """Return the folder of the part files of a master file."""
    master = Path(master)
    return master.with_name(f"{master.stem}.shards")


def read_plan(path: str | Path) -> tuple[BlockPlan, dict[str, Any]]:
    """Return plan and settings of a file made here.

    Raises
    ------
    DataError
        If the file is not a trajectory written in blocks.
    """
    try:
        with h5py.File(path, "r") as file:
            plan = json.loads(file[_STORAGE][()])
            identity = json.loads(file[_IDENTITY][()])
    except (OSError, KeyError) as error:
        raise DataError(
            "is not a trajectory made by mdgan-generate, or is damaged",
            where=path,
            remedy="choose another output, or use --force to replace it",
        ) from error
    parts = tuple(Part(**part) for part in plan.pop("parts"))
    return BlockPlan(**plan, parts=parts), identity


def file_bytes(plan: BlockPlan) -> int:
    """Return the disk space that the raw data and the ledger of a plan take."""
    row = 12 * len(plan.datasets()) * plan.block_particles
    data = sum(_chunked(part.n_records, plan.chunk_records) * part.n_blocks for part in plan.parts)
    ledger = sum(part.n_blocks for part in plan.parts) * (2 * plan.slot_bytes + 8)
    return data * row + ledger


def _chunked(n_records: int, chunk_records: int) -> int:
    """Round up to whole storage chunks."""
    height = min(n_records, chunk_records)
    return -(-n_records // height) * height


# Making files ------------------------------------------------------------------------------


def _early(fill: float | int | None = None) -> h5py.h5p.PropDCID:
    """All space allocated at once and never filled: later writes touch raw data only."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if fill is not None:
        properties.set_fill_value(np.array(fill, np.float32))
    return properties


def _new_file(path: Path, placement: Placement) -> h5py.File:
    placement.reserve(path)
    return h5py.File(path, "w", **placement.file_options())


def _make_datasets(file: h5py.File, plan: BlockPlan, shape: tuple[int, int]) -> None:
    """Make the pre-sized datasets of records and particles, `shape` (records, particles)."""
    for name in plan.datasets():
        chunk = (min(plan.chunk_records, shape[0]), min(plan.chunk_particles, shape[1]), 3)
        dataset = file.create_dataset(
            name, (*shape, 3), "<f4", chunks=chunk, dcpl=_early(np.nan), fillvalue=np.nan
        )
        dataset.attrs["unit"] = layout.LENGTH_UNIT if name == _POSITION else layout.VELOCITY_UNIT


def _make_ledger(
    file: h5py.File, plan: BlockPlan, completed: Sequence[int], slots: Sequence[bytes]
) -> None:
    """Make the ledger of the blocks of one file, with what is known of each."""
    n = len(completed)
    file.create_dataset(_COMPLETED, (n,), "<i8", dcpl=_early())[:] = completed
    carry = file.create_dataset(_CARRY, (n, 2, plan.slot_bytes), "u1", dcpl=_early())
    for i, slot in enumerate(slots):
        rows = np.zeros((2, plan.slot_bytes), np.uint8)
        rows[0, : len(slot)] = np.frombuffer(slot, np.uint8)
        carry[i] = rows
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
    species : int
        Atomic number of all particles.
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

    species: int
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
    carries: Mapping[int, tuple[int, bytes]],
    placement: Placement,
) -> None:
    """Make one part file; `carries` maps a block to completed records and carry so far."""
    blocks = range(part.first_block, part.first_block + part.n_blocks)
    with (
        written_whole(master.parent / part.name) as partial,
        _new_file(partial, placement) as file,
    ):
        _make_datasets(file, plan, (part.n_records, part.n_blocks * plan.block_particles))
        known = [carries.get(block, (0, b"")) for block in blocks]
        slots = [pack_slot(1, done, carry) if carry else b"" for done, carry in known]
        _make_ledger(file, plan, [done for done, _ in known], slots)


def make_master(
    path: Path, plan: BlockPlan, description: Description, placement: Placement
) -> None:
    """Make the file under the output's name; with shards, after its parts.

    With ``mpio`` it holds the pre-sized datasets themselves.
    """
    with (
        written_whole(path) as partial,
        _new_file(partial, placement if plan.storage == "mpio" else Placement()) as file,
    ):
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
            species = np.full(plan.n_particles, description.species, np.int32)
            layout.write_species(group, species, plan.n_records)
        layout.write_parameters(file["parameters"], description.parameters)
        texts = {
            layout.PROVENANCE: as_json(description.provenance),
            _STORAGE: json.dumps(asdict(plan)),
            _IDENTITY: json.dumps(dict(description.settings), sort_keys=True),
        }
        layout.write_parameters(file, texts)


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
        dataset.attrs["unit"] = layout.LENGTH_UNIT if name == _POSITION else layout.VELOCITY_UNIT
    ledger = h5py.VirtualLayout((plan.n_blocks,), "<i8")
    for part in plan.parts:
        own = plan.ledger_of(part)
        if own:
            source = h5py.VirtualSource(part.name, _COMPLETED, (part.n_blocks,), "<i8")
            first, last = own[0], own[-1] + 1
            ledger[first:last] = source[first - part.first_block : last - part.first_block]
    file.create_virtual_dataset(_COMPLETED, ledger, fillvalue=0)
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
    partial = path.with_name(f".{path.name}.longer")
    make_master(partial, longer, description, placement)
    with h5py.File(path, "r") as old, h5py.File(partial, "r+") as new:
        n = plan.n_particles
        for name in plan.datasets():
            height = plan.chunk_records
            for row in range(0, plan.n_records, height):
                rows = slice(row, min(row + height, plan.n_records))
                for column in range(0, n, plan.block_particles):
                    columns = slice(column, min(column + plan.block_particles, n))
                    new[name][rows, columns] = old[name][rows, columns]
        new[_COMPLETED][: plan.n_blocks] = old[_COMPLETED][:]
        for block in range(plan.n_blocks):
            new[_CARRY][block] = old[_CARRY][block]
        if longer.n_particles > n and n % plan.block_particles:
            # The last block gets particles whose records were computed, but not stored.
            new[_COMPLETED][plan.n_blocks - 1] = 0
            new[_CARRY][plan.n_blocks - 1] = 0
    commit(partial, path)


# The carry ----------------------------------------------------------------------------------


def pack_slot(sequence: int, completed: int, carry: bytes) -> bytes:
    """Return the bytes of a carry slot."""
    head = struct.pack("<QQ", sequence, completed)
    return _SLOT.pack(sequence, completed, len(carry), zlib.crc32(carry, zlib.crc32(head))) + carry


def unpack_slot(slot: bytes) -> tuple[int, int, bytes] | None:
    """Return sequence number, completed records and carry, or None if the slot is not whole."""
    sequence, completed, length, check = _SLOT.unpack_from(slot)
    carry = slot[_SLOT.size : _SLOT.size + length]
    if sequence == 0 or len(carry) != length:
        return None
    head = struct.pack("<QQ", sequence, completed)
    return (sequence, completed, carry) if zlib.crc32(carry, zlib.crc32(head)) == check else None


@dataclass(frozen=True)
class Progressed:
    """Where a block stands: newest whole carry, its completed records and sequence number."""

    completed: int = 0
    carry: bytes = b""
    sequence: int = 0


def read_progress(
    path: str | Path, plan: BlockPlan, blocks: Iterable[int] | None = None
) -> list[Progressed]:
    """Return where each block of a file stands; blocks never begun have no carry.

    With `blocks`, only those are looked up.
    """
    found = [Progressed()] * plan.n_blocks
    wanted = range(plan.n_blocks) if blocks is None else set(blocks)
    for part in plan.parts:
        own = [block for block in plan.ledger_of(part) if block in wanted]
        if not own:
            continue
        name = Path(path) if plan.storage == "mpio" else Path(path).parent / part.name
        try:
            with h5py.File(name, "r") as file:
                for block in own:
                    slots = file[_CARRY][block - part.first_block]
                    whole = [s for s in (unpack_slot(slot.tobytes()) for slot in slots) if s]
                    if whole:
                        sequence, completed, carry = max(whole)
                        found[block] = Progressed(completed, carry, sequence)
        except (OSError, KeyError) as error:
            raise DataError(
                "a part of the trajectory is missing or damaged",
                where=name,
                remedy="bring it back, or use --force to start afresh",
            ) from error
    return found


# Writing ------------------------------------------------------------------------------------


@dataclass
class Piece:
    """Consecutive records of one block, and the carry after them.

    Attributes
    ----------
    block, first_record, n_records : int
    arrays : list of array, [n, P, 3] float32
        Positions, then velocities, as the plan has them.
    carry : bytes
    """

    block: int
    first_record: int
    n_records: int
    arrays: list[np.ndarray]
    carry: bytes


class BlockWriter(Protocol):
    """Writes pieces; `save` makes all that was written count."""

    def write(self, piece: Piece | None) -> None:
        """Write the data of a piece; None takes part in the collective call with nothing."""

    def save(self) -> None:
        """Bring the data to the disk, then the carries, then the ledger."""

    def close(self) -> None:
        """Release the files; what was not saved does not count."""


class ShardWriter:
    """Writes into part files at places that HDF5 fixed when they were made.

    Parameters
    ----------
    master : path
    plan : BlockPlan
    progress : list of Progressed
        Of all blocks.
    """

    def __init__(self, master: Path, plan: BlockPlan, progress: Sequence[Progressed]) -> None:
        self.plan = plan
        self._folder = master.parent
        self._sequence = {b: p.sequence for b, p in enumerate(progress)}
        self._files: dict[str, tuple[int, h5py.File]] = {}
        self._pending: dict[int, tuple[int, bytes]] = {}
        self._dirty: set[int] = set()

    def _open(self, part: Part) -> tuple[int, h5py.File]:
        if part.name not in self._files:
            path = self._folder / part.name
            try:
                self._files[part.name] = (os.open(path, os.O_WRONLY), h5py.File(path, "r"))
            except OSError as error:
                raise DataError(
                    f"cannot be opened for writing ({error.strerror or error})",
                    where=path,
                    remedy="bring the part back, or use --force to start afresh",
                ) from None
        return self._files[part.name]

    def write(self, piece: Piece | None) -> None:
        """Write the data of a piece into the parts it falls into."""
        if piece is None:
            return
        first, last = piece.first_record, piece.first_record + piece.n_records
        for part in self.plan.parts:
            start = max(first, part.first_record)
            stop = min(last, part.first_record + part.n_records)
            if part.has_block(piece.block) and start < stop:
                for name, array in zip(self.plan.datasets(), piece.arrays, strict=True):
                    rows = array[start - first : stop - first]
                    self._write_rows(part, name, piece.block, start - part.first_record, rows)
        self._pending[piece.block] = (last, piece.carry)

    def _write_rows(self, part: Part, name: str, block: int, first: int, rows: np.ndarray) -> None:
        """Write rows [n, P, 3] of a block from the part's record `first` on."""
        descriptor, file = self._open(part)
        dataset = file[name]
        height, width, _ = dataset.chunks
        column = (block - part.first_block) * self.plan.block_particles
        last = first + len(rows)
        for top in range(first - first % height, last, height):
            start, stop = max(first, top), min(last, top + height)
            for left in range(0, self.plan.block_particles, width):
                piece = np.ascontiguousarray(
                    rows[start - first : stop - first, left : left + width], "<f4"
                )
                chunk = dataset.id.get_chunk_info_by_coord((top, column + left, 0))
                place = chunk.byte_offset + (start - top) * width * 12
                _write_all(descriptor, piece.data, place)
        self._dirty.add(descriptor)

    def save(self) -> None:
        """Bring the data to the disk, then the carries, then the ledger."""
        for descriptor in self._dirty:
            os.fsync(descriptor)
        self._dirty.clear()
        for block, (completed, carry) in self._pending.items():
            part = self.plan.home(block)
            descriptor, file = self._open(part)
            row = block - part.first_block
            sequence = self._sequence[block] + 1
            slots = file[_CARRY].id.get_offset()
            place = slots + (2 * row + sequence % 2) * self.plan.slot_bytes
            _write_all(descriptor, pack_slot(sequence, completed, carry), place)
            place = file[_COMPLETED].id.get_offset() + 8 * row
            _write_all(descriptor, struct.pack("<q", completed), place)
            self._sequence[block] = sequence
            self._dirty.add(descriptor)
        self._pending.clear()

    def close(self) -> None:
        """Release the files."""
        for descriptor, file in self._files.values():
            file.close()
            os.fsync(descriptor)
            os.close(descriptor)
        self._files.clear()


def _write_all(descriptor: int, data: memoryview | bytes, place: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        n = os.pwrite(descriptor, view, place)
        view, place = view[n:], place + n


class ParallelWriter:
    """Writes into one file through parallel HDF5; every rank must make the same calls.

    Parameters
    ----------
    path : path
    plan : BlockPlan
    progress : list of Progressed
        Of all blocks.
    communicator
        The mpi4py communicator of all ranks.
    placement : Placement
    """

    def __init__(
        self,
        path: Path,
        plan: BlockPlan,
        progress: Sequence[Progressed],
        communicator: Any,
        placement: Placement,
    ) -> None:
        self.plan = plan
        self._sequence = {b: p.sequence for b, p in enumerate(progress)}
        self._pending: dict[int, tuple[int, bytes]] = {}
        self._file = h5py.File(path, "r+", driver="mpio", comm=communicator, info=placement.info())
        self._descriptor = os.open(path, os.O_WRONLY)
        self._collective = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._collective.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
        self._datasets = [self._file[name] for name in plan.datasets()]

    def write(self, piece: Piece | None) -> None:
        """Write the data of a piece in one collective call for each dataset."""
        for i, dataset in enumerate(self._datasets):
            file_space = dataset.id.get_space()
            if piece is None or piece.n_records == 0:
                file_space.select_none()
                memory_space = h5py.h5s.create_simple((1,))
                memory_space.select_none()
                rows = np.zeros(1, np.float32)
            else:
                column = piece.block * self.plan.block_particles
                width = min(self.plan.block_particles, self.plan.n_particles - column)
                rows = np.ascontiguousarray(piece.arrays[i][:, :width], "<f4")
                file_space.select_hyperslab((piece.first_record, column, 0), rows.shape)
                memory_space = h5py.h5s.create_simple(rows.shape)
            dataset.id.write(memory_space, file_space, rows, dxpl=self._collective)
        if piece is not None:
            self._pending[piece.block] = (piece.first_record + piece.n_records, piece.carry)

    def save(self) -> None:
        """Bring the data to the disk, then the carries, then the ledger."""
        os.fsync(self._descriptor)
        for block, (completed, carry) in self._pending.items():
            sequence = self._sequence[block] + 1
            slot = np.frombuffer(pack_slot(sequence, completed, carry), np.uint8)
            self._file[_CARRY][block, sequence % 2, : len(slot)] = slot
            self._file[_COMPLETED][block] = completed
            self._sequence[block] = sequence
        self._pending.clear()

    def close(self) -> None:
        """Release the file (collective)."""
        self._datasets = []
        self._file.close()
        os.fsync(self._descriptor)
        os.close(self._descriptor)
