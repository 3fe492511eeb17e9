"""A real Slurm of four nodes for the tests, and an environment whose MPI and HDF5 work under it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
COMMANDS = ("convert", "train", "generate", "msd", "report")
#: Seconds to wait for anything: only a fault takes so long, even on a machine with other work.
PATIENCE = 400
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


def mpio_python() -> Path:
    """Python with Open MPI and parallel HDF5, from tests/tools/install_parallel_hdf5.sh."""
    return Path(os.environ.get("MDGAN_MPIO_PYTHON", ROOT / ".venv-mpio/bin/python"))


def make_environment(folder: Path, python: Path) -> None:
    """Make what MDGAN_VENV expects: bin with python, torchrun, mpiexec and the commands."""
    (folder / "bin").mkdir(parents=True)
    programs = {
        "python": f"{python}",
        "torchrun": f"{python} -m torch.distributed.run",
        "mpiexec": shutil.which("mpiexec.openmpi") or "mpiexec",
    }
    programs |= {f"mdgan-{name}": f"{python} -m mdgan_hpc.cli.{name}" for name in COMMANDS}
    for name, command in programs.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)


@dataclass
class Slurm:
    """The test cluster, seen from one checkout of the job scripts."""

    base: Path
    checkout: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: object, env: dict[str, str] | None = None, timeout: float = 60):
        """Run a program of Slurm, or a script that uses it, in the checkout."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.checkout,
            env=self.environment | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def submit(
        self, *words: object, options: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> str:
        """Submit a job script with its arguments; return the job's id."""
        done = self.run("sbatch", "--parsable", *options, *words, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job; wake it where it rests after a requeue."""
        text = self.run("scontrol", "show", "job", "-o", job).stdout
        shown = dict(re.findall(r"(\w+)=(\S*)", text.splitlines()[0] if text else ""))
        if shown.get("Reason") == "BeginTime":  # Slurm lets it rest for two minutes
            time.sleep(2)  # a job that starts in the second in which it was ended is refused
            self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        return shown

    def wait(self, job: str, timeout: float = PATIENCE) -> dict[str, str]:
        """Wait until a job has ended and its log is written."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            shown = self.show(job)
            if shown.get("JobState") in ENDED:
                return shown
            time.sleep(0.3)
        raise AssertionError(f"job {job} did not end in {timeout} s: {shown}\n{self.log(job)}")

    def log(self, job: str) -> str:
        """Return the log of a job."""
        logs = sorted((self.checkout / "jobs/logs").glob(f"*-{job}.log"))
        return "".join(path.read_text() for path in logs)

    def done(self, job: str, timeout: float = PATIENCE) -> str:
        """Wait for a job that must end well; return its log."""
        shown = self.wait(job, timeout)
        assert shown["JobState"] == "COMPLETED", f"{shown['JobState']}\n{self.log(job)}"
        return self.log(job)

    def until(self, job: str, words: str, timeout: float = PATIENCE) -> None:
        """Wait until the log of a job shows some words."""
        deadline = time.monotonic() + timeout
        while words not in self.log(job):
            assert time.monotonic() < deadline, f"no '{words}' in {self.log(job)}"
            assert self.show(job).get("JobState") not in ENDED, self.log(job)
            time.sleep(0.2)


@pytest.fixture(scope="session")
def cluster() -> Iterator[tuple[Path, dict[str, str]]]:
    """Start the four nodes; skip where there is no Slurm to start."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not which(name)]
    if missing:
        not_here(f"no {missing[0]}: run tests/cluster/install.sh")
    if os.geteuid() != 0:
        not_here("the test cluster needs root: it makes four nodes of one machine")
    if not mpio_python().exists():
        not_here(f"no {mpio_python()}: run tests/cluster/install.sh")
    base = Path(tempfile.mkdtemp(prefix="mdgan-slurm-", dir="/tmp"))
    environment = base / "environment"
    make_environment(environment, mpio_python())
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/root"),
        "USER": "root",
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(base / "etc/slurm.conf"),
        "PYTHONPATH": str(ROOT),
        "MDGAN_VENV": str(environment),
        "OMP_NUM_THREADS": "1",
        # Four nodes on one machine share its memory and its cores: no shared windows, no binding,
        # and ranks that yield while they wait.
        "OMPI_MCA_osc": "^sm",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    try:
        port = str(17000 + os.getpid() % 2000 * 5)  # of this session alone
        started = subprocess.run(
            [HERE / "start.sh", base, port], capture_output=True, text=True, timeout=60, check=False
        )
        if started.returncode != 0:
            pytest.fail(f"the test cluster did not start: {started.stderr}")
        yield base, env
    finally:
        subprocess.run([HERE / "stop.sh", base], timeout=60, check=False)
        shutil.rmtree(base, ignore_errors=True)


def not_here(reason: str) -> NoReturn:
    """Skip; in continuous integration, which installs all of it, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def which(name: str) -> str | None:
    return shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:" + os.environ["PATH"])


@pytest.fixture
def slurm(cluster: tuple[Path, dict[str, str]], tmp_path: Path) -> Slurm:
    """A fresh checkout of the job scripts on the running cluster."""
    base, env = cluster
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "jobs", checkout / "jobs", ignore=shutil.ignore_patterns("*.log"))
    return Slurm(base, checkout, env | {"MDGAN_WORK": str(tmp_path / "work")})


@pytest.fixture(scope="session")
def md_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two short trajectories, converted once."""
    folder = tmp_path_factory.mktemp("md")
    files = []
    for run in ("run1", "run2"):
        files.append(folder / f"{run}.h5")
        subprocess.run(
            [
                *(sys.executable, "-m", "mdgan_hpc.cli.convert"),
                *(ROOT / "tests/data/long" / run, "-o", files[-1], "--select", "Li"),
            ],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
    return files


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of some seconds."""
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(
        "[data]\nrecords = 16\n"
        "[generator]\nhidden = 8\n"
        "[[phase]]\nsteps = 30\n[phase.likelihood]\nwarm_up = 4\n"
        "[train]\nbatch = 8\nevaluate_every = 0\nlog_every = 10\n"
        "checkpoint_every = 20\n"
    )
    return path
