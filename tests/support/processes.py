"""Processes with a known diffusion coefficient or exponent, beside those of tests.analysis."""

import numpy as np


def langevin_in_cosine(
    n_records, n_particles, rng, *, d0=2.0, barrier=2.0, edge=3.0, interval=0.05, substeps=40
):
    """Positions [T, N, 3], Angstrom, of overdamped motion in sum_i `barrier` cos(2 pi x_i / edge).

    `d0` in Angstrom^2/ps, `barrier` in kT; the minima lie at the centres of the cells. Integrated
    by the scheme of B. Leimkuhler and C. Matthews (Appl. Math. Res. Express 2013, 34), whose
    stationary density is right to second order in the time step, D only to first: with ten
    substeps in place of forty it is 3 % too low.
    """
    k, dt = 2 * np.pi / edge, interval / substeps
    x = rng.integers(0, 4, (n_particles, 3)) * edge + edge / 2
    path = np.empty((n_records, n_particles, 3))
    before = rng.normal(size=x.shape)
    relax = 20 * substeps  # leaves the bottom of the minimum
    for step in range(-relax, n_records * substeps):
        if step >= 0 and step % substeps == 0:
            path[step // substeps] = x
        now = rng.normal(size=x.shape)
        x = x + dt * d0 * barrier * k * np.sin(k * x) + np.sqrt(d0 * dt / 2) * (before + now)
        before = now
    return path


def lifson_jackson(d0, barrier):
    """D of `langevin_in_cosine`: S. Lifson, J. L. Jackson, J. Chem. Phys. 36, 2410 (1962)."""
    return d0 / np.i0(barrier) ** 2


def fractional_brownian(n_records, n_particles, rng, *, exponent=0.7, step=0.3):
    """Positions [T, N, 3] with MSD 3 step^2 n^exponent after n records, Gaussian (alpha2 = 0).

    Exact: circulant embedding of the increments (R. B. Davies, D. S. Harte, Biometrika 74, 95,
    1987).
    """
    n = np.arange(n_records + 1, dtype=float)
    power = n**exponent
    covariance = 0.5 * (power[2:] - 2 * power[1:-1] + power[:-2])
    covariance = np.concatenate([[1.0], covariance])  # [0 .. T - 1]
    ring = np.concatenate([covariance, covariance[-2:0:-1]])
    spectrum = np.fft.rfft(ring).real
    assert spectrum.min() > 0
    noise = np.fft.rfft(rng.normal(size=(len(ring), n_particles, 3)), axis=0)
    increments = np.fft.irfft(noise * np.sqrt(spectrum)[:, None, None], n=len(ring), axis=0)
    return step * increments[:n_records].cumsum(0)


def moments(path, lag):
    """Second moment and alpha2 of displacements [T, N, 3] over a lag, all origins."""
    squared = ((path[lag:] - path[:-lag]) ** 2).sum(-1)
    second = squared.mean()
    return second, 3 * (squared**2).mean() / (5 * second**2) - 1
