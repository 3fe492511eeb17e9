"""Batches of windows of which every rank takes its part."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import Window
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.randomness import normals, stream


@dataclass(frozen=True)
class Batches:
    """Draws the same batch on all ranks and gives each its part.

    Attributes
    ----------
    windows : Windows
    size : int
        Windows of all ranks together.
    part : slice
        Those of this rank.
    seed : int
    """

    windows: Windows
    size: int
    part: slice
    seed: int

    @classmethod
    def shared(
        cls, windows: Windows, size: int, seed: int, processes: Processes, what: str
    ) -> "Batches":
        """Share batches of `size` evenly by the ranks.

        Raises
        ------
        UsageError
            If that cannot be done; `what` says what the batch is.
        """
        if size % processes.size:
            raise UsageError(
                f"{what} cannot be shared by {processes.size} ranks",
                remedy=f"use a multiple of {processes.size}",
            )
        share = size // processes.size
        part = slice(processes.rank * share, (processes.rank + 1) * share)
        return cls(windows, size, part, seed)

    def times(self, factor: int) -> "Batches":
        """Return batches so many times as large."""
        part = slice(factor * self.part.start, factor * self.part.stop)
        return Batches(self.windows, factor * self.size, part, self.seed)

    def rng(self, step: int, purpose: str) -> torch.Generator:
        """Return the random numbers of one purpose at one step, the same on all ranks."""
        return stream(self.seed, step, purpose)

    def normals(self, step: int, purpose: str, *shape: int) -> Tensor:
        """Return normal numbers [share, *shape] of this rank's samples, on its device."""
        mine = range(self.part.start, self.part.stop)
        return normals(self.seed, step, purpose, mine, shape).to(self.windows.device)

    def draw(self, step: int, purpose: str, records: int, spacing: int = 1) -> Window:
        """Return this rank's part of a batch of windows."""
        return self.windows.draw(
            self.size, records, self.rng(step, purpose), spacing=spacing, part=self.part
        )

    def mine(self, numbers: Tensor) -> Tensor:
        """Return this rank's part [share, ...] of numbers drawn for the whole batch, on its device.

        Parameters
        ----------
        numbers : Tensor
            `size` of them.
        """
        return numbers[self.part].to(self.windows.device)
