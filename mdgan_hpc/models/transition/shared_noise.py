"""Noise that ions of a cell share.

What a step leaves open of two ions is not independent: ions that collide push each other in
opposite directions along the line between them, are carried along together across it, and all of
them move against the framework when it recoils. The density of each ion stays as it is; the normal
numbers that spread its Gaussians become correlated with those of the others, as in a Gaussian
copula. Those of all N ions of a cell are D^(-1/2) (1 + K) xi, xi independent, D the blocks of
(1 + K)^2 of single ions, so that each ion alone has what it had, and

    K_ij = a(d_ij) u u^T + b(d_ij) (1 - u u^T) + c / N,

u the unit vector from i to the nearest image of j. a and b are sums over the shells of the
neighbour descriptor; all three are matrices between the r residuals of a step. In a larger cell c
is the same: the recoil of a framework of N times the mass is 1 / N of that of one. Compare the
random forces of dissipative particle dynamics, which are opposite for the two ions of a pair and
along their line alone (P. Espanol, P. Warren, Europhys. Lett. 30, 191 (1995)).
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
        """Return the normal numbers [r, 3, n] of ions, given independent ones [r, 3, n].

        In `pairs` each ion has every other one once at most (`Pairs.once`), or D is wrong.
        """
        r, _, n = noise.shape
        number = _numbers(r)
        shells, many = pairs.inside.shape[1:]
        along, across = self.coupling[:, *torch.tril_indices(r, r)]  # [U, A]
        inside = pairs.inside.transpose(0, 1).reshape(shells, -1)
        # Along the line, on top of what acts in all directions.
        beyond, across = (torch.cat([along - across, across]) @ inside).chunk(2)
        unit = pairs.unit[:, :3].transpose(0, 1).reshape(3, -1)
        theirs = noise.view(3 * r, n).index_select(1, pairs.other.flatten()).view(r, 3, -1)
        lengthwise = (theirs * unit).sum(1)  # [r, n M]
        cells = noise.view(r, 3, -1, self.particles)
        mean = torch.einsum("mq,qib->mib", self.everyone, cells.mean(3))
        mixed = (cells + mean[..., None]).view(r, 3, n)
        for m in range(r):
            shared = sum(beyond[number[m][q]] * lengthwise[q] for q in range(r)) * unit
            for q in range(r):
                shared = torch.addcmul(shared, across[number[m][q]], theirs[q])
            mixed[m] += shared.view(3, n, many).sum(-1)
        return _inverse_root(self._excess(beyond, across, unit, n), mixed)

    def _excess(self, beyond: Tensor, across: Tensor, unit: Tensor, n: int) -> Tensor:
        """Return D - 1, [n, 3 r, 3 r], of pairs [U, n M] with unit vectors [3, n M]."""
        r, kept = len(self.everyone), len(beyond)
        number = _numbers(r)
        # Sums over the others of K K^T, and of K for what it makes with c / N: of each what acts
        # along the line beyond the rest, and the rest, which acts in all directions.
        lengthwise, isotropic = (torch.cat([torch.zeros_like(k), k]) for k in (beyond, across))
        for m in range(r):
            for p in range(m + 1):
                at = number[m][p]
                for q in range(r):
                    left, right = number[m][q], number[p][q]
                    isotropic[at].addcmul_(across[left], across[right])
                    lengthwise[at].addcmul_(beyond[left], beyond[right] + across[right])
                    lengthwise[at].addcmul_(across[left], beyond[right])
        dyads = torch.stack([unit[i] * unit[j] for i in range(3) for j in range(i + 1)])
        found = lengthwise.view(2 * kept, n, -1).transpose(0, 1)
        found = found @ dyads.view(6, n, -1).permute(1, 2, 0)  # [n, 2 U, 6]
        for i in range(3):
            found[..., _numbers(3)[i][i]] += isotropic.view(2 * kept, n, -1).sum(-1).T
        full = found[..., _numbers(3)].view(n, 2, -1, 3, 3)[:, :, number]  # [n, 2, r, r, 3, 3]
        each = self.everyone / self.particles
        mutual = torch.einsum("mq,nqpik->nmpik", each, full[:, 1])
        own = 2 * each + self.particles * each @ each
        one = torch.eye(3, device=unit.device)
        excess = full[:, 0] + mutual + mutual.transpose(1, 2) + own[..., None, None] * one
        return excess.transpose(2, 3).reshape(n, 3 * r, 3 * r)


def _numbers(size: int) -> list[list[int]]:
    """Return where entries [size, size] of a symmetric matrix are among those kept of it."""
    return [
        [max(m, p) * (max(m, p) + 1) // 2 + min(m, p) for p in range(size)] for m in range(size)
    ]


def _inverse_root(excess: Tensor, vectors: Tensor) -> Tensor:
    """Return (1 + E)^(-1/2) times vectors [r, 3, n].

    By a series in what is left of E without its mean: a few hundredths.
    """
    scale = 1 + excess.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    one = torch.eye(excess.shape[1], device=excess.device)
    excess = (excess + one) / scale - one
    term = total = vectors.reshape(-1, vectors.shape[2]).T[:, None]
    for factor in _INVERSE_ROOT:
        term = factor * (excess * term).sum(2)[:, None]
        total = total + term
    return (total * scale.rsqrt())[:, 0].T.reshape(vectors.shape)
