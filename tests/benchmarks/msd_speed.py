"""Speed of the mean squared displacement against peers in one run, on one core:
``python -m tests.benchmarks.msd_speed``. Processor time, so that a shared machine does not matter.
"""

import os
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from mdgan_hpc.analysis.dynamics import DynamicsConfig, analyse_arrays

SIZES = ((64, 20_000), (8192, 2000))


def cost(work: Callable[[], object], particle_frames: int, repeats: int = 3) -> float:
    """Best processor time of some runs, in ns per particle-frame."""
    best = np.inf
    for _ in range(repeats):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best / particle_frames * 1e9


def main() -> None:
    """Print a table: ns per particle-frame, and the ratio to ours."""
    import freud
    import tidynamics

    print("| particles x frames | ours | ours, all statistics | freud | tidynamics | MDAnalysis |")
    print("|---|---|---|---|---|---|")
    for n, t in SIZES:
        random = np.random.default_rng(0)
        positions = random.normal(0, 0.1, (t, n, 3)).astype(np.float32).cumsum(0)
        config = DynamicsConfig(full=False)
        ours = cost(lambda p=positions, c=config: analyse_arrays([p], 0.004, c), n * t)
        every = cost(
            lambda p=positions: analyse_arrays([p], 0.004, DynamicsConfig()), n * t, repeats=1
        )
        # The peers' time is proportional to the number of particles: a part of them will do.
        few = min(n, 128)
        part = positions[:, :few]
        box = freud.box.Box.cube(1e6)
        peer = cost(
            lambda p=part, b=box: freud.msd.MSD(b, mode="window").compute(p), few * t, repeats=2
        )
        tidy = cost(
            lambda p=part, f=few: [tidynamics.msd(p[:, i].astype(float)) for i in range(f)],
            few * t,
            repeats=2,
        )
        analysis = cost(_mdanalysis(part), few * t, repeats=1)
        cells = [f"{peer:.0f} ({peer / ours:.1f}x)", f"{tidy:.0f} ({tidy / ours:.1f}x)"]
        cells.append(f"{analysis:.0f} ({analysis / ours:.1f}x)")
        print(f"| {n} x {t} | {ours:.0f} ns | {every:.0f} ns | " + " | ".join(cells) + " |")


def _mdanalysis(positions: np.ndarray) -> Callable[[], object]:
    import MDAnalysis
    from MDAnalysis.analysis.msd import EinsteinMSD

    universe = MDAnalysis.Universe.empty(positions.shape[1], trajectory=True)
    universe.load_new(positions)
    return lambda: EinsteinMSD(universe, select="all", fft=True).run()


if __name__ == "__main__":
    main()
