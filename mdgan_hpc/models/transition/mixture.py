"""Mixtures of Gaussians in three dimensions, and the bounds that their parameters keep."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mdgan_hpc.models.transition.config import TransitionConfig


def tiled(values: Tensor, n: int) -> Tensor:
    """Repeat values [..., k] of the ions of a cell for n ions; those [] of all stay as they are."""
    if not values.ndim:
        return values
    return values.repeat(*[1] * (values.ndim - 1), n // values.shape[-1])


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
        Of vector inputs, in standard deviations.
    means : float
        Of the means of a Gaussian residual, in standard deviations.
    stretch : float
        Length from which on means grow exponentially, standard deviations; 0: nowhere.
    direction : float
        Of the stretch along a direction.
    log_width_least, log_width_most : float
        Of the logarithm of the width of a Gaussian.
    directions : int
        Stretched directions of each Gaussian.
    """

    vectors: float
    means: float
    stretch: float
    direction: float
    log_width_least: float
    log_width_most: float
    directions: int

    @classmethod
    def of(cls, config: TransitionConfig) -> "Bounds":
        """Return those of a configuration."""
        return cls(
            config.vector_bound,
            config.mean_bound,
            config.mean_stretch,
            config.direction_bound,
            config.log_width_least,
            config.log_width_most,
            config.directions,
        )

    def mean_limits(self, mean_bounds: Tensor) -> Tensor:
        """Return the bounds of what the network gives as means, of residuals with `mean_bounds`."""
        limits = self.means * mean_bounds
        return self.stretch * torch.asinh(limits / self.stretch) if self.stretch else limits

    def stretched(self, means: Tensor, dim: int) -> Tensor:
        """Lengthen bounded vectors along `dim`: l becomes c sinh(l / c), c the stretch.

        The force on an ion that runs into another grows exponentially with how far it has come, so
        that residuals of a hard collision are many standard deviations long. A network that had to
        give such lengths itself would make them too short.
        """
        if not self.stretch:
            return means
        length = means.square().sum(dim, keepdim=True).add(1e-8).sqrt() / self.stretch
        return means * (torch.sinh(length) / length)

    def shortened(self, means: Tensor) -> Tensor:
        """Undo `stretched` along the last axis."""
        if not self.stretch:
            return means
        length = means.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-4) / self.stretch
        return means * (torch.asinh(length) / length)

    def gaussians_last(self, rows: Tensor, components: int) -> Tensor:
        """Reorder rows [r, parameters, ...] of the last layer: vectors get K behind x, y, z."""
        logits, log_widths, vectors = self.split(rows, components, 1)
        turned = torch.unflatten(vectors, 1, (components, -1)).swapaxes(1, 2).flatten(1, 2)
        return torch.cat([logits, log_widths, turned], 1)

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
class NoiseByEnergy:
    """How the noise of a step changes with the kinetic energy of an ion before it.

    A factor exp(c (E - 1)), E the squared last displacement over its mean.

    Attributes
    ----------
    slope : Tensor, [] or [k]
        c, of all ions or of each of a cell.
    mean_square : float or Tensor [k]
        Of a displacement of one record, Angstrom^2.
    bound : float
        Largest E that counts.
    level : Tensor [k], or None
        Logarithm of a factor beside it.
    """

    slope: Tensor
    mean_square: float | Tensor
    bound: float
    level: Tensor | None = None

    @property
    def changes(self) -> bool:
        """Whether it makes a difference."""
        return bool(self.slope.any()) or self.level is not None

    def of_ions(self, n: int) -> "NoiseByEnergy":
        """Return it for n ions, those of a cell following each other."""
        if self.level is None or not isinstance(self.mean_square, Tensor):
            return self
        each = (tiled(x, n) for x in (self.slope, self.mean_square, self.level))
        slope, mean_square, level = each
        return NoiseByEnergy(slope, mean_square, self.bound, level)

    def log_factor(self, displacement: Tensor, dim: int) -> Tensor:
        """Return c (E - 1), given last displacements with x, y, z along `dim`, Angstrom."""
        energy = displacement.square().sum(dim) / self.mean_square
        factor = self.slope * (energy.clamp(max=self.bound) - 1)
        return factor if self.level is None else factor + self.level


@dataclass(frozen=True)
class Mixture:
    """Gaussians x = m + s (1 + v v^T)(1 + u u^T) e of a vector x, e standard normal.

    Attributes
    ----------
    log_weights, log_widths : Tensor, [..., K]
        The latter log s.
    means : Tensor, [..., 3, K]
    directions : Tensor, [..., 2, 3, K]
        u and v. Gaussians come last, so that arithmetic runs along contiguous rows.
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
            In the order of `Bounds.gaussians_last`.
        components : int
            K.
        mean_bounds : Tensor, [r, 1, 1]
            How far the means of each residual may lie, beside those of one that is Gaussian.
        bounds : Bounds
        """
        k = components
        # Split as they lie in memory, so that the gradient is put together in one piece.
        rows = torch.split(out.mT, [k, k, 3 * k, 3 * k * bounds.directions], 1)
        logits, widths, means, directions = (part.mT for part in rows)
        means = torch.unflatten(means, -1, (3, k))
        directions = torch.unflatten(directions, -1, (bounds.directions, 3, k))
        most = bounds.log_width_most + mean_bounds.log()
        bounded = Bounded.apply(widths, bounds.log_width_least, most)  # type: ignore[no-untyped-call]
        return cls(
            logits - logits.logsumexp(-1, keepdim=True),
            bounded,
            bounds.stretched(saturated(means, bounds.mean_limits(mean_bounds)[..., None], -2), -2),
            saturated(directions, bounds.direction, -2),
        )

    def standardised(self, x: Tensor) -> Tensor:
        """Return x [..., 3] less its mean, in widths of the Gaussians (A^-1 of that).

        If normal numbers e with covariances C between ions spread the Gaussians, covariances of x
        are A C A^T, with A the mean of s (1 + v v^T)(1 + u u^T).
        """
        weights = self.log_weights.exp()[..., None, :]
        mean = (weights * self.means).sum(-1)
        spread = torch.eye(3, device=x.device)[..., None]
        for v in self.directions.unbind(-3):
            spread = (
                spread + v[..., :, None, :] * (v[..., :, None, :] * spread).sum(-3)[..., None, :, :]
            )
        each = (weights * self.log_widths.exp()[..., None, :])[..., None, :, :]
        inverse: Tensor = torch.linalg.solve((each * spread).sum(-1), (x - mean)[..., None])
        return inverse[..., 0]

    def widened(self, log_factor: Tensor) -> "Mixture":
        """Return it with wider Gaussians, by the logarithm of a factor [...]."""
        widths = self.log_widths + log_factor[..., None]
        return Mixture(self.log_weights, widths, self.means, self.directions)

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log density [...] at x [..., 3]."""
        z = (x[..., None] - self.means) * torch.exp(-self.log_widths)[..., None, :]
        normal = 3 * self.log_widths + 1.5 * math.log(2 * math.pi)
        for v in self.directions.unbind(-3)[::-1]:
            stretch = 1 + (v * v).sum(-2)
            z = z - v * ((v * z).sum(-2) / stretch)[..., None, :]
            normal = normal + stretch.log()
        return (self.log_weights - 0.5 * z.square().sum(-2) - normal).logsumexp(-1)
