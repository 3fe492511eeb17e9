"""What is trained on: ions of a small process, or runs that were prepared where files can be read.

No program for crystals is needed: the operations of the lattice are written down.
"""

import itertools
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.config import load_config
from mdgan_hpc.crystal import Crystal
from mdgan_hpc.training.advised import resolved
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.settings import TrainingConfig
from tests.support.runs import underdamped

CONFIGS = Path(__file__).parents[2] / "configs"
_SMALL = {
    "train.batch": 8,
    "data.step_skip": 1,
    "data.records": 32,
    "generator.start_states": 64,
    "generator.history_records": 20,
    "generator.calibration_ions": 16,
    "generator.calibration_burn_in": 20,
    "generator.calibration_records": 50,
}
_LIKELIHOOD = {"phase.likelihood.warm_up": 12}
_GAME = {"phase.adversarial.width": 16, "phase.adversarial.strides": [1, 2]}


def cube(edge: float) -> Crystal:
    """A simple cubic crystal with all 48 operations."""
    signs, one = list(itertools.product((1.0, -1.0), repeat=3)), np.eye(3)
    turns = [np.diag(s) @ one[list(p)] for p in itertools.permutations(range(3)) for s in signs]
    return Crystal(
        cell=2 * edge * one,
        species=np.full(1, 8),
        positions=np.zeros((1, 3)),
        primitive=edge * one,
        rotations=np.array(turns),
        translations=np.zeros((48, 3)),
        rms=0.1,
        noise=0.01,
        space_group="Pm-3m",
    )


def dataset(prepared: Path | None, *, small: bool) -> Dataset:
    """Return the runs: those of a file of `save`, or made ones, four or twelve ions in a cell."""
    if prepared is not None:
        return Dataset(**torch.load(prepared, weights_only=False))
    frames, ions, edge = (600, 4, 4.0) if small else (10_000, 12, 6.0)
    random = np.random.default_rng(3)
    runs = [
        2 * edge * random.random((ions, 3)) + underdamped(frames, ions, seed) for seed in range(2)
    ]
    return Dataset(runs, 0.004, 3, 2 * edge * np.eye(3), cube(edge))


def save(data: Dataset, path: Path) -> None:
    """Write what `dataset` reads, from runs read by all that the package needs."""
    names = ("runs", "interval_ps", "species", "cell", "crystal", "temperature_k")
    torch.save({name: getattr(data, name) for name in names}, path)


def configuration(kind: str, data: Dataset, *, small: bool, **more: object) -> TrainingConfig:
    """Return the configuration of a kind of training: transition, adversarial, latent.

    ``adversarial`` is a likelihood with critics, ``latent`` MD-GAN as published.
    """
    file = "mdgan-2018" if kind == "latent" else "default"
    chosen = dict(_SMALL) if small else {}
    if file == "default":
        chosen |= _LIKELIHOOD | {"generator.hidden": 24} if small else {}
        if kind == "adversarial":
            chosen |= {"phase.adversarial.weight": 0.5} | (_GAME if small else {})
    else:
        chosen = {name: v for name, v in chosen.items() if not name.startswith("generator.")}
        chosen |= _GAME | {"generator.window": 16} if small else {}
    chosen |= {name.replace("__", "."): value for name, value in more.items()}
    words = [f"{name}={value}" for name, value in chosen.items()]
    config = load_config(TrainingConfig, CONFIGS / f"{file}.toml", overrides=words)
    return resolved(config, data)


if __name__ == "__main__":
    import sys

    *files, target = map(Path, sys.argv[1:])
    save(Dataset.read(files), target)
