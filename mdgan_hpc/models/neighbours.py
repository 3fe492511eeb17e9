"""What an ion sees of the ions around it.

In shells of distance, smooth in it: how many ions there are, and the sum of the unit vectors to
them. The ions of one simulation see each other and their periodic images.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: Radii of the shells and their width (Gaussian), Angstrom.
SHELLS = (2.5, 3.5, 4.5, 5.5, 6.5)
WIDTH = 0.6
#: Where all of them end, Angstrom.
CUTOFF = 7.5
_FRAMES = 500


def images(cell: np.ndarray) -> np.ndarray:
    """Return the lattice translations [s, 3] that bring a rounded difference within `CUTOFF`.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    """
    from scipy.optimize import lsq_linear

    reach = np.ceil(CUTOFF * np.linalg.norm(np.linalg.inv(cell), axis=0) + 0.5).astype(int)
    every = np.array(list(itertools.product(*[range(-n, n + 1) for n in reach])), float)
    # From the rounded differences, a box in fractions, to the image of the origin.
    least = [2 * lsq_linear(cell.T, -shift @ cell, (-0.5, 0.5)).cost for shift in every]
    return every[np.array(least) < CUTOFF**2]


def look_around(place: Tensor, cell: Tensor, shifts: Tensor) -> Tensor:
    """Return what each ion sees.

    Parameters
    ----------
    place : Tensor, [3, B, k]
        Fractional positions of k ions that see each other.
    cell : Tensor, [3, 3]
        Rows are the cell vectors, Angstrom.
    shifts : Tensor, [s, 3]
        Of `images`.

    Returns
    -------
    Tensor, [A, 4, B, k]
        Of each shell the sum of unit vectors to the ions in it, and their number.
    """
    _, batch, k = place.shape
    apart = place[:, :, None, :] - place[:, :, :, None]  # to the last ion from the other
    apart = apart - apart.round()
    apart = (apart[:, :, :, None] + shifts.T[:, None, None, :, None]).flatten(1)
    apart = cell.T @ apart  # [3, B k s k]
    squared = apart.square().sum(0)
    seen = (squared > 1e-6) & (squared < CUTOFF**2)  # not itself
    distance = torch.where(seen, squared, CUTOFF**2).sqrt()
    end = 0.5 + 0.5 * torch.cos(distance * (math.pi / CUTOFF))
    shells = distance.new_tensor(SHELLS)[:, None]
    inside = torch.exp((distance - shells).square() * (-0.5 / WIDTH**2)) * end
    unit = torch.cat([apart / distance, torch.ones_like(distance)[None]])
    # For each ion the sum over the others and their images.
    inside, unit = (x.view(len(x), batch * k, -1).transpose(0, 1) for x in (inside, unit))
    return (inside @ unit.mT).permute(1, 2, 0).unflatten(2, (batch, k))


def of_runs(runs: Sequence[np.ndarray], cell: np.ndarray) -> list[np.ndarray]:
    """Return what all ions of runs [T, N, 3] see at all frames, [T, N, A, 4] each, float32."""
    box = torch.from_numpy(np.array(cell, float))
    shifts, inverse = torch.from_numpy(images(cell)), torch.linalg.inv(box)
    seen = []
    for run in runs:
        place = (torch.from_numpy(run).double() @ inverse).permute(2, 0, 1)
        pieces = [look_around(part, box, shifts).float() for part in place.split(_FRAMES, 1)]
        seen.append(torch.cat(pieces, 2).permute(2, 3, 0, 1).numpy())
    return seen


def scales(seen: Sequence[np.ndarray]) -> np.ndarray:
    """Return mean and deviation [2, A, 4] of what is seen; vectors have mean zero.

    Parameters
    ----------
    seen : sequence of array, [T, N, A, 4]
        Of `of_runs`.
    """
    every = np.concatenate([s.reshape(-1, *s.shape[2:]) for s in seen])
    mean = np.zeros(every.shape[1:])
    mean[:, 3] = every[:, :, 3].mean(0)
    deviation = np.empty_like(mean)
    deviation[:, :3] = np.sqrt((every[:, :, :3] ** 2).mean((0, 2)))[:, None]
    deviation[:, 3] = every[:, :, 3].std(0)
    # An empty shell stays one whose ions can be told.
    return np.stack([mean, np.maximum(deviation, 0.05)])
