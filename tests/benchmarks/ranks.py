"""Two ranks of mdgan-msd against one, each rank bound to a core, by the clock on the wall and with
the start of Python: ``python -m tests.benchmarks.ranks FOLDER``. They take turns on a file of 2 GB
that is in the cache.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.support.motion import write

IONS, RECORDS, ROUNDS = 8192, 20_000, 5
BIN = Path(sys.executable).parent


def seconds(n_ranks: int, file: Path) -> float:
    """Analyse the file on some ranks; return how long it took."""
    command = [BIN / "mpiexec", "--bind-to", "core", "-n", str(n_ranks), BIN / "mdgan-msd"]
    begin = time.monotonic()
    subprocess.run(
        [*command, file, "-o", file.with_suffix(".json"), "--force"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begin


def main() -> None:
    """Print seconds of each and the ratio to one rank."""
    file = Path(sys.argv[1]) / "walk.h5"
    random = np.random.default_rng(0)
    paths = random.normal(0, 0.1, (RECORDS, IONS, 3)).astype(np.float32).cumsum(0)
    write(file, paths, interval=0.004)
    taken = [(seconds(1, file), seconds(2, file)) for _ in range(ROUNDS)]
    ratios = [one / two for one, two in taken]
    one, two = np.median(taken, axis=0)
    print(
        f"| one rank {one:.1f} s | two ranks {two:.1f} s | {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


if __name__ == "__main__":
    main()
