"""Free runs of a model beside the runs it learned from, where the latter are known best.

``python -m tests.benchmarks.free_runs MODEL RUN...`` (H5MD) prints quantiles and alpha2 of
displacements of one record, and the MSD, of 1020 ions for 5000 records over those of the runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.models.base import rollout
from mdgan_hpc.models.file import load_model
from mdgan_hpc.training.data.dataset import Dataset

IONS, RECORDS, BURN_IN = 1020, 5000, 300
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
LAGS_PS = (0.2, 0.4, 0.8, 1.2, 2.0, 4.0, 10.0)


def one_record(runs: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the quantiles of squared displacements of one record, and their alpha2."""
    squared = np.concatenate([(np.diff(run, axis=0) ** 2).sum(-1).ravel() for run in runs])
    alpha2 = 0.6 * (squared**2).mean() / squared.mean() ** 2 - 1
    return np.quantile(squared, QUANTILES), float(alpha2)


def msd(runs: Sequence[np.ndarray], lag: int) -> float:
    """Return the MSD at a lag in records, Angstrom^2."""
    moved = [((run[lag:] - run[:-lag]) ** 2).sum(-1) for run in runs]
    return float(sum(m.sum() for m in moved) / sum(m.size for m in moved))


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    model = load_model(Path(arguments[0]))
    data = Dataset.read([Path(name) for name in arguments[1:]])
    skip = round(model.record_interval_ps / data.interval_ps)
    known = [run[phase::skip] for run in data.runs for phase in range(skip)]
    generator = model.generator.eval()
    k = generator.particles_per_sample
    path = rollout(
        generator,
        IONS // k,
        RECORDS,
        rng=torch.Generator().manual_seed(5),
        burn_in_records=BURN_IN,
    )
    made = [path.flatten(1, 2).double().numpy()]
    (ours, alpha2), (theirs, alpha2_md) = one_record(made), one_record(known)
    print(
        "one record:",
        *(f"{q:g}: {a / b:.3f}" for q, a, b in zip(QUANTILES, ours, theirs, strict=True)),
    )
    print(f"alpha2 of one record: {alpha2:.4f}, of the runs {alpha2_md:.4f}")
    longest = min(map(len, known)) / 2
    lags = [round(lag / model.record_interval_ps) for lag in LAGS_PS]
    ratios = [(lag, msd(made, lag) / msd(known, lag)) for lag in lags if 0 < lag < longest]
    print("MSD:", *(f"{lag * model.record_interval_ps:g} ps: {r:.3f}" for lag, r in ratios))


if __name__ == "__main__":
    main(sys.argv[1:])
