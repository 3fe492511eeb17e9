"""Critics: networks that judge windows of positions.

A critic first turns positions into features (displacements in units of their deviation and, where
there is a lattice, cosines and sines of the place), then judges these. Penalties act on the
features.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.models.latent import dense

_SLOPE = 0.2


class Critic(nn.Module):
    """Features and their judgement.

    Parameters
    ----------
    records : int
        L, displacements in a window.
    scales : list of float, [3]
        Standard deviation of a displacement between two rows along x, y, z, Angstrom.
    particles : int
        k.
    width : int
    stride : int
        Records from one row of the window to the next.
    waves : Tensor, [3, m], optional
        Phases (radian per Angstrom) of the reciprocal lattice vectors.
    """

    scales: Tensor
    waves: Tensor | None

    def __init__(
        self,
        *,
        records: int,
        scales: list[float],
        particles: int,
        width: int,
        stride: int,
        waves: Tensor | None,
    ) -> None:
        super().__init__()
        self.records, self.stride = records, stride
        self.register_buffer("scales", torch.tensor(scales))
        self.register_buffer("waves", waves)
        channels = particles * (3 if waves is None else 3 + 2 * waves.shape[1])
        self.judge = self._network(channels, width)

    def _network(self, channels: int, width: int) -> nn.Module:
        raise NotImplementedError

    def features(self, positions: Tensor) -> Tensor:
        """Turn positions [B, L + 1, k, 3] into features [B, channels, L]."""
        moved = (positions[:, 1:] - positions[:, :-1]).to(self.scales.dtype) / self.scales
        parts = [moved]
        if self.waves is not None:
            phase = (positions[:, 1:] @ self.waves.to(positions.dtype)).float()
            parts += [phase.cos(), phase.sin()]
        return torch.cat(parts, -1).flatten(2).swapaxes(1, 2)

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


CRITICS: dict[str, type[Critic]] = {"wide": WideCritic, "convolution": ConvolutionCritic}
