"""Two ranks of mdgan-msd against one, by the clock on the wall:
``python -m tests.benchmarks.ranks FOLDER``. Beside it two single processes at the same time, each
on half of the ions: what the two cores of this machine do together without a word between them.
The three take turns on a file that is in the cache.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.analysis.conftest import write

IONS, RECORDS, ROUNDS = 4096, 20_000, 3
BIN = Path(sys.executable).parent


def seconds(*commands: list[str]) -> float:
    """Run commands at the same time; return how long it took until the last one ended."""
    begin = time.monotonic()
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(c, env=alone, stdout=subprocess.DEVNULL) for c in commands]
    if any(process.wait() for process in running):
        raise SystemExit("a command failed")
    return time.monotonic() - begin


def main() -> None:
    """Print seconds of each and the ratios to one rank."""
    folder = Path(sys.argv[1])
    random = np.random.default_rng(0)
    paths = random.normal(0, 0.1, (RECORDS, IONS, 3)).astype(np.float32).cumsum(0)
    names = [str(folder / name) for name in ("whole.h5", "half1.h5", "half2.h5")]
    parts = (slice(None), slice(IONS // 2), slice(IONS // 2, None))
    for name, part in zip(names, parts, strict=True):
        write(name, paths[:, part], interval=0.004)

    def msd(name: str) -> list[str]:
        return [str(BIN / "mdgan-msd"), name, "-o", f"{name}.json", "--force"]

    whole, *halves = map(msd, names)
    ways = {
        "one rank": [whole],
        "two ranks": [[str(BIN / "mpiexec"), "-n", "2", *whole]],
        "two processes apart": halves,
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, commands in ways.items():
            taken[way].append(seconds(*commands))
    for way, values in taken.items():
        ratios = [one / value for one, value in zip(taken["one rank"], values, strict=True)]
        middle = statistics.median(ratios)
        print(
            f"| {way} | {statistics.median(values):.1f} s | {middle:.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
