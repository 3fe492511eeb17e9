"""The velocity autocorrelation function <v(0).v(t)> and its spectrum.

Velocities are differences of positions over a stride of records: what both MD files without
velocities and generated ones have.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays
from mdgan_hpc.analysis.observables.displacements import displacements, ends
from mdgan_hpc.analysis.observables.fourier import autocorrelation, padded_length, power
from mdgan_hpc.analysis.observables.msd import total
from mdgan_hpc.analysis.results import Spectrum, Vacf


class VelocitySums:
    """Summed power spectrum of the steps of one run.

    Parameters
    ----------
    n_records : int
    n_lags : int
        Lags of the autocorrelation function, in strides.
    stride : int
        Records.
    """

    def __init__(self, n_records: int, n_lags: int, stride: int = 1) -> None:
        self.n_records, self.stride = n_records, stride
        self.lags = np.arange(n_lags) * stride
        self.length = padded_length(n_records, n_lags * stride)
        self.sums: dict[str, np.ndarray] = {"velocity_power": np.zeros(self.length // 2 + 1)}

    def add(self, arrays: Arrays, x: Any) -> None:
        """Add particles [n, 3, T]."""
        steps = arrays.difference(*ends(x, self.stride))
        steps = steps.reshape(-1, steps.shape[-1])
        self.sums["velocity_power"] += arrays.summed_power(steps, self.length)

    def products(self) -> np.ndarray:
        """Return the sums over particles and origins of step(t).step(t + lag), [lag]."""
        every = autocorrelation(self.sums["velocity_power"], self.length, int(self.lags[-1]) + 1)
        return np.asarray(every[self.lags])

    @property
    def origins(self) -> np.ndarray:
        """Origins of one particle at each lag."""
        return np.asarray(self.n_records - self.stride - self.lags)


def mean_vacf(runs: Sequence[VelocitySums], n_particles: Sequence[int], interval_ps: float) -> Vacf:
    """Return the velocity autocorrelation function of all runs."""
    products = total(run.products() for run in runs)
    counts = total(n * run.origins for n, run in zip(n_particles, runs, strict=True))
    lags, step_ps = runs[0].lags, runs[0].stride * interval_ps
    return Vacf(lags * interval_ps, products / counts / step_ps**2)


def vacf(x: np.ndarray, n_lags: int, interval_ps: float, stride: int = 1) -> np.ndarray:
    """Return the velocity autocorrelation [n, n_lags] of each particle [n, 3, T], A^2/ps^2."""
    u = displacements(x, stride)
    lags = np.arange(n_lags) * stride
    length = padded_length(u.shape[-1], int(lags[-1]) + 1)
    products = autocorrelation(power(u, length).sum(1), length, int(lags[-1]) + 1)[:, lags]
    return np.asarray(products / (u.shape[-1] - lags) / (stride * interval_ps) ** 2)


def spectrum(vacf: np.ndarray, interval_ps: float) -> Spectrum:
    """Return the spectrum (Angstrom^2/ps) of a velocity autocorrelation function [n].

    The cosine transform of the function times a Hann window that falls to zero at its last lag:
    S(f) = 2 integral C(t) cos(2 pi f t) dt over t >= 0, so that S(0)/6 is D for a window long
    enough.
    """
    n = len(vacf)
    window = 0.5 * (1 + np.cos(np.pi * np.arange(n) / n))
    windowed = vacf * window
    even = np.concatenate([windowed, [0.0], windowed[:0:-1]])  # length 2 n
    return Spectrum(np.fft.rfftfreq(2 * n, interval_ps), np.fft.rfft(even).real * interval_ps)
