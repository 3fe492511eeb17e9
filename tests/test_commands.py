"""The commands as a whole: light to ask, options typed once, messages on standard error."""

import dataclasses
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from mdgan_hpc.cli.common import command, options_of
from mdgan_hpc.config import key, require_ranges

COMMANDS = ("convert", "train", "generate", "msd", "sites", "report")
HEAVY = ("torch", "h5py", "mpi4py", "matplotlib", "ase", "spglib", "scipy", "numpy")
#: Light, but of no use before a command works: a tenth of the time of --help.
LATE = ("logging", "signal", "json", "tomllib", "difflib")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_no_heavy_library_and_shows_an_example(name: str) -> None:
    program = (
        "import sys\n"
        f"from mdgan_hpc.cli.{name} import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"assert not (loaded := set({HEAVY + LATE}) & set(sys.modules)), loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Example" in done.stdout


@dataclass(frozen=True)
class Kitchen:
    output: Path
    eggs: int = key(3, "Eggs.", least=1)
    heat: float = key(1.5, "Of the stove.", above=0, most=9)
    salt: bool = key(False, "Add salt.")
    lid: bool = key(True, "Put the lid on.", flag="--no-lid")
    pan: Literal["iron", "steel"] = key("iron", "Of what.")
    cooks: int = key(0, "Hands.", empty="all there are", least=0)
    herbs: tuple[str, ...] = key((), "May be repeated.", flag="--herb", metavar="NAME")
    note: str | None = key(None, "A word.")
    fire: Path | None = key(None, "What burns.")

    def __post_init__(self) -> None:
        require_ranges(self)


def asked(*arguments: str) -> tuple[Any, dict[str, Any]]:
    got: dict[str, Any] = {}

    @command("cook")
    @options_of(Kitchen)
    def cook(**options: Any) -> None:
        """Cook."""
        got.update(options)
        logging.getLogger("mdgan_hpc.kitchen").info("ready: %d eggs", options["eggs"])

    return CliRunner().invoke(cook, list(arguments)), got


def test_options_carry_what_the_keys_declare() -> None:
    result, got = asked()
    assert result.exit_code == 0
    assert Kitchen(Path("x"), **got) == Kitchen(Path("x"))
    assert result.stderr == "ready: 3 eggs\n"
    assert result.stdout == ""
    _, got = asked(
        *("--eggs", "4", "--heat", "9", "--salt", "--no-lid", "--pan", "steel", "--cooks", "2"),
        *("--herb", "sage", "--herb", "mint", "--note", "hot", "--fire", "coal"),
    )
    assert Kitchen(Path("x"), **got) == Kitchen(
        Path("x"), 4, 9.0, True, False, "steel", 2, ("sage", "mint"), "hot", Path("coal")
    )


def test_help_tells_defaults_ranges_and_choices() -> None:
    text = asked("--help")[0].stdout
    for words in ("[default: 3; x>=1]", "[default: 1.5; 0<x<=9]", "[iron|steel]", "--herb NAME"):
        assert words in text
    assert "[default: (all there are)]" in text
    assert "Do not put the lid on." in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--eggs", "0"), "x>=1"), (("--pan", "tin"), "iron"), (("--heat", "10"), "x<=9")],
)
def test_values_out_of_range_are_refused_on_the_line(
    arguments: tuple[str, ...], words: str
) -> None:
    result, got = asked(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not got


def test_the_same_range_holds_in_python() -> None:
    with pytest.raises(Exception, match="eggs = 0 must be at least 1"):
        Kitchen(Path("x"), eggs=0)
    with pytest.raises(Exception, match="heat = 0 must be above 0"):
        Kitchen(Path("x"), heat=0)
    with pytest.raises(Exception, match="heat = 10 must be at most 9"):
        Kitchen(Path("x"), heat=10)


def test_generate_has_an_option_for_every_field() -> None:
    from mdgan_hpc.cli.generate import main
    from mdgan_hpc.generate.settings import GenerateConfig

    given = {p.name for p in main.params if isinstance(p, click.Option | click.Argument)}
    assert {f.name for f in dataclasses.fields(GenerateConfig)} <= given
