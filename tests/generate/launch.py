"""Starting mdgan-generate as a user does: alone, under the wheel's MPI, under parallel HDF5."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mdgan_hpc.generate.rng import BURN_IN, RECORDS, START, block_rng
from mdgan_hpc.models import registry
from mdgan_hpc.models.file import Model, load_model, save_model
from tests.support.commands import run

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests/support/plugin"
COMMAND = ["-m", "mdgan_hpc.cli.generate"]

_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}


def environment():
    """The environment of a command run from this tree."""
    folders = [str(ROOT), str(PLUGIN), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, folders))
    return {**os.environ, **_OPEN_MPI, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def mpio_python():
    """The Python with parallel HDF5, or None."""
    named = os.environ.get("MDGAN_MPIO_PYTHON", str(ROOT / ".venv-mpio/bin/python"))
    return named if Path(named).exists() else None


needs_mpio = pytest.mark.skipif(
    mpio_python() is None,
    reason="no parallel HDF5: run tests/tools/install_parallel_hdf5.sh or set MDGAN_MPIO_PYTHON",
)
_WHEEL_MPIEXEC = Path(sys.executable).with_name("mpiexec")
needs_mpi = pytest.mark.skipif(
    not _WHEEL_MPIEXEC.exists(), reason="no mpiexec beside this Python: install mpich and mpi4py"
)


def argv(arguments, ranks=0, mpio=False):
    """The command line: `ranks` 0 is a start without MPI."""
    python = mpio_python() if mpio else sys.executable
    command = [python, *COMMAND, *map(str, arguments)]
    if ranks:
        mpiexec = shutil.which("mpiexec.openmpi") if mpio else str(_WHEEL_MPIEXEC)
        command = [mpiexec, "-n", str(ranks), *command]
    return command


def generate(*arguments, ranks=0, mpio=False, expect=0):
    """Run to the end; returns the finished process."""
    done = subprocess.run(
        argv(arguments, ranks, mpio),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert expect == 0 or "Traceback" not in done.stderr, done.stderr
    return done


def model_file(folder, **numbers):
    """Write a model file of the generator of `tests/support/plugin`."""
    path = Path(folder) / "cage.pt"
    cage = registry.get("cage")
    cell = np.diag([9.0, 9.0, 20.0])
    generator = cage.create(cage.Config(**numbers))
    save_model(path, Model(generator, 0.008, species=3, cell=cell, training_span_ps=40.0))
    return path


def stored(path, name="position"):
    """All positions (or velocities) of a file."""
    with h5py.File(path) as file:
        return np.ascontiguousarray(file[f"particles/trajectory/{name}/value"][:])


def here(*arguments, expect=0):
    """Run in this process, on one worker; returns what it did."""
    done = run("mdgan_hpc.cli.generate", "--workers", 1, *arguments)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def start(*arguments, ranks=0, mpio=False):
    """Start in a session of its own; returns the process."""
    return subprocess.Popen(
        argv(arguments, ranks, mpio),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def computing(root):
    """The processes under `root` that compute: Python, but no helper of multiprocessing."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                commands[int(entry.name)] = (entry / "cmdline").read_text()
                parents[int(entry.name)] = int(stat[1])
            except OSError:
                continue
    found, frontier = [], {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found += [
            pid
            for pid in frontier
            if "python" in commands[pid].split("\0")[0] and "resource_tracker" not in commands[pid]
        ]
    return found


def naive(path, particles, records, p, r, seed=1, burn_in=0):
    """Positions [records, particles, 3] by the definition, in one loop."""
    generator = load_model(path).generator
    k, step = generator.particles_per_sample, generator.records_per_step
    columns = []
    for block in range(-(-particles // p)):
        random = block_rng(seed, block, 0, START)
        uniform = random.random((p // k, generator.start_size), dtype=np.float32)
        state, position = generator.start(torch.from_numpy(uniform))
        at = position.numpy().reshape(p, 3).astype(np.float64)
        purposes = [(BURN_IN, burn_in), (RECORDS, -(-records // r) * r)]
        path_rows = []
        for purpose, total in purposes:
            for first in range(0, total, r):
                n = min(r, total - first)
                random = block_rng(seed, block, first // r, purpose)
                shape = (n // step, p // k, generator.noise_size)
                noise = torch.from_numpy(random.standard_normal(shape, np.float32))
                displacement, state = generator.advance(state, noise)
                for row in displacement.numpy().reshape(n, p, 3):
                    at = at + row
                    if purpose == RECORDS:
                        path_rows.append(at.astype(np.float32))
        columns.append(np.array(path_rows[:records]))
    return np.concatenate(columns, 1)[:, :particles]
