"""A small generator with memory, brought as a package of its own: a cage that drifts.

x(n+1) = a x(n) + s noise is the place in the cage (Ornstein-Uhlenbeck), c(n+1) = c(n) + h noise
the cage's own random walk; the particle is at x + c, a known law.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from mdgan_hpc.config import key
from mdgan_hpc.models.base import Generator


@dataclass(frozen=True, kw_only=True)
class CageConfig:
    """The cage, and what is to go wrong."""

    a: float = key(0.9, "of the place, left after a record")
    s: float = key(0.1, "Angstrom | noise of the place")
    h: float = key(0.02, "Angstrom | noise of the cage")
    k: int = key(1, "particles | in a sample")
    per_step: int = key(1, "records | in a step")
    jump_at: int = key(-1, "steps | until sample 5 gets a displacement that is not finite")
    pause_s: float = key(0.0, "seconds | that each segment takes, so that a kill falls somewhere")


class Cage(Generator):
    """See the module; `weights` mixes the noise by a matrix product, as networks do."""

    kind = "cage"
    label = "cage"
    Config = CageConfig

    def __init__(self, config):
        super().__init__()
        self.particles_per_sample = k = config.k
        self.records_per_step = config.per_step
        self.start_size, self.noise_size = 3 * k, 6 * k * config.per_step
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(self.noise_size,) * 2))
        self.register_buffer("weights", torch.from_numpy(turn).float())

    @classmethod
    def from_data(cls, config, summary, surroundings):
        """Build it; the data say nothing new."""
        return cls.create(config)

    def start(self, uniform):
        """Begin anywhere in a cage."""
        place = (uniform - 0.5).reshape(len(uniform), -1, 3)
        return {"place": place, "age": torch.zeros(len(uniform), dtype=torch.int64)}, place

    def advance(self, state, noise):
        """Go on record by record."""
        config, place, out = self.config, state["place"], []
        time.sleep(config.pause_s)
        for draw in noise:
            draw = (draw @ self.weights).reshape(len(draw), config.per_step, 2, -1, 3)
            for record in range(config.per_step):
                new = config.a * place + config.s * draw[:, record, 0]
                out.append(new - place + config.h * draw[:, record, 1])
                place = new
        displacement = torch.stack(out)
        at = config.jump_at - int(state["age"][0])
        if config.jump_at >= 0 and 0 <= at < len(noise):
            displacement[at * config.per_step, 5] = float("nan")
        return displacement, {"place": place, "age": state["age"] + len(noise)}
