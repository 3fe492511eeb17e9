"""What the commands share: options, the error guard, warnings as one line."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mdgan_hpc import __version__
from mdgan_hpc.parallel import run_together

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

PATH = click.Path(path_type=Path)

force_option = click.option("--force", is_flag=True, help="Replace outputs that exist.")
debug_option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be read and written, memory and disk; stop."
)


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Turn a function into a console command with the settings and options all commands share.

    The function's errors end all ranks with one line (`mdgan_hpc.parallel.run_together`).
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        def guarded(debug: bool, **arguments: object) -> None:
            with messages_shown():
                run_together(lambda: function(**arguments), debug=debug)

        guarded.__doc__ = function.__doc__
        guarded.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        wrapped = click.version_option(__version__, package_name="mdgan-hpc")(debug_option(guarded))
        return click.command(name, context_settings=SETTINGS)(wrapped)

    return decorate


class _OnStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = "Warning: " if record.levelno >= logging.WARNING else ""
        click.echo(f"{prefix}{record.getMessage()}", err=True)


@contextmanager
def messages_shown() -> Iterator[None]:
    """Show what the package logs, and warnings as one line each, on standard error."""
    logger = logging.getLogger("mdgan_hpc")
    handler, level, show = _OnStandardError(), logger.level, warnings.showwarning
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.showwarning = _one_line_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.setLevel(level)
        logger.removeHandler(handler)


def _one_line_warning(message: Warning | str, *_rest: Any, **_named: Any) -> None:
    click.echo(f"Warning: {message}", err=True)
