"""Mixtures of Gaussians in three dimensions, and the bounds that their parameters keep."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mdgan_hpc.models.transition.config import TransitionConfig


def saturated(vectors: Tensor, limit: float | Tensor, dim: int = -1) -> Tensor:
    """Shorten vectors along `dim` smoothly to less than `limit`; short ones stay as they are."""
    length = vectors.square().sum(dim, keepdim=True).add(1e-8).sqrt()
    return vectors * (torch.tanh(length / limit) * limit / length)


class Bounded(torch.autograd.Function):
    """Values between two bounds; from beyond one the gradient passes only when it leads back.

    Without any gradient there a Gaussian that has met a bound would stay. With all of it, data far
    out drive the value on and on where that changes nothing, and the weights that it shares with
    everything else along with it, until the training is lost.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, least: float, most: Tensor) -> Tensor:
        """Return the bounded values."""
        bounded = values.clamp(min=least).minimum(most)
        ctx.save_for_backward(values - bounded)
        return bounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient where a step against it leads back, or stays inside."""
        (beyond,) = ctx.saved_tensors
        return gradient * (beyond * gradient >= 0), None, None


@dataclass(frozen=True)
class Bounds:
    """What the network may give; away from all data it can then not heat up an ion.

    Attributes
    ----------
    vectors : float
        Of vector inputs, and of the means of a Gaussian residual, in standard deviations.
    direction : float
        Of the stretch along a direction.
    log_width_least, log_width_most : float
        Of the logarithm of the width of a Gaussian.
    directions : int
        Stretched directions of each Gaussian.
    """

    vectors: float
    direction: float
    log_width_least: float
    log_width_most: float
    directions: int

    @classmethod
    def of(cls, config: TransitionConfig) -> "Bounds":
        """Return those of a configuration."""
        return cls(
            config.vector_bound,
            config.direction_bound,
            config.log_width_least,
            config.log_width_most,
            config.directions,
        )

    def split(self, out: Tensor, components: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """Split what the network gives along `dim` into the parameters of a mixture.

        Returns
        -------
        logits, log_widths : Tensor, K along `dim`
        vectors : Tensor, K * (1 + directions) * 3 along `dim`
            Of each Gaussian the mean, then the stretched directions.
        """
        k = components
        n_vectors = k * (1 + self.directions) * 3
        return out.narrow(dim, 0, k), out.narrow(dim, k, k), out.narrow(dim, 2 * k, n_vectors)


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

    @classmethod
    def of(cls, out: Tensor, components: int, mean_bounds: Tensor, bounds: Bounds) -> "Mixture":
        """Return the mixtures that the network gives.

        Parameters
        ----------
        out : Tensor, [r, B, K (2 + 3 (1 + directions))]
        components : int
            K.
        mean_bounds : Tensor, [r, 1, 1]
            How far the means of each residual may lie, beside those of one that is Gaussian.
        bounds : Bounds
        """
        logits, widths, rest = bounds.split(out, components, -1)
        vectors = torch.unflatten(rest, -1, (components, 1 + bounds.directions, 3))
        most = bounds.log_width_most + mean_bounds.log()
        bounded = Bounded.apply(widths, bounds.log_width_least, most)  # type: ignore[no-untyped-call]
        return cls(
            logits.log_softmax(-1),
            bounded,
            saturated(vectors[..., 0, :], bounds.vectors * mean_bounds[..., None]),
            saturated(vectors[..., 1:, :], bounds.direction),
        )

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log density [...] at x [..., 3]."""
        z = (x[..., None, :] - self.means) * torch.exp(-self.log_widths)[..., None]
        normal = 3 * self.log_widths + 1.5 * math.log(2 * math.pi)
        for v in self.directions.unbind(-2)[::-1]:
            stretch = 1 + (v * v).sum(-1)
            z = z - v * ((v * z).sum(-1) / stretch)[..., None]
            normal = normal + stretch.log()
        return (self.log_weights - 0.5 * z.square().sum(-1) - normal).logsumexp(-1)
