"""What the commands share: options made from configurations, the error guard."""

import dataclasses
import math
import os
import time
import types
import typing
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from click.core import ParameterSource

from mdgan_hpc import __version__
from mdgan_hpc.errors import DataError, LaunchError, UsageError
from mdgan_hpc.parallel import Launch, detect_launch, leave, run_together

Function = TypeVar("Function", bound=Callable[..., Any])

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: After so many seconds the other ranks end too, where the first does not end them.
_PATIENCE_S = 2.0

PATH = click.Path(path_type=Path)

force_option = click.option("--force", is_flag=True, help="Replace outputs that exist.")
debug_option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be read and written, memory and disk; stop."
)


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Turn a function into a console command with the settings and options all commands share.

    The function's errors end all ranks with one line (`mdgan_hpc.parallel.run_together`), and
    messages of the package appear on standard error.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        def guarded(debug: bool, **arguments: object) -> None:
            from mdgan_hpc.cli.messages import any_name_shown, messages_shown
            from mdgan_hpc.stopping import ended_by_signals

            any_name_shown()
            with messages_shown(first=_launch().rank == 0), ended_by_signals():
                run_together(lambda: _in_a_folder(function, arguments), debug=debug)

        guarded.__doc__ = function.__doc__
        parameters = getattr(function, "__click_params__", [])
        guarded.__click_params__ = parameters  # type: ignore[attr-defined]
        wrapped = click.version_option(__version__, package_name="mdgan-hpc")(debug_option(guarded))
        return click.command(name, cls=_Command, context_settings=SETTINGS)(wrapped)

    return decorate


def _in_a_folder(function: Callable[..., None], arguments: dict[str, object]) -> None:
    """Do the work of a command, unless its folder was removed: libraries crash without one."""
    try:
        os.getcwd()
    except OSError:
        raise UsageError(
            "the current folder is gone", remedy="change into one that exists"
        ) from None
    function(**arguments)


class _Command(click.Command):
    """A command of which the first of several ranks alone tells help and mistakes on the line."""

    def make_context(self, *arguments: Any, **named: Any) -> click.Context:
        """Parse the line, in silence on the other ranks."""
        launch = _launch()
        try:
            with nullcontext() if launch.rank == 0 else redirect_stdout(StringIO()):
                return super().make_context(*arguments, **named)
        except click.ClickException as error:
            if launch.size == 1:
                raise
            if launch.rank != 0:
                # The first rank ends the run; before it has spoken, nobody else may.
                time.sleep(_PATIENCE_S)
            if launch.rank == 0 or launch.launcher == "pmi":
                error.show()
            leave(launch, error.exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say how several files are given, where a second one followed an option."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            files = [o.opts[0] for o in self.params if o.opts[0] in ("--data", "--md")]
            if not files or not error.message.startswith("Got unexpected extra argument"):
                raise
            raise click.UsageError(
                f"{error.message.rstrip('.')}; give {files[0]} before each file", ctx
            ) from None


def _launch() -> Launch:
    """Return the place of this process; what is wrong with it is told by the guard."""
    try:
        return detect_launch()
    except LaunchError:
        return Launch("single")


def require_files(*paths: Path) -> None:
    """Refuse input files that are missing, before anything that takes a second is loaded.

    Raises
    ------
    DataError
    """
    for path in paths:
        try:
            os.stat(path)
        except FileNotFoundError:
            raise DataError("no such file", where=path) from None
        except (OSError, ValueError):
            continue  # told where it is opened


def say(line: str) -> None:
    """Print a line of results, in the characters that every terminal has."""
    from mdgan_hpc.report.numbers import plain_text

    click.echo(plain_text(line))


def options_of(
    config: type[Any], *names: str, omit: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Give a command one option for each key of a configuration dataclass.

    The option's name, type, default, range and help are those of the field
    (`mdgan_hpc.config.key`): each is typed once. The command's function receives the values under
    the names of the fields, ready for the dataclass.

    Parameters
    ----------
    config : type
        A dataclass whose fields are made by `key`.
    *names : str
        Fields to take; all that `key` made where none is named.
    omit : tuple of str
        Fields left out.
    """
    hints = typing.get_type_hints(config)
    fields = {f.name: f for f in dataclasses.fields(config) if "help" in f.metadata}
    chosen = [name for name in names or fields if name not in omit]

    def decorate(function: Function) -> Function:
        for name in reversed(chosen):
            function = _option(fields[name], hints[name])(function)
        return function

    return decorate


def kelvin_and_result(text: str, example: str) -> tuple[float, str]:
    """Return temperature in K and path of an option ``KELVIN=RESULT``.

    Raises
    ------
    UsageError
    """
    kelvin, equals, path = text.partition("=")
    try:
        temperature = float(kelvin)
    except ValueError:
        temperature = 0.0
    if not equals or not 0 < temperature < float("inf"):
        raise UsageError(f"--arrhenius {text} is not KELVIN=RESULT", remedy=f"as in 900={example}")
    return temperature, path


def given(**options: Any) -> dict[str, Any]:
    """Return those options of the command that runs which the user gave, not the defaults."""
    context = click.get_current_context()
    default = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return {k: v for k, v in options.items() if context.get_parameter_source(k) not in default}


def help_of(config: type[Any], name: str) -> str:
    """Return the meaning of a configuration key as a sentence for the help of an option."""
    return _sentence(next(f for f in dataclasses.fields(config) if f.name == name))[1]


def _sentence(field: "dataclasses.Field[Any]") -> tuple[str, str]:
    """Split ``unit | meaning`` into the unit and a sentence."""
    unit, bar, meaning = field.metadata["help"].partition(" | ")
    meaning = meaning if bar else field.metadata["help"]
    if field.default is True:
        meaning = f"do not {meaning[0].lower()}{meaning[1:]}"
    return unit if bar else "", f"{meaning[0].upper()}{meaning[1:].removesuffix('.')}."


def _option(field: "dataclasses.Field[Any]", hint: Any) -> Callable[[Function], Function]:
    told = field.metadata
    unit, text = _sentence(field)
    flags = (told.get("flag") or "--" + field.name.replace("_", "-"), field.name)
    if hint is bool:
        # A flag turns the default round: --velocities for one that is off, --no-store for one on.
        return click.option(
            *flags, is_flag=True, default=field.default, flag_value=not field.default, help=text
        )
    default, empty = field.default, told.get("empty", "")
    multiple = typing.get_origin(hint) in (tuple, list)
    # An empty text is no choice and no default to show: click is told of none.
    silent = default in (None, "")
    return click.option(
        *flags,
        type=_click_type(hint, told),
        default=None if silent else default,
        callback=lambda _context, _option, value: default if value is None else value,
        multiple=multiple,
        metavar=told.get("metavar") or unit.upper() or None,
        show_default=False if multiple or (silent and not empty) else empty or True,
        help=text,
    )


def _click_type(hint: Any, told: Any) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return click.Choice([str(part) for part in parts if part])
    if origin in (typing.Union, types.UnionType, tuple, list):
        return _click_type(next(p for p in parts if p not in (type(None), Ellipsis)), told)
    if hint is Path:
        return PATH
    least, above, most = told.get("least"), told.get("above"), told.get("most")
    ranged = any(bound is not None for bound in (least, above, most))
    # Where a value stands for the program's choice, its range would say what the user may not type.
    if hint in (int, float) and ranged and not told.get("empty"):
        low = above if least is None else least
        kind = click.IntRange if hint is int else FiniteRange
        return kind(min=low, max=most, min_open=above is not None)
    return FiniteRange() if hint is float else hint


class FiniteRange(click.FloatRange):
    """A range of numbers without infinity and NaN, which compare with nothing."""

    def _describe_range(self) -> str:
        """Return what the help shows: nothing where there is no bound."""
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number that a text is."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number
