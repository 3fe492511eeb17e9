"""Pieces of trajectories for pictures: ion paths and displacements, thinned to a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdgan_hpc.report.results import Displacements, IonPaths
from mdgan_hpc.trajectory import Trajectory

#: Points of a drawn curve: more cannot be told apart on a page.
POINTS = 800


def ion_paths(
    paths: Sequence[str | Path], species: str, *, span_ps: float, n_particles: int
) -> IonPaths:
    """Return where the first ions of the runs go within `span_ps`."""
    pieces: list[np.ndarray] = []
    times: np.ndarray = np.zeros(0)
    left = n_particles
    for path in paths:
        if left <= 0:
            break
        with Trajectory(path, species or None) as trajectory:
            interval = trajectory.record_interval_ps
            count = min(trajectory.n_records, round(span_ps / interval) + 1)
            step = max(1, count // POINTS)
            piece = trajectory.positions(slice(0, count), slice(0, left))[::step]
            if pieces and len(piece) != len(pieces[0]):
                continue
            pieces.append(piece)
            times = np.arange(len(piece)) * step * interval
            left -= piece.shape[1]
    return IonPaths(times, np.concatenate(pieces, axis=1).astype(np.float64))


def displacements(
    paths: Sequence[str | Path], species: str, *, span_ps: float, n_particles: int
) -> Displacements:
    """Return the displacements of the first ions from their start, over `span_ps` at most."""
    pieces: list[np.ndarray] = []
    with Trajectory(paths[0], species or None) as first:
        interval = first.record_interval_ps
    count = round(span_ps / interval) + 1
    step = max(1, count // POINTS)
    wanted = -(-count // step)
    left = n_particles
    for path in paths:
        if left <= 0:
            break
        with Trajectory(path, species or None) as trajectory:
            records = slice(0, min(count, trajectory.n_records))
            # Whole runs are read and thinned: a strided selection in HDF5 is slower by far.
            piece = trajectory.positions(records, slice(0, left))[::step].astype(np.float64)
        full = np.full((wanted, piece.shape[1], 3), np.nan)
        full[: len(piece)] = piece - piece[0]
        pieces.append(full)
        left -= piece.shape[1]
    return Displacements(np.arange(wanted) * step * interval, np.concatenate(pieces, axis=1))
