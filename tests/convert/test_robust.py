"""Damaged files and killed conversions: a right result, a named warning or one line."""

import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign_mutations import ForeignMutations
from tests.support.siesta_mutations import Mutations
from tests.support.siesta_runs import command, converted

#: More of them: `pytest -m slow`; without end: `python -m tests.support.siesta_mutations`.
COUNT = 300


def tried(folder, first, count):
    mutations = Mutations(folder, seed=20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, first + count):
        mutations.one(number)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert not mutations.failures, "\n".join(mutations.failures[:5])
    assert grown < 300, f"memory grew by {grown:.0f} MB"
    assert min(mutations.outcomes[kind] for kind in ("right", "warned", "refused")) > count / 50
    assert sum(mutations.outcomes.values()) == count


def test_damaged_files(tmp_path):
    tried(tmp_path, 0, COUNT)


@pytest.mark.slow
def test_five_thousand_damaged_files(tmp_path):
    tried(tmp_path, 1_000_000, 5000)


def test_damaged_files_of_other_codes(tmp_path):
    """`MDGAN_MUTATIONS=3000` tries as many."""
    count = int(os.environ.get("MDGAN_MUTATIONS", "300"))
    mutations = ForeignMutations(tmp_path, seed=5)
    for number in range(count):
        mutations.one(number)
    assert not mutations.failures, "\n".join(mutations.failures[:5])
    assert min(mutations.outcomes[kind] for kind in ("right", "warned", "refused")) > 0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A run of 64 atoms, long enough to be killed on the way."""
    folder = tmp_path_factory.mktemp("large")
    x = np.cumsum(np.random.default_rng(7).normal(scale=0.02, size=(8_000, 64, 3)), axis=0)
    frame = "   64\n\n" + "Li  %12.6f%12.6f%12.6f\n" * 64
    with open(folder / "a.ANI", "w", encoding="ascii") as out:
        for positions in x:
            out.write(frame % tuple(positions.ravel().tolist()))
    (folder / "a.fdf").write_text("SystemLabel a\nMD.TypeOfRun Nose\nLatticeConstant 20 Ang\n")
    return folder


def test_killed_at_any_moment(large, tmp_path):
    """Twenty SIGKILLs: no file under the final name unless it is whole, and the rest goes on."""
    output = tmp_path / "a.h5"
    arguments = [sys.executable, "-m", "mdgan_hpc.cli.convert", str(large), "-o", str(output)]
    start = time.monotonic()
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    duration = time.monotonic() - start
    with Trajectory(output) as t:
        reference, count = t.positions(slice(-10, None)), t.n_records
    rng = random.Random(8)
    killed = 0
    for _ in range(20):
        output.unlink(missing_ok=True)
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.05, 1.0) * duration)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if output.exists():
            with Trajectory(output) as t:
                assert t.n_records == count
    assert killed >= 5  # the first second goes into loading the program
    output.unlink(missing_ok=True)
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    with Trajectory(output) as t:
        assert t.n_records == count
        np.testing.assert_array_equal(t.positions(slice(-10, None)), reference)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_memory_does_not_follow_the_size(large, tmp_path):
    """Peak memory over that of the loaded program, for a file of 21 MB."""
    program = (
        "import resource, sys\n"
        "import h5py, numpy, ase.io\n"
        "import mdgan_hpc.convert.conversion\n"
        "from mdgan_hpc.convert import convert\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "convert(sys.argv[1], sys.argv[2], silent=True)\n"
        "print(peak() - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(large), str(tmp_path / "a.h5")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(result.stdout) < 100


def test_disk_full_leaves_nothing(large, tmp_path):
    """A file-size limit stands for a full disk."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from mdgan_hpc.cli.convert import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(large), "-o", str(tmp_path / "a.h5")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "Error" in result.stderr
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    result = command(data / "short/quench", "-o", tmp_path / "file" / "a.h5")
    assert result.returncode in (1, 2)
    assert len(result.stderr.splitlines()) == 1


def test_nul_in_the_output(data, tmp_path):
    """A label with a NUL byte, as a damaged disk leaves them, is stored without."""
    text = gzip.decompress((data / "short/out_only/outonly.out.gz").read_bytes())
    (tmp_path / "outonly.out").write_bytes(text.replace(b"v4.1.5", b"v4.1\0005", 1))
    shutil.copy(data / "short/out_only/outonly.fdf", tmp_path)
    summary, _ = converted(tmp_path, tmp_path / "a.h5")
    assert summary.n_records == 25
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.parameter("siesta_version") == "v4.1?5"
