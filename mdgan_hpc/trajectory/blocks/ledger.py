"""Where each block stands: completed records, and the carry in two slots used in turn."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.blocks.plan import SLOT_HEAD, BlockPlan

COMPLETED = f"{layout.LEDGER}/completed_records"
CARRY = f"{layout.LEDGER}/carry"


def pack_slot(sequence: int, completed: int, carry: bytes) -> bytes:
    """Return the bytes of a carry slot."""
    check = _checksum(sequence, completed, carry)
    return SLOT_HEAD.pack(sequence, completed, len(carry), check) + carry


def unpack_slot(slot: bytes) -> tuple[int, int, bytes] | None:
    """Return sequence number, completed records and carry, or None if the slot is not whole."""
    sequence, completed, length, check = SLOT_HEAD.unpack_from(slot)
    carry = slot[SLOT_HEAD.size : SLOT_HEAD.size + length]
    if sequence == 0 or len(carry) != length or check != _checksum(sequence, completed, carry):
        return None
    return sequence, completed, carry


def _checksum(sequence: int, completed: int, carry: bytes) -> int:
    return zlib.crc32(carry, zlib.crc32(struct.pack("<QQ", sequence, completed)))


@dataclass(frozen=True)
class Progressed:
    """Where a block stands: newest whole carry, its completed records and sequence number.

    A block is damaged where it was begun and no carry of it is whole: it begins anew.
    """

    completed: int = 0
    carry: bytes = b""
    sequence: int = 0
    damaged: bool = False


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
                    slots = file[CARRY][block - part.first_block]
                    whole = [s for s in (unpack_slot(slot.tobytes()) for slot in slots) if s]
                    if whole:
                        sequence, completed, carry = max(whole)
                        found[block] = Progressed(completed, carry, sequence)
                    elif any(slot.any() for slot in slots):
                        found[block] = Progressed(damaged=True)
        except (OSError, KeyError) as error:
            raise DataError(
                "a part of the trajectory is missing or damaged",
                where=name,
                remedy="bring it back, or use --force to start afresh",
            ) from error
    return found
