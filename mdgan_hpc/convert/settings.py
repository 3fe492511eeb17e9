"""What to convert or to export, and how: the options of `mdgan-convert`."""

from dataclasses import dataclass
from typing import Literal

from mdgan_hpc.config import key, require_ranges

Drift = Literal["auto", "framework", "all", "none"]
SourceKind = Literal["best", "MD", "MD.nc", "ANI", "MD_CAR", "out"]


@dataclass(frozen=True)
class ConvertConfig:
    """Options of a conversion; an empty text or 0 leaves the choice to what the files tell.

    Raises
    ------
    ConfigError
        For values out of range.
    """

    select: str = key(
        "all",
        "Atoms to keep: species labels, elements, index ranges from 1 (Li,O or 1-12), or all",
    )
    drift: Drift = key(
        "auto",
        "Remove the centre-of-mass drift of: framework (the atoms that are not selected), all "
        "(atoms), none; auto: framework, or all if every atom is selected",
    )
    every: int = key(1, "Keep every N-th step", least=1)
    unwrap: bool = key(False, "Unfold coordinates that were folded into the cell")
    include_initial: bool = key(
        False, "Begin with the first geometry, which only the output and the input tell"
    )
    source: SourceKind = key("best", "Read the positions from this kind of file of SIESTA")
    label: str = key("", "SystemLabel of the run, where a folder holds several")
    records: str = key("", "Records of the source to use, FIRST:END from 0, such as 500:")
    time_step_fs: float = key(
        0.0,
        "Time between two records of the source in fs",
        flag="--time-step",
        least=0,
        empty="read",
    )
    temperature_k: float | None = key(
        None,
        "K; of the run, where its files do not tell what the thermostat was set to",
        flag="--temperature",
        metavar="KELVIN",
        above=0,
    )
    format: str = key(
        "",
        "Read a file of another code: lammps-dump, xdatcar, vaspout, extxyz, h5md, torch-sim, xtc, "
        "trr, dcd, a format of ASE, or auto",
    )
    species: str = key(
        "",
        "Elements of the types 1, 2, ... of LAMMPS, such as Li,O; of a file that names none, in "
        "the order of its atoms, such as Li96,O288",
    )
    units: str = key(
        "",
        "Units of a file that does not state them: metal, real, si, cgs, electron, micro or nano "
        "of a LAMMPS dump; of length and time of an H5MD file, such as nm,ps",
    )
    fixed_order: bool = key(
        False, "Atoms of a dump without ids keep their order from frame to frame"
    )
    strict: bool = key(False, "Refuse what would otherwise raise a warning")
    check: bool = key(True, "Compare the files of a run with each other", flag="--no-check")

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True)
class ExportConfig:
    """Options of an export.

    Raises
    ------
    ConfigError
        For values out of range.
    """

    select: str = key("all", "Atoms to export: elements, index ranges from 1, or all")
    records: str = key("", "Records to export, FIRST:END from 0")
    every: int = key(1, "Export every N-th record", least=1)
    times_ps: str = key(
        "",
        "With --export: records from START to STOP in ps, such as 10:50",
        flag="--times",
        metavar="START:STOP",
    )
    wrap: bool = key(
        False,
        "With --export: fold the ions into the cell; a LAMMPS dump tells their images beside",
    )
    spacing_angstrom: float = key(
        0.25,
        "Angstrom | With --export of a density: most distance of two points of the grid",
        flag="--spacing",
        above=0,
    )

    def __post_init__(self) -> None:
        require_ranges(self)
