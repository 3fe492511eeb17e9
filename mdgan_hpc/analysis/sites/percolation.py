"""In how many directions a network of jumps leads through the crystal."""

from collections import defaultdict

import numpy as np


def dimensions(begin: np.ndarray, end: np.ndarray, shift: np.ndarray) -> int:
    """Return in how many independent directions an ion can get to infinity: 0 to 3.

    Parameters
    ----------
    begin, end : array of int, [J]
        Sites of the cell that jumps connect, taken both ways.
    shift : array of int, [J, 3]
        Cells from the one to the other.

    Notes
    -----
    A spanning tree gives each site of a connected part a cell; each other jump closes a ring whose
    cells add up to a lattice vector. The rank of these vectors is the answer.
    """
    neighbours = defaultdict(list)
    for b, e, s in zip(begin.tolist(), end.tolist(), shift, strict=True):
        neighbours[b].append((e, s))
        neighbours[e].append((b, -s))
    place: dict[int, np.ndarray] = {}
    best = 0
    for root in list(neighbours):
        if root in place:
            continue
        place[root], rings, to_do = np.zeros(3, int), [np.zeros(3, int)], [root]
        while to_do:
            here = to_do.pop()
            for there, step in neighbours[here]:
                if there not in place:
                    place[there] = place[here] + step
                    to_do.append(there)
                else:
                    rings.append(place[here] + step - place[there])
        unique = np.unique(np.array(rings), axis=0)
        best = max(best, int(np.linalg.matrix_rank(unique)))
    return best
