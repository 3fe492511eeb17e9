"""Displacements of particles over a lag, and how far apart their time origins are.

Series lie as [n, 3, T], time last. The functions take arrays of NumPy and of PyTorch.
"""

from typing import Any

import numpy as np

#: Origins of fourth moments are this share of the lag apart: closer ones add cost, no knowledge.
ORIGINS_PER_LAG = 16


def origin_steps(lags: np.ndarray, least: int = 1) -> np.ndarray:
    """Return how many records two time origins are apart at each lag [L], `least` at least."""
    return np.asarray(np.maximum(least, np.asarray(lags) // ORIGINS_PER_LAG))


def ends(x: Any, lag: int, step: int = 1) -> tuple[Any, Any]:
    """Return where particles [n, 3, T] are after and before a lag, from every `step`-th origin."""
    return x[..., lag::step], x[..., : x.shape[-1] - lag : step]


def displacements(x: Any, lag: int, step: int = 1) -> Any:
    """Return the displacements [n, 3, t] of particles [n, 3, T] over a lag."""
    late, early = ends(x, lag, step)
    return late - early


def squared_lengths(d: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the squared lengths [n, t] of displacements [n, 3, t]."""
    return np.asarray(np.einsum("nit,nit->nt", d, d, out=out))
