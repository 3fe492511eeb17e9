"""How much noise ions share: with it, what steps leave open of two ions is as in data."""

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import Cells, Window
from mdgan_hpc.models.neighbours import NeighbourDescriptor, Pairs
from mdgan_hpc.models.transition.shared_noise import SharedNoise

_log = logging.getLogger(__name__)
#: Trials at most, trials that the next one is made from, and the change that ends them.
_TRIALS, _MEMORY, _SMALL = 20, 5, 2e-3
#: Share of what a trial says that the next one follows.
_MIXING = 0.5
#: Pairs of ions that count as much as the expectation that nothing is shared.
_PRIOR = 25.0
#: Records before and in what is looked at of a window, and times in it.
_WARM_UP, _RECORDS, _TIMES = 32, 64, 8
#: Windows of data that pass the network at once; seed of the draws of noise.
_AT_ONCE, _SEED = 16, 1


class LeavesOpen(Protocol):
    """A density of which this is asked (`TransitionGenerator`)."""

    particles_per_sample: int

    def window_records(self, records: int) -> int:
        """See `Density.window_records`."""

    def left_open(self, window: Window, warm_up: int) -> tuple[Tensor, Tensor]:
        """Return what steps leave open [r, B k, n, 3], and places before [B k, n, 3]."""


def shared_noise_of(
    density: LeavesOpen, descriptor: NeighbourDescriptor, cells: Cells, n_pairs: float
) -> SharedNoise:
    """Return the noise that ions share in data.

    Parameters
    ----------
    density : LeavesOpen
    descriptor : NeighbourDescriptor
    cells : Cells
    n_pairs : float
        Pairs of ions and images looked at, about.
    """
    k = density.particles_per_sample
    each = _AT_ONCE * _TIMES * k * k * len(descriptor.images)
    draws = max(1, round(n_pairs / each))
    left_open: list[Tensor] = []
    near: list[Pairs] = []
    records = density.window_records(_WARM_UP + _RECORDS)
    listed = descriptor.tracked() if descriptor.worth_lists(k) else None
    with torch.no_grad():
        for draw in range(draws):
            left, places = density.left_open(cells(draw, _AT_ONCE, records), _WARM_UP)
            # Times far from each other, then ions of a cell side by side.
            every = slice(None, None, max(1, left.shape[2] // _TIMES))
            left, places = left[:, :, every], places[:, every]
            left = torch.unflatten(left, 1, (-1, k)).permute(0, 4, 1, 3, 2).flatten(2)
            places = torch.unflatten(places, 0, (-1, k)).permute(3, 0, 2, 1).flatten(1, 2)
            left_open.append(left.contiguous())
            places = places.contiguous()
            near.append(descriptor.once(descriptor.pairs(places, listed), places))
            if listed is not None:
                listed.forget()
    return fit_shared_noise(left_open, near, k, torch.Generator().manual_seed(_SEED))


def fit_shared_noise(
    left_open: Sequence[Tensor], pairs: Sequence[Pairs], particles: int, rng: torch.Generator
) -> SharedNoise:
    """Find the shared noise with which products of two ions are on average those of the data.

    Parameters
    ----------
    left_open : sequence of Tensor, [r, 3, n]
        What a step leaves open of ions, in widths of its Gaussians (`Mixture.standardised`).
    pairs : sequence of Pairs
        Of the same ions.
    particles : int
        N, ions of a cell.
    rng : torch.Generator
        On the CPU.
    """
    r = len(left_open[0])
    known = list(zip(left_open, pairs, strict=True))
    target = torch.stack([_products(values, near, particles) for values, near in known]).sum(0)
    draws = [torch.randn(x.shape, generator=rng).to(x.device) for x in left_open]
    response = torch.stack([_response(near, particles) for near in pairs]).sum(0)
    prior = torch.full((len(response),), _PRIOR, dtype=torch.float64)
    prior[-1] = 0.0
    solve = torch.linalg.inv(2 * (response + prior.diag()))

    def correction(trial: np.ndarray) -> np.ndarray:
        numbers = torch.from_numpy(trial)
        noise, made = _as_noise(numbers, particles, target.device), torch.zeros_like(target)
        for draw, near in zip(draws, pairs, strict=True):
            made += _products(noise.share(draw, near), near, particles)
        step = ((target - made).cpu() - 2 * numbers * prior) @ solve
        return np.asarray(step)

    from scipy.optimize import NoConvergence, anderson  # a third of a second, for a fit alone

    # Anderson mixing: D. G. Anderson, J. ACM 12, 547 (1965).
    start = np.zeros((r, r, len(response)))
    mixing = {"alpha": _MIXING, "M": _MEMORY, "maxiter": _TRIALS, "f_tol": _SMALL}
    try:
        found = anderson(correction, start, line_search=None, **mixing)
    except NoConvergence as error:
        found = error.args[0]
        left = float(np.abs(correction(found)).max())
        _log.warning("The noise that ions share was not found: the last change is %.2g.", left)
    found = 0.5 * (found + found.swapaxes(0, 1))
    return _as_noise(torch.from_numpy(found), particles, target.device)


def _as_noise(numbers: Tensor, particles: int, device: torch.device) -> SharedNoise:
    """Return the noise of a, b in each shell and c, [r, r, 2 A + 1]."""
    numbers = numbers.float().to(device)
    coupling = torch.unflatten(numbers[..., :-1], 2, (2, -1)).permute(2, 0, 1, 3).contiguous()
    return SharedNoise(coupling, numbers[..., -1].contiguous(), particles)


def _products(values: Tensor, pairs: Pairs, particles: int) -> Tensor:
    """Return products of what two ions have, summed over pairs, [r, r, 2 A + 1] in double.

    In each shell along the line between them, then across it; last of any two in a cell, over N.

    Parameters
    ----------
    values : Tensor, [r, 3, n]
    pairs : Pairs
    particles : int
    """
    r, _, n = values.shape
    shells, many = pairs.inside.shape[1:]
    unit = pairs.unit[:, :3].transpose(0, 1)
    theirs = values.view(3 * r, n).index_select(1, pairs.other.flatten()).view(r, 3, n, many)
    mine_along, theirs_along = (values[..., None] * unit).sum(1), (theirs * unit).sum(1)
    inside = pairs.inside.transpose(0, 1).reshape(shells, -1).T
    near = values.new_empty(r, r, 2 * shells)
    for m in range(r):
        for q in range(r):
            along = mine_along[m] * theirs_along[q]
            whole = (values[m][..., None] * theirs[q]).sum(0)
            near[m, q] = (torch.stack([along, whole - along]).flatten(1) @ inside).flatten()
    together = values.view(r, 3, -1, particles).sum(3)
    any_two = torch.einsum("mib,qib->mq", together, together)
    any_two = any_two - torch.einsum("min,qin->mq", values, values)
    return torch.cat([near, any_two[..., None] / particles], -1).double()


def _response(pairs: Pairs, particles: int) -> Tensor:
    """Return half of how products answer to a, b and c near zero, [2 A + 1, 2 A + 1] in double."""
    shells = pairs.inside.shape[1]
    inside = pairs.inside.transpose(0, 1).reshape(shells, -1).double().cpu()
    overlap, alone = inside @ inside.T, inside.sum(1) / particles
    found = torch.zeros(2 * shells + 1, 2 * shells + 1, dtype=torch.float64)
    found[:shells, :shells] = overlap
    found[shells:-1, shells:-1] = 2 * overlap  # two directions across the line
    found[-1, :-1] = found[:-1, -1] = torch.cat([alone, 2 * alone])
    found[-1, -1] = 3 * len(pairs.inside) * (particles - 1) / particles**2
    return found
