"""Who am I among how many, and one failing rank ends all: with a real mpiexec."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdgan_hpc.errors import LaunchError, SignalledInterrupt
from mdgan_hpc.parallel import Launch, detect_launch, share
from mdgan_hpc.stopping import ended_by_signals

MPIEXEC = Path(sys.executable).parent / "mpiexec"
OPENMPI_PYTHON = Path(
    os.environ.get(
        "MDGAN_MPIO_PYTHON", Path(__file__).resolve().parents[1] / ".venv-mpio/bin/python"
    )
)
needs_mpiexec = pytest.mark.skipif(not MPIEXEC.exists(), reason=f"no {MPIEXEC}")

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "1"}
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, Launch("single")),
        (TORCHRUN, Launch("torchrun", 3, 4, 1)),
        (STEP, Launch("slurm", 1, 2, 1)),
        # The batch script itself has a rank, but no step that it would be one of.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Launch("single")),
        (OPENMPI, Launch("openmpi", 2, 4, 0)),
        ({"PMI_RANK": "1", "PMI_SIZE": "3", "MPI_LOCALRANKID": "1"}, Launch("pmi", 1, 3, 1)),
        # Started by srun --mpi=pmi2: Slurm knows the rank on the host.
        (STEP | {"PMI_RANK": "1", "PMI_SIZE": "2"}, Launch("slurm", 1, 2, 1)),
        # mpiexec in a job, and torchrun in a step: the inner launcher counts.
        (STEP | OPENMPI, Launch("openmpi", 2, 4, 0)),
        (STEP | {"PMI_RANK": "3", "PMI_SIZE": "4"}, Launch("pmi", 3, 4, 0)),
        (STEP | TORCHRUN, Launch("torchrun", 3, 4, 1)),
        (STEP | TORCHRUN | {"MDGAN_LAUNCHER": "slurm"}, Launch("slurm", 1, 2, 1)),
        (STEP | {"MDGAN_LAUNCHER": "single"}, Launch("single")),
    ],
)
def test_launcher_is_read_from_the_environment(environment: dict[str, str], launch: Launch) -> None:
    assert detect_launch(environment) == launch


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4 does not fit WORLD_SIZE=4"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "are not numbers"),
        ({"MDGAN_LAUNCHER": "rsh"}, "use one of torchrun"),
        ({"MDGAN_LAUNCHER": "pmi"}, "PMI_RANK or PMI_SIZE is not set"),
    ],
)
def test_contradictions_are_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(LaunchError, match=words):
        detect_launch(environment)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_cover_everything_once(size: int) -> None:
    for total in (0, 1, 5, 7, 100):
        parts = [share(total, rank, size) for rank in range(size)]
        assert [i for part in parts for i in part] == list(range(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("aside", [1, 6, 200])
def test_the_first_share_is_smaller_by_what_it_has_to_do_aside(size: int, aside: int) -> None:
    parts = [share(100, rank, size, aside=aside) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(100))
    work = [len(parts[0]) + aside, *map(len, parts[1:])]
    assert size == 1 or not parts[0] or max(work) - min(work) <= 1
    others = work[1:] or [0]
    assert max(others) - min(others) <= 1


def launch(
    ranks: int, body: str, *, python: str = sys.executable, debug: bool = False
) -> tuple[int, str, str, float]:
    """Run ``work`` of `body` through `run_together` on real ranks; status, outputs, seconds."""
    program = (
        "import os, sys, time\n"
        "from mdgan_hpc.errors import DataError, UsageError\n"
        "from mdgan_hpc.parallel import run_together, world\n"
        f"{body}\n"
        f"run_together(work, debug={debug})\n"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [MPIEXEC, "-n", str(ranks), python, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begin


@needs_mpiexec
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_work_together(ranks: int) -> None:
    status, out, err, _ = launch(
        ranks,
        "def work():\n"
        "    w = world()\n"
        "    assert w.bcast(w.rank * 10) == 0\n"
        "    assert w.allgather(w.rank) == list(range(w.size))\n"
        "    got = w.gather(w.rank ** 2)\n"
        "    w.barrier()\n"
        "    if w.rank == 0: print(w.size, got)\n",
    )
    assert (status, out.strip()) == (0, f"{ranks} {[r**2 for r in range(ranks)]}"), err


@needs_mpiexec
@pytest.mark.parametrize(("error", "expected"), [("DataError", 1), ("UsageError", 2)])
@pytest.mark.parametrize("bad", [0, 2])
def test_one_failing_rank_ends_all(bad: int, error: str, expected: int) -> None:
    status, _, err, seconds = launch(
        3,
        "def work():\n"
        "    w = world()\n"
        f"    if w.rank == {bad}: raise {error}('is torn', where='a.h5', remedy='convert anew')\n"
        "    w.barrier()\n"
        "    time.sleep(50)\n",
    )
    assert status == expected
    assert seconds < 30
    assert err.count("Error: a.h5: is torn; convert anew") == 1
    assert "Traceback" not in err


@needs_mpiexec
def test_a_mistake_that_all_ranks_see_is_told_once() -> None:
    status, _, err, _ = launch(
        3, "def work():\n    world()\n    raise UsageError('no such file')\n"
    )
    assert status == 2
    assert err.count("Error: no such file") == 1


@needs_mpiexec
def test_a_fault_of_the_program_ends_all_in_one_line() -> None:
    status, _, err, seconds = launch(
        2,
        "def work():\n    w = world()\n    if w.rank == 1: 1 / 0\n    time.sleep(50)\n",
    )
    assert status == 70
    assert "Traceback" not in err
    assert seconds < 30
    assert "ZeroDivisionError" in err
    assert "Error on rank 1 of 2: unexpected ZeroDivisionError" in err


@needs_mpiexec
def test_a_killed_rank_ends_all() -> None:
    status, _, _, seconds = launch(
        2,
        "def work():\n"
        "    w = world()\n"
        "    if w.rank == 1: os.kill(os.getpid(), 9)\n"
        "    w.barrier()\n"
        "    time.sleep(50)\n",
    )
    assert status != 0
    assert seconds < 30


@needs_mpiexec
def test_debug_shows_where() -> None:
    status, _, err, _ = launch(
        2, "def work():\n    world()\n    raise DataError('is torn')\n", debug=True
    )
    assert status == 1
    assert "Traceback" in err


@needs_mpiexec
@pytest.mark.skipif(not OPENMPI_PYTHON.exists(), reason=f"no {OPENMPI_PYTHON}")
def test_rank_0_of_1_on_every_rank_is_recognised() -> None:
    status, _, err, _ = launch(2, "def work():\n    world()\n", python=str(OPENMPI_PYTHON))
    assert status == 1
    assert "launched 2 ranks, but MPI sees 1: mpi4py was built for another MPI" in err


@needs_mpiexec
@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize(
    ("way", "status"),
    [("raise UsageError('no such file')", 2), ("os.kill(os.getpid(), 15); time.sleep(9)", 143)],
)
def test_a_rank_that_ends_before_all_have_met_ends_all(bad: int, way: str, status: int) -> None:
    found, _, err, seconds = launch(
        2,
        "from mdgan_hpc.stopping import ended_by_signals\n"
        "def work():\n"
        "  with ended_by_signals():\n"
        f"    if os.environ['PMI_RANK'] == '{bad}': {way}\n"
        "    world()\n"
        "    time.sleep(50)\n",
    )
    assert found == status, err
    assert seconds < 30
    assert err.count("\n") == 1, err


def test_a_signal_that_comes_where_python_ignores_exceptions_is_sent_again():
    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def work():
        Finalized()
        time.sleep(10)

    with pytest.raises(SignalledInterrupt, match="SIGTERM"), ended_by_signals():
        work()
