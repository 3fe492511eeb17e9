"""The activation energy of each kind of jump, from its rates at several temperatures."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.fit.transport import arrhenius
from mdgan_hpc.analysis.sites.matching import same_kinds
from mdgan_hpc.analysis.sites.results import (
    Activation,
    ResidenceTimes,
    SitesResult,
    SiteTable,
)
from mdgan_hpc.errors import DataError


def activation(results: Sequence[tuple[float, SitesResult]]) -> Activation:
    """Fit the rates of the kinds of jumps that were seen at all temperatures, and residence times.

    Parameters
    ----------
    results : sequence of (temperature in K, SitesResult)
        Of one crystal with the same sites.

    Raises
    ------
    DataError
        If there is no such kind, or the sites are others.
    UsageError
        With fewer than two different temperatures.
    """
    ordered = sorted(results, key=lambda pair: pair[0])
    temperatures = [t for t, _ in ordered]
    lowest, kinds = ordered[0][1], [found.kinds for _, found in ordered]
    same = [same_kinds(lowest, found) for _, found in ordered]
    names, lengths, fits = [], [], []
    known: list[tuple[list[float], list[float]]] = []
    unmatched: list[str] = []
    for k, name in enumerate(lowest.kinds.names):
        why = [
            f"{name} A at {t:g} K: {match[k]}"
            for t, match in zip(temperatures, same, strict=True)
            if isinstance(match[k], str)
        ]
        pairs = [(c, i) for c, m in zip(kinds, same, strict=True) if isinstance(i := m[k], int)]
        rates = [float(c.rate_per_ps[i]) for c, i in pairs]
        errors = [float(c.rate_error_per_ps[i]) for c, i in pairs]
        if not why and not all(
            r > 0 and 0 < e < np.inf for r, e in zip(rates, errors, strict=True)
        ):
            why = [f"{name} A: a rate without an error"]
        unmatched += why
        if not why:
            fits.append(arrhenius(temperatures, rates, errors))
            names.append(name)
            lengths.append(float(lowest.kinds.length[k]))
            known.append((rates, errors))
    for (t, found), match in zip(ordered[1:], same[1:], strict=True):
        unmatched += [
            f"{name} A: seen at {t:g} K, with no match at {temperatures[0]:g} K"
            for k, name in enumerate(found.kinds.names)
            if k not in match
        ]
    if not fits:
        raise DataError("no kind of jump was seen, with an error, at all temperatures")
    return Activation(
        names,
        np.array(lengths),
        np.array([f.activation_ev for f in fits]),
        np.array([f.activation_error_ev for f in fits]),
        np.array([f.d0 for f in fits]),
        np.array([f.log_d0_error for f in fits]),
        np.array(temperatures),
        [found.label for _, found in ordered],
        np.array([rates for rates, _ in known]),
        np.array([errors for _, errors in known]),
        _residence(temperatures, [found.sites for _, found in ordered]),
        unmatched or None,
    )


def _residence(temperatures: Sequence[float], tables: Sequence[SiteTable]) -> ResidenceTimes | None:
    """Return residence times of the kinds of sites that ions leave at all temperatures."""
    names, times, errors, fits = [], [], [], []
    if len({tuple(table.kind) for table in tables}) > 1:
        return None  # other sites at other temperatures: no number says which are the same
    for kind in np.unique(tables[0].kind):
        each = np.array([table.residence_of(kind) for table in tables])
        time, error = each.T
        if not (np.isfinite(each).all() and (each > 0).all()):
            continue
        # The rate of leaving has the relative error of the time.
        fits.append(arrhenius(temperatures, (1 / time).tolist(), (error / time**2).tolist()))
        names.append(f"S{int(kind) + 1}")
        times.append(time)
        errors.append(error)
    if not fits:
        return None
    return ResidenceTimes(
        names,
        np.array(times),
        np.array(errors),
        np.array([f.activation_ev for f in fits]),
        np.array([f.activation_error_ev for f in fits]),
        np.array([1 / f.d0 for f in fits]),
        np.array([f.log_d0_error for f in fits]),
    )
