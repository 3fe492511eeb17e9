"""Motion with known answers, trajectory files made of it, and its analysis."""

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics_of_arrays
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.trajectory import TrajectoryWriter


def brownian(n_records, n_particles, rng, *, d=1.0, interval=0.05):
    """Positions [T, N, 3] of Brownian motion with diffusion coefficient `d`."""
    return rng.normal(0, np.sqrt(2 * d * interval), (n_records, n_particles, 3)).cumsum(0)


def cage_and_hops(
    n_records, n_particles, rng, *, hop=2.5, rate=1.0, cage=0.4, relaxation=0.1, interval=0.05
):
    """Positions [T, N, 3] of Poisson hops of length `hop` along the axes, in a harmonic cage.

    D = rate hop^2 / 6.
    """
    keep = np.exp(-interval / relaxation)
    inside = np.empty((n_records, n_particles, 3))
    inside[0] = rng.normal(0, cage, (n_particles, 3))
    kicks = rng.normal(0, cage * np.sqrt(1 - keep**2), inside.shape)
    for t in range(1, n_records):
        inside[t] = keep * inside[t - 1] + kicks[t]
    site = np.zeros_like(inside)
    counts = rng.poisson(rate * interval, (n_records, n_particles))
    for number in range(counts.max(initial=0)):
        record, particle = np.nonzero(counts > number)
        axis = rng.integers(0, 3, len(record))
        np.add.at(site, (record, particle, axis), hop * rng.choice([-1, 1], len(record)))
    return inside + site.cumsum(0)


def dragging(n_records, cells, together, rng, *, drag=0.5, interval=0.05):
    """Positions [T, cells * together, 3] of Brownian ions that drag those of their own cell along.

    Each step is one's own, of variance 1 - drag in units of 2 D dt with D = 1, and one of the cell,
    of variance drag: D is 1, and that of all together 1 + (together - 1) drag.
    """
    own = brownian(n_records, cells * together, rng, d=1 - drag, interval=interval)
    cell = brownian(n_records, cells, rng, d=drag, interval=interval)
    return own + np.repeat(cell, together, 1)


def write(path, positions, *, interval=0.05, cell=None, species=None, **options):
    """Write positions [T, N, 3] as a trajectory of lithium, or of other species [N].

    Options are those of `TrajectoryWriter`.
    """
    n_records, n_particles, _ = positions.shape
    species = [3] * n_particles if species is None else species
    with TrajectoryWriter(path, species=species, cell=cell, **options) as writer:
        writer.append(positions, np.arange(n_records), np.arange(n_records) * interval)
    return path


def dynamics(runs, interval=0.05, **options):
    """Measure replicas in memory; options of `DynamicsConfig`."""
    return dynamics_of_arrays(runs, interval, DynamicsConfig(**options))
