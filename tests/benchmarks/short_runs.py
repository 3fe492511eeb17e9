"""How often D of a short piece of a run holds the truth.

``python -m tests.benchmarks.short_runs`` cuts pieces of many lengths out of a made world; with
``TRUTH FILE...`` out of MD runs (H5MD) whose D is known from longer ones.
"""

import sys
from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.errors import MdganError
from mdgan_hpc.trajectory import Trajectory
from tests.support.motion import inertial_hops

#: Of `inertial_hops`.
TRUTH, INTERVAL = 0.5 * 3.0**2 / 6, 0.02
LENGTHS_PS = (0.2, 0.4, 0.8, 1.6, 2.5, 4.0, 6.0, 10.0, 20.0, 30.0, 40.0)


def pieces(
    runs: Sequence[np.ndarray],
    interval_ps: float,
    truth: float,
    rng: np.random.Generator,
    *,
    length_ps: float,
    count: int,
) -> tuple[int, int, int]:
    """Return the pieces looked at, those that gave a D, and those whose interval held the truth."""
    looked = given = held = 0
    records = round(length_ps / interval_ps)
    for _ in range(count):
        run = runs[rng.integers(len(runs))]
        if not 20 <= records <= len(run):
            continue
        start = rng.integers(len(run) - records + 1)
        looked += 1
        try:
            found = dynamics_of_arrays([run[start : start + records]], interval_ps)
            total = fit_diffusion(found).total
        except MdganError:
            continue
        if total is not None:
            given += 1
            held += total.low_angstrom2_per_ps <= truth <= total.high_angstrom2_per_ps
    return looked, given, held


def made_world(seed: int = 1, n_runs: int = 6, records: int = 2500) -> list[np.ndarray]:
    """Return runs of 12 ions over 50 ps."""
    rng = np.random.default_rng(seed)
    return [inertial_hops(records, 12, rng, interval=INTERVAL) for _ in range(n_runs)]


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    runs, interval, truth = made_world(), INTERVAL, TRUTH
    if arguments:
        truth, runs = float(arguments[0]), []
        for path in arguments[1:]:
            with Trajectory(path) as trajectory:
                runs.append(trajectory.positions().astype(np.float64))
                interval = trajectory.record_interval_ps
    rng = np.random.default_rng(0)
    print("| length (ps) | pieces | D given | truth in its 95 % interval |")
    print("|---|---|---|---|")
    for length in LENGTHS_PS:
        row = pieces(runs, interval, truth, rng, length_ps=length, count=25)
        print(f"| {length:g} | {row[0]} | {row[1]} | {row[2]} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
