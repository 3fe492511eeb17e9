"""Noise that ions of a cell share.

What a step leaves open of two ions is not independent: ions that collide push each other in
opposite directions along the line between them, are carried along together across it, and all of
them move against the framework when it recoils. The density of each ion stays as it is; the normal numbers
that spread its Gaussians become correlated with those of the others, as in a Gaussian copula. Those
of all N ions of a cell are D^(-1/2) (1 + K) xi, xi independent, D the blocks of (1 + K)^2 of single
ions, so that each ion alone has what it had, and

    K_ij = a(d_ij) u u^T + b(d_ij) (1 - u u^T) + c / N,

u the unit vector from i to j. a and b are sums over the shells of the neighbour descriptor; all
three are matrices between the r residuals of a step. In a larger cell c is the same: the recoil of
a framework of N times the mass is 1 / N of that of one. Compare the random forces of dissipative
particle dynamics, which are opposite for the two ions of a pair and along their line alone
(P. Espanol, P. Warren, Europhys. Lett. 30, 191 (1995)).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mdgan_hpc.models.neighbours import Pairs

#: Ratios of the terms in the series of (1 + E)^(-1/2).
_INVERSE_ROOT = (-1 / 2, -3 / 4, -5 / 6, -7 / 8)


@dataclass(frozen=True)
class SharedNoise:
    """How the noise of an ion follows that of the others.

    Attributes
    ----------
    coupling : Tensor, [2, r, r, A]
        a and b in each shell; symmetric in the residuals.
    everyone : Tensor, [r, r]
        c; likewise.
    particles : int
        N, ions of a cell.
    """

    coupling: Tensor
    everyone: Tensor
    particles: int

    def share(self, noise: Tensor, pairs: Pairs) -> Tensor:
        """Return the normal numbers [r, 3, n] of ions, given independent ones [r, 3, n]."""
        r, _, n = noise.shape
        shells, many = pairs.inside.shape[1:]
        inside = pairs.inside.transpose(0, 1).reshape(shells, -1)
        along, across = (self.coupling.flatten(0, 2) @ inside).view(2, r, r, -1)
        along = along - across  # on top of what acts in all directions
        unit = pairs.unit[:, :3].transpose(0, 1).reshape(3, -1)
        theirs = noise.view(3 * r, n).index_select(1, pairs.other.flatten()).view(r, 3, -1)
        lengthwise = (theirs * unit).sum(1)  # [r, n M]
        mean = noise.view(r, 3, -1, self.particles).mean(3, keepdim=True)
        mean = torch.einsum("mq,qibk->mibk", self.everyone, mean)
        mixed = (noise.view(r, 3, -1, self.particles) + mean).view(r, 3, n)
        for m in range(r):
            shared = (along[m] * lengthwise).sum(0) * unit
            for q in range(r):
                shared = torch.addcmul(shared, across[m, q], theirs[q])
            mixed[m] += shared.view(3, n, many).sum(-1)
        shape = r, r, n, many
        excess = self._excess(along.view(shape), across.view(shape), unit)
        return _inverse_root(excess, mixed)

    def _excess(self, along: Tensor, across: Tensor, unit: Tensor) -> Tensor:
        """Return D - 1, [n, 3 r, 3 r], of pairs [r, r, n, M] with unit vectors [3, n M]."""
        r, _, n, many = along.shape
        dyads = (unit[:, None] * unit).view(9, n, many).permute(1, 2, 0)
        one, each = torch.eye(3, device=unit.device), self.everyone / self.particles

        def blocks(lengthwise: Tensor, isotropic: Tensor) -> Tensor:
            """Add up what pairs have, [n, r, r, 3, 3]."""
            found = (lengthwise.flatten(0, 1).transpose(0, 1) @ dyads).view(n, r, r, 3, 3)
            return found + isotropic.sum(-1).permute(2, 0, 1)[..., None, None] * one

        # Sums over the others of K K^T, and of K for what it makes with c / N.
        across_squared = torch.einsum("mqnj,pqnj->mpnj", across, across)
        whole = along + across
        squared = torch.einsum("mqnj,pqnj->mpnj", whole, whole) - across_squared
        mutual = torch.einsum("mq,nqpik->nmpik", each, blocks(along, across))
        own = (2 * each + self.particles * each @ each)[..., None, None] * one
        excess = blocks(squared, across_squared) + mutual + mutual.transpose(1, 2) + own
        return excess.transpose(2, 3).reshape(n, 3 * r, 3 * r)


def _inverse_root(excess: Tensor, vectors: Tensor) -> Tensor:
    """Return (1 + E)^(-1/2) times vectors [r, 3, n], by a series: E is a few hundredths."""
    term = total = vectors.reshape(-1, vectors.shape[2]).T[..., None]
    for factor in _INVERSE_ROOT:
        term = factor * (excess @ term)
        total = total + term
    return total[..., 0].T.reshape(vectors.shape)
