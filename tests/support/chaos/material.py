"""Small whole files of every kind that the commands read, made once."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgan_hpc.models.file import Model, save_model
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.commands import run
from tests.support.motion import brownian, write
from tests.support.runs import underdamped
from tests.support.transition import cubic, make, windows

#: A training of a moment.
TINY = """
[data]
records = 24
[generator]
hidden = 16
head = 8
components = 4
start_states = 16
history_records = 16
neighbours = "off"
calibration_ions = 8
calibration_burn_in = 8
calibration_records = 16
[[phase]]
steps = 20
[phase.likelihood]
warm_up = 8
[train]
batch = 4
checkpoint_every = 5
evaluate_every = 0
log_every = 5
"""
_SIZE = ("--particles", 8, "--block-particles", 4, "--block-records", 12, "--workers", 1)
GENERATE = (*_SIZE, "--files", 1, "--records", 108)
#: The same made longer.
LONGER = (*_SIZE, "--files", 1, "--records", 144)


@dataclass(frozen=True)
class Material:
    """Where the whole files are, each in a folder of its own kind."""

    folder: Path

    @property
    def run(self) -> Path:
        """An MD run of 8 ions among 8 atoms of a framework."""
        return self.folder / "run.h5"

    @property
    def mixed(self) -> Path:
        """The same with all atoms in it, whose cell changes."""
        return self.folder / "mixed.h5"

    @property
    def config(self) -> Path:
        return self.folder / "tiny.toml"

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"

    @property
    def training(self) -> Path:
        """A finished run folder."""
        return self.folder / "training"

    @property
    def generated(self) -> Path:
        return self.folder / "gen.h5"

    @property
    def json(self) -> Path:
        return self.folder / "msd.json"

    @property
    def hdf5(self) -> Path:
        return self.folder / "msd.h5"


def make_material(folder: Path) -> Material:
    """Make all of it."""
    found = Material(folder)
    cell = 8.0 * np.eye(3)
    sites = 4.0 * np.array(list(itertools.product(range(2), repeat=3)), float)
    ions = sites + 2.0 + underdamped(400, 8, 1)
    steps = np.arange(len(ions))
    with TrajectoryWriter(
        found.run, species=np.full(8, 3), cell=cell, masses=np.full(8, 6.94)
    ) as w:
        w.append(
            ions,
            steps,
            0.01 * steps,
            velocities=np.gradient(ions, 0.01, axis=0),
            observables={"temperature": (np.full(len(ions), 900.0), "K")},
        )
        framework = {
            "species": np.full(8, 8),
            "position": sites,
            "rms_displacement": np.full(8, 0.1),
        }
        w.set_parameters({"framework": framework, "source": "made for tests"})
        w.set_provenance({"command": "chaos", "config": {}})
    rattling = sites + np.random.default_rng(0).normal(0, 0.05, (len(ions), 8, 3))
    with TrajectoryWriter(found.mixed, species=np.repeat([3, 8], 8)) as w:
        cells = np.repeat(cell[None], len(ions), 0) * (1 + 1e-4 * np.sin(steps))[:, None, None]
        w.append(np.concatenate([ions, rattling], 1), steps, 0.01 * steps, cells=cells)
    walk = write(folder / "walk.h5", brownian(1000, 16, np.random.default_rng(4)))
    found.config.write_text(TINY)
    generator = make(cubic(4.0), 1)
    generator.prepare(windows(generator, 96, 64))
    save_model(found.model, Model(generator, 0.01, 3, cell, 4.0, {"config": {}}))
    out = ("-o", folder / "arrhenius.json")
    for command, *arguments in (
        ("train", found.config, "--data", found.run, "--out", found.training),
        ("generate", found.model, "-o", found.generated, *GENERATE),
        ("msd", walk, "-o", found.json),
        ("msd", walk, "-o", found.hdf5),
        ("msd", "--arrhenius", f"300={found.json}", "--arrhenius", f"400={found.hdf5}", *out),
    ):
        # In this process, whose forks then have what a command loads and sets up when it is used.
        done = run(f"mdgan_hpc.cli.{command}", *arguments)
        assert done.returncode == 0, done.stderr
    return found
