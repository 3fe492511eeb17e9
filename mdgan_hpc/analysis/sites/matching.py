"""Which kinds of jumps of two results are the same."""

from collections import Counter, defaultdict

import numpy as np

from mdgan_hpc.analysis.sites.network import neighbour_distances
from mdgan_hpc.analysis.sites.results import JumpGraph, SitesResult
from mdgan_hpc.errors import DataError

#: Where no jump was seen in both, lengths of one kind differ by at most this share.
LENGTHS = 0.03
NOT_SEEN = "not seen"
#: A site is found again within this share of the distance to the next one.
_NEAR = 0.25


def same_kinds(one: SitesResult, other: SitesResult) -> list[int | str]:
    """Return for each kind of jump of a result that of another one, or in words why there is none.

    Two kinds are the same if they share a jump between the same sites. Where both saw few, none
    may be shared: then by the ends and the length, if these fit one kind alone in each of both.

    Raises
    ------
    DataError
        If the sites are others.
    """
    image, cell = _same_sites(one, other)
    theirs = _kinds_of_jumps(other.graph, np.arange(len(image)), np.zeros_like(cell))
    shared: dict[int, Counter[int]] = defaultdict(Counter)
    for jump, kind in _kinds_of_jumps(one.graph, image, cell).items():
        if jump in theirs:
            shared[kind][theirs[jump]] += 1
    alike = _alike(one, other, image)
    found = [_match(k, shared, alike) for k in range(len(one.kinds.begin))]
    times = Counter(f for f in found if isinstance(f, int))
    return ["two kinds are one there" if isinstance(f, int) and times[f] > 1 else f for f in found]


def _match(kind: int, shared: dict[int, Counter[int]], alike: np.ndarray) -> int | str:
    if shared[kind]:
        if len(shared[kind]) > 1:
            return f"it is {len(shared[kind])} kinds there"
        return next(iter(shared[kind]))
    like = np.flatnonzero(alike[kind])
    if not len(like):
        return NOT_SEEN
    if len(like) > 1 or alike[:, like[0]].sum() > 1:
        return "several kinds have these ends and this length"
    if any(int(like[0]) in others for others in shared.values()):
        return NOT_SEEN  # the one that is alike is another kind
    return int(like[0])


def _alike(one: SitesResult, other: SitesResult, image: np.ndarray) -> np.ndarray:
    """Return which kinds [K, L] of both have the same ends and nearly the same length."""
    a, b = one.kinds, other.kinds
    kind = np.zeros(int(one.sites.kind.max(initial=0)) + 1, int)
    kind[one.sites.kind] = other.sites.kind[image]
    ends = (kind[a.begin][:, None] == b.begin) & (kind[a.end][:, None] == b.end)
    apart = np.abs(a.length[:, None] - b.length)
    return np.asarray(ends & (apart <= LENGTHS * a.length[:, None]))


def _same_sites(one: SitesResult, other: SitesResult) -> tuple[np.ndarray, np.ndarray]:
    """Return for each site of a result that of another one, and its cell.

    The cells may differ a little, and their origins; the order of sites that were found is free.
    """
    a, b = one.sites, other.sites
    limit = _NEAR * neighbour_distances(other.lattice, b.fraction).min()
    for origin in (
        [np.zeros(3), *(b.fraction - a.fraction[0])] if len(a.kind) == len(b.kind) else ()
    ):
        way = (a.fraction + origin)[:, None] - b.fraction
        cell = np.round(way)
        distance = np.linalg.norm((way - cell) @ other.lattice, axis=-1)
        image = distance.argmin(1)
        pairs = set(zip(a.kind.tolist(), b.kind[image].tolist(), strict=True))
        of_kinds = len(pairs) == len(set(a.kind.tolist())) == len(set(b.kind.tolist()))
        every, all_of_them = np.arange(len(image)), len(set(image.tolist())) == len(image)
        if of_kinds and all_of_them and distance[every, image].max() < limit:
            return image, cell[every, image].astype(int)
    raise DataError(
        "the sites of the results are not the same",
        remedy="give one file of sites for all (--sites)",
    )


def _kinds_of_jumps(
    graph: JumpGraph, image: np.ndarray, cell: np.ndarray
) -> dict[tuple[int, ...], int]:
    """Return the kind of each jump that was seen, by its sites and cells as another result names
    them."""
    shift = graph.shift + cell[graph.end] - cell[graph.begin]
    jumps = np.column_stack([image[graph.begin], image[graph.end], shift])
    return dict(zip(map(tuple, jumps.tolist()), graph.kind.tolist(), strict=True))
