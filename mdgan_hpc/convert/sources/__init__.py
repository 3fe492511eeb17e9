"""Where trajectories come from: one module a source.

To add one, write a module with the function

    def open_source(path: Path, config: ConvertConfig, files: Files) -> Run

which opens everything through `files` (each file once), raises `UsageError` for what it has to
ask the user, and `DataError` for what the file does not hold; then name it in `_SOURCES`. What the
file states is used; what it does not state is asked for, never assumed.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.errors import UsageError

#: Module of each source, by the word that `--format` knows it by; any other word is one of ASE's.
_SOURCES = {
    "": "siesta.run",
    "lammps-dump": "lammps",
    "lammps-dump-text": "lammps",
    "xdatcar": "xdatcar",
    "vasp-xdatcar": "xdatcar",
    "extxyz": "extxyz",
    "xyz": "extxyz",
    "h5md": "h5md",
    "torch-sim": "torchsim",
    "vaspout": "vaspout",
    "xtc": "xdr",
    "trr": "xdr",
    "dcd": "xdr",
}
#: What an HDF5 file of each format holds.
_HDF5 = {"h5md": "h5md", "torch-sim": "data/positions", "vaspout": "intermediate/ion_dynamics"}
_OTHERS = "ase"


def open_source(path: Path, config: ConvertConfig, files: Files) -> Run:
    """Open the run that a path and a configuration name.

    Raises
    ------
    UsageError, DataError
    """
    if config.format == "auto":
        config = replace(config, format=_guessed(path))
    module = import_module(f"{__name__}.{_SOURCES.get(config.format, _OTHERS)}")
    run: Run = module.open_source(path, config, files)
    return run


def _guessed(path: Path) -> str:
    """Return the format of a file as ASE finds it.

    Raises
    ------
    UsageError
        If it does not.
    """
    import h5py
    from ase.io.formats import UnknownFileTypeError, filetype

    from mdgan_hpc import hdf5

    if path.suffix.lower() in (".xtc", ".trr", ".dcd"):
        return path.suffix.lower()[1:]
    if path.is_file() and h5py.is_hdf5(path):
        with hdf5.open_file(path) as file:
            for format, name in _HDF5.items():
                if hdf5.find(file["/"], name) is not None:
                    return format
    try:
        return str(filetype(str(path)))
    except UnknownFileTypeError:
        raise UsageError(
            "its format is not recognised", where=path, remedy="name it with --format"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=path) from None
