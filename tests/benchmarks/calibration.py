"""How often the 95 % interval of D holds the truth: ``python -m tests.benchmarks.calibration``.

Prints a table for Brownian motion, and for hops out of a cage, of 12, 36 and 100 particles over
1000 records; beside it the interval that ordinary least squares claims.
"""

import sys

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
from mdgan_hpc.analysis.fit.coefficient import fit_coefficient
from mdgan_hpc.analysis.fit.covariance import sampling_of
from mdgan_hpc.analysis.fit.window import NotDiffusiveError
from mdgan_hpc.analysis.settings import DynamicsConfig
from tests.support.motion import brownian, cage_and_hops

PROCESSES = {"Brownian": (brownian, 1.0), "cage + hops": (cage_and_hops, 2.5**2 / 6)}
INTERVAL, RECORDS = 0.05, 1000


def coverage(name: str, n_particles: int, n_sets: int, seed: int = 1) -> dict[str, float]:
    """Fit `n_sets` data sets and count how often the interval holds the true D."""
    make, truth = PROCESSES[name]
    random = np.random.default_rng([seed, n_particles, len(name)])
    config = DynamicsConfig(van_hove_ps=(1.0,))
    fits = []
    refused = 0
    for _ in range(n_sets):
        found = dynamics_of_arrays([make(RECORDS, n_particles, random)], INTERVAL, config)
        curves = found.curves
        try:
            fits.append(fit_coefficient(curves.lag_ps, curves.msd, sampling_of(found)))
        except NotDiffusiveError:
            refused += 1
    d = np.array([f.d_angstrom2_per_ps for f in fits])
    errors = np.array([f.error_angstrom2_per_ps for f in fits])
    bounds = np.array([(f.low_angstrom2_per_ps, f.high_angstrom2_per_ps) for f in fits])
    ols = np.array([(f.d_ols_angstrom2_per_ps, f.error_ols_angstrom2_per_ps) for f in fits])
    return {
        "covered": float(np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1]))),
        "covered_ols": float(np.mean(np.abs(ols[:, 0] - truth) <= 1.96 * ols[:, 1])),
        "bias": float((d / truth).mean() - 1),
        "scatter": float((d / truth).std(ddof=1)),
        "claimed": float(errors.mean() / truth),
        "refused": refused,
    }


def main(n_sets: int = 200) -> None:
    """Print the table."""
    print(f"{n_sets} data sets a row, {RECORDS} records")
    print("| process | particles | 95 % interval | OLS | bias | scatter | claimed | refused |")
    print("|---|---|---|---|---|---|---|---|")
    for name in PROCESSES:
        for n in (12, 36, 100):
            row = coverage(name, n, n_sets)
            print(
                f"| {name} | {n} | {row['covered']:.1%} | {row['covered_ols']:.1%} | "
                f"{row['bias']:+.3f} | {row['scatter']:.4f} | {row['claimed']:.4f} | "
                f"{row['refused']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
