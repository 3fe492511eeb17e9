"""Where each block stands: completed records, and the rollout state in two slots used in turn."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.blocks.plan import SLOT_HEAD, BlockPlan, Part, plan_of
from mdgan_hpc.trajectory.opening import Elements

COMPLETED = f"{layout.LEDGER}/completed_records"
STATES = f"{layout.LEDGER}/carry"


def pack_slot(sequence: int, completed: int, state: bytes) -> bytes:
    """Return the bytes of a slot of the rollout state."""
    check = _checksum(sequence, completed, state)
    return SLOT_HEAD.pack(sequence, completed, len(state), check) + state


def unpack_slot(slot: bytes) -> tuple[int, int, bytes] | None:
    """Return sequence number, completed records and state; None if the slot is not whole."""
    sequence, completed, length, check = SLOT_HEAD.unpack_from(slot)
    state = slot[SLOT_HEAD.size : SLOT_HEAD.size + length]
    if sequence == 0 or len(state) != length or check != _checksum(sequence, completed, state):
        return None
    return sequence, completed, state


def _checksum(sequence: int, completed: int, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(struct.pack("<QQ", sequence, completed)))


@dataclass(frozen=True)
class Progressed:
    """Where a block stands: newest whole rollout state, its completed records and sequence number.

    A block is damaged where it was begun and no rollout state of it is whole: it begins anew.
    """

    completed: int = 0
    state: bytes = b""
    sequence: int = 0
    damaged: bool = False


def read_progress(
    path: str | Path, plan: BlockPlan, blocks: Iterable[int] | None = None
) -> list[Progressed]:
    """Return where each block of a file stands; blocks never begun have no rollout state.

    With `blocks`, only those are looked up.
    """
    found = [Progressed()] * plan.n_blocks
    wanted = range(plan.n_blocks) if blocks is None else set(blocks)
    for part in plan.parts:
        own = [block for block in plan.ledger_of(part) if block in wanted]
        if not own:
            continue
        name = file_of(Path(path), plan, part)
        try:
            with hdf5.open_file(name) as file:
                state = _states(file, plan, part)
                for block in own:
                    slots = hdf5.read(state, block - part.first_block)
                    whole = [s for s in (unpack_slot(slot.tobytes()) for slot in slots) if s]
                    if whole:
                        sequence, completed, text = max(whole)
                        found[block] = Progressed(completed, text, sequence)
                    elif any(slot.any() for slot in slots):
                        found[block] = Progressed(damaged=True)
        except DataError as error:
            raise DataError(
                f"a part of the trajectory is missing or damaged ({error.what})",
                where=name,
                remedy="bring it back, or use --force to start afresh",
            ) from error
    return found


def file_of(path: Path, plan: BlockPlan, part: Part) -> Path:
    """Return the file that a part of the trajectory `path` is."""
    return path if plan.storage == "mpio" else path.parent / part.name


def _states(file: h5py.File, plan: BlockPlan, part: Part) -> h5py.Dataset:
    shape = (part.n_blocks, 2, plan.slot_bytes)
    return hdf5.numbers(file["/"], STATES, shape, kinds="u")


def completed_of(elements: Elements) -> np.ndarray:
    """Return the records complete in each particle block [n_blocks] of a file with a ledger.

    Raises
    ------
    DataError
        If the ledger tells another number than the rollout states of a block: the newest, or the
        one before while a save goes on.
    """
    told = _told(elements.root)
    stated = elements.parameters().get("ledger", {})
    if "storage" not in stated:
        return told
    plan = plan_of(stated, elements.path)
    if len(told) != plan.n_blocks:
        raise DataError(
            f"its ledger has {len(told)} blocks, not {plan.n_blocks}", where=elements.path
        )
    known = _known_to_states(elements.path, plan)
    if _wrong(told, known) is not None:
        # A block may have been saved twice between both readings: read both again.
        with hdf5.open_file(elements.path) as file:
            told = _told(file["/"])
        known = _known_to_states(elements.path, plan)
    if (block := _wrong(told, known)) is not None:
        raise DataError(
            f"its ledger is damaged: {told[block]} records of particle block {block} "
            f"are said to be complete, its rollout state says {max(known[block])}",
            where=elements.path,
            remedy="run the command that makes it again, which mends the ledger",
        )
    return told


def _told(root: h5py.Group) -> np.ndarray:
    return hdf5.read(hdf5.numbers(root, COMPLETED, (None,), kinds="iu"))


def _wrong(told: np.ndarray, known: dict[int, list[int]]) -> int | None:
    """Return the first block whose rollout states say another number than the ledger."""
    return next((block for block, records in known.items() if told[block] not in records), None)


def _known_to_states(path: Path, plan: BlockPlan) -> dict[int, list[int]]:
    """Return the records that a ledger may tell of each block, given the heads of its two slots.

    A save writes the rollout state before the ledger, so the ledger may be one save behind: at none
    where only one slot was ever written.
    """
    known = {}
    for part in plan.parts:
        if own := plan.ledger_of(part):
            with hdf5.open_file(file_of(path, plan, part)) as file:
                heads = hdf5.read(_states(file, plan, part), np.s_[:, :, : SLOT_HEAD.size])
            for block in own:
                slots = [SLOT_HEAD.unpack(h.tobytes()) for h in heads[block - part.first_block]]
                written = [completed for sequence, completed, *_ in slots if sequence]
                known[block] = written if len(written) == len(slots) else [0, *written]
    return known


def mend_counts(path: Path, plan: BlockPlan, progress: list[Progressed]) -> None:
    """Write the completed records of each block again where the ledger tells another number."""
    for part in plan.parts:
        own = plan.ledger_of(part)
        counts = {b - part.first_block: progress[b].completed for b in own}
        name = file_of(path, plan, part)
        with hdf5.open_file(name) as file:
            shape = (part.n_blocks,)
            told = hdf5.read(hdf5.numbers(file["/"], COMPLETED, shape, kinds="iu"))
        wrong = {row: count for row, count in counts.items() if told[row] != count}
        if wrong:
            with h5py.File(name, "r+") as file:
                for row, count in wrong.items():
                    file[COMPLETED][row] = count
