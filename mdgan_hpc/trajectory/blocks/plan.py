"""What a trajectory in blocks is made of: parts, chunks, and their sizes."""

import itertools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError
from mdgan_hpc.inputs import parse_json
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.opening import read_parameters, require_generation

POSITION = f"{layout.GROUP}/position/value"
VELOCITY = f"{layout.GROUP}/velocity/value"
PLAN = f"{layout.LEDGER}/storage"
SETTINGS = f"{layout.LEDGER}/settings"

#: Head of a slot of the rollout state: sequence number, completed records, length of the state and
#: its CRC-32.
SLOT_HEAD = struct.Struct("<QQQI")

_CHUNK_PARTICLES = 256
_SIZES = ("n_records", "n_particles", "block_particles", "chunk_records", "chunk_particles")


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
        return block in self.blocks

    @property
    def blocks(self) -> range:
        """The blocks of which records lie here."""
        return range(self.first_block, self.first_block + self.n_blocks)


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
        Most bytes of a block's rollout state; called so in files.
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
        """Bytes of one slot of the rollout state."""
        return SLOT_HEAD.size + self.carry_bytes

    def home(self, block: int) -> Part:
        """Return the part that holds the ledger of a block: the last one made for it."""
        return next(part for part in reversed(self.parts) if part.has_block(block))

    def ledger_of(self, part: Part) -> list[int]:
        """Return the blocks whose ledger a part holds."""
        blocks = range(part.first_block, min(part.first_block + part.n_blocks, self.n_blocks))
        return [block for block in blocks if self.home(block) is part]

    def datasets(self) -> list[str]:
        """Return the names of the datasets over records and particles."""
        return ([POSITION] if self.positions else []) + ([VELOCITY] if self.velocities else [])


def chunk_shape(block_particles: int, segment_records: int) -> tuple[int, int]:
    """Return records and particles of a chunk of at most 4 MiB, or one record of 256 particles.

    Chunks divide a block of particles, and hold whole segments where these fit: what is computed
    at once is then written at once, in one piece. Written by time and read by particle, both
    without much waste.

    Parameters
    ----------
    block_particles : int
    segment_records : int
        Stored records of a segment.
    """
    widths = range(1, min(block_particles, _CHUNK_PARTICLES) + 1)
    width = max(w for w in widths if block_particles % w == 0)
    most = max(1, layout.CHUNK_BYTES // (12 * width))
    return most - most % segment_records if segment_records <= most else most, width


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
    """Return the folder of the part files of a master file: one for each name."""
    master = Path(master)
    return master.with_name(
        f"{master.stem}.shards" if master.suffix == ".h5" else f"{master.name}.parts"
    )


def next_part(master: str | Path) -> int:
    """Return the first number of a part file that is free, and above those in use."""
    used = [int(p.stem[5:]) for p in parts_folder(master).glob("part-*.h5") if p.stem[5:].isdigit()]
    return max(used, default=-1) + 1


def read_plan(path: str | Path) -> tuple[BlockPlan, dict[str, Any]]:
    """Return plan and settings of a file made here.

    Raises
    ------
    DataError
        If the file is not a trajectory written in blocks.
    """
    remedy = "choose another output, or use --force to replace it"
    try:
        with hdf5.open_file(Path(path)) as file:
            ledger = read_parameters(file["/"]).get("ledger", {})
        return plan_of(ledger, path), parse_json(ledger["settings"], path)
    except (DataError, KeyError, TypeError, AttributeError) as error:
        told = f" ({error.what})" if isinstance(error, DataError) else ""
        raise DataError(
            f"is not a trajectory made by mdgan-generate, or is damaged{told}",
            where=path,
            remedy=remedy,
        ) from error


def require_own_parts(path: Path, plan: BlockPlan, settings: Mapping[str, Any]) -> None:
    """Raise where a part of the file `path` is of another one, or in the place of another.

    Raises
    ------
    DataError
    """
    for part in plan.parts if plan.storage != "mpio" else ():
        try:
            file = hdf5.open_file(path.parent / part.name)
        except DataError:
            continue  # missing or damaged, which is told where it is read
        with file:
            require_generation(file, settings)


def plan_of(ledger: Any, where: object) -> BlockPlan:
    """Return the plan that a ledger tells.

    Raises
    ------
    DataError
        If it tells none that can be.
    """
    try:
        told = parse_json(ledger["storage"], where)
        parts = tuple(Part(**part) for part in told.pop("parts"))
        plan = BlockPlan(**told, parts=parts)
        sizes = [getattr(plan, name) for name in _SIZES] + [
            size for part in parts for size in (part.n_records, part.n_blocks)
        ]
        possible = all(isinstance(size, int) and size >= 1 for size in sizes)
        possible &= all(hdf5.PART.fullmatch(part.name) for part in parts) or plan.storage == "mpio"
        possible &= {b for part in parts for b in part.blocks} >= set(range(plan.n_blocks))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError("its ledger tells no plan of blocks", where=where) from error
    if not possible:
        raise DataError("its ledger tells a plan of blocks that cannot be", where=where)
    return plan


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
