"""What a generation run is asked to do."""

import math
from dataclasses import dataclass
from pathlib import Path

from mdgan_hpc.config import require
from mdgan_hpc.trajectory.placement import Placement

STORAGES = ("auto", "mpio", "shards")
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class GenerateConfig:
    """Options of `mdgan_hpc.generate.run.generate`.

    Attributes
    ----------
    model : path
        Run folder or model file.
    output : path
    particles : int
        Particles in all.
    records : int
        Records generated for each; every `every`-th is stored.
    seed : int
    every : int
    velocities : bool
        Store the mean velocity over the record interval that ends at each stored record.
    store : bool
        Store positions; without, only the ledger and what the analysis accumulates.
    burn_in : int
        Records dropped between the start state and the first record.
    block_particles : int
        P; 0 takes an eighth of the particles between 256 and 1024, or 32768 on a GPU, and never
        more than the particles asked for.
    block_records : int
        R, records of one random stream; 0 takes 1024, or 128 on a GPU. Rounded down to whole steps
        of the generator.
    max_jump : float
        Angstrom; a larger displacement from record to record ends the run.
    precision : str
        ``float32`` or ``bf16``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    storage : str
        ``auto``, ``mpio`` or ``shards``.
    alignment_mib : float
        Storage chunks begin at multiples of this.
    stripe_count, stripe_size_mib : int
        Of the files on a striped file system (Lustre); 0 leaves the folder's own.
    mpi_hints : tuple of str
        ``KEY=VALUE`` for MPI-IO.
    files : int
        Part files; 0 makes one for each process.
    workers : int
        Processes without MPI; 0 takes one for each core (or GPU).
    save_interval_s : float
        Seconds of work that a kill may cost.
    wall_time_min : float or None
        Stop, with everything saved, after this many minutes.
    force : bool
        Replace an output that exists.
    """

    model: Path
    output: Path
    particles: int = 8192
    records: int = 125_000
    seed: int = 1
    every: int = 1
    velocities: bool = False
    store: bool = True
    burn_in: int = 0
    block_particles: int = 0
    block_records: int = 0
    max_jump: float = 10.0
    precision: str = "float32"
    device: str = "auto"
    storage: str = "auto"
    alignment_mib: float = 1.0
    stripe_count: int = 0
    stripe_size_mib: int = 0
    mpi_hints: tuple[str, ...] = ()
    files: int = 0
    workers: int = 0
    save_interval_s: float = 5.0
    wall_time_min: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("particles", 1),
            ("records", 1),
            ("every", 1),
            ("burn_in", 0),
            ("block_particles", 0),
            ("block_records", 0),
            ("workers", 0),
            ("files", 0),
            ("alignment_mib", 0),
            ("stripe_count", 0),
            ("stripe_size_mib", 0),
            ("save_interval_s", 0),
        ):
            value = getattr(self, name)
            require(value >= least, name, value, f"at least {least}")
        require(0 <= self.seed < 2**64, "seed", self.seed, "from 0 to 2^64 - 1")
        for hint in self.mpi_hints:
            require("=" in hint, "mpi_hints", hint, "KEY=VALUE")
        require(0 < self.max_jump < math.inf, "max_jump", self.max_jump, "positive and finite")
        require(self.every <= self.records, "every", self.every, "at most records")
        require(
            self.store or not self.velocities, "velocities", True, "off where nothing is stored"
        )
        require(self.storage in STORAGES, "storage", self.storage, " or ".join(STORAGES))
        require(self.precision in PRECISIONS, "precision", self.precision, " or ".join(PRECISIONS))

    @property
    def placement(self) -> Placement:
        """How files lie on the file system."""
        return Placement(
            alignment=round(self.alignment_mib * 2**20),
            stripe_count=self.stripe_count,
            stripe_bytes=self.stripe_size_mib * 2**20,
            hints=tuple((h.partition("=")[0], h.partition("=")[2]) for h in self.mpi_hints),
        )

    @property
    def stored_records(self) -> int:
        """Records in the file."""
        return self.records // self.every
