"""The mean squared displacement <|x(t + lag) - x(t)|^2> over particles and all time origins."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays
from mdgan_hpc.analysis.observables.displacements import displacements, squared_lengths
from mdgan_hpc.analysis.observables.fourier import squared_displacements
from mdgan_hpc.analysis.results import Drift


def msd(x: np.ndarray, lag: int, step: int = 1) -> np.ndarray:
    """Return the mean squared displacement [n] of each particle [n, 3, T], Angstrom^2."""
    return np.asarray(squared_lengths(displacements(x, lag, step)).mean(1))


def total(arrays: Iterable[Any]) -> np.ndarray:
    """Return the sum of arrays of equal shape."""
    return np.asarray(np.sum(list(arrays), axis=0))


class SquaredDisplacements:
    """Sums for the MSD of one run at every lag, by the Fourier transform.

    Parameters
    ----------
    n_records : int
    lags : array of int, [L]
        In records; sums are for all up to the last.
    length : int
        Of the transform.
    per_particle : bool
        Keep the MSD of each particle.
    """

    def __init__(
        self, n_records: int, lags: np.ndarray, length: int, per_particle: bool = False
    ) -> None:
        self.n_records, self.lags, self.length = n_records, lags, length
        self.sums: dict[str, np.ndarray] = {
            "particles": np.zeros(1),
            "power": np.zeros((3, length // 2 + 1)),
            "squares": np.zeros((3, n_records)),
            "trend": np.zeros((3, n_records)),
            "trend_squared": np.zeros(3),
            "first_to_last": np.zeros(3),
            "first_to_last_squared": np.zeros(3),
        }
        self.keeps_particles = per_particle
        self.per_particle: list[np.ndarray] = []

    def add(self, arrays: Arrays, group: Any) -> bool:
        """Add particles [n, 3, T]; return whether all positions are numbers."""
        sums = self.sums
        travel = arrays.host(group[..., -1] - group[..., 0]).astype(np.float64)
        sums["particles"] += len(group)
        sums["first_to_last"] += travel.sum(0)
        sums["first_to_last_squared"] += (travel**2).sum(0)
        each = np.zeros((len(group), len(self.lags)))
        together = arrays.at_once(self.length)
        for axis in range(3):
            for start in range(0, len(group), together):
                some = slice(start, start + together)
                series, velocity = arrays.beside_line(group[some, axis])
                y = series[:, : self.n_records]
                squares = arrays.host(arrays.einsum("nt,nt->t", y, y))
                if not np.isfinite(squares.sum()):
                    return False
                sums["squares"][axis] += squares
                sums["trend"][axis] += arrays.host(arrays.einsum("nt,n->t", y, velocity))
                sums["trend_squared"][axis] += (arrays.host(velocity) ** 2).sum()
                if self.keeps_particles:
                    powers = arrays.host(arrays.power(series))
                    sums["power"][axis] += powers.sum(0)
                    each[some] += self._of_each(powers, arrays.host(y), arrays.host(velocity))
                else:
                    sums["power"][axis] += arrays.summed_power(series, self.length)
        if self.keeps_particles:
            self.per_particle.append(each / (self.n_records - self.lags))
        return True

    def _of_each(self, powers: np.ndarray, y: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        trend = y * velocity[:, None], velocity**2
        n_lags = int(self.lags[-1]) + 1
        every = squared_displacements(powers, y**2, self.length, n_lags, *trend)
        return np.asarray(every[:, self.lags])

    @property
    def n_particles(self) -> int:
        """Particles added."""
        return int(self.sums["particles"][0])

    def origins(self, lags: np.ndarray) -> np.ndarray:
        """Number of time origins of each lag, over all particles."""
        return self.n_particles * (self.n_records - lags)

    def squared(self) -> np.ndarray:
        """Sums of squared displacements per axis, [3, lag] for all lags up to the longest."""
        return squared_displacements(
            self.sums["power"],
            self.sums["squares"],
            self.length,
            int(self.lags[-1]) + 1,
            self.sums["trend"],
            self.sums["trend_squared"],
        )


def mean_squares(runs: Sequence[SquaredDisplacements]) -> tuple[np.ndarray, np.ndarray]:
    """Return the MSD along each axis [L, 3] of all runs, and the MSD of each run [F, L]."""
    lags = runs[0].lags
    squared = [run.squared()[:, lags] for run in runs]  # [3, L] each
    origins = [run.origins(lags) for run in runs]
    by_run = np.array([s.sum(0) / o for s, o in zip(squared, origins, strict=True)])
    return (total(squared) / total(origins)).T, by_run


def log_slope(lag_ps: np.ndarray, msd: np.ndarray) -> np.ndarray:
    """Return d log MSD / d log t at each lag [L], a straight line over half a decade around it."""
    slope = np.full(len(msd), np.nan)
    x, y = np.log10(lag_ps), np.log10(np.where(msd > 0, msd, np.nan))
    for i in range(len(x)):
        near = np.abs(x - x[i]) <= 0.25
        near[max(0, i - 1) : i + 2] = True
        near &= np.isfinite(y)
        if near.sum() >= 2:
            slope[i] = np.polyfit(x[near], y[near], 1)[0]
    return slope


def drift(n: int, travel_sum: np.ndarray, square_sum: np.ndarray) -> Drift:
    """Return the mean displacement [3] from first to last record, its error and their ratio.

    Parameters
    ----------
    n : int
        Particles.
    travel_sum, square_sum : array, [3]
        Sums over them of the displacement and of its square along each axis.
    """
    mean = travel_sum / n
    error = np.sqrt(np.maximum(square_sum / n - mean**2, 0) / max(n - 1, 1))
    z = np.divide(mean, error, out=np.zeros(3), where=error > 0)
    return Drift(mean, error, z)
