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


def langevin(n_records, n_particles, rng, *, tensor=None, relaxation=0.2, interval=0.05):
    """Positions [T, N, 3] of free Langevin particles with a diffusion tensor [3, 3], D = 1 if none.

    The exact propagator of position and velocity: S. Chandrasekhar, Rev. Mod. Phys. 15, 1 (1943).
    The velocity autocorrelation of each component is D / tau exp(-t / tau).
    """
    keep, tau = np.exp(-interval / relaxation), relaxation
    both = tau * (1 - keep) ** 2
    kick = np.linalg.cholesky(
        [[tau * (2 * interval - tau * (3 - 4 * keep + keep**2)), both], [both, 1 - keep**2]]
    )
    x = np.zeros((n_records, n_particles, 3))
    v = rng.normal(size=(n_particles, 3))
    for record in range(1, n_records):
        noise = np.einsum("ij,jnk->ink", kick, rng.normal(size=(2, n_particles, 3)))
        x[record] = x[record - 1] + tau * (1 - keep) * v + noise[0]
        v = keep * v + noise[1]
    if tensor is None:
        tensor = np.eye(3)
    return x @ np.linalg.cholesky(np.asarray(tensor) / tau).T


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


def inertial_hops(
    n_records,
    n_particles,
    rng,
    *,
    hop=3.0,
    rate=0.5,
    cage=0.4,
    frequency=2.0,
    friction=6.0,
    interval=0.02,
):
    """Positions [T, N, 3] of ions with inertia in a harmonic cage, which hop along the axes.

    The log-log slope of the MSD goes from 2 through 1 to the cage and back to 1, as in a crystal.
    D = rate hop^2 / 6. Frequency in 1/ps, friction in 1/ps; two steps of BAOAB a record. A
    hop takes as long as half a period of the cage.
    """
    omega, step = 2 * np.pi * frequency, interval / 2
    thermal = cage * omega
    keep = np.exp(-friction * step)
    x = rng.normal(0, cage, (n_particles, 3))
    v = rng.normal(0, thermal, x.shape)
    inside = np.empty((n_records, n_particles, 3))
    for record in range(n_records):
        for _ in range(2):
            v = v - 0.5 * step * omega**2 * x
            x = x + 0.5 * step * v
            v = keep * v + np.sqrt(1 - keep**2) * thermal * rng.normal(size=x.shape)
            x = x + 0.5 * step * v
            v = v - 0.5 * step * omega**2 * x
        inside[record] = x
    site = np.zeros_like(inside)
    record, particle = np.nonzero(rng.random(inside.shape[:2]) < rate * interval)
    axis = rng.integers(0, 3, len(record))
    site[record, particle, axis] = hop * rng.choice([-1, 1], len(record))
    width = round(0.5 / frequency / interval)
    speed = np.sin(np.pi * (np.arange(width) + 0.5) / width) ** 2
    speed /= speed.sum()
    moving = np.zeros((n_records + width, n_particles, 3))
    for late, share in enumerate(speed):
        moving[late : late + n_records] += share * site
    return inside + moving[:n_records].cumsum(0)
