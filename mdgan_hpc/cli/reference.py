"""The reference pages of the documents, made from the commands and classes themselves.

``python -m mdgan_hpc.cli.reference`` writes them to docs/reference; a test holds them up to date.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

COMMANDS = ("convert", "train", "generate", "msd", "sites", "report")
#: Modules whose dataclasses lie in result files, and what they are of.
RESULTS = {
    "mdgan_hpc.analysis.results": "mdgan-msd",
    "mdgan_hpc.analysis.fit.results": "the fit of D",
    "mdgan_hpc.analysis.sites.results": "mdgan-sites",
    "mdgan_hpc.analysis.fidelity.result": "fidelity",
    "mdgan_hpc.report.results": "mdgan-report",
}
_MADE = "*Made by `make reference`; change the source, not this page.*"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {
        "commands.md": _page("Commands", _commands()),
        "configuration.md": _page("Configuration of a training", _configuration()),
        "results.md": _page("Fields of results", _results()),
    }


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"# {title}", "", _MADE, "", *lines]).rstrip() + "\n"


def _commands() -> Iterator[str]:
    for name in COMMANDS:
        command: click.Command = import_module(f"mdgan_hpc.cli.{name}").main
        context = click.Context(
            command, info_name=f"mdgan-{name}", terminal_width=96, **command.context_settings
        )
        yield from (f"## mdgan-{name}", "", "```text", command.get_help(context), "```", "")


def _configuration() -> Iterator[str]:
    from mdgan_hpc.models import registry
    from mdgan_hpc.training.settings import TrainingConfig

    yield "A TOML file, every key optional. `--set section.key=value` overrides one; an unknown key"
    yield "is refused. `mdgan-train --show-config` prints all of them with the values in force."
    yield ""
    yield from _section(TrainingConfig, "")
    for kind in sorted(("latent", "transition")):
        yield f'## [generator], kind = "{kind}"'
        yield ""
        yield from _table(registry.get(kind).Config)


def _section(config: type[Any], name: str) -> Iterator[str]:
    """Give the table of a section, and then the sections below."""
    hints = typing.get_type_hints(config)
    if name:
        yield from (f"## {name}", "")
        yield from _table(config)
    for field in dataclasses.fields(config):
        inner, many = _inner(hints[field.name])
        if inner is not None and not hasattr(inner, "from_tree"):
            path = ".".join(filter(None, [name.strip("[]"), field.name]))
            yield from _section(inner, f"[[{path}]]" if many else f"[{path}]")


def _inner(hint: Any) -> tuple[type[Any] | None, bool]:
    """Return the dataclass that a field holds, if any, and whether it holds several."""
    if dataclasses.is_dataclass(hint):
        return typing.cast(type[Any], hint), False
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (tuple, list, typing.Union, types.UnionType):
        for part in parts:
            if dataclasses.is_dataclass(part):
                return typing.cast(type[Any], part), origin in (tuple, list)
    return None, False


def _table(config: type[Any]) -> Iterator[str]:
    yield from ("| key | default | meaning |", "|---|---|---|")
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if _inner(hints[field.name])[0] is not None or "help" not in field.metadata:
            continue
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if field.metadata.get("auto"):
            default = "auto"
        shown = "" if default is None else f"`{_toml(default)}`"
        told = [field.metadata["help"].replace(" | ", ": ", 1)]
        if typing.get_origin(hints[field.name]) is typing.Literal:
            told.append(f"({', '.join(map(str, typing.get_args(hints[field.name])))})")
        yield f"| `{field.name}` | {shown} | {' '.join(told).replace('|', ',')} |"
    yield ""


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value) if isinstance(value, tuple) else value).lower()


def _results() -> Iterator[str]:
    yield "Groups and names are the same in `.h5` and `.json`; `.csv` holds the curves. In Python"
    yield "they are attributes. Shapes stand in brackets, units in the names or beside them."
    yield ""
    for module, what in RESULTS.items():
        yield from (f"## Of {what}", "")
        for cls in _classes(import_module(module)):
            text = inspect.getdoc(cls) or ""
            head, _, attributes = text.partition("Attributes\n----------\n")
            yield from (f"### {cls.__name__}", "", head.strip(), "")
            told = _attributes(attributes)
            yield from ("| field | type | |", "|---|---|---|")
            for field in dataclasses.fields(cls):
                kind, meaning = told.get(field.name, ("", ""))
                stored = field.metadata.get("stored")
                if stored:
                    meaning = f"{meaning} In the file: `{stored}`.".strip()
                yield f"| `{field.name}` | {kind or _type(field.type)} | {meaning} |"
            yield ""


def _classes(module: types.ModuleType) -> list[type[Any]]:
    return [
        cls
        for cls in vars(module).values()
        if isinstance(cls, type)
        and dataclasses.is_dataclass(cls)
        and cls.__module__ == module.__name__
    ]


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text or str(annotation).replace("|", "or")


def _attributes(text: str) -> dict[str, tuple[str, str]]:
    """Read the NumPy-style section of attributes: name to (type, meaning)."""
    told: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in text.splitlines():
        if re.match(r"\S", line):
            left, _, kind = line.partition(" : ")
            names = [name.strip() for name in left.split(",")]
            told |= {name: (kind.replace("|", "or"), "") for name in names}
        elif line.strip():
            for name in names:
                kind, meaning = told[name]
                told[name] = (kind, f"{meaning} {line.strip()}".strip().replace("|", ","))
    return told


def main() -> None:
    """Write the pages."""
    folder = Path(__file__).resolve().parents[2] / "docs/reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
        click.echo(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
