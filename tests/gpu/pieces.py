"""The pieces: each proves something and measures it, in rows for one table."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgan_hpc.analysis.dynamics import dynamics
from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.models.file import Model, load_model
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.trainer import Trainer
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.gpu import measure, worlds
from tests.support.runs import underdamped

ROOT = Path(__file__).parents[2]
KINDS = ("transition", "adversarial", "latent")
#: How far numbers of a device may be from those of the CPU, relative: single precision, sums in
#: another order. A gradient through a free run enlarges round-off step by step.
LOSS, GRADIENT, GRADIENT_OF_RUN, SUMS = 1e-4, 1e-3, 3e-2, 1e-6
#: Displacements of one step, Angstrom; and the share of ions that may have drawn another Gaussian.
STEP, OTHERS = 1e-3, 5e-3
#: Losses of a training that was killed and went on, against one that was not; on a CPU 0.
RESUMED = 1e-2

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Where and how much is measured."""

    device: torch.device
    folder: Path
    small: bool
    prepared: Path | None

    @property
    def seconds(self) -> float:
        """That each rate is measured over."""
        return 0.1 if self.small else 15.0

    @property
    def data(self) -> Dataset:
        """What is trained on."""
        return worlds.dataset(self.prepared, small=self.small)

    def trainer(self, kind: str, device: torch.device | None = None, **more: object) -> Trainer:
        """Return a training of a kind."""
        processes = Processes(self.folder)
        processes.device = device or self.device
        config = worlds.configuration(kind, self.data, small=self.small, **more)
        return build_trainer(config, self.data, processes)


def check(what: str, error: float, most: float) -> Row:
    """Return the row of a comparison."""
    return {"what": what, "error": error, "at most": most, "good": bool(error <= most)}


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the norm of a difference over that of the first."""
    return float((one - other.to(one)).norm() / one.norm())


def numbers(setting: Setting) -> Iterator[Row]:
    """Losses and gradients of the first step, and a step of free runs, beside the CPU's."""
    cpu = torch.device("cpu")
    for kind in KINDS:
        found = {}
        for device in (cpu, setting.device):
            trainer = setting.trainer(kind, device)
            metrics, _ = trainer.advance()
            gradients = [p.grad for p in trainer.generator.parameters() if p.grad is not None]
            losses = torch.tensor([v for name, v in metrics.items() if name.endswith("loss")])
            found[device] = losses, torch.cat([g.flatten().cpu() for g in gradients])
        (losses, gradient), (ours, theirs) = found[cpu], found[setting.device]
        most = GRADIENT if kind == "transition" else GRADIENT_OF_RUN
        yield check(f"{kind}: losses", apart(losses, ours), LOSS if kind == "transition" else most)
        yield check(f"{kind}: gradient", apart(gradient, theirs), most)
    trainer = setting.trainer("transition", cpu)
    generator = trainer.ready_generator().eval().requires_grad_(False)
    uniform, noise = torch.rand(64, generator.start_size), torch.randn(1, 64, generator.noise_size)
    steps = []
    for device in (cpu, setting.device):
        here = generator.copy().to(device)
        state, _ = here.start(uniform.to(device))
        steps.append(here.advance(state, noise.to(device))[0].cpu())
    others = ((steps[0] - steps[1]).abs().amax(-1) > STEP).double().mean()
    yield check("free run: ions elsewhere after a step", float(others), OTHERS)


def training(setting: Setting) -> Iterator[Row]:
    """Speed of training steps, and how near it comes to the peak of the device."""
    top = measure.peaks(setting.device, setting.seconds / 10)
    yield {"what": "peak", **top}
    for kind in KINDS:
        if setting.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(setting.device)
        trainer = setting.trainer(kind)
        trainer.advance()
        with measure.Traffic() as counted:
            trainer.advance()
        each = measure.rate(trainer.advance, setting.device, setting.seconds)
        yield {
            "what": kind,
            "steps/s": each,
            "seconds of all steps": trainer.config.steps / each,
            "FLOP/s": counted.operations * each,
            "of peak": counted.operations * each / top["float32 FLOP/s"],
            "bytes/s": counted.bytes * each,
            "of peak bytes": counted.bytes * each / top["bytes/s"],
            "memory MB": measure.memory_mb(setting.device),
        }


def generation(setting: Setting) -> Iterator[Row]:
    """Records a second by block, precision and way, and the noise bits of one against another."""
    trainer = setting.trainer("transition")
    generator = trainer.ready_generator().eval().requires_grad_(False)
    model = Model(generator, 0.008, 3, setting.data.cell, 40.0, {})
    sizes = (64,) if setting.small else (8192, 32_768)
    records = 16 if setting.small else 128
    ways: list[dict[str, Any]] = [{"bf16": False, "tf32": False}]
    if setting.device.type == "cuda":
        ways += [{"bf16": False, "tf32": True}, {"bf16": True, "tf32": False}]
    k = generator.particles_per_sample
    for size in sizes:
        for way in ways:
            torch.backends.cuda.matmul.allow_tf32 = way["tf32"]
            rollout = Rollout(
                model,
                seed=1,
                block_particles=k * (size // k),
                segment_records=records,
                device=setting.device,
                bf16=way["bf16"],
            )
            state = rollout.start(0)
            segment = lambda r=rollout, s=state: r.advance(0, s)  # noqa: E731
            each = measure.rate(segment, setting.device, setting.seconds)
            used = "bf16" if way["bf16"] else "tf32" if way["tf32"] else "float32"
            yield {
                "what": f"blocks of {size} particles, {used}",
                "records/s": each * records * rollout.block_particles,
                "memory MB": measure.memory_mb(setting.device),
            }
    torch.backends.cuda.matmul.allow_tf32 = False


def analysis(setting: Setting) -> Iterator[Row]:
    """`mdgan-msd` on the device beside the CPU: the same numbers, and seconds of each."""
    path = setting.folder / "ions.h5"
    frames, ions = (400, 8) if setting.small else (20_000, 256)
    with TrajectoryWriter(path, species=np.full(ions, 3), cell=20 * np.eye(3)) as writer:
        steps = np.arange(frames)
        writer.append(underdamped(frames, ions, 5), steps, 0.008 * steps)
    found = {}
    for name in ("", str(setting.device)):
        begin = time.perf_counter()
        found[name] = dynamics(path, device=name)
        yield {"what": f"MSD by {name or 'NumPy'}", "seconds": time.perf_counter() - begin}
    ours, theirs = (result.curves.msd for result in found.values())
    seen = ours > 0
    yield check("MSD", float(np.abs(theirs[seen] / ours[seen] - 1).max()), SUMS)


def _child(setting: Setting, out: Path, **environment: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.gpu.child", str(out), str(setting.device)]
    return subprocess.Popen(
        [*words, str(setting.prepared or ""), str(int(setting.small))],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate(timeout=400)
    if process.returncode:
        raise RuntimeError(errors.strip().splitlines()[-1] if errors.strip() else "it said nothing")


def _weights(out: Path) -> torch.Tensor:
    weights = torch.load(out / "weights.pt", map_location="cpu").values()
    return torch.cat([w.flatten().double() for w in weights if w.is_floating_point()])


def resume(setting: Setting) -> Iterator[Row]:
    """A training that is killed and goes on is the one that was not killed."""
    whole, killed = setting.folder / "whole", setting.folder / "killed"
    begin = time.perf_counter()
    _ended(_child(setting, whole))
    yield {"what": "training in a process of its own", "seconds": time.perf_counter() - begin}
    process = _child(setting, killed)
    while process.poll() is None and not list((killed / "checkpoints").glob("*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _ended(_child(setting, killed))
    most = 0.0 if setting.device.type == "cpu" else RESUMED
    yield check("killed and gone on: weights", apart(_weights(whole), _weights(killed)), most)


def ranks(setting: Setting) -> Iterator[Row]:
    """Two processes share each batch: by gloo, and by NCCL where there are GPUs."""
    whole = setting.folder / "one"
    _ended(_child(setting, whole))
    backends = ("gloo", "nccl") if setting.device.type == "cuda" else ("gloo",)
    for backend in backends:
        out = setting.folder / backend
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        meeting |= {"MDGAN_BACKEND": backend, "MDGAN_LAUNCHER": "torchrun"}
        begin = time.perf_counter()
        both = [_child(setting, out, RANK=str(r), LOCAL_RANK=str(r), **meeting) for r in range(2)]
        try:
            for process in both:
                _ended(process)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            for process in both:
                process.kill()
                process.communicate()
            # NCCL refuses two ranks on one GPU; that is no fault of the program.
            allowed = backend == "nccl" and torch.cuda.device_count() < 2
            yield {"what": f"two ranks by {backend}", "refused": f"{error}"[:160], "good": allowed}
            continue
        yield {"what": f"two ranks by {backend}", "seconds": time.perf_counter() - begin}
        error = apart(_weights(whole), _weights(out))
        yield check(f"two ranks by {backend}: weights", error, RESUMED)


def ensemble(setting: Setting) -> Iterator[Row]:
    """Two replicas beside the model of all data, as `mdgan-train --replicas` starts them."""
    paths = []
    for number in range(2):
        paths.append(setting.folder / f"run{number}.h5")
        with TrajectoryWriter(paths[-1], species=np.full(4, 3), cell=9 * np.eye(3)) as writer:
            steps = np.arange(600)
            writer.append(underdamped(600, 4, number), steps, 0.004 * steps)
    config = worlds.configuration("transition", Dataset.read(paths), small=True, phase__steps=6)
    from mdgan_hpc.training.ensemble import train_ensemble

    begin = time.perf_counter()
    out = train_ensemble(config, paths, setting.folder / "ensemble", replicas=2)
    yield {"what": "ensemble of three models", "seconds": time.perf_counter() - begin}
    models = load_model(out).generators
    yield {"what": "models of the ensemble", "found": len(models), "good": len(models) == 3}


PIECES = {
    piece.__name__: piece
    for piece in (numbers, training, generation, analysis, resume, ranks, ensemble)
}
