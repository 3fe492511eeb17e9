"""What to convert and how: the options of `mdgan-convert`, each with its one default."""

from dataclasses import dataclass
from typing import Literal

from mdgan_hpc.config import key, require_choice, require_ranges

#: Atoms whose centre of mass is held still; an empty text is the default for what is selected.
Drift = Literal["", "framework", "all", "none"]
#: Files that hold positions; an empty text is the best there is.
SourceKind = Literal["", "MD", "MD.nc", "ANI", "MD_CAR", "out"]


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
    drift: Drift = key(
        "",
        "Remove the centre-of-mass drift of: framework (the atoms that are not selected), all "
        "(atoms), none",
        empty="framework; all if every atom is selected",
    )
    every: int = key(1, "Keep every N-th step", least=1)
    records: str = key("", "Records of the source to use, FIRST:END from 0, such as 500:")
    source: SourceKind = key(
        "", "Read the positions from this kind of file", empty="the best there is"
    )
    label: str = key("", "SystemLabel of the run, where a folder holds several")
    format: str = key(
        "", "Read another code's file: lammps-dump, xdatcar, extxyz, a format of ASE, or auto"
    )
    species: str = key(
        "", "Elements of the types 1, 2, ... of a LAMMPS dump or an old XDATCAR, such as Li,O"
    )
    units: str = key(
        "",
        "Units of a LAMMPS dump that does not state them: metal, real, si, cgs, electron, micro, "
        "nano",
    )
    fixed_order: bool = key(
        False, "Atoms of a dump without ids keep their order from frame to frame"
    )
    time_step_fs: float = key(
        0.0,
        "fs | Time between two records of the source",
        flag="--time-step",
        empty="read",
        least=0,
    )
    unwrap: bool = key(False, "Unfold coordinates that were folded into the cell")
    include_initial: bool = key(
        False, "Begin with the first geometry, which only the output and the input tell"
    )
    strict: bool = key(False, "Refuse what would otherwise raise a warning")
    check: bool = key(True, "Compare the files of a run with each other", flag="--no-check")

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice(self, "drift")
        require_choice(self, "source")
