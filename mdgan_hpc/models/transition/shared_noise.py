"""Noise that ions near each other share.

What a step leaves open of two ions that collide is not independent: they push each other in opposite
directions along the line between them, and are carried along together across it. The density of
each ion stays as it is; the normal numbers that spread its Gaussians become correlated with those of
its neighbours, as in a Gaussian copula. With K of pairs

    K_ij = a(d_ij) u u^T + b(d_ij) (1 - u u^T),

u the unit vector from i to j, those of all ions are N^(-1/2) (1 + K) xi, xi independent, N the
blocks of (1 + K)^2 of single ions, so that each ion alone has what it had. a and b are sums over the
shells of the neighbour descriptor, for each pair of residuals of a step. Compare the random force
of dissipative particle dynamics (P. Espanol, P. Warren, Europhys. Lett. 30, 191 (1995)), which is
opposite for the two ions of a pair and along their line only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mdgan_hpc.models.neighbours import Pairs

#: Draws of noise at each configuration of the data, and steps, of the fit.
_DRAWS, _STEPS = 4, 5
#: Pairs of ions that count as much as the expectation that nothing is shared.
_PRIOR = 25.0
#: Ratios of the terms in the series of (1 + E)^(-1/2).
_INVERSE_ROOT = (-1 / 2, -3 / 4, -5 / 6, -7 / 8)


@dataclass(frozen=True)
class SharedNoise:
    """How the noise of an ion follows that of its neighbours.

    Attributes
    ----------
    coupling : Tensor, [2, r, r, A]
        a and b in each shell, between the residuals of the two ions; symmetric in them.
    """

    coupling: Tensor

    def share(self, noise: Tensor, pairs: Pairs) -> Tensor:
        """Return normal numbers [r, 3, n] that ions share, given independent ones.

        Parameters
        ----------
        noise : Tensor, [r, 3, n]
        pairs : Pairs
        """
        r, _, n = noise.shape
        shells, many = pairs.inside.shape[1:]
        coupling = self.coupling.flatten(0, 2) @ pairs.inside.transpose(0, 1).reshape(shells, -1)
        along, across = coupling.view(2, r, r, n * many)
        along = along - across
        unit = pairs.unit[:, :3].transpose(0, 1).reshape(3, -1)
        theirs = noise.flatten(0, 1).index_select(1, pairs.other.flatten()).view(r, 3, -1)
        lengthwise = (theirs * unit).sum(1)  # [r, n M]
        mixed = noise.clone()
        for m in range(r):
            from_all = (along[m] * lengthwise).sum(0) * unit
            for q in range(r):
                from_all = torch.addcmul(from_all, across[m, q], theirs[q])
            mixed[m] += from_all.view(3, n, many).sum(-1)
        return self._as_alone(mixed, along, across, unit)

    @staticmethod
    def _as_alone(mixed: Tensor, along: Tensor, across: Tensor, unit: Tensor) -> Tensor:
        """Multiply [r, 3, n] by the inverse root of the covariance 1 + E of each ion.

        The root is a series in E, which is a few hundredths.
        """
        r, _, n = mixed.shape
        across_squared = torch.einsum("mqj,pqj->mpj", across, across)
        whole = along + across
        difference = torch.einsum("mqj,pqj->mpj", whole, whole) - across_squared
        dyads = (unit[:, None] * unit).view(9, n, -1)
        excess = difference.view(r * r, n, -1).transpose(0, 1) @ dyads.permute(1, 2, 0)
        excess = excess.view(n, r, r, 3, 3)
        isotropic = across_squared.view(r, r, n, -1).sum(-1).permute(2, 0, 1)
        excess += isotropic[..., None, None] * torch.eye(3, device=mixed.device)
        excess = excess.transpose(2, 3).reshape(n, 3 * r, 3 * r)
        vectors = mixed.view(3 * r, n).T[..., None]
        term, total = vectors, vectors
        for factor in _INVERSE_ROOT:
            term = factor * (excess @ term)
            total = total + term
        return total[..., 0].T.reshape(mixed.shape)


def moments(values: Tensor, pairs: Pairs) -> Tensor:
    """Return products of what neighbours have, summed over pairs, [2, r, r, A].

    Along the line between them, and across it (the mean of the two directions).

    Parameters
    ----------
    values : Tensor, [r, 3, n]
    pairs : Pairs
    """
    r, _, n = values.shape
    own = values.permute(2, 0, 1)  # [n, r, 3]
    theirs = own.index_select(0, pairs.other.flatten()).view(n, -1, r, 3)
    unit = pairs.unit[:, :3]
    mine_along = own @ unit  # [n, r, M]
    theirs_along = torch.einsum("njqi,nij->nqj", theirs, unit)
    along = mine_along[:, :, None] * theirs_along[:, None]  # [n, r, r, M]
    whole = torch.einsum("nmi,njqi->nmqj", own, theirs)
    found = torch.stack([along, (whole - along) / 2])
    return torch.einsum("xnmqj,naj->xmqa", found, pairs.inside)


def fit_shared_noise(
    left_open: Sequence[Tensor], pairs: Sequence[Pairs], rng: torch.Generator
) -> SharedNoise:
    """Find the shared noise with which products of neighbours are on average those of the data.

    Parameters
    ----------
    left_open : sequence of Tensor, [r, 3, n]
        What a step leaves open of n ions, in widths of its Gaussians (`Mixture.standardised`).
    pairs : sequence of Pairs
        Of the same ions.
    rng : torch.Generator
    """
    r, shells = len(left_open[0]), pairs[0].inside.shape[1]
    target = sum(moments(x, p) for x, p in zip(left_open, pairs, strict=True))
    weight = sum(torch.einsum("naj,nbj->ab", p.inside, p.inside) for p in pairs)
    # A change of K changes the products by twice as much, to first order.
    solve = torch.linalg.inv(2 * (weight + _PRIOR * torch.eye(shells)).double())
    coupling = torch.zeros(2, r, r, shells)
    draws = [torch.randn(_DRAWS, *x.shape, generator=rng) for x in left_open]
    for _ in range(_STEPS):
        noise = SharedNoise(coupling)
        made = sum(
            moments(noise.share(draw, p), p) / _DRAWS
            for draw_, p in zip(draws, pairs, strict=True)
            for draw in draw_
        )
        # The prior pulls to zero.
        missing = (target - made).double() - 2 * _PRIOR * coupling.double()
        coupling = coupling + (missing @ solve).float()
        coupling = 0.5 * (coupling + coupling.swapaxes(1, 2))
        print("   step", float(missing.abs().max() / weight.max()))
    return SharedNoise(coupling)
