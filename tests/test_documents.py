"""Documents are true: links lead somewhere, shown commands run, examples and notebook run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from mdgan_hpc.cli import reference
from tests.support.commands import run
from tests.support.training import SMALL_MODEL

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
#: Pages that tell of the past show commands of the past.
PAST = {"docs/experiments.md"}
LAUNCHER = r"(?:(?:mpiexec|srun)(?: --?[\w-]+(?:[ =](?!mdgan)\S+)?)* |torchrun(?: --[\w=-]+)* )?"
COMMAND = re.compile(rf"^{LAUNCHER}(mdgan-\w+ .*)$")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shown_lines(path: Path) -> list[str]:
    """The lines of the code blocks of a page, continued lines joined, comments gone."""
    text = path.read_text().replace("\\\n", " ")
    lines, fenced = [], False
    for line in text.splitlines():
        if line.strip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    ") or line.startswith("\t"):
            lines.append(re.sub(r"\s+#.*$", "", line).strip())
    # Commands within a sentence count as well, where they are whole.
    lines += re.findall(r"`(mdgan-\w+ [^`]*-[^`]*)`", text)
    return lines


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if name(page) in PAST or "reference" in name(page):
            continue
        for line in shown_lines(page):
            match = COMMAND.match(re.sub(r"^\(|\)$|;.*$", "", line))
            if match:
                found.append((name(page), match[1]))
    return found


COMMANDS = commands()


def test_the_documents_show_commands() -> None:
    pages = {page for page, _ in COMMANDS}
    assert {"README.md", "docs/tutorial.md", "docs/how-to/train.md"} <= pages
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_shown_options_are_those_of_the_command(page: str, line: str) -> None:
    words = shlex.split(line.replace("$k", "1"))
    command: click.Command = import_module(f"mdgan_hpc.cli.{words[0].removeprefix('mdgan-')}").main
    # An ellipsis stands for what is shown elsewhere: such a line is short of what is required.
    partial = "..." in words or words[-1] == "--dry-run"
    arguments = [word for word in words[1:] if word != "..."]
    if partial:
        arguments = arguments + _required(command, arguments)
    command.make_context(words[0], arguments)


def _required(command: click.Command, given: list[str]) -> list[str]:
    """What a line with an ellipsis leaves out."""
    more = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.required:
            if not set(parameter.opts) & set(given):
                more += [parameter.opts[-1], "x"]
        elif isinstance(parameter, click.Argument) and not any(
            not word.startswith("-") for word in given
        ):
            more.append("x")
    return more


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{name(page)}: {target}"


def test_named_files_and_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.M))
    targets = {word for group in targets for word in group.split()} | {"PYTHON"}
    for page in PAGES:
        if name(page) in PAST:
            continue
        for line in shown_lines(page):
            if line.startswith("make "):
                assert set(line.split()[1:]) <= targets, f"{name(page)}: {line}"
            for script in re.findall(r"(?:jobs|configs|containers|tests)/[\w./-]+\.\w+", line):
                assert (ROOT / script).exists(), f"{name(page)}: {script}"


def test_reference_pages_are_up_to_date() -> None:
    for page, text in reference.pages().items():
        assert (ROOT / "docs/reference" / page).read_text() == text, "run: make reference"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run1 to run3."""
    folder = tmp_path_factory.mktemp("scratch")
    for name_of_run in ("run1", "run2", "run3"):
        shutil.copytree(ROOT / "tests/data/long" / name_of_run, folder / name_of_run)
    return folder


BRIEF = (
    *("phase.steps=20", "phase.likelihood.warm_up=8", "train.evaluate_every=0"),
    *("data.step_skip=5", "data.records=32", "generator.hidden=16"),
)


def briefly(line: str) -> list[str]:
    """The words of a command with fewer steps, particles and records, so that it takes seconds."""
    words = shlex.split(line)
    if words[0] == "mdgan-convert" and "--select" in words:
        words += ["--records", ":2000"]
    if words[0] == "mdgan-train" and "--out" in words:
        for brief in (*BRIEF, *(f"generator.{key}={value}" for key, value in SMALL_MODEL.items())):
            words += ["--set", brief]
    if words[0] == "mdgan-generate":
        words.append("--accept-poor-model")  # after a brief training
        words += ["--workers", "1"]
        for option, most in (("--particles", 64), ("--records", 4000)):
            if option in words:
                place = words.index(option) + 1
                words[place] = str(min(int(words[place]), most))
    return words


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_commands_of_a_page_run_one_after_the_other(page: str, scratch: Path) -> None:
    # A page of its own begins where nothing was made before.
    folder = scratch / Path(page).stem
    folder.mkdir()
    for entry in ("run1", "run2", "run3"):
        (folder / entry).symlink_to(scratch / entry)
    lines = [line for where, line in COMMANDS if where == page]
    if page == "README.md":
        # It shows the conversion of one run and goes on with three.
        lines[:1] = [lines[0].replace("run1", f"run{n}") for n in (1, 2, 3)]
    for line in lines:
        program, *words = briefly(line)
        if program == "mdgan-report" and page == "README.md":
            words.append("--no-critic")  # the tutorial has one
        done = run(f"mdgan_hpc.cli.{program.removeprefix('mdgan-')}", *words, folder=folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert (folder / "report/report.html").exists()
    for script, files in (
        ("msd_of_any_h5md.py", ["run1.h5", "run2.h5"]),
        ("compare_two_trajectories.py", ["generated.h5", "run1.h5", "run2.h5"]),
    ):
        example = ROOT / "docs/examples" / script
        done = subprocess.run(
            [sys.executable, example, *files],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) >= 3


def test_the_notebook_goes_from_siesta_to_d(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((ROOT / "docs/examples/from_siesta_to_d.ipynb").read_text())
    assert len(notebook["cells"]) == 20
    assert len({cell["id"] for cell in notebook["cells"]}) == 20
    monkeypatch.chdir(ROOT)
    space: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), space)
    told = capsys.readouterr().out
    assert "generated: D =" in told
    assert 1.0 < space["d"].d_angstrom2_per_ps < 3.5  # type: ignore[attr-defined]
    assert space["d"].error_angstrom2_per_ps > 0  # type: ignore[attr-defined]
