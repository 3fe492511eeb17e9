"""What a generation run is asked to do."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mdgan_hpc.config import key, require, require_choice, require_ranges

if TYPE_CHECKING:
    from mdgan_hpc.trajectory.placement import Placement


@dataclass(frozen=True)
class GenerateConfig:
    """Options of `mdgan_hpc.generate.run.generate`; each field says what it is.

    ``model`` is a run folder or a model file, ``output`` the trajectory to make. Zero for a size
    or a count leaves the choice to the program. Options that decide what is generated are those of
    an output that exists, where they are left out (`mdgan_hpc.generate.run.config_of`).
    """

    model: Path
    output: Path
    particles: int = key(8192, "Particles.", least=1)
    records: int = key(
        125_000, "Records for each particle; the time between two is the model's.", least=1
    )
    seed: int = key(1, "Seed of all random numbers.", least=0, most=2**64 - 1)
    every: int = key(1, "Store every n-th record.", least=1)
    velocities: bool = key(
        False, "Store velocities (Angstrom/ps) too: the mean over the interval before each record."
    )
    store: bool = key(True, "Store positions.", flag="--no-store")
    burn_in: int | None = key(
        None,
        "Records dropped before the first stored.",
        empty="none; a quarter of the longest training run in a supercell, and between the "
        "temperatures of the training",
        least=0,
    )
    temperature_k: float | None = key(
        None,
        "K; of a model trained at several temperatures, any of them or between.",
        flag="--temperature",
        metavar="KELVIN",
        above=0,
    )
    supercell: str = key(
        "",
        "Cells of the training data along each cell vector whose ions all see each other; auto: "
        "as many as hold all particles.",
        metavar="A,B,C",
        empty="the cell of the training data",
    )
    ions: int = key(
        0,
        "Ions in each supercell: some are removed, or added at sites. 1,1,1 is the cell itself.",
        least=0,
        empty="as many as its cells held in the training data",
    )
    storage: Literal["auto", "mpio", "shards"] = key(
        "auto", "One file by parallel HDF5, or part files under one master file."
    )
    device: str = key("auto", "auto, cpu, cuda or cuda:N.")
    precision: Literal["float32", "bf16"] = key(
        "float32", "Of the network; positions are summed in float64."
    )
    alignment_mib: float = key(
        1.0,
        "Chunks on disk begin at multiples of this, MiB.",
        flag="--alignment",
        least=0,
        most=1024,
    )
    stripe_count: int = key(0, "Lustre stripes of a file.", empty="the folder's", least=0)
    stripe_size_mib: int = key(
        0, "MiB; a multiple of the alignment.", flag="--stripe-size", empty="the folder's", least=0
    )
    mpi_hints: tuple[str, ...] = key(
        (),
        "For MPI-IO, such as striping_factor=16; may be repeated.",
        flag="--mpi-hint",
        metavar="KEY=VALUE",
    )
    files: int = key(0, "Part files of shards, such as one a node.", empty="one a process", least=0)
    workers: int = key(0, "Processes without MPI.", empty="one for each core or GPU", least=0)
    block_particles: int = key(
        0,
        "Particles computed together.",
        empty="256 to 1024, an eighth of all; 32768 on a GPU",
        least=0,
    )
    block_records: int = key(0, "Records computed at once.", empty="1024; 128 on a GPU", least=0)
    max_jump: float = key(
        10.0, "Angstrom; a larger displacement between two records ends the run.", above=0
    )
    save_interval_s: float = key(
        5.0, "Seconds of work a kill may cost.", flag="--save-interval", least=0
    )
    wall_time_min: float | None = key(
        None, "Stop, with all saved, after this many minutes.", flag="--wall-time", metavar="MIN"
    )
    accept_poor_model: bool = key(
        False, "Generate also from a model that does not move as the MD does."
    )
    force: bool = key(False, "Replace outputs that exist.")

    def __post_init__(self) -> None:
        require_ranges(self)
        for hint in self.mpi_hints:
            require("=" in hint, "mpi_hints", hint, "KEY=VALUE")
        require(math.isfinite(self.max_jump), "max_jump", self.max_jump, "finite")
        require(self.every <= self.records, "every", self.every, "at most records")
        require(
            self.store or not self.velocities, "velocities", True, "off where nothing is stored"
        )
        for name in ("storage", "precision"):
            require_choice(self, name)

    @property
    def placement(self) -> "Placement":
        """How files lie on the file system."""
        # Here, since the options of the command come from this class and load no HDF5.
        from mdgan_hpc.trajectory.placement import Placement

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
