"""What critics find: nothing in MD that they never saw, and faults that are planted in it.

``python -m tests.benchmarks.critic MD... --unseen MD... [--generated FILE...]`` (H5MD of one
crystal) trains critics to tell the first runs from the others, as they are and with a fault, and
from generated trajectories.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from mdgan_hpc.analysis.baselines import gaussian_process
from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.analysis.fidelity.critic import CriticResult
from mdgan_hpc.analysis.runs import read_runs
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.visits import find_visits
from mdgan_hpc.crystal import Crystal

Runs = Sequence[np.ndarray]

#: Records before it enters another site in which an ion is on its way, at most.
_TRANSIT = 50


def faster(runs: Runs, factor: float = 1.015) -> list[np.ndarray]:
    """Return runs in which time goes faster: kinetic energies 3 % too high, all else as it was."""
    made = []
    for run in runs:
        at = np.arange(len(run))
        made.append(CubicSpline(at, run)(factor * at[: int((len(run) - 1) / factor)]))
    return made


def hotter(runs: Runs, share: float = 0.03, width: int = 51) -> list[np.ndarray]:
    """Return runs whose displacements over a record have a square that is 3 % too high.

    What is left beside a running mean is scaled, so that hops stay as they were.
    """
    made = []
    for run in runs:
        sums = np.concatenate([np.zeros((1, *run.shape[1:])), run.astype(np.float64).cumsum(0)])
        centre = (sums[width:] - sums[:-width]) / width
        swing = run[width // 2 : len(run) - width // 2] - centre
        made.append(centre + np.sqrt(1 + share) * swing)
    return made


def exchanged(runs: Runs) -> list[np.ndarray]:
    """Return cells of which each ion is of another run."""
    n = len(runs)
    return [
        np.stack([runs[(k + ion) % n][:, ion] for ion in range(runs[0].shape[1])], 1)
        for k in range(n)
    ]


def fewer_hops(
    runs: Runs, sites: Sites, lattice: Lattice, rng: np.random.Generator, share: float = 0.1
) -> list[np.ndarray]:
    """Return runs of which one hop in ten is left out.

    The rest of the path is moved by the operation of the space group that takes the site after the
    hop to the one before, and from the record on at which that moves the ion least. The ion turns
    back there at once, and other ions do not know of it.
    """
    made = []
    for run in runs:
        visits = find_visits(sites, run.astype(np.float64))
        path = run.astype(np.float64)
        for k in np.flatnonzero(visits.leaves)[::-1]:
            if rng.random() < share:
                before, after = sites.places(visits.label[k : k + 2])
                begin = max(visits.record[k], visits.record[k + 1] - _TRANSIT) + 1
                stretch = slice(begin, visits.record[k + 1] + 1)
                _leave_out(path[:, visits.particle[k]], stretch, before, after, lattice)
        made.append(path)
    return made


def _leave_out(
    path: np.ndarray, stretch: slice, before: np.ndarray, after: np.ndarray, lattice: Lattice
) -> None:
    """Move the rest of a path [T, 3], in place, so that it does not leave the site `before`.

    Hops are left out from the last to the first, so those before are where they were.
    """
    least, best = np.inf, None
    for rotation in lattice.rotations:
        moved = (path[stretch] - after) @ rotation + before
        gaps = np.linalg.norm(moved - path[stretch], axis=1)
        if gaps.min() < least and _is_operation(rotation, before - after @ rotation, lattice):
            least, best = gaps.min(), (rotation, stretch.start + int(gaps.argmin()))
    if best is not None:
        rotation, start = best
        path[start:] = (path[start:] - after) @ rotation + before


def _is_operation(rotation: np.ndarray, translation: np.ndarray, lattice: Lattice) -> bool:
    """Tell whether x -> x R + t is one of the space group, to half an Angstrom."""
    which = np.abs(lattice.rotations - rotation).max((1, 2)).argmin()
    left = (translation - lattice.translations[which]) @ np.linalg.inv(lattice.vectors)
    return bool(np.linalg.norm((left - left.round()) @ lattice.vectors) < 0.5)


def gaussian(runs: Runs, rng: np.random.Generator, cells: int = 12) -> list[np.ndarray]:
    """Return cells of a Gaussian process with the MSD of the runs."""
    n = runs[0].shape[1]
    made = gaussian_process(runs, len(runs[0]), cells * n, rng)
    return [made[:, i : i + n] for i in range(0, cells * n, n)]


def row(name: str, found: CriticResult) -> str:
    """Return a row of the table."""
    cells = [
        ", ".join(f"{v:.2f} ± {e:.2f}" for v, e in zip(value, error, strict=True))
        for value, error in (
            (found.auc, found.error),
            (found.cell_auc, found.cell_error),
            (found.md_auc, found.md_error),
        )
        if value is not None and error is not None
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("md", nargs="+")
    parser.add_argument("--unseen", nargs="+", required=True)
    parser.add_argument("--generated", nargs="*", default=[])
    told = parser.parse_args(arguments)
    every = read_runs([*told.md, *told.unseen])
    assert isinstance(every.crystal, Crystal)
    lattice = Lattice.of_crystal(every.crystal)
    md, unseen = every.positions[: len(told.md)], every.positions[len(told.md) :]
    seeing, blind = (
        Fidelity(md, every.interval_ps, lattice, cell=cell) for cell in (every.cell, None)
    )
    assert seeing.sites is not None
    rng = np.random.default_rng(0)
    together = md[0].shape[1]
    sides = {
        "MD never seen": (seeing, unseen),
        "time 1.5 % faster": (seeing, faster(unseen)),
        "swings 3 % too hot": (seeing, hotter(unseen)),
        "one hop in ten left out, neighbours not seen": (
            blind,
            fewer_hops(unseen, seeing.sites, lattice, rng),
        ),
        "Gaussian process": (seeing, gaussian(md, rng)),
        "ions exchanged between cells": (seeing, exchanged(unseen)),
    }
    print("| against MD | windows of an ion | of all ions of a cell | one MD run and others |")
    print("|---|---|---|---|")
    for name, (reference, made) in sides.items():
        shortest = min(map(len, made))
        ions = np.concatenate([run[:shortest] for run in made], 1)
        found = reference.critic(
            ions, every.interval_ps, ions_per_cell=together, cell=reference.cell
        )
        print(row(name, found), flush=True)
    for path in told.generated:
        print(row(path, seeing.critic(path)), flush=True)


if __name__ == "__main__":
    main()
