"""The published MD-GAN: a Markov chain of dense latent vectors, each decoded into a window.

K. Endo, K. Tomobe, K. Yasuoka, "Multi-step time series generator for molecular dynamics",
AAAI 32, 2192 (2018): z(k+1) = F(z(k), r(k)); a network G turns z(k) and noise into the k-th window
of records. With several particles as one sample: A. Kawada et al., Soft Matter 18, 8446 (2022).
"""

import itertools

import torch
from torch import Tensor, nn

from mdgan_hpc.models.base import Generator, State

_SLOPE = 0.3


def dense(widths: list[int], *, last_linear: bool = False) -> nn.Sequential:
    """Return linear layers with leaky rectifiers between and, unless `last_linear`, at the end."""
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*(layers[:-1] if last_linear else layers))


class LatentGenerator(Generator):
    """Latent Markov chain with a window decoder.

    Parameters
    ----------
    window : int
        Records decoded from one latent vector.
    latent : int
        Size of z; the random vector r of the transition has the same size.
    width : int
        Units of the layers of F; the decoder's are twice as wide.
    relaxation : int
        Transitions from uniform random z to the first window ("distribution relaxation").
    particles_per_sample : int
        k.
    scales : list of float, [3]
        Standard deviation of a displacement along x, y, z, Angstrom.
    """

    def __init__(
        self,
        *,
        window: int,
        latent: int,
        width: int,
        relaxation: int,
        particles_per_sample: int,
        scales: list[float],
    ) -> None:
        super().__init__()
        self.records_per_step, self.particles_per_sample = window, particles_per_sample
        self.latent, self.relaxation = latent, relaxation
        self.start_size = latent * (1 + relaxation)
        # r of the transition, and noise of the decoder.
        self.noise_size = 3 * latent
        self.transition = nn.Sequential(
            *dense([2 * latent, width, width]), nn.Linear(width, width), nn.Linear(width, latent)
        )
        self.map_latent = dense([latent, width])
        self.map_noise = dense([2 * latent, width])
        outputs = window * particles_per_sample * 3
        self.decoder = dense([2 * width] * 4 + [outputs], last_linear=True)
        self.register_buffer("scales", torch.tensor(scales))

    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw z uniform in [-1, 1) and let it relax; see `Generator.start`."""
        numbers = (2 * uniform - 1).unflatten(-1, (1 + self.relaxation, self.latent))
        z = numbers[:, 0]
        for r in numbers[:, 1:].unbind(1):
            z = self._next(z, r)
        return {"latent": z}, uniform.new_zeros(len(uniform), self.particles_per_sample, 3)

    def _next(self, z: Tensor, r: Tensor) -> Tensor:
        z = self.transition(torch.cat([z, r], -1))
        # Standardised within the sample: z can neither die nor grow.
        z = z - z.mean(-1, keepdim=True)
        return z / (z.square().mean(-1, keepdim=True) + 1e-8).sqrt()

    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on window by window; see `Generator.advance`."""
        z = state["latent"]
        windows = []
        for draw in noise:
            # erf(x / sqrt 2) of a standard normal number is uniform in (-1, 1).
            z = self._next(z, torch.erf(draw[:, : self.latent] * 0.5**0.5))
            mapped = torch.cat([self.map_latent(z), self.map_noise(draw[:, self.latent :])], -1)
            shape = (self.records_per_step, self.particles_per_sample, 3)
            windows.append(self.decoder(mapped).unflatten(-1, shape) * self.scales)
        return torch.cat(windows, 1).swapaxes(0, 1), {"latent": z}
