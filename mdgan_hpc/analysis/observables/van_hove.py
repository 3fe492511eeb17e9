"""Self van Hove functions: histograms of the displacement over a lag."""

from typing import Any

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays, bin_counts
from mdgan_hpc.analysis.observables.displacements import displacements, squared_lengths
from mdgan_hpc.analysis.results import VanHove

#: Width and number of histogram bins of displacements (Angstrom); what is beyond is counted last.
BIN_WIDTH = 0.05
N_BINS = 4096


class HistogramSums:
    """Histograms of one run.

    Parameters
    ----------
    lags : array of int, [K]
    step : int
        Records between two origins.
    """

    def __init__(self, lags: np.ndarray, step: int = 1) -> None:
        self.lags, self.step = lags, step
        self.sums: dict[str, np.ndarray] = {
            "tensor": np.zeros((len(lags), 3, 3)),
            "radial": np.zeros((len(lags), N_BINS)),
            "axial": np.zeros((len(lags), 3, 2 * N_BINS)),
        }

    def add(self, arrays: Arrays, x: Any) -> None:
        """Add particles [n, 3, T]."""
        for index, lag in enumerate(self.lags):
            d = displacements(x, lag, self.step) / BIN_WIDTH
            self.sums["tensor"][index] += arrays.host(arrays.einsum("nit,njt->ij", d, d))
            r = arrays.squared_lengths(d) ** 0.5
            self.sums["radial"][index] += arrays.bin_counts(r, N_BINS)
            for axis in range(3):
                values = d[:, axis] + N_BINS
                self.sums["axial"][index, axis] += arrays.bin_counts(values, 2 * N_BINS)


def count(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return histograms of the lengths [R] and components [3, X] of displacements [n, 3, t]."""
    d = d / BIN_WIDTH
    radial = bin_counts(np.sqrt(squared_lengths(d)), N_BINS)
    axial = [bin_counts(d[:, axis] + N_BINS, 2 * N_BINS) for axis in range(3)]
    return radial, np.stack(axial)


def densities(
    time_ps: np.ndarray, radial: np.ndarray, axial: np.ndarray, tensor: np.ndarray
) -> VanHove:
    """Return the self van Hove densities of histograms.

    Parameters
    ----------
    time_ps : array, [K]
    radial, axial : array, [K, R] and [K, 3, X]
        Counts in the bins of `count`, over all runs.
    tensor : array, [K, 3, 3]
        Sums of d d^T, in any unit.
    """
    last = int(np.flatnonzero(radial.any(0)).max(initial=1)) + 2
    last = min(last, N_BINS)
    radial, axial = radial[:, :last], axial[..., N_BINS - last : N_BINS + last]
    return VanHove(
        time_ps=time_ps,
        r=(np.arange(last) + 0.5) * BIN_WIDTH,
        density=radial / (radial.sum(1, keepdims=True) * BIN_WIDTH),
        displacement=(np.arange(-last, last) + 0.5) * BIN_WIDTH,
        tensor=tensor / np.maximum(np.trace(tensor, axis1=1, axis2=2), 1e-300)[:, None, None],
        axis_density=axial / (axial.sum(2, keepdims=True) * BIN_WIDTH),
    )
