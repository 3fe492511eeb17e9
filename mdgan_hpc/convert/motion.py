"""Whether positions go on as they moved."""

import numpy as np

#: A motion goes on if the next displacement is this parallel (cosine) to the one before, and its
#: length within these multiples of it (the time step may have changed).
_DIRECTION, _PACE = 0.7, (0.15, 6.0)


def rms(moves: np.ndarray) -> float:
    """Return the root mean square length of displacements [N, 3]."""
    return float(np.sqrt((moves**2).sum() / len(moves)))


def middle(values: np.ndarray) -> float:
    """Return the median of values [n], of an even number the upper of two.

    That of NumPy loads its masked arrays: a twentieth of the time that a small run takes.
    """
    half = len(values) // 2
    return float(np.partition(values, half)[half])


def goes_on(before: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Return whether the displacement `move` continues `before`, both [..., N, 3]; shape [...].

    Of neighbouring steps of a molecular-dynamics run it does: the time step resolves the fastest
    vibration. Of displacements between unrelated geometries it does not: their cosine is small, as
    that of any two vectors of many dimensions.
    """
    lengths = [np.sqrt((x**2).sum(axis=(-2, -1))) for x in (move, before)]
    same_pace = (lengths[0] > _PACE[0] * lengths[1]) & (lengths[0] < _PACE[1] * lengths[1])
    product = (move * before).sum(axis=(-2, -1))
    return np.asarray(same_pace & (product > _DIRECTION * lengths[0] * lengths[1]))
