"""Which kinds of jumps of two results are the same."""

import numpy as np

from mdgan_hpc.analysis.sites.results import JumpKinds, SitesResult
from mdgan_hpc.errors import DataError

#: Places of one site in two results are nearer than this, Angstrom.
_SAME_PLACE = 0.5
#: Lengths of one kind of jump in two results with sites at other places differ by at most this
#: share.
_LENGTHS = 0.1


def matching(one: SitesResult, other: SitesResult, kind: int) -> int | None:
    """Return the kind of jump of another result with the same sites: the one with the same jumps.

    Where both saw few, none may be the same: then by ends and length, if these name one kind alone.
    """
    mine = {jump for jump, k in _kinds_of_jumps(one).items() if k == kind}
    shared = {k for jump, k in _kinds_of_jumps(other).items() if jump in mine}
    if len(shared) == 1:
        return shared.pop()
    a, b = one.kinds, other.kinds
    like = (b.begin == a.begin[kind]) & (b.end == a.end[kind])
    like &= np.abs(b.length - a.length[kind]) < 0.05
    return int(np.argmax(like)) if not shared and like.sum() == 1 else None


def matched(one: SitesResult, other: SitesResult) -> list[int | None]:
    """Return for each kind of jump the same one of another result, if it is sure which that is.

    By the jumps themselves where the sites are at the same places. Else, as where each result has
    found its own sites, by ends and length: kinds of one length to within 10 % are told apart by
    the order of their lengths, where both results saw as many and these lie further apart than
    they changed.

    Raises
    ------
    DataError
        If the results have different sites.
    """
    if _same_places(one, other):
        return [matching(one, other, k) for k in range(len(one.kinds.begin))]
    multiplicity = [sorted(np.unique(r.sites.kind, return_counts=True)[1]) for r in (one, other)]
    ambiguous = len(set(multiplicity[0])) < len(multiplicity[0])
    if multiplicity[0] != multiplicity[1] or ambiguous:
        raise DataError(
            "results have different sites, so that no jump is known to be the same",
            remedy="give all of them the same sites (--sites FILE)",
        )
    rename = _kinds_by_multiplicity(other)[np.argsort(_kinds_by_multiplicity(one))]
    found: list[int | None] = [None] * len(one.kinds.begin)
    for begin, end in set(zip(one.kinds.begin.tolist(), one.kinds.end.tolist(), strict=True)):
        mine = _with_ends(one.kinds, begin, end)
        theirs = _with_ends(other.kinds, int(rename[begin]), int(rename[end]))
        for a, b in _sure(one.kinds.length[mine], other.kinds.length[theirs]):
            found[mine[a]] = int(theirs[b])
    return found


def _same_places(one: SitesResult, other: SitesResult) -> bool:
    if not np.array_equal(one.sites.kind, other.sites.kind):
        return False
    apart = one.sites.fraction - other.sites.fraction
    apart = (apart - np.round(apart)) @ one.lattice
    return bool((np.linalg.norm(apart, axis=1) < _SAME_PLACE).all())


def _kinds_by_multiplicity(found: SitesResult) -> np.ndarray:
    """Return the kinds of sites in the order of how many sites are of them."""
    return np.argsort(np.unique(found.sites.kind, return_counts=True)[1])


def _with_ends(kinds: JumpKinds, begin: int, end: int) -> np.ndarray:
    """Return the kinds of jumps with these ends, the shortest first."""
    mine = np.flatnonzero((kinds.begin == begin) & (kinds.end == end))
    return np.asarray(mine[np.argsort(kinds.length[mine], kind="stable")])


def _sure(mine: np.ndarray, theirs: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of ascending lengths [n] and [m] that are sure to belong together."""
    near = np.abs(mine[:, None] - theirs) <= _LENGTHS * mine[:, None]
    pairs = []
    for a in range(len(mine)):
        # All that could be taken for each other, from this one on both sides.
        left, right = np.zeros(len(mine), bool), np.zeros(len(theirs), bool)
        left[a] = True
        for _ in range(len(mine) + len(theirs)):
            right |= near[left].any(0)
            left |= near[:, right].any(1)
        ours, others = mine[left], theirs[right]
        if len(ours) != len(others) or not len(others):
            continue
        changed = np.abs(ours - others).max()
        if len(ours) > 1 and min(np.diff(ours).min(), np.diff(others).min()) <= 2 * changed:
            continue
        pairs.append((a, int(np.flatnonzero(right)[left[:a].sum()])))
    return pairs


def _kinds_of_jumps(found: SitesResult) -> dict[tuple[int, ...], int]:
    """Return the kind of each jump that was seen, by its sites and cells."""
    g = found.graph
    jumps = np.column_stack([g.begin, g.end, g.shift])
    return dict(zip(map(tuple, jumps.tolist()), g.kind.tolist(), strict=True))
