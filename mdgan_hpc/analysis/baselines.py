"""What a referee asks for first: extrapolations of the same MD runs that need no network.

The linear extrapolation carries the error of D; the block bootstrap repeats what was seen and
forgets between blocks; the Gaussian process has the MSD of the MD at every lag and no hops.
"""

from collections.abc import Sequence

import numpy as np
from scipy.fft import next_fast_len

from mdgan_hpc.analysis.fit.results import Coefficient
from mdgan_hpc.errors import DataError

#: Length of bootstrap blocks, as a share of the shortest run.
BLOCK_SHARE = 0.1


def linear_extrapolation(total: Coefficient, lag_ps: np.ndarray) -> dict[str, np.ndarray]:
    """Return MSD = c + 6 D t of a fitted coefficient at any lags, with its 95 % interval.

    Returns
    -------
    dict
        ``lag_ps``, ``msd``, ``low``, ``high`` (Angstrom^2), each [L].
    """
    slopes = {
        "msd": total.d_angstrom2_per_ps,
        "low": total.low_angstrom2_per_ps,
        "high": total.high_angstrom2_per_ps,
    }
    # The line is known best at the start of the fit window, around which it turns.
    start = total.window_ps[0]
    there = total.intercept_angstrom2 + 6 * total.d_angstrom2_per_ps * start
    lag = np.asarray(lag_ps, float)
    return {"lag_ps": lag} | {k: there + 6 * d * (lag - start) for k, d in slopes.items()}


def block_bootstrap(
    replicas: Sequence[np.ndarray],
    n_records: int,
    n_particles: int,
    rng: np.random.Generator,
    *,
    block_records: int | None = None,
) -> np.ndarray:
    """Return trajectories [n_records, n_particles, 3] joined from segments of the MD runs.

    Each segment is drawn anew: run, ion and start. It begins where the one before ended, so the
    memory of the motion ends with the segment (and so does the place in the lattice).

    Parameters
    ----------
    replicas : sequence of array, [T, N, 3]
        Positions of the MD runs, Angstrom.
    n_records, n_particles : int
        Size of the result.
    rng : Generator
    block_records : int, optional
        Length of a segment; a tenth of the shortest run if not given.
    """
    shortest = min(map(len, replicas))
    block = block_records or max(1, int(BLOCK_SHARE * shortest))
    if block >= shortest:
        raise DataError(f"segments of {block} records do not fit runs of {shortest} records")
    count = -(-n_records // block)
    ions = np.array([r.shape[1] for r in replicas], float)
    run = rng.choice(len(replicas), (count, n_particles), p=ions / ions.sum())
    result = np.empty((count * block + 1, n_particles, 3))
    ion = (rng.random(run.shape) * ions[run]).astype(int)
    lengths = np.array([len(r) for r in replicas])
    start = (rng.random(run.shape) * (lengths[run] - block)).astype(int)
    for p in range(n_particles):
        first = replicas[run[0, p]][start[0, p], ion[0, p]]
        result[0, p] = first
        for k in range(count):
            segment = replicas[run[k, p]][start[k, p] : start[k, p] + block + 1, ion[k, p]]
            here = result[k * block, p]
            result[k * block + 1 : (k + 1) * block + 1, p] = here + (
                segment[1:].astype(np.float64) - segment[0]
            )
    return result[:n_records]


def gaussian_process(
    replicas: Sequence[np.ndarray], n_records: int, n_particles: int, rng: np.random.Generator
) -> np.ndarray:
    """Return Gaussian trajectories [n_records, n_particles, 3] with the MSD of the MD runs.

    Increments are a stationary Gaussian series whose autocovariance is that of the MD's, axis by
    axis: a generalised Langevin surrogate. The autocovariance is estimated with the divisor T, so
    that its spectrum is nowhere negative, and sampled exactly by circulant embedding.

    References
    ----------
    C. R. Dietrich, G. N. Newsam, SIAM J. Sci. Comput. 18, 1088 (1997).
    """
    shortest = min(map(len, replicas)) - 1
    covariance = np.zeros((3, shortest))
    for replica in replicas:
        u = np.diff(replica.astype(np.float64), axis=0).transpose(2, 1, 0)[..., :shortest]
        length = next_fast_len(2 * shortest, real=True)
        spectrum = np.abs(np.fft.rfft(u, n=length)) ** 2
        covariance += np.fft.irfft(spectrum.mean(1), n=length)[:, :shortest] / shortest
    covariance /= len(replicas)
    size = next_fast_len(2 * max(n_records, shortest), real=True)
    embedded = np.zeros((3, size))
    embedded[:, :shortest] = covariance
    embedded[:, size - shortest + 1 :] = covariance[:, :0:-1]
    power = np.maximum(np.fft.rfft(embedded).real, 0.0)  # [3, F], round-off only
    result = np.empty((n_records, n_particles, 3))
    for axis in range(3):
        for p in range(n_particles):
            # White noise through the square root of the spectrum.
            noise = np.fft.rfft(rng.standard_normal(size))
            steps = np.fft.irfft(noise * np.sqrt(power[axis]), n=size)[: n_records - 1]
            result[0, p, axis] = 0.0
            result[1:, p, axis] = steps.cumsum()
    firsts = np.concatenate([r[0] for r in replicas])
    return np.asarray(result + firsts[rng.integers(0, len(firsts), n_particles)])
