"""The stages as a user starts them, on small data, to be disturbed at any moment."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from mdgan_hpc.models.file import Model, load_model, save_model
from mdgan_hpc.outputs import is_temporary
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.runs import underdamped
from tests.support.transition import cubic, make

ROOT = Path(__file__).resolve().parents[3]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
SIESTA = ROOT / "tests/data/short/nve_lih8"
TRAIN = (
    *("phase.steps=12", "train.batch=4", "train.log_every=1", "train.checkpoint_every=2"),
    *("train.evaluate_every=0", "data.step_skip=1", "data.records=32", "generator.hidden=24"),
    "phase.likelihood.warm_up=12",
)
#: Disturbances of a kind in the long suite.
COUNT = int(os.environ.get("MDGAN_CHAOS", "50"))
GENERATE = ("--particles", 150, "--records", 600, "--block-particles", 64, "--seed", 1)
GENERATE = (*GENERATE, "--block-records", 100, "--save-interval", 0.05)
FATAL = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR2)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def line(stage: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"mdgan_hpc.cli.{stage}", *map(str, arguments)]


def start(command: list[str], folder: Path, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]", timeout: float = 300) -> tuple[int, str]:
    """Wait; returns status and messages. Nothing of its session is left running."""
    try:
        _, errors = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors


def run(command: list[str], folder: Path, **more: str) -> tuple[int, str]:
    return finish(start(command, folder, **more))


def ranks(folders: list[Path], command: list[str]) -> list[str]:
    """The command on one rank in each of these folders."""
    whole: list[str] = [str(MPIEXEC)]
    for number, folder in enumerate(folders):
        whole += [":"] * bool(number) + ["-n", "1", "-wdir", str(folder), *command]
    return whole


def trajectory(path: Path, seed: int, frames: int = 600) -> Path:
    with TrajectoryWriter(path, species=np.full(4, 3), cell=5 * np.eye(3)) as writer:
        steps = np.arange(frames)
        writer.append(underdamped(frames, 4, seed), steps, 0.001 * steps)
    return path


def model(path: Path) -> Path:
    save_model(path, Model(make(cubic(5.0), 2), 0.008, species=3, training_span_ps=1.0))
    return path


def litter(folder: Path) -> list[str]:
    """Claims and temporary files that are left."""
    return [str(p) for p in folder.rglob(".*") if is_temporary(p.name)]


def positions(path: Path) -> bytes:
    with h5py.File(path) as file:
        return np.ascontiguousarray(file["particles/trajectory/position/value"][:]).tobytes()


def curves(path: Path) -> bytes:
    return np.asarray(load_results(path)["curves"]["msd"]).tobytes()


def weights(folder: Path) -> bytes:
    state = load_model(folder).generator.state_dict()
    return b"".join(torch.as_tensor(state[name]).numpy().tobytes() for name in sorted(state))


def report_numbers(folder: Path) -> bytes:
    pages = [p.read_bytes()[:4] + p.read_bytes()[-6:] for p in sorted(folder.glob("*.pdf"))]
    assert pages
    assert all(p.startswith(b"%PDF") and b"EOF" in p for p in pages)
    return np.asarray(
        load_results(folder / "analysis.h5")["md"]["dynamics"]["curves"]["msd"]
    ).tobytes()


class Stages:
    """Every stage with its undisturbed output, to be compared with disturbed ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.a, self.b = trajectory(folder / "a.h5", 1), trajectory(folder / "b.h5", 2)
        self.model = model(folder / "model.pt")
        sets = [word for item in TRAIN for word in ("--set", item)]
        data = ["--data", self.a, "--data", self.b]
        self.commands = {
            "convert": line("convert", SIESTA, "-o", "out.h5", "--select", "Li"),
            "msd": line("msd", self.a, self.b, "-o", "out.json"),
            "generate": line("generate", self.model, "-o", "out.h5", *GENERATE, "--workers", 2),
            "train": line("train", *data, "--out", "out", *sets),
            "report": line("report", "--md", self.a, "--generated", self.b, "-o", "out"),
        }
        self._read = {
            "convert": lambda f: positions(f / "out.h5"),
            "generate": lambda f: positions(f / "out.h5"),
            "msd": lambda f: curves(f / "out.json"),
            "train": lambda f: weights(f / "out"),
            "report": lambda f: report_numbers(f / "out"),
        }
        self._whole: dict[str, tuple[bytes, float]] = {}

    def result(self, stage: str, folder: Path) -> bytes:
        return self._read[stage](folder)

    def whole(self, stage: str) -> tuple[bytes, float]:
        """The output of an undisturbed run, and the seconds it took."""
        if stage not in self._whole:
            folder = self.folder / f"whole-{stage}"
            folder.mkdir()
            begin = time.monotonic()
            status, errors = run(self.commands[stage], folder)
            assert status == 0, errors
            assert not litter(folder)
            self._whole[stage] = self.result(stage, folder), time.monotonic() - begin
        return self._whole[stage]

    def disturb(self, stage: str, folder: Path, dice: random.Random, kills: int) -> int:
        """Kill a stage again and again, then let it finish and compare; returns the kills."""
        expected, seconds = self.whole(stage)
        folder.mkdir()
        done = 0
        for _ in range(kills):
            process = start(self.commands[stage], folder)
            time.sleep(dice.uniform(0.2, 1.0) * seconds)
            if process.poll() is None:
                sign = dice.choice(FATAL)
                process.send_signal(sign)
                done += 1
            process.wait(300)
            left = children_of(folder)
            _, errors = finish(process)
            assert not left, f"processes {left} outlived a killed {stage}"
            assert "Traceback" not in errors or "KeyboardInterrupt" in errors, errors
        status, errors = run(self.commands[stage], folder)
        assert status == 0 or "exists already" in errors, errors
        assert self.result(stage, folder) == expected
        assert not litter(folder), litter(folder)
        return done


def children_of(folder: Path) -> list[int]:
    """Processes that work in a folder, a second after their parent ended."""
    deadline = time.monotonic() + 1.0
    while True:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink() == folder.resolve():
                    found.append(int(entry.name))
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
