"""The image definitions: alike but for their base, from one list of versions, sound as scripts."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = ROOT / "containers"
KINDS = ("cpu", "cpu-docker", "cuda", "rocm")
MARK = "# ---- The same lines in every definition from here on"
COMMANDS = ("convert", "train", "generate", "msd", "report")


def sections(kind: str) -> dict[str, str]:
    """Split a definition into its header ("") and its sections."""
    text = (CONTAINERS / f"mdgan-{kind}.def").read_text()
    parts = re.split(r"^%(.+)$", text, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_definitions_differ_in_their_base_alone() -> None:
    heads, bodies = zip(
        *((CONTAINERS / f"mdgan-{kind}.def").read_text().split(MARK) for kind in KINDS),
        strict=True,
    )
    assert len(set(bodies)) == 1
    for head in heads:
        assert set(re.findall(r"^%(\w+)", head, re.M)) <= {"arguments", "setup"}


@pytest.mark.parametrize("kind", KINDS)
def test_bases_are_pinned_by_digest_or_by_a_day(kind: str) -> None:
    parts = sections(kind)
    if "Bootstrap: docker" in parts[""]:
        assert "From: {{ BASE }}" in parts[""]
        pinned = re.search(r"^\s*BASE=(\S+)@sha256:([0-9a-f]{64})$", parts["arguments"], re.M)
    else:
        assert "MirrorURL: {{ MIRROR }}" in parts[""]
        pinned = re.search(
            r"snapshot\.debian\.org/archive/debian/(\d{8}T\d{6}Z)$", parts["arguments"], re.M
        )
    assert pinned, parts["arguments"]


@pytest.mark.parametrize("kind", KINDS)
def test_definition_has_what_a_user_looks_for(kind: str) -> None:
    parts = sections(kind)
    assert set(parts) >= {"post", "environment", "runscript", "test", "labels", "help"}
    for command in COMMANDS:
        assert f'exec mdgan-{command} "$@"' in parts[f"apprun {command}"]
        assert f"mdgan-{command}" in parts["help"]
    arguments = set(re.findall(r"^\s*(\w+)=", parts["arguments"], re.M))
    used = set(re.findall(r"{{ (\w+) }}", "".join(parts.values())))
    assert used == arguments, "every build argument is used and has a default"


@pytest.mark.parametrize("kind", KINDS)
def test_sections_are_sound_shell(kind: str, tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    for name, text in sections(kind).items():
        if name.split()[0:1] in (["post"], ["test"], ["runscript"], ["apprun"], ["setup"]):
            script = tmp_path / f"{name.replace(' ', '-')}.sh"
            script.write_text("#!/bin/bash\n" + text)
            subprocess.run(["bash", "-n", script], check=True)
            if shellcheck:
                done = subprocess.run([shellcheck, script], capture_output=True, text=True)
                assert done.returncode == 0, done.stdout


def test_every_pinned_version_reaches_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    got = []
    for group in ("binary", "source", "build"):
        done = subprocess.run(
            [sys.executable, CONTAINERS / "pins.py", ROOT / "pyproject.toml", group],
            capture_output=True,
            text=True,
            check=True,
        )
        got.append(done.stdout.split("\n")[:-1])
    binary, source, build = got
    names = {re.split("[=<>]", need)[0] for need in project["dependencies"]}
    assert {pin.split("==")[0] for pin in binary + source} >= names
    locked = set((ROOT / "requirements.lock").read_text().splitlines())
    assert set(binary) | set(source) <= locked
    assert [pin.split("==")[0] for pin in source] == ["mpi4py", "h5py"]
    assert not set(binary) & set(source)
    assert all("==" in pin for pin in binary + source + build)


@pytest.mark.skipif(shutil.which("apptainer") is None, reason="no apptainer")
@pytest.mark.parametrize("kind", KINDS)
def test_apptainer_itself_reads_the_definition(kind: str, tmp_path: Path) -> None:
    # With an unknown build argument Apptainer reads it all and stops before it fetches the base.
    definition = f"containers/mdgan-{kind}.def"
    done = subprocess.run(
        ["apptainer", "build", "--build-arg", "NO_SUCH=1", tmp_path / "x.sif", definition],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "unused build args: NO_SUCH" in done.stderr, done.stderr
