"""The published MD-GAN: a Markov chain of dense latent vectors, each decoded into a window.

K. Endo, K. Tomobe, K. Yasuoka, "Multi-step time series generator for molecular dynamics",
AAAI 32, 2192 (2018): z(k+1) = F(z(k), r(k)); a network G turns z(k) and noise into the k-th window
of records. With several particles as one sample: A. Kawada et al., Soft Matter 18, 8446 (2022).
"""

import itertools
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.config import key, require
from mdgan_hpc.models.base import DataSettings, DataSummary, Generator, Grouping, State
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.principal import autocovariance, principal_components

#: Of the leaky rectifiers, as published.
_SLOPE = 0.3
#: Of the odd ones: where the slope changes, the slope above, and the gain of the first weights.
_KNEE, _STEEP, _GAIN = 0.5, 1.2, 1.4
#: Of the last layer's first weights where every component begins as a random number.
_SMALL = 0.3


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """The published MD-GAN."""

    hidden: int = key(128, "units | of the layers of the transition; the decoder has twice as many")
    latent: int = key(32, "numbers | size of the latent vector z")
    window: int = key(32, "records | decoded from one latent vector")
    relaxation: int = key(10, "steps | transitions before the first window")
    decodes: Literal["displacements", "components"] = key(
        "displacements",
        "what the decoder makes: displacements in units of their deviation, as published, or "
        "principal components of a window, each of which begins as a random number of its own",
    )
    inversion: bool = key(
        False,
        "a path is as likely as the same inverted through a point (no polar crystal): the networks "
        "are odd, so ions do not drift",
    )
    particles_per_sample: int = key(1, "particles | generated together")
    grouping: Literal["file", "nearest"] = key(
        "file",
        "which ones: those that follow each other in the file (a molecule), or each with those "
        "nearest to it where the window begins (a neighbourhood)",
    )

    def __post_init__(self) -> None:
        for name in ("hidden", "latent", "window", "relaxation", "particles_per_sample"):
            value = getattr(self, name)
            require(value >= 1, f"generator.{name}", value, "at least 1")
        require(
            self.grouping == "file" or self.particles_per_sample > 1,
            "generator.grouping",
            self.grouping,
            "'file' where particles_per_sample is 1",
        )


class OddRectifier(nn.Module):
    """A leaky rectifier of either sign: the published slope below `_KNEE`, `_STEEP` above."""

    def forward(self, x: Tensor) -> Tensor:
        return _SLOPE * x + (_STEEP - _SLOPE) * functional.softshrink(x, _KNEE)


def dense(widths: list[int], *, last_linear: bool = False, odd: bool = False) -> nn.Sequential:
    """Return linear layers with leaky rectifiers between and, unless `last_linear`, at the end.

    `odd` networks have no biases: the output changes its sign with the input.
    """
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layer = nn.Linear(width, following, bias=not odd)
        if odd:
            nn.init.normal_(layer.weight, 0.0, _GAIN * width**-0.5)
        layers += [layer, OddRectifier() if odd else nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*(layers[:-1] if last_linear else layers))


class LatentGenerator(Generator):
    """Latent Markov chain with a window decoder.

    Parameters
    ----------
    config : LatentConfig
    scales : list of float, [3]
        Standard deviation of a displacement along x, y, z, Angstrom.
    """

    kind = "latent"
    label = "MD-GAN"
    Config = LatentConfig
    config: LatentConfig
    scales: Tensor
    components: Tensor

    def __init__(self, config: LatentConfig, *, scales: list[float]) -> None:
        super().__init__()
        self.records_per_step = config.window
        self.particles_per_sample = config.particles_per_sample
        self.latent, self.relaxation = latent, relaxation = config.latent, config.relaxation
        self.start_size = latent * (1 + relaxation)
        outputs = config.window * config.particles_per_sample * 3
        own = config.decodes == "components"
        drawn = outputs if own else 2 * latent
        # r of the transition, and noise of the decoder.
        self.noise_size = latent + drawn
        width, self._odd = config.hidden, config.inversion
        odd = self._odd
        self.transition = nn.Sequential(
            *dense([2 * latent, width, width], odd=odd),
            nn.Linear(width, width, bias=not odd),
            nn.Linear(width, latent, bias=not odd),
        )
        self.map_latent = dense([latent, width], odd=odd)
        self.map_noise = dense([drawn, width], odd=odd)
        self.decoder = dense([2 * width] * 4 + [outputs], last_linear=True, odd=odd)
        self.register_buffer("scales", torch.tensor(scales))
        if own:
            # Component by component: the number of its own, and what the latent vector adds.
            self.direct = nn.Linear(latent + drawn, outputs, bias=False)
            self.register_buffer("components", torch.zeros(3, config.window, config.window))
            with torch.no_grad():
                self.direct.weight.zero_()
                self.direct.weight[:, latent:] = torch.eye(outputs)
                list(self.decoder.parameters())[-1 if odd else -2].mul_(_SMALL)

    @classmethod
    def check(cls, config: LatentConfig, data: DataSettings) -> None:
        """Refuse windows of data that are not whole windows of the decoder, and a symmetry."""
        require(
            data.records % config.window == 0,
            "data.records",
            data.records,
            f"a multiple of generator.window ({config.window})",
        )
        require(
            config.inversion or data.symmetry in ("auto", "none"),
            "data.symmetry",
            data.symmetry,
            "'auto' or 'none' for the latent generator without generator.inversion, which uses "
            "no symmetry",
        )

    @classmethod
    def uses_symmetry(cls, config: LatentConfig) -> bool:
        """Tell whether windows are moved: where inverted paths are as likely."""
        return config.inversion

    @classmethod
    def whole_records(cls, config: LatentConfig, records: int) -> int:
        """Return whole windows of the decoder, as many as hold `records`."""
        return -(-records // config.window) * config.window

    @classmethod
    def grouping(cls, config: LatentConfig) -> tuple[int, Grouping]:
        """Return how many particles of the data form a sample, and which."""
        return config.particles_per_sample, config.grouping

    @classmethod
    def from_data(
        cls, config: LatentConfig, summary: DataSummary, surroundings: Surroundings | None
    ) -> Self:
        """Build a generator for data; see `Generator.from_data`."""
        every = np.concatenate([d.reshape(-1, 3) for d in summary.displacements])
        generator = cls.create(config, scales=every.std(0).tolist())
        if config.decodes == "components":
            vectors, variances = principal_components(
                autocovariance(summary.displacements, config.window)
            )
            generator.components.copy_(vectors * variances.sqrt()[:, None])
        return generator

    @classmethod
    def from_format_1(
        cls, arguments: dict[str, Any], weights: dict[str, Tensor]
    ) -> tuple[LatentConfig, dict[str, Any], dict[str, Tensor]]:
        """Return what a file of the first format holds; see `Generator.from_format_1`."""
        names = ("latent", "window", "relaxation", "particles_per_sample")
        known = {name: arguments[name] for name in names}
        config = LatentConfig(hidden=arguments["width"], **known)
        return config, {"scales": arguments["scales"]}, weights

    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw z uniform in [-1, 1) and let it relax; see `Generator.start`."""
        numbers = torch.unflatten(2 * uniform - 1, -1, (1 + self.relaxation, self.latent))
        z = numbers[:, 0]
        for r in numbers[:, 1:].unbind(1):
            z = self._next(z, r)
        return {"latent": z}, uniform.new_zeros(len(uniform), self.particles_per_sample, 3)

    def _next(self, z: Tensor, r: Tensor) -> Tensor:
        z = self.transition(torch.cat([z, r], -1))
        # Standardised within the sample: z can neither die nor grow.
        if not self._odd:
            z = z - z.mean(-1, keepdim=True)
        return z / (z.square().mean(-1, keepdim=True) + 1e-8).sqrt()

    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on window by window; see `Generator.advance`."""
        z = state["latent"]
        windows = []
        for draw in noise:
            # erf(x / sqrt 2) of a standard normal number is uniform in (-1, 1).
            z = self._next(z, torch.erf(draw[:, : self.latent] * 0.5**0.5))
            windows.append(self._decode(z, draw[:, self.latent :]))
        return torch.cat(windows, 1).swapaxes(0, 1), {"latent": z}

    def _decode(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return the displacements [B, window, k, 3] of a window."""
        made = self.decoder(torch.cat([self.map_latent(z), self.map_noise(noise)], -1))
        shape = (self.records_per_step, self.particles_per_sample, 3)
        if self.config.decodes == "displacements":
            return torch.unflatten(made, -1, shape) * self.scales
        made = torch.unflatten(made + self.direct(torch.cat([z, noise], -1)), -1, shape)
        return torch.einsum("bckx,xtc->btkx", made, self.components)
