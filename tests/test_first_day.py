"""A newcomer's list: what is typed on a first day, by the real commands."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.errors import DataError
from mdgan_hpc.models.file import model_files
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.complete import complete_extent
from tests.support.commands import run as in_process
from tests.support.motion import write
from tests.support.runs import underdamped

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
MPIEXEC = BIN / "mpiexec"
needs_mpi = pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside this Python")
#: A training of seconds, without comparisons.
SHORT = """
[data]
step_skip = 1
records = 16
[generator]
hidden = 8
head = 4
components = 4
start_states = 16
history_records = 16
calibration_ions = 8
calibration_burn_in = 10
calibration_records = 20
[[phase]]
steps = 8
[phase.likelihood]
warm_up = 4
[train]
batch = 4
evaluate_every = 0
log_every = 1
"""
CELL = 8.0 * np.eye(3)


def words(name: str, *arguments: object, ranks: int = 1) -> list[str]:
    launch = [MPIEXEC, "-n", ranks] if ranks > 1 else []
    return [str(word) for word in (*launch, BIN / name, *arguments)]


def run(
    name: str,
    *arguments: object,
    cwd: Path,
    ranks: int = 1,
    status: int = 0,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as it is typed, to its end; one rank in this process, which knows PyTorch."""
    if name == "mdgan-generate":  # models here are trained for seconds
        arguments = (*arguments, "--accept-poor-model")
    line = [str(word) for word in arguments]
    if ranks == 1 and env is None:
        done = in_process(f"mdgan_hpc.cli.{name.removeprefix('mdgan-')}", *line, folder=cwd)
    else:
        done = subprocess.run(
            words(name, *arguments, ranks=ranks),
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    told = f"{name} {' '.join(line)}\n{done.stdout}{done.stderr}"
    assert done.returncode == status, told
    assert "Traceback" not in done.stderr, told
    return done


def started(name: str, *arguments: object, cwd: Path, ranks: int = 1) -> subprocess.Popen[str]:
    """Start a command as a terminal does: a process group of its own."""
    return subprocess.Popen(
        words(name, *arguments, ranks=ranks),
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupted(process: subprocess.Popen[str], begun: Path) -> str:
    """Press Ctrl-C once a file has content; return what was printed."""
    deadline = time.monotonic() + 120
    while not (begun.exists() and begun.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    try:
        return process.communicate(timeout=120)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of MD, a configuration of seconds and its model."""
    folder = tmp_path_factory.mktemp("desk")
    for number in (1, 2):
        motion = underdamped(400, 4, number)
        write(folder / f"run{number}.h5", motion, interval=0.02, cell=CELL)
    (folder / "short.toml").write_text(SHORT)
    run(
        "mdgan-train",
        *("short.toml", "--data", "run1.h5", "--data", "run2.h5", "--out", "model"),
        cwd=folder,
    )
    return folder


# Ctrl-C ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=needs_mpi)])
def test_ctrl_c_saves_a_training_and_the_same_command_goes_on(desk: Path, ranks: int) -> None:
    out = f"stopped-{ranks}"
    line = ("short.toml", "--data", "run1.h5", "--out", out, "--set", "phase.steps=100000")
    process = started("mdgan-train", *line, cwd=desk, ranks=ranks)
    told = interrupted(process, desk / out / "metrics.jsonl")
    assert process.returncode == 75 or ranks > 1, told
    assert "stopped on request (SIGINT) at step" in told
    assert "Traceback" not in told
    assert list((desk / out / "checkpoints").iterdir())
    process = started("mdgan-train", *line, cwd=desk)
    lines = (desk / out / "metrics.jsonl").stat().st_size
    deadline = time.monotonic() + 120
    while (desk / out / "metrics.jsonl").stat().st_size <= lines:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    told = process.communicate(timeout=120)[0]
    assert "going on from step" in told


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=needs_mpi)])
def test_ctrl_c_saves_an_ensemble_and_the_same_command_goes_on(desk: Path, ranks: int) -> None:
    out = desk / f"ensemble-{ranks}"
    files = ("--data", "run1.h5", "--data", "run2.h5")
    line = ("short.toml", *files, "--out", out, "--replicas", 2, "--set", "phase.steps=200")
    process = started("mdgan-train", *line, cwd=desk, ranks=ranks)
    told = interrupted(process, out / "metrics.jsonl")
    assert process.returncode == 75 or ranks > 1, told
    assert "run the same command again to go on" in told
    assert "Traceback" not in told
    assert not (out / "replicas/2/model.pt").exists()
    assert list((out / "checkpoints").iterdir())
    process = started("mdgan-train", *line, cwd=desk, ranks=ranks)
    told = process.communicate(timeout=240)[0]
    assert process.returncode == 0, told
    logs = "".join(path.read_text() for path in sorted(out.glob("replicas/*.log")))
    assert "going on from step" in told + logs
    assert [path.exists() for path in model_files(out)] == [True] * 3


def test_a_second_ctrl_c_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdgan_hpc.stopping._SAME_KEY_S", 1.5)
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell runs the tests behind itself
    with StopRequest() as stop:
        assert not stop
        for _ in range(2):  # as a terminal and a launcher send it
            os.kill(os.getpid(), signal.SIGINT)
        assert stop
        assert stop.reason == "SIGINT"
        time.sleep(1.7)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


# Generation --------------------------------------------------------------------------------------


def test_a_finished_output_is_found_finished_without_its_numbers(desk: Path) -> None:
    options = ("--particles", 8, "--records", 60, "--seed", 7, "--every", 2, "--velocities")
    run("mdgan-generate", "model", "-o", "done.h5", *options, cwd=desk)
    before = (desk / "done.h5").read_bytes()
    again = run("mdgan-generate", "model", "-o", "done.h5", cwd=desk)
    assert "all 30 records of 8 particles are there; nothing to do" in again.stderr
    assert (desk / "done.h5").read_bytes() == before
    refused = run("mdgan-generate", "model", "-o", "done.h5", "--seed", 8, cwd=desk, status=2)
    assert "seed 7, not 8" in refused.stderr


def test_generation_without_moving_averages_goes_on_and_extends(desk: Path) -> None:
    """Runs this short carry no moving averages: that part of the rollout state is empty."""
    numbers = ("--particles", 8, "--block-records", 16)
    run("mdgan-generate", "model", "-o", "short.h5", *numbers, "--records", 40, cwd=desk)
    run("mdgan-generate", "model", "-o", "short.h5", "--records", 90, cwd=desk)
    run("mdgan-generate", "model", "-o", "whole.h5", *numbers, "--records", 90, cwd=desk)
    with Trajectory(desk / "short.h5") as a, Trajectory(desk / "whole.h5") as b:
        np.testing.assert_array_equal(a.positions(), b.positions())


def test_complete_records_of_an_incomplete_file_are_analysed(desk: Path) -> None:
    numbers = ("--particles", 24, "--block-particles", 8, "--records", 1_000_000)
    often = ("--workers", 1, "--block-records", 64, "--save-interval", 0.1)
    line = ("model", "-o", "growing.h5", *numbers, *often, "--force")
    process = started("mdgan-generate", *line, cwd=desk)
    deadline = time.monotonic() + 120
    while not _far(desk / "growing.h5"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert "stopped (SIGINT); everything so far is saved" in process.communicate(timeout=120)[0]
    assert process.returncode == 75
    rows, particles = complete_extent(desk / "growing.h5")
    assert rows >= 200
    told = run("mdgan-msd", "growing.h5", "-o", "whole.json", cwd=desk, status=1)
    assert "is incomplete: " in told.stderr
    assert "--incomplete" in told.stderr
    # A report and a search for sites are of finished files; they say what to use instead.
    for line in (
        ("mdgan-report", "--md", "run1.h5", "--generated", "growing.h5", "-o", "report"),
        ("mdgan-sites", "growing.h5", "-o", "sites.json"),
    ):
        told = run(*line, cwd=desk, status=1)
        assert told.stderr.count("\n") == 1, told.stderr
        assert "use mdgan-msd --incomplete" in told.stderr
    assert not (desk / "report").exists()
    told = run("mdgan-msd", "growing.h5", "-o", "part.json", "--incomplete", cwd=desk)
    assert f"{rows} complete records of {len(particles)} particles" in told.stderr
    with Trajectory(desk / "growing.h5", incomplete_ok=True) as growing:
        reference = growing.positions(slice(0, rows))[:, particles]
    write(desk / "reference.h5", reference, interval=0.02, cell=CELL)
    run("mdgan-msd", "reference.h5", "-o", "reference.json", cwd=desk)
    part, whole_part = (
        json.loads((desk / name).read_text())["curves"]["msd"]
        for name in ("part.json", "reference.json")
    )
    np.testing.assert_allclose(part, whole_part, rtol=1e-12)


def _far(path: Path) -> bool:
    """Whether a file that grows has some records of all particles."""
    try:
        with Trajectory(path, incomplete_ok=True) as growing:
            return int(growing.completed_records.min()) >= 200
    except (DataError, OSError):
        return False


# Replicas ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(desk: Path) -> Path:
    """Runs that are no replicas of run1.h5, each in its own way."""
    motion = underdamped(400, 5, 9)
    write(desk / "five.h5", motion, interval=0.02, cell=CELL)
    write(desk / "slow.h5", motion[:, :4], interval=0.04, cell=CELL)
    write(desk / "large.h5", motion[:, :4], interval=0.02, cell=1.05 * CELL)
    write(desk / "sodium.h5", motion[:, :4], interval=0.02, cell=CELL, species=[11] * 4)
    for kelvin in (600.0, 900.0):
        target = {"temperature_target": kelvin}
        write(
            desk / f"{kelvin:.0f}K.h5",
            underdamped(400, 4, int(kelvin)),
            interval=0.02,
            cell=CELL,
            parameters=target,
        )
    (desk / "linked.h5").symlink_to("run1.h5")
    os.link(desk / "run1.h5", desk / "hard.h5")
    shutil.copy(desk / "run1.h5", desk / "copied.h5")
    write(desk / "cut.h5", underdamped(400, 4, 1)[:300], interval=0.02, cell=CELL)
    run(
        "mdgan-generate",
        *("model", "-o", "made.h5", "--particles", 8, "--records", 400),
        cwd=desk,
    )
    return desk


UNLIKE = [
    ("run1.h5", "five.h5", "five.h5: holds 5 ions, run1.h5 4: not replicas"),
    ("run1.h5", "slow.h5", "slow.h5: has 40 fs between records, run1.h5 20 fs"),
    ("run1.h5", "large.h5", "large.h5: has a cell that differs by 5.0% from that of run1.h5"),
    ("run1.h5", "sodium.h5", "sodium.h5: holds Na, run1.h5 Li"),
    ("600K.h5", "900K.h5", "900K.h5: is at 900 K, 600K.h5 at 600 K"),
    ("run1.h5", "linked.h5", "linked.h5: is the same run as run1.h5"),
    ("run1.h5", "hard.h5", "hard.h5: is the same run as run1.h5"),
    ("run1.h5", "copied.h5", "copied.h5: is the same run as run1.h5"),
    ("run1.h5", "cut.h5", "cut.h5: is the same run as run1.h5"),
    ("run1.h5", "made.h5", "made.h5: was generated by a model, run1.h5 was simulated"),
]


@pytest.mark.parametrize(
    ("command", "first", "second", "words_told"),
    [("mdgan-msd", *case) for case in UNLIKE]
    + [("mdgan-train", *UNLIKE[number]) for number in (0, 3, 8)],
)
def test_what_is_no_replica_is_refused(
    shelf: Path, tmp_path: Path, command: str, first: str, second: str, words_told: str
) -> None:
    line = [first, second, "-o", tmp_path / "msd.json"]
    if command == "mdgan-train":
        line = ["short.toml", "--data", first, "--data", second, "--out", tmp_path / "out"]
    mistake = second == "sodium.h5" or "same run" in words_told
    done = run(command, *line, cwd=shelf, status=2 if mistake else 1)
    assert done.stderr.count("\n") == 1
    assert words_told in done.stderr


def test_generated_training_data_are_told(shelf: Path, tmp_path: Path) -> None:
    line = ("short.toml", "--data", "made.h5", "--out", tmp_path / "out")
    assert "made.h5 was generated by a model" in run("mdgan-train", *line, cwd=shelf).stderr


# Short runs, and the advice ----------------------------------------------------------------------


def lines_of(text: str, begin: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(begin)]


def test_runs_too_short_are_told_how_many_frames_are_needed(desk: Path) -> None:
    write(desk / "brief.h5", underdamped(40, 4, 5), interval=0.02, cell=CELL)
    write(desk / "tiny.h5", underdamped(8, 4, 5), interval=0.02, cell=CELL)
    for data, more, told in (
        ("tiny.h5", (), "a run of 8 frames is too short to learn from; give runs of 32 frames"),
        ("brief.h5", (), "the longest run has 40 frames, 109 are needed: 109 records"),
        (
            "run1.h5",
            ("--set", "data.records=400", "--set", "data.step_skip=2"),
            "the longest run has 400 frames, 889 are needed: 445 records at data.step_skip = 2 "
            "(data.records = 400, phase.likelihood.warm_up = 32, and 13 that fill the memory)",
        ),
    ):
        out = desk / "never"
        line = ("--data", data, "--out", out, *more)
        done = run("mdgan-train", *line, cwd=desk, status=1)
        assert told in done.stderr
        assert not out.exists()


def test_advice_and_training_agree(desk: Path) -> None:
    data = ("--data", "run1.h5", "--data", "run2.h5")
    advice = run("mdgan-train", "default", *data, "--advise", cwd=desk).stdout
    (suggested,) = lines_of(advice, "suggested  ")
    assert 'the suggestion, where it says "auto"' in advice
    shown = run("mdgan-train", "default", *data, "--show-config", cwd=desk).stdout
    numbers = {
        name: int(lines_of(shown, f"{name} = ")[0].split(" # ")[0].split(" = ")[1])
        for name in ("step_skip", "records", "steps")
    }
    assert f"data.step_skip = {numbers['step_skip']} (" in suggested
    assert f"data.records = {numbers['records']} (" in suggested
    assert f"phase.steps = {numbers.pop('steps')}" in advice
    assert 'step_skip = "auto"' in run("mdgan-train", "--show-config", cwd=desk).stdout
    automatic = ("--set", "data.step_skip=auto", "--set", "data.records=auto")
    for _ in range(2):
        told = run("mdgan-train", "short.toml", *data, *automatic, "--out", "auto", cwd=desk)
        assert f"data.step_skip = {numbers['step_skip']} (" in told.stderr
    assert "finished already" in told.stderr
    stored = json.loads((desk / "auto/config.json").read_text())["config"]["data"]
    assert {name: stored[name] for name in numbers} == numbers


# The report --------------------------------------------------------------------------------------


def test_report_tells_hops_as_the_advice_and_temperatures_and_times(
    desk: Path, shelf: Path
) -> None:
    for number in (3, 4):
        write(
            desk / f"hot{number}.h5",
            underdamped(400, 4, number),
            interval=0.01,
            cell=CELL,
            parameters={"temperature_target": 600.0, "wall_time_s": 86400.0},
        )
    data = [word for n in (3, 4) for word in ("--data", f"hot{n}.h5")]
    line = ("short.toml", *data, "--set", "data.step_skip=2", "--out", "hot")
    run("mdgan-train", *line, cwd=desk)
    told = run(
        "mdgan-generate", "hot", "-o", "ions.h5", "--particles", 8, "--records", 300, cwd=desk
    )
    advice = run("mdgan-train", *data, "--advise", cwd=desk).stdout
    hops = lines_of(advice, "effective hops")[0].split()[5]
    md = [word for n in (3, 4) for word in ("--md", f"hot{n}.h5")]
    whole = ("--generated", "ions.h5", "--no-critic", "-o")
    first = run("mdgan-report", *md, *whole, "report", cwd=desk)
    assert f"about {hops} effective hops" in first.stdout
    rows = {
        row[0]: row[1:]
        for row in json.loads((desk / "report/report.json").read_text())["conditions"]
    }
    assert rows["Temperature (K)"] == ["600", "600"]
    assert rows["Time of the MD"] == ["2 days", "-"]
    assert rows["Time of the training"][1].endswith(("s", "min"))
    assert rows["Time of the generation"][1].endswith(("s", "min"))
    assert rows["MD runs that were trained on"][0] == "2 of 2"
    for text in (told.stderr, first.stderr):
        assert "RuntimeWarning" not in text
        assert "divide" not in text
    refused = run(
        "mdgan-report",
        *("--md", "900K.h5", "--generated", "ions.h5", "-o", "other"),
        cwd=desk,
        status=1,
    )
    assert "ions.h5: is at 600 K, 900K.h5 at 900 K" in refused.stderr
    told = run("mdgan-report", "--md", "600K.h5", *whole, "new", cwd=desk)
    assert "None of the MD files is one that the model of ions.h5 was trained on" in told.stderr


def test_conductivity_takes_the_temperature_of_the_thermostat(desk: Path, shelf: Path) -> None:
    told = run(
        "mdgan-msd",
        "600K.h5",
        "-o",
        "sigma.json",
        "--nernst-einstein",
        1,
        "--fit",
        "0.1:0.3",
        cwd=desk,
    )
    assert "at 600 K" in told.stdout


def test_the_time_that_siesta_took_is_read(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests/data/short/nve_lih8", tmp_path / "run")
    with gzip.open(tmp_path / "run/lih.out.gz", "rt") as stream:
        text = stream.read()
    (tmp_path / "run/lih.out.gz").unlink()
    dates = re.findall(r">> (?:Start|End) of run:.*?(\d+):(\d+):(\d+)", text)
    start, end = (3600 * int(h) + 60 * int(m) + int(s) for h, m, s in dates)
    (tmp_path / "run/lih.out").write_text(text)
    run("mdgan-convert", "run", "-o", "run.h5", cwd=tmp_path)
    with Trajectory(tmp_path / "run.h5") as trajectory:
        assert trajectory.parameter("wall_time_s") == end - start > 0


# Small things ------------------------------------------------------------------------------------


@needs_mpi
def test_a_mistake_is_told_once_by_four_ranks(desk: Path) -> None:
    done = run("mdgan-msd", "run1.h5", "--outptu", "x.json", cwd=desk, ranks=4, status=2)
    assert done.stderr.count("No such option") == 1
    done = run("mdgan-msd", "--version", cwd=desk, ranks=4)
    assert done.stdout.count("version") == 1


@needs_mpi
def test_progress_ends_at_the_whole_on_several_ranks(desk: Path) -> None:
    done = run("mdgan-msd", "run1.h5", "run2.h5", "-o", "two.json", cwd=desk, ranks=3)
    assert lines_of(done.stderr, "analysis of")[-1].split("(")[1].startswith("100 %")
    line = ("model", "-o", "two.h5", "--particles", 24, "--block-particles", 8, "--records", 50)
    done = run("mdgan-generate", *line, cwd=desk, ranks=2)
    assert lines_of(done.stderr, "Generating")[-1].split("(")[1].startswith("100 %")
    assert not (desk / ".two.h5.lock").exists()


def test_comparisons_are_told_as_a_training_runs(desk: Path) -> None:
    line = ("short.toml", "--data", "run1.h5", "--out", "told", "--set", "train.evaluate_every=4")
    told = run("mdgan-train", *line, cwd=desk).stderr
    assert len(lines_of(told, "free runs against MD")) == 2
    assert told.index("free runs against MD") < told.index("8/8 steps")


def test_gpus_that_pytorch_does_not_see_are_told(desk: Path) -> None:
    numbers = ("--particles", 8, "--records", 20)
    given = {"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"}
    for out, env, told in (("gpu.h5", given, 1), ("cpu.h5", {"CUDA_VISIBLE_DEVICES": ""}, 0)):
        done = run("mdgan-generate", "model", "-o", out, *numbers, cwd=desk, env=env)
        assert (
            len(lines_of(done.stderr, "Warning: This job was given GPUs (SLURM_JOB_GPUS=0)"))
            == told
        )


def test_run_folders_of_one_name_share_no_output(tmp_path: Path) -> None:
    for folder, run_folder in (("a", "nve_lih8"), ("b", "nose_li2o12")):
        shutil.copytree(ROOT / "tests/data/short" / run_folder, tmp_path / folder / "run")
    line = ("-o", "md/", "--skip-finished")
    told = run("mdgan-convert", "a/run", "b/run", *line, cwd=tmp_path, status=2)
    assert "would both become md/run.h5" in told.stderr
    run("mdgan-convert", "a/run", *line, cwd=tmp_path)
    told = run("mdgan-convert", "a/run", *line, cwd=tmp_path)
    assert "md/run.h5: finished already, nothing to do" in told.stdout
    told = run("mdgan-convert", "b/run", *line, cwd=tmp_path, status=2)
    assert "md/run.h5: exists already and was made from a/run" in told.stderr


def test_configurations_are_found_by_name_from_a_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mdgan_hpc", source / "mdgan_hpc", ignore=ignored)
    for entry in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / entry, source / entry)
    install = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation")
    site = tmp_path / "site"
    subprocess.run(
        [*install, "--target", site, source], check=True, capture_output=True, cwd=tmp_path
    )
    program = "from mdgan_hpc.cli.train import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "lizr2po43", "--show-config"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "steps = 25000" in done.stdout


def test_outputs_of_the_jobs_are_ignored_by_git() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "work/md/run1.h5"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
