"""Exponential moving average (EMA) of the weights: what free runs are made with, and the model."""

import torch

from mdgan_hpc.models.base import Generator


class Average:
    """The averaged generator.

    Parameters
    ----------
    generator : Generator
        Whose weights are averaged; the average begins at them.

    Attributes
    ----------
    generator : Generator
        With the averaged weights. Buffers, such as start states, are its own.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator.copy().requires_grad_(False)

    def update(self, generator: Generator, decay: float, steps: int) -> None:
        """Take in the weights after a step.

        Parameters
        ----------
        generator : Generator
        decay : float
            Share of the average that is kept.
        steps : int
            Taken in before since the average began: its memory is short at first, so that the
            start is forgotten.
        """
        decay = min(decay, (steps + 1) / (steps + 20))
        with torch.no_grad():
            pairs = zip(self.generator.parameters(), generator.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - decay)


def copy_weights(source: Generator, target: Generator) -> None:
    """Give a generator the weights of another; buffers, which are measured, stay its own."""
    with torch.no_grad():
        pairs = zip(target.parameters(), source.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.copy_(theirs)
