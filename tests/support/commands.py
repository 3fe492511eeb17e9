"""The commands of the package, run in the process of the tests: loading PyTorch takes seconds."""

import contextlib
import os
import subprocess
import traceback
import warnings
from importlib import import_module
from pathlib import Path

from click.testing import CliRunner


def run(
    module: str, *words: object, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as ``python -m module words`` would; an exception ends the test.

    Parameters
    ----------
    module : str
        E.g. mdgan_hpc.cli.msd.
    *words : object
        Arguments.
    folder : path, optional
        The working directory.
    """
    arguments = [str(word) for word in words]
    # Warnings told once are told to each command anew.
    with contextlib.chdir(folder or os.curdir), warnings.catch_warnings():
        done = CliRunner().invoke(import_module(module).main, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError("".join(traceback.format_exception(done.exception)))
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)
