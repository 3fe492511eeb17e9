"""The array operations of the observables, by NumPy, or by PyTorch on a device.

`RunSums` is written once in terms of these. Sums come back to the host as NumPy arrays.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from mdgan_hpc.analysis.observables.fourier import Scratch, power, summed_power
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import detect_launch

#: Numbers that NumPy works on at once: few enough for a core's cache, many enough for its vectors.
WORK_NUMBERS = 2**17

#: Numbers in double precision that a device works on at once: a gigabyte with all that is made of
#: them.
DEVICE_NUMBERS = 2**24


class Arrays(Protocol):
    """Operations on series of particles; an array is one of NumPy or of PyTorch."""

    def series(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, Any]]:
        """Give positions [T, N, 3] as time series of some particles.

        Yields the number of the first particle, its series [n, 3, T] on the host, and as an array.
        """

    def at_once(self, length: int) -> int:
        """Return how many series of a length are worked on at once."""

    def beside_line(self, x: Any) -> tuple[Any, Any]:
        """Return series [n, T] less the line from first to last record, and its slopes [n]."""

    def centred(self, x: Any) -> Any:
        """Return series [n, 3, T] less their means."""

    def difference(self, late: Any, early: Any) -> Any:
        """Return ``late - early``, overwritten by the next call."""

    def squared_lengths(self, d: Any) -> Any:
        """Return the squared lengths [n, t] of [n, 3, t], overwritten by the next call."""

    def einsum(self, subscripts: str, *operands: Any) -> Any:
        """Return Einstein's sum."""

    def power(self, series: Any) -> Any:
        """Return the power spectra [n, F] of series [n, t], padded to the transform's length."""

    def summed_power(self, series: Any, length: int) -> np.ndarray:
        """Return the power spectrum [F] summed over series [n, t], padded to `length`."""

    def bin_counts(self, values: Any, n_bins: int) -> np.ndarray:
        """Count values in bins [0, 1), [1, 2) ...; what is beyond goes into first or last."""

    def host(self, values: Any) -> np.ndarray:
        """Return an array as one of NumPy."""


class NumpyArrays:
    """By NumPy, with memory that is used again and again.

    Parameters
    ----------
    n_records : int
        T.
    length : int
        Of the transform of whole series.
    """

    def __init__(self, n_records: int, length: int) -> None:
        self.n_records, self.length = n_records, length
        self._scratch = Scratch()
        self._padded = np.zeros((max(1, WORK_NUMBERS // length), length))
        self._ramp = np.arange(n_records) - 0.5 * (n_records - 1)

    def series(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """See `Arrays`."""
        for first, group in series(positions, self._scratch):
            yield first, group, group

    def at_once(self, length: int) -> int:
        """See `Arrays`."""
        return max(1, WORK_NUMBERS // length)

    def beside_line(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Arrays`.

        The transform subtracts large numbers: it gets what is left beside the line, and the line
        is added exactly. Zeros follow each series, up to the length of the transform.
        """
        first, last = x[:, 0].astype(np.float64), x[:, -1].astype(np.float64)
        velocity = (last - first) / max(self.n_records - 1, 1)
        line = self._scratch.array("line", x.shape)
        np.multiply(velocity[:, None], self._ramp, out=line)
        line += 0.5 * (first + last)[:, None]
        padded = self._padded[: len(x)]
        np.subtract(x, line, out=padded[:, : self.n_records])
        return padded, velocity

    def centred(self, x: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        out = self._scratch.array("centred", x.shape)
        np.subtract(x, x.mean(-1, dtype=np.float64, keepdims=True), out=out)
        return out

    def difference(self, late: np.ndarray, early: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        out = self._scratch.array("line", late.shape)
        np.subtract(late, early, out=out)
        return out

    def squared_lengths(self, d: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        out = self._scratch.array("square", (len(d), d.shape[-1]))
        return np.asarray(np.einsum("nit,nit->nt", d, d, out=out))

    def einsum(self, subscripts: str, *operands: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        return np.asarray(np.einsum(subscripts, *operands))

    def power(self, series: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        return power(series, self.length)

    def summed_power(self, series: np.ndarray, length: int) -> np.ndarray:
        """See `Arrays`."""
        return summed_power(series, length)

    def bin_counts(self, values: np.ndarray, n_bins: int) -> np.ndarray:
        """See `Arrays`."""
        return bin_counts(values, n_bins)

    def host(self, values: np.ndarray) -> np.ndarray:
        """See `Arrays`."""
        return values


class TorchArrays:
    """By PyTorch; ranks of a host take its GPUs in turn.

    Parameters
    ----------
    n_records, length : int
        As of `NumpyArrays`.
    device : str
        PyTorch's name of it.

    Raises
    ------
    UsageError
        If PyTorch cannot use the device.
    """

    def __init__(self, n_records: int, length: int, device: str) -> None:
        import torch

        self.torch, self.n_records, self.length = torch, n_records, length
        name = device
        try:
            if name == "cuda" and torch.cuda.device_count() > 1:
                name = f"cuda:{detect_launch().local_rank % torch.cuda.device_count()}"
            ramp = np.arange(n_records) - 0.5 * (n_records - 1)
            self._ramp = torch.tensor(ramp, device=name)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"PyTorch cannot use the device {name!r}: {reason}",
                remedy="leave --device out to compute on the processor",
            ) from error

    def series(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, Any]]:
        """See `Arrays`."""
        together = self.at_once(3 * self.length)
        for first in range(0, positions.shape[1], together):
            part = positions[:, first : first + together]
            x = self.torch.from_numpy(np.ascontiguousarray(part)).to(self._ramp.device)
            x = x.permute(1, 2, 0).to(self.torch.float64).contiguous()
            yield first, part.transpose(1, 2, 0), x

    def at_once(self, length: int) -> int:
        """See `Arrays`."""
        return max(1, DEVICE_NUMBERS // length)

    def beside_line(self, x: Any) -> tuple[Any, Any]:
        """See `Arrays`."""
        velocity = (x[:, -1] - x[:, 0]) / max(self.n_records - 1, 1)
        middle = 0.5 * (x[:, -1] + x[:, 0])
        return x - velocity[:, None] * self._ramp - middle[:, None], velocity

    def centred(self, x: Any) -> Any:
        """See `Arrays`."""
        return x - x.mean(-1, keepdim=True)

    def difference(self, late: Any, early: Any) -> Any:
        """See `Arrays`."""
        return late - early

    def squared_lengths(self, d: Any) -> Any:
        """See `Arrays`."""
        return d.square().sum(1)

    def einsum(self, subscripts: str, *operands: Any) -> Any:
        """See `Arrays`."""
        return self.torch.einsum(subscripts, *operands)

    def power(self, series: Any) -> Any:
        """See `Arrays`."""
        return self.torch.fft.rfft(series, n=self.length).abs().square()

    def summed_power(self, series: Any, length: int) -> np.ndarray:
        """See `Arrays`."""
        return self.host(self.torch.fft.rfft(series, n=length).abs().square().sum(0))

    def bin_counts(self, values: Any, n_bins: int) -> np.ndarray:
        """See `Arrays`."""
        index = values.clamp(0, n_bins - 1).to(self.torch.int64).ravel()
        return self.host(self.torch.bincount(index, minlength=n_bins))

    def host(self, values: Any) -> np.ndarray:
        """See `Arrays`."""
        return np.asarray(values.cpu().numpy())


def bin_counts(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Count values in bins [0, 1), [1, 2) ...; what is beyond goes into the first or last."""
    index = np.clip(values, 0, n_bins - 1).astype(np.intp)
    return np.bincount(index.ravel(), minlength=n_bins)


def series(positions: np.ndarray, scratch: Scratch) -> Iterator[tuple[int, np.ndarray]]:
    """Turn positions [T, N, 3] into time series, some particles at once.

    Yields
    ------
    first : int
        Number of the first particle.
    series : array, [n, 3, T]
        Of the type of the positions, time contiguous; overwritten by the next one.
    """
    n_records, n_particles = positions.shape[:2]
    group = int(np.clip(4 * 10**6 // n_records, 4, 64))
    for first in range(0, n_particles, group):
        part = positions[:, first : first + group]
        n = part.shape[1]
        out = scratch.array("series", (n, 3, n_records), positions.dtype)
        # Some whole records first come together in the cache: a plain transposition touches a
        # cache line per number, and lines a power of two apart push each other out. The
        # unused column keeps them from being so here.
        tile = scratch.array("tile", (256, 3 * n + 1), positions.dtype)[:, : 3 * n]
        for t in range(0, n_records, 256):
            records = part[t : t + 256]
            tile[: len(records)].reshape(-1, n, 3)[...] = records
            out[..., t : t + 256] = tile[: len(records)].reshape(-1, n, 3).transpose(1, 2, 0)
        yield first, out
