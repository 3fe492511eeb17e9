"""Matching a few physical statistics of free runs to those of the data, as a part of the loss.

A likelihood holds every single step, but small errors of many steps add up in free runs: cages too
wide, hops too often. The statistics here see that: moments of the displacement at several lags
and, where there is a lattice, the density on the first reciprocal vectors. The idea of a
statistical-knowledge term in MD-GAN is that of A. Kawada et al., J. Chem. Inf. Model. 63, 76
(2023).

With s the statistic of a batch, m its running mean and r that of the data, the gradient used is
that of (m - r)^2 with m taken as a constant in the first factor: 2 (m - r) ds. A plain
(s - r)^2 would also push down the scatter of s between batches, which is the rare events.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

_MEMORY = 0.98


def log_lags(longest: int, count: int = 12) -> list[int]:
    """Return about `count` log-spaced lags from 1 to `longest` records."""
    return np.unique(np.round(np.geomspace(1, longest, count)).astype(int)).tolist()


class Statistics(nn.Module):
    """Statistics of paths, their values in the data, and their running means in free runs.

    Parameters
    ----------
    lags : list of int
        Records.
    waves : Tensor [3, m], optional
        Phases (radian per Angstrom) of reciprocal lattice vectors.
    """

    reference: Tensor
    mean: Tensor
    seen: Tensor
    waves: Tensor | None

    def __init__(self, lags: list[int], waves: Tensor | None) -> None:
        super().__init__()
        self.lags = lags
        self.register_buffer("waves", waves)
        size = 2 * len(lags) + (0 if waves is None else 2 * waves.shape[1])
        self.register_buffer("reference", torch.ones(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, path: Tensor) -> Tensor:
        """Return the statistics [S] of paths [B, n, k, 3], Angstrom, averaged over the paths."""
        second, fourth = [], []
        for lag in self.lags:
            squared = (path[:, lag:] - path[:, :-lag]).square().sum(-1)
            second.append(squared.mean())
            fourth.append(squared.square().mean())
        parts = [torch.stack(second), torch.stack(fourth)]
        if self.waves is not None:
            phase = path @ self.waves.to(path.dtype)
            parts.append(torch.cat([phase.cos(), phase.sin()], -1).flatten(0, -2).mean(0))
        return torch.cat(parts)

    def set_reference(self, windows: Sequence[Tensor]) -> None:
        """Take the mean over batches of data windows [B, n, k, 3] as the reference."""
        self.reference.copy_(torch.stack([self(window) for window in windows]).mean(0))

    def loss(self, now: Tensor, batch: Tensor) -> Tensor:
        """Return a number whose gradient pulls the running mean to the reference.

        Parameters
        ----------
        now : Tensor, [S]
            Statistics of the free runs of this rank, with gradient.
        batch : Tensor, [S]
            Those of all ranks, without; they join the running mean.
        """
        self.seen += 1
        weight = torch.clamp(1 / self.seen, min=1 - _MEMORY)
        self.mean.lerp_(batch.to(self.mean.dtype), weight.item())
        count = 2 * len(self.lags)
        scale = torch.ones_like(self.reference)
        scale[:count] = self.reference[:count]
        error = (self.mean - self.reference) / scale
        share = torch.full_like(scale, 1 / len(self.lags))
        # A fourth moment that is off by a factor f^2 belongs to a second one off by f.
        share[count // 2 : count] *= 0.25
        share[count:] = 1 / max(1, len(scale) - count)
        return (2 * share * error.clamp(-1, 1) * now / scale).sum()

    def error(self) -> Tensor:
        """Return the root mean square relative error of the second moments, a number."""
        count = len(self.lags)
        return (self.mean[:count] / self.reference[:count] - 1).square().mean().sqrt()
