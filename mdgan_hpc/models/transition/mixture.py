"""Mixtures of Gaussians in three dimensions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Gaussians x = m + s (1 + v v^T)(1 + u u^T) e of a vector x, e standard normal.

    Attributes
    ----------
    log_weights, log_widths : Tensor, [..., K]
        The latter log s.
    means : Tensor, [..., K, 3]
    directions : Tensor, [..., K, 2, 3]
        u and v.
    """

    log_weights: Tensor
    log_widths: Tensor
    means: Tensor
    directions: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log density [...] at x [..., 3]."""
        z = (x[..., None, :] - self.means) * torch.exp(-self.log_widths)[..., None]
        normal = 3 * self.log_widths + 1.5 * math.log(2 * math.pi)
        for v in self.directions.unbind(-2)[::-1]:
            stretch = 1 + (v * v).sum(-1)
            z = z - v * ((v * z).sum(-1) / stretch)[..., None]
            normal = normal + stretch.log()
        return (self.log_weights - 0.5 * z.square().sum(-1) - normal).logsumexp(-1)
