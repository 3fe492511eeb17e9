"""What to convert and how: the options of `mdgan-convert`, each with its one default."""

from dataclasses import dataclass

from mdgan_hpc.config import key, require

_DRIFTS = ("", "framework", "all", "none")


@dataclass(frozen=True)
class ConvertConfig:
    """Options of a conversion; an empty text or 0 leaves the choice to what the files tell.

    Raises
    ------
    ConfigError
        For values out of range.
    """

    select: str = key(
        "all", "Atoms to keep: species labels, elements, index ranges from 1 (Li,O or 1-12), or all"
    )
    drift: str = key(
        "",
        "Remove the centre-of-mass drift of: framework (the atoms that are not selected), all "
        "(atoms), none [default: framework; all if every atom is selected]",
    )
    every: int = key(1, "Keep every N-th step")
    records: str = key("", "Records of the source to use, FIRST:END from 0, such as 500:")
    source: str = key(
        "",
        "Read the positions from this kind of file: MD, MD.nc, ANI, MD_CAR, out [default: the best "
        "there is]",
    )
    label: str = key("", "SystemLabel of the run, where a folder holds several")
    format: str = key(
        "", "Read another code's file: lammps-dump, xdatcar, extxyz, a format of ASE, or auto"
    )
    species: str = key("", "Elements of the types 1, 2, ... of a LAMMPS dump, such as Li,O")
    time_step_fs: float = key(0.0, "fs | Time between two records of the source [default: read]")
    unwrap: bool = key(False, "Unfold coordinates that were folded into the cell")
    include_initial: bool = key(
        False, "Begin with the first geometry, which only the output and the input tell"
    )
    strict: bool = key(False, "Refuse what would otherwise raise a warning")
    check: bool = key(True, "Compare the files of a run with each other")

    def __post_init__(self) -> None:
        require(self.drift in _DRIFTS, "drift", self.drift, "framework, all or none")
        require(self.every >= 1, "every", self.every, "at least 1")
        require(self.time_step_fs >= 0, "time_step_fs", self.time_step_fs, "positive")
