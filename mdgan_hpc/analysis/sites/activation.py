"""The activation energy of each kind of jump, from its rates at several temperatures."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.fit.transport import arrhenius
from mdgan_hpc.analysis.sites.results import Activation, JumpKinds, SitesResult
from mdgan_hpc.errors import DataError

#: Lengths of one kind of jump at two temperatures differ by at most this share.
_LENGTHS = 0.1


def activation(results: Sequence[tuple[float, SitesResult]]) -> Activation:
    """Fit the rates of the kinds that were seen at all temperatures.

    Parameters
    ----------
    results : sequence of (temperature in K, SitesResult)
        Of one crystal with the same sites.

    Raises
    ------
    DataError
        If there is no such kind.
    UsageError
        With fewer than two different temperatures.
    """
    ordered = sorted(results, key=lambda pair: pair[0])
    temperatures = [t for t, _ in ordered]
    kinds = [found.kinds for _, found in ordered]
    names, lengths, fits = [], [], []
    for k, name in enumerate(kinds[0].names):
        same = [_same(kinds[0], k, other) for other in kinds]
        if None in same:
            continue
        pairs = [(c, i) for c, i in zip(kinds, same, strict=True) if i is not None]
        rates = [float(c.rate_per_ps[i]) for c, i in pairs]
        errors = [float(c.rate_error_per_ps[i]) for c, i in pairs]
        if all(r > 0 and 0 < e < np.inf for r, e in zip(rates, errors, strict=True)):
            fits.append(arrhenius(temperatures, rates, errors))
            names.append(name)
            lengths.append(float(kinds[0].length[k]))
    if not fits:
        raise DataError("no kind of jump was seen, with an error, at all temperatures")
    return Activation(
        names,
        np.array(lengths),
        np.array([f.activation_ev for f in fits]),
        np.array([f.activation_error_ev for f in fits]),
        np.array([f.d0 for f in fits]),
        np.array([f.log_d0_error for f in fits]),
    )


def _same(kinds: JumpKinds, k: int, other: JumpKinds) -> int | None:
    """Return the number of a kind at another temperature, by its ends and the nearest length."""
    ends = (other.begin == kinds.begin[k]) & (other.end == kinds.end[k])
    apart = np.where(ends, np.abs(other.length - kinds.length[k]), np.inf)
    best = int(np.argmin(apart)) if len(apart) else 0
    if not len(apart) or apart[best] > _LENGTHS * kinds.length[k]:
        return None
    return best
