"""Where trajectories come from: one module a source.

To add one, write a module with the function

    def open_source(path: Path, config: ConvertConfig, files: Files) -> Run

which opens everything through `files` (each file once), raises `UsageError` for what it has to
ask the user, and `DataError` for what the file does not hold; then name it in `_SOURCES`. What the
file states is used; what it does not state is asked for, never assumed.
"""

from importlib import import_module
from pathlib import Path

from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.streams import Files

#: Module of each source, by the word that `--format` knows it by; any other word is one of ASE's.
_SOURCES = {
    "": "siesta.run",
}
_OTHERS = "ase"


def open_source(path: Path, config: ConvertConfig, files: Files) -> Run:
    """Open the run that a path and a configuration name.

    Raises
    ------
    UsageError, DataError
    """
    module = import_module(f"{__name__}.{_SOURCES.get(config.format, _OTHERS)}")
    run: Run = module.open_source(path, config, files)
    return run
