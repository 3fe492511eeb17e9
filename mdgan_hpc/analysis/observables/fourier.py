"""Time correlations over all origins, by fast Fourier transform in double precision.

Series lie as [n, T] or [n, 3, T], time last and contiguous. Sums over particles are taken in
Fourier space, so that a block of particles costs one forward transform per series and the whole
file one inverse transform per axis.
"""

import math
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft


def padded_length(n_records: int, n_lags: int) -> int:
    """Return a transform length without wrap-around in the first lags.

    A power of two times a number up to 32 of small prime factors: the fastest sort of length.
    """
    needed = n_records + n_lags - 1
    unit = 1 << max(0, needed.bit_length() - 5)
    return unit * int(next_fast_len(-(-needed // unit), real=True))


class Scratch:
    """Arrays used again and again: fresh memory costs as much as the transform itself."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], kind: Any = np.float64) -> np.ndarray:
        """Return an array of any content; it is overwritten by the next call of that name."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size or kept.dtype != kind:
            kept = self._kept[name] = np.empty(size, kind)
        return kept[:size].reshape(shape)


def power(series: np.ndarray, length: int) -> np.ndarray:
    """Return the power spectra of real series [..., T], padded with zeros to `length`."""
    parts = rfft(series, n=length).view(np.float64)  # real and imaginary parts in turn
    parts *= parts
    return np.asarray(parts[..., ::2] + parts[..., 1::2])


def summed_power(series: np.ndarray, length: int) -> np.ndarray:
    """Return the power spectrum of real series [n, T] summed over n: `power` in fewer passes."""
    parts = rfft(series, n=length).view(np.float64)
    total = np.einsum("nf,nf->f", parts, parts)
    return np.asarray(total[::2] + total[1::2])


def autocorrelation(power_sum: np.ndarray, length: int, n_lags: int) -> np.ndarray:
    """Return sums over origins of x(t) x(t + lag), lag = 0 ... n_lags - 1, from summed powers.

    The Wiener-Khinchin theorem; the mean follows by division by the T - lag origins.
    """
    return np.asarray(irfft(power_sum, n=length)[..., :n_lags])


def squared_displacements(
    power_sum: np.ndarray,
    square_sum: np.ndarray,
    length: int,
    n_lags: int,
    trend_sum: np.ndarray | None = None,
    trend_square: np.ndarray | None = None,
) -> np.ndarray:
    """Return sums over origins of [x(t + lag) - x(t)]^2 for lags 0 ... n_lags - 1.

    Parameters
    ----------
    power_sum : array, [..., F]
        Power spectra summed over particles (`power`).
    square_sum : array, [..., T]
        x(t)^2 summed over the same particles.
    length : int
        Length of the transform.
    n_lags : int
    trend_sum, trend_square : array, [..., T] and [...], optional
        If the series are y = x - v t with a v for each particle: v y(t) and v^2, summed over the
        particles. [x(t + m) - x(t)]^2 is [dy + v m]^2.

    Returns
    -------
    array, [..., n_lags]

    References
    ----------
    V. Calandrini et al., Collection SFN 12, 201 (2011), section 4.2 (the split into squares and
    an autocorrelation).
    """
    late, early = _ends(square_sum, n_lags)
    sums = late + early - 2 * autocorrelation(power_sum, length, n_lags)
    if trend_sum is not None and trend_square is not None:
        lags = np.arange(n_lags)
        late, early = _ends(trend_sum, n_lags)
        origins = square_sum.shape[-1] - lags
        sums += 2 * lags * (late - early) + np.multiply.outer(trend_square, origins * lags**2)
    sums[..., 0] = 0.0
    return np.asarray(np.maximum(sums, 0.0))


def _ends(series: np.ndarray, n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of [..., T] over all records from each lag on, and over all but the last `lag`."""
    zero = np.zeros((*series.shape[:-1], 1))
    running = np.concatenate([zero, np.cumsum(series, axis=-1)], axis=-1)
    lags = np.arange(n_lags)
    return running[..., -1:] - running[..., lags], running[..., series.shape[-1] - lags]


def log_lags(n_records: int, *, per_decade: int = 20, fraction: float = 0.5) -> np.ndarray:
    """Return about `per_decade` whole lags a decade, from one record to `fraction` of the run.

    The grid does not depend on the length of the run, so that two runs share their lags.
    """
    last = max(1, int((n_records - 1) * fraction))
    count = int(np.ceil(np.log10(last) * per_decade)) + 2
    lags = np.unique(np.round(10 ** (np.arange(count) / per_decade)).astype(np.int64))
    return lags[lags <= last]
