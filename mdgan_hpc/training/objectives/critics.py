"""Critics: networks that judge windows of positions.

A critic first turns positions into features (displacements in units of their deviation; where
there is a lattice, cosines and sines of the place; where ions see each other, what they see), then
judges these. Penalties act on the features.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.models.latent import dense
from mdgan_hpc.models.neighbours import NeighbourView
from mdgan_hpc.models.principal import principal_components

_SLOPE = 0.2


class Critic(nn.Module):
    """Features and their judgement.

    Parameters
    ----------
    records : int
        L, displacements in a window.
    covariance : array, [3, L]
        Autocovariance of the displacements between two rows along x, y, z, Angstrom^2.
    particles : int
        k, judged together.
    width : int
    stride : int
        Records from one row of the window to the next.
    waves : Tensor, [3, m], optional
        Phases (radian per Angstrom) of the reciprocal lattice vectors.
    view : NeighbourView, optional
        How ions of whole cells see each other.
    """

    scales: Tensor
    waves: Tensor | None

    def __init__(
        self,
        *,
        records: int,
        covariance: np.ndarray,
        particles: int,
        width: int,
        stride: int,
        waves: Tensor | None,
        view: NeighbourView | None = None,
    ) -> None:
        super().__init__()
        self.records, self.stride, self._particles, self._view = records, stride, particles, view
        scales = torch.from_numpy(covariance[:, 0] ** 0.5).float()
        self.register_buffer("scales", scales)
        self.register_buffer("waves", waves)
        each = 3 + (0 if waves is None else 2 * waves.shape[1])
        each += 0 if view is None else view.scales[0].numel()
        channels = particles * each
        self._learn(covariance)
        self.judge = self._network(channels, width)

    def _network(self, channels: int, width: int) -> nn.Module:
        raise NotImplementedError

    def _learn(self, covariance: np.ndarray) -> None:
        """Take from the data what the features need beside their scales."""

    def _moved(self, displacements: Tensor) -> Tensor:
        """Return displacements [B, L, k, 3], Angstrom, as the network is told them."""
        return displacements.to(self.scales.dtype) / self.scales

    def features(self, positions: Tensor) -> Tensor:
        """Turn positions [B, L + 1, K, 3] into features [B K / k, channels, L]."""
        parts = [self._moved(positions[:, 1:] - positions[:, :-1])]
        if self.waves is not None:
            phase = (positions[:, 1:] @ self.waves.to(positions.dtype)).float()
            parts += [phase.cos(), phase.sin()]
        if self._view is not None:
            parts.append(self._view.of_positions(positions[:, 1:]).to(parts[0].dtype))
        every = torch.cat(parts, -1).swapaxes(1, 2)  # [B, K, L, channels of one]
        together = torch.unflatten(every, 1, (-1, self._particles)).flatten(0, 1)
        return together.transpose(1, 2).flatten(2).swapaxes(1, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Judge features [B, channels, L]; return [B]."""
        judged: Tensor = self.judge(features)
        return judged.flatten()


class _Rows(nn.Module):
    """Cuts [B, channels, L] into rows that do not overlap: [B, n, channels * length]."""

    def __init__(self, records: int, n: int) -> None:
        super().__init__()
        self.n, self.missing = n, -records % n

    def forward(self, features: Tensor) -> Tensor:
        padded = functional.pad(features, (0, self.missing))
        rows: Tensor = torch.unflatten(padded, -1, (self.n, -1))
        return rows.swapaxes(1, 2).flatten(2)


class WideCritic(Critic):
    """The critic of the published MD-GAN: wide and pointwise convolution, three dense layers.

    A convolution whose kernel is as long as its stride is a matrix product over rows, which is
    several times faster on a CPU than the convolution.
    """

    _ROWS = 3

    def _network(self, channels: int, width: int) -> nn.Module:
        n = self._ROWS
        return nn.Sequential(
            _Rows(self.records, n),
            *dense([channels * -(-self.records // n), width, width]),
            nn.Flatten(),
            *dense([n * width, width, width, width]),
            nn.Linear(width, 1),
        )


class ConvolutionCritic(Critic):
    """Strided convolutions that halve the time axis to about eight rows, then one linear layer."""

    def _network(self, channels: int, width: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Conv1d(channels, width, 5, padding=2), nn.LeakyReLU(_SLOPE)]
        rows, units = self.records, width
        for _ in range(max(1, math.ceil(math.log2(self.records / 8)))):
            wider = min(2 * units, 2 * width)
            layers += [nn.Conv1d(units, wider, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
            rows, units = rows // 2, wider
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(rows * units, 1))


class ComponentsCritic(Critic):
    """Dense layers over the principal components of a window, each in units of its deviation.

    The slow components, which make the mean square displacement, count as much as the fast ones.
    """

    #: Least variance that a component is divided by, of the mean variance: fast components hold
    #: hardly any motion.
    _FLOOR = 0.01
    whitening: Tensor

    def _learn(self, covariance: np.ndarray) -> None:
        vectors, variances = principal_components(covariance)
        least = self._FLOOR * variances.mean(1, keepdim=True)
        self.register_buffer("whitening", vectors / torch.maximum(variances, least).sqrt()[:, None])

    def _moved(self, displacements: Tensor) -> Tensor:
        moved = displacements.to(self.whitening.dtype)
        return torch.einsum("btkx,xtc->bckx", moved, self.whitening)

    def _network(self, channels: int, width: int) -> nn.Module:
        layers = dense([channels * self.records, *[width] * 5])
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 1))


CRITICS: dict[str, type[Critic]] = {
    "wide": WideCritic,
    "convolution": ConvolutionCritic,
    "components": ComponentsCritic,
}
