"""The stages as a user starts them, on small data, to be disturbed at any moment."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from mdgan_hpc.models.file import Model, load_model, save_model
from mdgan_hpc.outputs import is_temporary
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.chaos.commands import Forked
from tests.support.commands import run as run_here
from tests.support.lattices import lattice_gas, write_cubic
from tests.support.runs import underdamped
from tests.support.transition import cubic, make

ROOT = Path(__file__).resolve().parents[3]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
SIESTA = ROOT / "tests/data/short/nve_lih8"
TRAIN = (
    *("phase.steps=12", "train.batch=4", "train.log_every=1", "train.checkpoint_every=2"),
    *("train.evaluate_every=0", "data.step_skip=1", "data.records=32", "generator.hidden=24"),
    *("phase.likelihood.warm_up=12", "generator.head=8", "generator.components=4"),
    # The calibration of a free run would take most of the time.
    *("generator.start_states=16", "generator.calibration_ions=8"),
    *("generator.calibration_burn_in=8", "generator.calibration_records=16"),
)
#: Disturbances of a kind in the long suite.
COUNT = int(os.environ.get("MDGAN_CHAOS", "50"))
#: Of the dice: another one disturbs at other moments.
SEED = os.environ.get("MDGAN_CHAOS_SEED", "1")
GENERATE = ("--particles", 150, "--records", 600, "--block-particles", 64, "--seed", 1)
GENERATE = (*GENERATE, "--block-records", 100, "--save-interval", 0.05)
FATAL = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR2)


Process = Forked | subprocess.Popen[str]


def start(stage: str, *arguments: object, folder: Path, **options: Any) -> Forked:
    """Start ``mdgan-stage`` in a folder, with options of `Forked`."""
    return Forked(stage, arguments, folder, silent=True, **options)


def start_ranks(folders: list[Path], lines: list[list[str]]) -> "subprocess.Popen[str]":
    """Start one rank in each of these folders, each with its own command line."""
    whole: list[str] = [str(MPIEXEC)]
    for number, (folder, (stage, *words)) in enumerate(zip(folders, lines, strict=True)):
        python = [sys.executable, "-m", f"mdgan_hpc.cli.{stage}"]
        whole += [":"] * bool(number) + ["-n", "1", "-wdir", str(folder), *python, *words]
    return subprocess.Popen(
        whole,
        cwd=folders[0],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: Process, timeout: float = 300) -> tuple[int, str]:
    """Wait; returns status and messages. Nothing of its session is left running."""
    if isinstance(process, Forked):
        outcome = process.finish(timeout)
        assert not outcome.hung, outcome.told
        return outcome.status, outcome.told
    try:
        _, errors = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors


def run(stage: str, *arguments: object, folder: Path, **options: Any) -> tuple[int, str]:
    """Run ``mdgan-stage`` in a folder; returns status and messages."""
    return finish(start(stage, *arguments, folder=folder, **options))


def trajectory(path: Path, seed: int, frames: int = 600) -> Path:
    with TrajectoryWriter(path, species=np.full(4, 3), cell=5 * np.eye(3)) as writer:
        steps = np.arange(frames)
        writer.append(underdamped(frames, 4, seed), steps, 0.01 * steps)
    return path


def model(path: Path) -> Path:
    save_model(path, Model(make(cubic(5.0), 2), 0.008, species=3, training_span_ps=1.0))
    return path


def crystal(path: Path, seed: int) -> Path:
    """Ions that jump on a cubic lattice."""
    rng = np.random.default_rng(seed)
    sites = 4.0 * lattice_gas(3, 8, 1, 600, 2, rng)[:, 0]
    positions = sites + rng.normal(0, 0.1, sites.shape)
    return write_cubic(path, positions, 3, 4.0, interval=0.05)


def litter(folder: Path) -> list[str]:
    """Claims and temporary files that are left."""
    return [str(p) for p in folder.rglob(".*") if is_temporary(p.name)]


def positions(path: Path) -> bytes:
    with h5py.File(path) as file:
        return np.ascontiguousarray(file["particles/trajectory/position/value"][:]).tobytes()


def curves(path: Path) -> bytes:
    return np.asarray(load_results(path)["curves"]["msd"]).tobytes()


def jumps(folder: Path) -> bytes:
    """The rates of jumps, and that no figure is torn."""
    whole_figures(folder / "figures")
    return np.asarray(load_results(folder / "out.json")["kinds"]["rate_per_ps"]).tobytes()


def weights(folder: Path) -> bytes:
    """Those of a model, and of its replicas."""
    model = load_model(folder)
    states = [g.state_dict() for g in (model.generator, *model.replicas)]
    return b"".join(
        torch.as_tensor(s[name]).numpy().tobytes() for s in states for name in sorted(s)
    )


def whole_figures(folder: Path) -> int:
    """The number of figures of a report, none of which may be torn."""
    figures = sorted([*folder.glob("*.pdf"), *folder.glob("*.png")])
    for figure in figures:
        content = figure.read_bytes()
        begin, end = (b"%PDF", b"EOF") if figure.suffix == ".pdf" else (b"\x89PNG", b"IEND")
        assert content.startswith(begin), figure
        assert end in content[-12:], figure
    return len(figures)


def report_numbers(folder: Path) -> bytes:
    assert whole_figures(folder)
    tree = load_results(folder / "analysis.h5")
    return b"".join(np.asarray(tree[n]["curves"]["msd"]).tobytes() for n in ("md", "generated"))


class Stages:
    """Every stage with its undisturbed output, to be compared with disturbed ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.a, self.b = trajectory(folder / "a.h5", 1), trajectory(folder / "b.h5", 2)
        self.model, self.gas = model(folder / "model.pt"), crystal(folder / "gas.h5", 1)
        sets = [word for item in TRAIN for word in ("--set", item)]
        train = ["train", "--data", self.a, "--data", self.b, "--out", "out", *sets]
        report = ["report", "--md", self.a, "--generated", self.b, "-o", "out"]
        generate = ["generate", self.model, "-o", "out.h5", *GENERATE, "--workers"]
        lines = {
            "convert": ["convert", SIESTA, "-o", "out.h5", "--select", "Li"],
            "msd": ["msd", self.a, self.b, "-o", "out.json"],
            "generate": [*generate, 1],
            "workers": [*generate, 2],
            "train": train,
            "ensemble": [*train, "--replicas", 2],
            "report": report,
            "sites": ["sites", self.gas, "-o", "out.json", "--figures", "figures", "--force"],
        }
        self.lines = {stage: [str(word) for word in line] for stage, line in lines.items()}
        self._read = {
            "convert": lambda f: positions(f / "out.h5"),
            "generate": lambda f: positions(f / "out.h5"),
            "workers": lambda f: positions(f / "out.h5"),
            "msd": lambda f: curves(f / "out.json"),
            "train": lambda f: weights(f / "out"),
            "ensemble": lambda f: weights(f / "out"),
            "report": lambda f: report_numbers(f / "out"),
            "sites": jumps,
        }
        self._whole: dict[tuple[str, int], tuple[bytes, float]] = {}

    def result(self, stage: str, folder: Path) -> bytes:
        return self._read[stage](folder)

    def start(self, stage: str, folder: Path, size: int = 1) -> Process:
        """Start a stage on so many ranks."""
        line = self.lines[stage]
        return (
            start(*line, folder=folder)
            if size == 1
            else start_ranks([folder] * size, [line] * size)
        )

    def whole(self, stage: str, size: int) -> tuple[bytes, float]:
        """The output of an undisturbed run, and the seconds it took."""
        if (stage, size) not in self._whole:
            if size == 1:  # once in this process, so that its forks have all loaded
                folder = self.folder / f"here-{stage}"
                folder.mkdir()
                name, *words = self.lines[stage]
                done = run_here(f"mdgan_hpc.cli.{name}", *words, folder=folder)
                assert done.returncode == 0, done.stderr
            folder = self.folder / f"whole-{stage}-{size}"
            folder.mkdir()
            begin = time.monotonic()
            status, errors = finish(self.start(stage, folder, size))
            assert status == 0, errors
            assert not litter(folder)
            self._whole[stage, size] = self.result(stage, folder), time.monotonic() - begin
        return self._whole[stage, size]

    def disturb(
        self, stage: str, folder: Path, dice: random.Random, kills: int, size: int = 1
    ) -> int:
        """Kill a stage again and again, then let it finish and compare; returns the kills.

        Of several ranks the launcher or one of them is killed.
        """
        expected, seconds = self.whole(stage, size)
        folder.mkdir()
        done = 0
        for _ in range(kills):
            before = set(litter(folder))  # of one killed by SIGKILL; this one may not get to it
            process = self.start(stage, folder, size)
            time.sleep(dice.uniform(0.2, 1.0) * seconds)
            sign = dice.choice(FATAL) if process.poll() is None else None
            if sign is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(_victim(process.pid, folder, dice), sign)
                done += 1
            deadline = time.monotonic() + max(300, 5 * seconds)  # of a machine that others use
            while process.poll() is None:
                assert time.monotonic() < deadline, f"{stage} hangs after {sign}, {seconds:.0f} s"
                time.sleep(0.005)
            left = children_of(folder)
            _, errors = finish(process)
            assert not left, f"processes {left} outlived a killed {stage}"
            assert "Traceback" not in errors or "KeyboardInterrupt" in errors, errors
            if size == 1 and sign != signal.SIGKILL:
                assert before.issuperset(litter(folder)), (sign, before, litter(folder))
            if process.poll() == 0:
                break
        status, errors = finish(self.start(stage, folder, size))
        assert status == 0 or "exists already" in errors, errors
        assert self.result(stage, folder) == expected
        assert not litter(folder), litter(folder)
        return done


def _victim(launcher: int, folder: Path, dice: random.Random) -> int:
    """The process that was started, or a rank that it launched in the folder."""
    exe, found = Path(sys.executable).resolve(), []
    for process in working_in(folder):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process}/exe").readlink() == exe:
                found.append(process)
    return dice.choice([launcher, *found]) if launcher not in found else launcher


def working_in(folder: Path) -> list[int]:
    """Processes whose working directory is a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder.resolve():
                found.append(int(entry.name))
    return found


def workers_in(folder: Path) -> list[int]:
    """Those of them that multiprocessing has started; what counts shared memory is none."""
    found = []
    for number in working_in(folder):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
    return found


def children_of(folder: Path) -> list[int]:
    """Processes that work in a folder, a second after their parent ended."""
    deadline = time.monotonic() + 1.0
    while (found := working_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
