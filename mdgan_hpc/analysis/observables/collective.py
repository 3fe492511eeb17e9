"""The motion of all ions of a cell together: |sum of their displacements|^2 / their number."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays
from mdgan_hpc.analysis.observables.fourier import squared_displacements, summed_power
from mdgan_hpc.analysis.observables.msd import total


class CollectiveSums:
    """Sums of one run over its cells.

    Parameters
    ----------
    n_records : int
    lags : array of int, [L]
    length : int
        Of the transform.
    n_particles : int
        Of the run.
    ions_per_cell : int
        Particles of a cell, following each other.
    points, stride : int
        Velocities in a piece of a run whose spectrum is taken, and records over which each is a
        difference; no spectra for 0 points.
    """

    def __init__(
        self,
        n_records: int,
        lags: np.ndarray,
        length: int,
        n_particles: int,
        ions_per_cell: int,
        *,
        points: int = 0,
        stride: int = 1,
    ) -> None:
        self.points, self.stride = points, stride
        self.n_records, self.lags, self.length = n_records, lags, length
        self.ions_per_cell = ions_per_cell
        self.one_cell = ions_per_cell == n_particles
        # Many cells of one ion each tell nothing of collective motion.
        self.used = ions_per_cell > 1 or self.one_cell
        self._in_path = 0
        self.sums: dict[str, np.ndarray] = {
            "path": np.zeros((3, n_records)),
            "cells": np.zeros(1),
            "collective_power": np.zeros(length // 2 + 1),
            "collective_squares": np.zeros(n_records),
            "current_power": np.zeros(points // 2 + 1),
            "spectra": np.zeros(1),
        }

    def begin_part(self) -> None:
        """Forget a cell of which the part before held not all ions."""
        if not self.one_cell:
            self.sums["path"][...] = 0
            self._in_path = 0

    def add(self, arrays: Arrays, x: Any) -> None:
        """Add the next particles [n, 3, T]."""
        if not self.used:
            return
        for some in self._by_cell(len(x)):
            self.sums["path"] += arrays.host(x[some].sum(0))
            self._in_path += some.stop - some.start
            if self._in_path == self.ions_per_cell:
                self._end_cell()

    def _by_cell(self, n: int) -> Iterator[slice]:
        """Cut the next n particles where cells end."""
        start = 0
        while start < n:
            stop = min(n, start + self.ions_per_cell - self._in_path)
            yield slice(start, stop)
            start = stop

    def _end_cell(self) -> None:
        path, sums = self.sums["path"], self.sums
        sums["collective_power"] += summed_power(path, self.length)
        sums["collective_squares"] += (path**2).sum(0)
        sums["cells"] += 1
        self._add_spectra(path)
        path[...] = 0
        self._in_path = 0

    def _add_spectra(self, path: np.ndarray) -> None:
        """Add the periodograms of the steps of a path [3, T], piece by piece."""
        piece = self.points * self.stride
        for start in range(0, self.n_records - piece if piece else 0, piece or 1):
            steps = np.diff(path[:, start : start + piece + 1 : self.stride], axis=1)
            self.sums["current_power"] += summed_power(steps, self.points)
            self.sums["spectra"] += len(steps)

    def end(self) -> None:
        """End the only cell of a run, whose particles the ranks had shared; after the sum."""
        if self.one_cell and not self.sums["cells"][0]:
            self._end_cell()

    @property
    def n_cells(self) -> int:
        """Whole cells added."""
        return int(self.sums["cells"][0])

    def squared(self) -> np.ndarray:
        """Sums over cells and origins of (sum of the displacements of its ions)^2, [L]."""
        every = squared_displacements(
            self.sums["collective_power"],
            self.sums["collective_squares"],
            self.length,
            int(self.lags[-1]) + 1,
        )
        return np.asarray(every[self.lags])


def mean_collective(runs: Sequence[CollectiveSums]) -> np.ndarray | None:
    """Return the collective MSD [L] of all runs, or None where no ions saw each other."""
    together = [run.ions_per_cell for run in runs]
    if not any(run.n_cells for run in runs) or max(together) <= 1:
        return None
    counts = total(
        run.n_cells * k * (run.n_records - run.lags) for k, run in zip(together, runs, strict=True)
    )
    return np.asarray(total(run.squared() for run in runs) / counts)
