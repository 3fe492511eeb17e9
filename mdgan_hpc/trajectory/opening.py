"""Opening a trajectory file: is it one, where are its positions, are all its parts there."""

from collections.abc import Iterable
from pathlib import Path

import h5py

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import layout


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    DataError
        If it is missing, locked, or no HDF5 file.
    """
    if not path.exists():
        raise DataError("no such file", where=path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "lock" in str(error):
            raise DataError(
                "is locked by another program, which writes or holds it",
                where=path,
                remedy="wait until it is done, or set HDF5_USE_FILE_LOCKING=FALSE to read anyway",
            ) from error
        raise DataError(
            "is not an HDF5 file, or is damaged",
            where=path,
            remedy="a trajectory made by mdgan-convert or mdgan-generate is needed",
        ) from error


def files_of(path: str | Path) -> list[Path]:
    """Return the files that a trajectory is made of: itself, and the parts of a virtual dataset.

    Of a file that cannot be read, only itself.
    """
    path = Path(path)
    if not path.is_file():  # a pipe would be waited for
        return [path]
    try:
        with h5py.File(path, "r") as file:
            positions = particle_group(file, path)["position/value"]
            names = (
                {s.file_name for s in positions.virtual_sources()} if positions.is_virtual else ()
            )
    except (OSError, KeyError, AttributeError, DataError):
        names = ()
    return [path, *(path.parent / name for name in sorted(names) if name != ".")]


def all_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that trajectories are made of; see `files_of`."""
    return [file for path in paths for file in files_of(path)]


def particle_group(file: h5py.File, path: Path) -> h5py.Group:
    """Return the particle group with the positions: the only one, ``trajectory`` or ``all``.

    Raises
    ------
    DataError
        If there is none, or more than one to choose from, or its positions are not [T, N, 3].
    """
    particles = file.get("particles")
    if "h5md" not in file or not isinstance(particles, h5py.Group):
        raise DataError("is not an H5MD trajectory", where=path)
    names = [
        name
        for name in particles
        if isinstance(particles.get(name), h5py.Group) and "position/value" in particles[name]
    ]
    if not names and layout.LEDGER in file:
        raise DataError(
            "holds no positions: it was made with --no-store",
            where=path,
            remedy="its analysis lies beside it, with the ending .msd.json",
        )
    known = [name for name in ("trajectory", "all") if name in names]
    if len(names) != 1 and not known:
        raise DataError(
            f"has {len(names)} particle groups with positions ({', '.join(names) or 'none'})",
            where=path,
            remedy="one, or one called 'trajectory', is needed",
        )
    group = particles[(known or names)[0]]
    shape = group["position/value"].shape
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise DataError(f"positions have the shape {shape}, not [T, N, 3]", where=path)
    return group


def require_parts(positions: h5py.Dataset, path: Path) -> None:
    """Look for the files of a virtual dataset: HDF5 reads a missing one as fill values.

    Raises
    ------
    DataError
        Naming the file that is missing.
    """
    if not positions.is_virtual:
        return
    for name in sorted({source.file_name for source in positions.virtual_sources()}):
        if name != "." and not (path.parent / name).exists():
            raise DataError(
                f"its part {name} is missing",
                where=path,
                remedy="move a file together with the folder of its parts",
            )
