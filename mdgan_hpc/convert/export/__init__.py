"""Trajectories out to other files, most of them of other programs, in pieces of bounded size."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mdgan_hpc.convert.export.binary import export_amber, export_npz, export_xtc
from mdgan_hpc.convert.export.density import export_chgcar, export_cube
from mdgan_hpc.convert.export.excerpt import Excerpt
from mdgan_hpc.convert.export.h5md import export_h5md
from mdgan_hpc.convert.export.text import export_extxyz, export_lammps
from mdgan_hpc.convert.settings import ExportConfig
from mdgan_hpc.errors import UsageError
from mdgan_hpc.outputs import check_output, written_whole
from mdgan_hpc.trajectory.opening import files_of
from mdgan_hpc.trajectory.reader import Trajectory

__all__ = ["EXPORTS", "ExportConfig", "export", "export_path"]


class _Format(NamedTuple):
    write: Callable[[Excerpt, Path], None]
    ending: str
    #: Options that would do nothing.
    without: tuple[str, ...] = ("--spacing",)


_OF_DENSITY = ("--wrap",)
#: Formats, by the word that ``--export`` knows them by.
EXPORTS = {
    "h5md": _Format(export_h5md, ".part.h5", ("--spacing", "--wrap")),
    "extxyz": _Format(export_extxyz, ".extxyz"),
    "lammps-dump": _Format(export_lammps, ".lammpstrj"),
    "xtc": _Format(export_xtc, ".xtc"),
    "amber": _Format(export_amber, ".nc"),
    "npz": _Format(export_npz, ".npz"),
    "chgcar": _Format(export_chgcar, ".CHGCAR", _OF_DENSITY),
    "cube": _Format(export_cube, ".cube", _OF_DENSITY),
}


def export_path(source: Path, format: str) -> Path:
    """Return the name that an export has where none is given."""
    return source.with_suffix(EXPORTS[format].ending)


def export(
    source: Path,
    path: Path,
    format: str,
    config: ExportConfig | None = None,
    *,
    force: bool = False,
) -> int:
    """Write the trajectory `source` to `path` in one of the `EXPORTS`; return its frames.

    Raises
    ------
    DataError
        If `source` is no complete trajectory, or holds positions that are no numbers.
    UsageError
        If the options name no ion or record, or do nothing for this format.
    OutputExistsError
        If `path` exists and `force` is false.
    """
    config = config or ExportConfig()
    usual, chosen = ExportConfig(), EXPORTS[format]
    changed = {
        "--wrap": config.wrap != usual.wrap,
        "--spacing": config.spacing_angstrom != usual.spacing_angstrom,
    }
    for option in chosen.without:
        if changed[option]:
            raise UsageError(f"{option} does nothing for {format}", remedy="leave it away")
    check_output(path, force=force, inputs=files_of(source))
    with Trajectory(source) as trajectory:
        excerpt = Excerpt(trajectory, config)
        with written_whole(path, force=force) as made:
            chosen.write(excerpt, made)
        return len(excerpt.records)
