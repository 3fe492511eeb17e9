"""Speed of the mean squared displacement against peers in one run, on one core:
``python -m tests.benchmarks.msd_speed``. Processor time, so that a shared machine does not matter;
the programs take turns, the best of three rounds counts. All get the same array in memory.
"""

import os
import time
from collections.abc import Callable, Mapping

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
from mdgan_hpc.analysis.settings import DynamicsConfig

SIZES = ((64, 20_000), (8192, 2000))
ROUNDS = 3
PEERS = ("freud", "tidynamics", "MDAnalysis")


def cost(programs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Best processor time of each program, in seconds."""
    best = dict.fromkeys(programs, np.inf)
    for _ in range(ROUNDS):
        for name, work in programs.items():
            begin = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - begin)
    return best


def programs(positions: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what is compared, by name, for positions [T, N, 3]."""
    import freud
    import MDAnalysis
    import tidynamics
    from MDAnalysis.analysis.msd import EinsteinMSD

    box = freud.box.Box.cube(1e6)
    universe = MDAnalysis.Universe.empty(positions.shape[1], trajectory=True)
    universe.load_new(positions)
    msd_only = DynamicsConfig(full=False)
    return {
        "ours": lambda: dynamics_of_arrays([positions], 0.004, msd_only),
        "all statistics": lambda: dynamics_of_arrays([positions], 0.004, DynamicsConfig()),
        "freud": lambda: freud.msd.MSD(box, mode="window").compute(positions),
        "tidynamics": lambda: [
            tidynamics.msd(positions[:, i].astype(float)) for i in range(positions.shape[1])
        ],
        "MDAnalysis": lambda: EinsteinMSD(universe, select="all", fft=True).run(),
    }


def main() -> None:
    """Print a table: ns per particle-frame, and the ratio to ours."""
    print("| particles x frames | ours | ours, all statistics | " + " | ".join(PEERS) + " |")
    print("|---" * (3 + len(PEERS)) + "|")
    for n, t in SIZES:
        random = np.random.default_rng(0)
        positions = random.normal(0, 0.1, (t, n, 3)).astype(np.float32).cumsum(0)
        ns = {k: 1e9 * v / (n * t) for k, v in cost(programs(positions)).items()}
        cells = [f"{ns[p]:.0f} ({ns[p] / ns['ours']:.1f}x)" for p in PEERS]
        print(
            f"| {n} x {t} | {ns['ours']:.0f} ns | {ns['all statistics']:.0f} ns | "
            + " | ".join(cells)
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
