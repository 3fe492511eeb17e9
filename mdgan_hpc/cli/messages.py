"""What the package logs and warns of, on standard error; loaded when a command begins to work."""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click

from mdgan_hpc.errors import DataWarning


class _OnStandardError(logging.Handler):
    """Writes each message as one line, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "Warning: " if record.levelno >= logging.WARNING else ""
        bars = sys.modules.get("tqdm")
        with bars.tqdm.external_write_mode(file=sys.stderr) if bars else nullcontext():
            click.echo(f"{prefix}{record.getMessage()}", err=True)


@contextmanager
def messages_shown(*, first: bool) -> Iterator[None]:
    """Show what the package logs, and warnings as one line each, on standard error.

    What all ranks of a launch log is shown by the `first`.
    """
    logger = logging.getLogger("mdgan_hpc")
    handler = _OnStandardError() if first else logging.NullHandler()
    level, show = logger.level, warnings.showwarning
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.showwarning = _one_line_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.setLevel(level)
        logger.removeHandler(handler)


def any_name_shown() -> None:
    """Let names of files that are no text in the terminal's encoding be printed, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line_warning(
    message: Warning | str, category: type[Warning], *_rest: Any, **_named: Any
) -> None:
    """Tell what concerns the data; what libraries warn developers of is left to --debug."""
    logger = logging.getLogger("mdgan_hpc")
    if issubclass(category, DataWarning):
        logger.warning("%s", message)
    else:
        logger.debug("%s: %s", category.__name__, message)
