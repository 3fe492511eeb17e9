"""Writing pieces of blocks, by any number of processes at once."""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory.blocks.ledger import COMPLETED, STATES, Progressed, pack_slot
from mdgan_hpc.trajectory.blocks.plan import BlockPlan, Part
from mdgan_hpc.trajectory.placement import Placement

_BRING = "bring the part back, or use --force to start afresh"


@dataclass
class Piece:
    """Consecutive records of one block, and the rollout state after them.

    Attributes
    ----------
    block, first_record, n_records : int
    arrays : list of array, [n, P, 3] float32
        Positions, then velocities, as the plan has them.
    state : bytes
    """

    block: int
    first_record: int
    n_records: int
    arrays: list[np.ndarray]
    state: bytes


class BlockWriter(Protocol):
    """Writes pieces of the blocks of one process."""

    def write(self, piece: Piece) -> None:
        """Write the data of a piece."""

    def save(self) -> Callable[[], None]:
        """Return what makes all that was written so far count.

        Called, it brings the data to the disk, then the rollout states, then the ledger. It may run
        in another thread beside further writes, one at a time.
        """

    def close(self) -> None:
        """Release the files; what was not saved does not count."""


class _OpenPart:
    """A part file, and where in it things are written.

    Parameters
    ----------
    path : path
    plan : BlockPlan
    part : Part

    Raises
    ------
    DataError
        If it is not laid out as it was made.
    """

    def __init__(self, path: Path, plan: BlockPlan, part: Part) -> None:
        self.path = path
        self.file = hdf5.open_file(path)
        try:
            root, n = self.file["/"], part.n_blocks
            shape = (part.n_records, n * plan.block_particles, 3)
            self.datasets = {name: hdf5.numbers(root, name, shape) for name in plan.datasets()}
            states = hdf5.numbers(root, STATES, (n, 2, plan.slot_bytes), kinds="u")
            counts = hdf5.numbers(root, COMPLETED, (n,), kinds="iu")
            with hdf5.damage_told(str(path)):
                self.states_at, self.counts_at = (d.id.get_offset() for d in (states, counts))
                sizes = [(d, d.id.get_create_plist()) for d in self.datasets.values()]
                if None in (self.states_at, self.counts_at) or any(
                    d.dtype != np.dtype("<f4") or d.chunks is None or rules.get_nfilters()
                    for d, rules in sizes
                ):
                    raise DataError("is not laid out as it was made", where=path, remedy=_BRING)
            self.descriptor = os.open(path, os.O_WRONLY)
        except BaseException:
            self.file.close()
            raise

    def place(self, name: str, record: int, column: int) -> int:
        """Return the byte at which the chunk of a record and a column begins.

        Raises
        ------
        DataError
            If it is nowhere.
        """
        with hdf5.damage_told(f"{self.path}:/{name}"):
            chunk = self.datasets[name].id.get_chunk_info_by_coord((record, column, 0))
            if chunk.byte_offset is None:
                raise DataError("lacks a chunk", where=f"{self.path}:/{name}", remedy=_BRING)
            return int(chunk.byte_offset)

    def close(self) -> None:
        """Bring what was written to the disk, and let go."""
        self.file.close()
        os.fsync(self.descriptor)
        os.close(self.descriptor)


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
        self._files: dict[str, _OpenPart] = {}
        self._pending: dict[int, tuple[int, bytes]] = {}
        self._dirty: set[int] = set()

    def _open(self, part: Part) -> _OpenPart:
        if part.name not in self._files:
            path = self._folder / part.name
            try:
                self._files[part.name] = _OpenPart(path, self.plan, part)
            except OSError as error:
                raise DataError(
                    f"cannot be opened for writing ({error.strerror or error})",
                    where=path,
                    remedy=_BRING,
                ) from None
        return self._files[part.name]

    def write(self, piece: Piece) -> None:
        """Write the data of a piece into the parts it falls into."""
        first, last = piece.first_record, piece.first_record + piece.n_records
        for part in self.plan.parts:
            start = max(first, part.first_record)
            stop = min(last, part.first_record + part.n_records)
            if part.has_block(piece.block) and start < stop:
                for name, array in zip(self.plan.datasets(), piece.arrays, strict=True):
                    rows = array[start - first : stop - first]
                    self._write_rows(part, name, piece.block, start - part.first_record, rows)
        self._pending[piece.block] = (last, piece.state)

    def _write_rows(self, part: Part, name: str, block: int, first: int, rows: np.ndarray) -> None:
        """Write rows [n, P, 3] of a block from the part's record `first` on."""
        opened = self._open(part)
        height, width, _ = opened.datasets[name].chunks
        column = (block - part.first_block) * self.plan.block_particles
        last = first + len(rows)
        for top in range(first - first % height, last, height):
            start, stop = max(first, top), min(last, top + height)
            for left in range(0, self.plan.block_particles, width):
                piece = np.ascontiguousarray(
                    rows[start - first : stop - first, left : left + width], "<f4"
                )
                place = opened.place(name, top, column + left) + (start - top) * width * 12
                _write_all(opened.descriptor, piece.data, place)
        self._dirty.add(opened.descriptor)

    def save(self) -> Callable[[], None]:
        """Return what makes all that was written so far count; see `BlockWriter.save`."""
        pending, self._pending = self._pending, {}
        dirty, self._dirty = self._dirty, set()
        homes = {block: self._open(self.plan.home(block)) for block in pending}

        def commit() -> None:
            for descriptor in dirty:
                os.fsync(descriptor)
            for block, (completed, state) in pending.items():
                home = homes[block]
                row = block - self.plan.home(block).first_block
                sequence = self._sequence[block] + 1
                place = (2 * row + sequence % 2) * self.plan.slot_bytes
                slot = pack_slot(sequence, completed, state)
                _write_all(home.descriptor, slot, home.states_at + place)
                count = struct.pack("<q", completed)
                _write_all(home.descriptor, count, home.counts_at + 8 * row)
                self._sequence[block] = sequence

        return commit

    def close(self) -> None:
        """Release the files."""
        for opened in self._files.values():
            opened.close()
        self._files.clear()


def _write_all(descriptor: int, data: memoryview | bytes, place: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        n = os.pwrite(descriptor, view, place)
        view, place = view[n:], place + n


class ParallelWriter:
    """Writes into one file through parallel HDF5.

    All ranks open and close it together. In between each writes its own whole chunks by
    independent calls: the file was allocated in full, so that no rank changes what another needs
    to know, and none waits for another, as all would in collective writes.

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
        self._datasets = [self._file[name] for name in plan.datasets()]

    def write(self, piece: Piece) -> None:
        """Write the data of a piece."""
        rows = slice(piece.first_record, piece.first_record + piece.n_records)
        first = piece.block * self.plan.block_particles
        width = min(self.plan.block_particles, self.plan.n_particles - first)
        for dataset, array in zip(self._datasets, piece.arrays, strict=True):
            if piece.n_records:
                dataset[rows, first : first + width] = array[:, :width]
        self._pending[piece.block] = (rows.stop, piece.state)

    def save(self) -> Callable[[], None]:
        """Return what makes all that was written so far count; see `BlockWriter.save`."""
        pending, self._pending = self._pending, {}

        def commit() -> None:
            os.fsync(self._descriptor)
            for block, (completed, state) in pending.items():
                sequence = self._sequence[block] + 1
                slot = np.frombuffer(pack_slot(sequence, completed, state), np.uint8)
                self._file[STATES][block, sequence % 2, : len(slot)] = slot
                self._file[COMPLETED][block] = completed
                self._sequence[block] = sequence

        return commit

    def close(self) -> None:
        """Release the file (collective)."""
        self._datasets = []
        self._file.close()
        os.fsync(self._descriptor)
        os.close(self._descriptor)
