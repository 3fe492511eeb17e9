"""Two writers of one name, outputs that are inputs, and disks that are full."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdgan_hpc.errors import DataError
from mdgan_hpc.outputs import claimed, written_whole
from tests.support.chaos import stages
from tests.support.chaos.stages import COUNT, SEED, Stages, run


@pytest.fixture(scope="module")
def all_stages(tmp_path_factory):
    return Stages(tmp_path_factory.mktemp("stages"))


def pair(folder: Path, dice: random.Random, held: bool) -> None:
    """Two conversions to one name; one of them may be paused in the middle."""
    lines = [
        ["convert", stages.SIESTA, "-o", "out.h5", "--select", atoms, "--force"]
        for atoms in ("Li", "H")
    ]
    alone = set()
    for number, one in enumerate(lines):
        (folder / str(number)).mkdir()
        assert run(*one, folder=folder / str(number))[0] == 0
        alone.add(stages.positions(folder / str(number) / "out.h5"))
    first = stages.start(*lines[0], folder=folder)
    if held:
        while not stages.litter(folder) and first.poll() is None:
            time.sleep(0.001)
        os.kill(first.pid, signal.SIGSTOP)
    else:
        time.sleep(dice.uniform(0, 0.5))
    second = run(*lines[1], folder=folder)
    if held:
        os.kill(first.pid, signal.SIGCONT)
    results = [stages.finish(first), second]
    for status, errors in results:
        assert status == 0 or "another run is writing it" in errors, errors
        assert "Traceback" not in errors
    assert any(status == 0 for status, _ in results)
    assert stages.positions(folder / "out.h5") in alone
    assert not stages.litter(folder)


def test_two_writers_of_one_name(tmp_path):
    pair(tmp_path, random.Random(1), held=True)


@pytest.mark.chaos
def test_many_pairs_of_writers(tmp_path):
    dice = random.Random(SEED)
    for number in range(COUNT):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair(folder, dice, held=bool(number % 2))
    print(f"\n{COUNT} pairs of writers, no wrong file")


def test_a_claim_is_exclusive_and_that_of_the_dead_is_taken_over(tmp_path):
    path = tmp_path / "out.json"
    program = (
        "import os, sys, time; from mdgan_hpc.outputs import written_whole\n"
        "with written_whole(sys.argv[1]) as partial:\n"
        "    partial.write_text('torn'); print('there', flush=True); time.sleep(100)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"there\n"
    words = f"another run is writing it .process {other.pid} on"
    with pytest.raises(DataError, match=words), written_whole(path):
        pass
    assert len(stages.litter(tmp_path)) == 2  # those of the living stay
    other.kill()
    other.wait()
    other.stdout.close()
    with written_whole(path) as partial:
        partial.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert path.read_text() == "whole"


def test_a_refused_run_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), claimed(tmp_path / "a" / "b" / "out.h5"):
        raise ValueError
    assert not list(tmp_path.iterdir())


INPUTS = {
    "generate": ["generate", "model.pt", "-o", "model.pt", "--force"],
    "generate by a link": ["generate", "model.pt", "-o", "link.pt", "--force"],
    "repack": ["generate", "model.pt", "-o", "g.h5", "--repack", "g.h5", "--force"],
    "msd": ["msd", "a.h5", "-o", "a.h5", "--force"],
    "msd by a hard link": ["msd", "a.h5", "-o", "hard.h5", "--force"],
    "convert": ["convert", "run/nve.MD", "-o", "run/nve.MD", "--force"],
    "convert a folder": ["convert", "run", "-o", "run/nve.MD", "--force"],
    "export": ["convert", "a.h5", "--export", "npz", "-o", "a.h5", "--force"],
    "report": ["report", "--md", "r/analysis.h5", "--generated", "a.h5", "-o", "r", "--force"],
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_output_is_never_an_input(name, tmp_path):
    stages.trajectory(tmp_path / "a.h5", 1, frames=50)
    stages.model(tmp_path / "model.pt")
    os.link(tmp_path / "a.h5", tmp_path / "hard.h5")
    (tmp_path / "link.pt").symlink_to("model.pt")
    (tmp_path / "r").mkdir()
    os.link(tmp_path / "a.h5", tmp_path / "r/analysis.h5")
    subprocess.run(["cp", "-r", stages.SIESTA, tmp_path / "run"], check=True)
    found = next((tmp_path / "run").glob("*.MD*"))
    arguments = [word.replace("nve.MD", found.name) for word in INPUTS[name]]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    status, errors = run(*arguments, folder=tmp_path)
    assert status == 2, errors
    assert errors.count("\n") == 1
    assert "would be replaced by its output" in errors
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_a_part_of_a_trajectory_is_no_output(all_stages, tmp_path):
    small = ("--particles", 8, "--records", 100, "--workers", 1, "--force")
    assert run("generate", all_stages.model, "-o", "g.h5", *small, folder=tmp_path)[0] == 0
    before, part = stages.positions(tmp_path / "g.h5"), "g.shards/part-00000.h5"
    for command in (
        ("generate", all_stages.model, "-o", part, *small),
        ("convert", stages.SIESTA, "-o", part, "--select", "Li", "--force"),
    ):
        status, errors = run(*command, folder=tmp_path)
        assert status == 2, errors
        assert "is a part of a trajectory" in errors
        assert stages.positions(tmp_path / "g.h5") == before


def test_nothing_is_removed_before_its_successor_stands(all_stages, tmp_path):
    small = (all_stages.model, "-o", "g.h5", "--particles", 8, "--workers", 1, "--force")
    assert run("generate", *small, "--records", 100, folder=tmp_path)[0] == 0
    before = stages.positions(tmp_path / "g.h5")
    huge = [*small[:4], 100_000_000, "--records", 1_000_000, "--force"]
    status, errors = run("generate", *huge, folder=tmp_path)
    assert status == 1, errors
    assert "the disk has" in errors
    assert stages.positions(tmp_path / "g.h5") == before
    # Replaced at last: the old parts go, and the new ones can grow.
    assert run("generate", *small, "--seed", 2, "--records", 100, folder=tmp_path)[0] == 0
    assert len(list((tmp_path / "g.shards").iterdir())) == 1
    more = (*small[:-1], "--seed", 2, "--records", 200)
    assert run("generate", *more, folder=tmp_path)[0] == 0
    (tmp_path / "whole").mkdir()
    assert run("generate", *more, folder=tmp_path / "whole")[0] == 0
    assert stages.positions(tmp_path / "g.h5") == stages.positions(tmp_path / "whole/g.h5")
    assert not stages.litter(tmp_path)


def test_outputs_of_one_stem_do_not_share_parts(all_stages, tmp_path):
    options = ("--particles", 8, "--records", 100, "--workers", 1)
    for seed, name in enumerate(("g", "g.h5", "g.hdf5")):
        words = (all_stages.model, "-o", name, "--seed", seed, *options)
        assert run("generate", *words, folder=tmp_path)[0] == 0
    assert len({stages.positions(tmp_path / name) for name in ("g", "g.h5", "g.hdf5")}) == 3
    assert run("convert", "g", "g.hdf5", "--info", folder=tmp_path)[0] == 0


LIMITED = {
    "msd": ["msd", "{a}", "-o", "r.h5", "--per-particle", "--every-lag"],
    "msd json": ["msd", "{a}", "-o", "r.json", "--per-particle", "--every-lag"],
    "export": ["convert", "{a}", "--export", "npz", "-o", "r.npz"],
    "convert": ["convert", str(stages.SIESTA), "-o", "r.h5"],
    "report": ["report", "--md", "{a}", "--generated", "{b}", "-o", "r"],
    "generate": ["generate", "{model}", "-o", "r.h5", "--particles", "600", "--records", "9999"],
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_full_disk_ends_in_one_line(name, all_stages, tmp_path):
    """A limit on the size of files fails writes as a full disk does."""
    words = [
        w.format(a=all_stages.a, b=all_stages.b, model=all_stages.model) for w in LIMITED[name]
    ]
    status, errors = run(*words, folder=tmp_path, most_bytes=8192)
    assert status == 1, errors
    assert "cannot be written" in errors or "the disk is full" in errors, errors
    assert "Traceback" not in errors
    assert not stages.litter(tmp_path)


PLACES = {
    "the root": "/",
    "a name too long": "x" * 300 + ".json",
    "a device": "/dev/null",
    "below a file": "{file}/r.json",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stage", ["msd", "export", "generate", "convert"])
def test_impossible_places_are_told_in_one_line(place, stage, all_stages, tmp_path):
    if (stage, place) == ("convert", "the root"):
        pytest.skip("a folder is what conversions are written to")
    output = PLACES[place].format(file=all_stages.a)
    words = {
        "msd": ["msd", all_stages.a],
        "export": ["convert", all_stages.a, "--export", "npz"],
        "generate": ["generate", all_stages.model],
        "convert": ["convert", stages.SIESTA],
    }[stage]
    status, errors = run(*words, "-o", output, "--force", folder=tmp_path)
    assert status in (1, 2), errors
    assert errors.count("\n") == 1, errors
    assert Path("/dev/null").is_char_device()


def test_a_current_folder_that_is_gone_is_told(all_stages, tmp_path):
    """Once an unexpected error, and a crash where PyTorch was loaded."""
    for stage in ("msd", "train", "generate", "convert", "report", "sites"):
        name, *words = all_stages.lines[stage]
        gone = tmp_path / "gone"
        gone.mkdir()
        moved = f"import os, sys; os.rmdir('{gone}'); from mdgan_hpc.cli.{name} import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", moved, *words],
            cwd=gone,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(stages.ROOT)},
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr == (
            "Error: the current folder is gone; change into one that exists\n"
        ), done.stderr


@pytest.mark.parametrize("kind", ["fifo", "link", "file"])
def test_figures_that_cannot_be_drawn_are_refused_before_the_work(all_stages, tmp_path, kind):
    figures = tmp_path / "figures"
    {"fifo": os.mkfifo, "link": lambda p: p.symlink_to("nowhere"), "file": Path.touch}[kind](
        figures
    )
    line = ("sites", all_stages.gas, "-o", "s.json", "--figures", "figures")
    status, errors = run(*line, folder=tmp_path)
    assert status == 1, errors
    assert errors == f"Error: {figures}: is no folder; check the path\n"
    assert list(tmp_path.iterdir()) == [figures]


@pytest.mark.parametrize("stage", ["msd", "convert", "sites", "generate", "train"])
def test_a_lock_of_the_dead_beside_a_finished_file_goes(all_stages, tmp_path, stage):
    """A writer was killed after its file stood, and before it let go of it."""
    line = [word for word in all_stages.lines[stage] if word not in ("--force", "--figures")]
    line = [word for word in line if word != "figures"]
    assert run(*line, folder=tmp_path)[0] == 0
    output = tmp_path / line[line.index("--out" if stage == "train" else "-o") + 1]
    lock = output / ".training.lock" if stage == "train" else tmp_path / f".{output.name}.lock"
    lock.write_text("process 1 on nowhere, 00\n")
    status, errors = run(*line, folder=tmp_path)
    assert status == 0 or "exists already" in errors, errors
    assert not stages.litter(tmp_path)


def test_a_home_that_cannot_be_written_is_no_matter(all_stages, tmp_path):
    """Matplotlib told at length of another place for its cache."""
    (tmp_path / "file").touch()
    home = str(tmp_path / "file/home")
    places = dict.fromkeys(("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), home)
    name, *words = all_stages.lines["sites"]
    done = subprocess.run(
        [sys.executable, "-m", f"mdgan_hpc.cli.{name}", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **places, "PYTHONPATH": str(stages.ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "atplotlib" not in done.stderr
    assert "file/home" not in done.stderr


def test_a_long_name_is_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".json")
    with written_whole(path) as partial:
        partial.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
