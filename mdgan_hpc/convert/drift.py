"""The drift of the centre of mass taken off, and what is averaged over a run on the way."""

from typing import Any

import numpy as np

from mdgan_hpc.trajectory.framework import FrameworkAverage


class RunStatistics:
    """Takes the drift off and gathers what the file tells of the run as a whole.

    Parameters
    ----------
    masses : array, [N]
    reference : array of bool, [N]
        Atoms whose centre of mass is to stand still; none: nothing is taken off.
    rest : array of bool, [N]
        Atoms of the framework.
    """

    def __init__(self, masses: np.ndarray, reference: np.ndarray, rest: np.ndarray) -> None:
        self._masses, self._reference, self._rest = masses, reference, rest
        self._origin: np.ndarray | None = None
        self._framework = FrameworkAverage(int(rest.sum()))
        self.temperature = Moments()
        self.drift_length = 0.0

    def without_drift(self, positions: np.ndarray, temperature: np.ndarray | None) -> np.ndarray:
        """Return positions [n, N, 3] in the frame of the reference's centre of mass."""
        if self._reference.any():
            weights = self._masses[self._reference]
            if weights.sum() <= 0:
                weights = np.ones_like(weights)
            weights = weights / weights.sum()
            centre = np.einsum("tni,n->ti", positions[:, self._reference], weights)
            self._origin = centre[0] if self._origin is None else self._origin
            shift = centre - self._origin
            self.drift_length = float(np.linalg.norm(shift[-1]))
            positions = positions - shift[:, None]
        self._framework.add(positions[:, self._rest])
        if temperature is not None:
            self.temperature.add(temperature)
        return positions

    def parameters(self, atomic_numbers: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
        """Return what is known after the last frame, for ``parameters/``."""
        values: dict[str, Any] = {"drift_length": self.drift_length}
        if self.temperature.count:
            values["temperature_mean"] = self.temperature.mean
            values["temperature_spread"] = self.temperature.spread
        if rest.any():
            values["framework"] = {
                "species": atomic_numbers[rest].astype(np.int32),
                "position": self._framework.mean,
                "rms_displacement": self._framework.rms_displacement,
            }
            values["framework_masses"] = self._masses[rest]
        return values


class Moments:
    """Streamed mean and standard deviation of numbers that may be NaN."""

    def __init__(self) -> None:
        self.count, self._sum, self._squares, self._first = 0, 0.0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in numbers [n]."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        if not self.count:
            self._first = float(values[0])
        away = values - self._first
        self.count += len(values)
        self._sum += float(away.sum())
        self._squares += float((away**2).sum())

    @property
    def mean(self) -> float:
        """Mean, NaN without numbers."""
        return self._first + self._sum / self.count if self.count else float("nan")

    @property
    def spread(self) -> float:
        """Standard deviation, NaN without numbers."""
        if not self.count:
            return float("nan")
        return float(np.sqrt(max(self._squares / self.count - (self._sum / self.count) ** 2, 0.0)))
