"""A small real generator with memory: an overdamped cage that drifts, with a known law.

x(n+1) = a x(n) + s noise is the place in the cage (Ornstein-Uhlenbeck), c(n+1) = c(n) + h noise
the cage's own random walk; the particle is at x + c. The file holds the four numbers as JSON.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.models.base import Generator
from mdgan_hpc.models.file import Model


class Cage(Generator):
    """See the module; `weights` mixes the noise by a matrix product, as networks do."""

    def __init__(self, a, s, h, k=1, per_step=1):
        super().__init__()
        self.a, self.s, self.h = a, s, h
        self.particles_per_sample, self.records_per_step = k, per_step
        self.start_size, self.noise_size = 3 * k, 6 * k * per_step
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(self.noise_size,) * 2))
        self.register_buffer("weights", torch.from_numpy(turn).float())

    def start(self, uniform):
        place = (uniform - 0.5).reshape(len(uniform), -1, 3)
        return {"place": place, "age": torch.zeros(len(uniform), dtype=torch.int64)}, place

    def advance(self, state, noise):
        place, out = state["place"], []
        for draw in noise:
            draw = (draw @ self.weights).reshape(len(draw), self.records_per_step, 2, -1, 3)
            for record in range(self.records_per_step):
                new = self.a * place + self.s * draw[:, record, 0]
                out.append(new - place + self.h * draw[:, record, 1])
                place = new
        return torch.stack(out), {"place": place, "age": state["age"] + len(noise)}


def load(path):
    """Return the model whose numbers are in a JSON file."""
    numbers = json.loads(Path(path).read_text())
    kinds = {"jump_at": Broken, "pause_s": Slow}
    kind = next((kinds[name] for name in numbers if name in kinds), Cage)
    generator = kind(**numbers)
    cell = np.diag([9.0, 9.0, 20.0])
    return Model(generator, record_interval_ps=0.008, species=3, cell=cell, training_span_ps=40.0)


class Broken(Cage):
    """Loses its mind after `jump_at` steps: sample 5 gets a displacement that is not finite."""

    def __init__(self, *, jump_at, **numbers):
        super().__init__(**numbers)
        self.jump_at = jump_at

    def advance(self, state, noise):
        displacement, after = super().advance(state, noise)
        at = self.jump_at - int(state["age"][0])
        if 0 <= at < len(noise):
            displacement[at * self.records_per_step, 5] = float("nan")
        return displacement, after


class Slow(Cage):
    """Takes its time over each segment, so that a kill falls somewhere."""

    def __init__(self, *, pause_s, **numbers):
        super().__init__(**numbers)
        self.pause_s = pause_s

    def advance(self, state, noise):
        time.sleep(self.pause_s)
        return super().advance(state, noise)


def main():
    """Run mdgan-generate with models of this kind."""
    import mdgan_hpc.generate.run as run
    from mdgan_hpc.cli.generate import main as command

    run.load_model = load
    command()


if __name__ == "__main__":
    main()
