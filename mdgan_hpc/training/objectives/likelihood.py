"""The negative log likelihood of windows of data."""

from typing import cast

import torch
from torch import Tensor

from mdgan_hpc.errors import DivergedError
from mdgan_hpc.models.base import Density, Generator, Window
from mdgan_hpc.training.batches import Batches
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.objectives.base import Objective
from mdgan_hpc.training.settings import LikelihoodSettings

_VALIDATION_BATCHES = 24
#: How much worse than a linear prediction a loss may be, from a finite number of windows.
_MARGIN = 0.1


class Likelihood(Objective):
    """Learns the transition density by maximum likelihood.

    Parameters
    ----------
    settings : LikelihoodSettings
    generator : Generator
        One whose capabilities hold a likelihood.
    batches : Batches
    records : int
        Records of a window that count.
    """

    name = "likelihood_loss"

    def __init__(
        self, settings: LikelihoodSettings, generator: Generator, batches: Batches, records: int
    ) -> None:
        self.weight = settings.weight
        self._warm_up, self._batches = settings.warm_up, batches
        self._generator = cast(Density, generator)
        self._window_records = self._generator.window_records(records + settings.warm_up)

    def loss(self, step: int) -> Tensor:
        """Return the negative log likelihood of a record; see `Objective.loss`."""
        window = self._batches.draw(step, "data", self._window_records)
        return self._loss_of(self._generator, window)

    def _loss_of(self, generator: Density, window: Window) -> Tensor:
        return generator.negative_log_likelihood(window, warm_up=self._warm_up, weighted=True)

    def on(self, held_out: Batches, generator: Generator) -> Tensor | None:
        """Return the loss of another generator on other data, this rank's part of it.

        Always on the same windows. None if no run of the data is as long as a window.
        """
        if not held_out.windows.count(self._window_records):
            return None
        return self._mean_loss(generator, held_out, "validation")

    def accept(self, generator: Generator, processes: Processes) -> None:
        """Refuse a density that predicts its training data no better than a linear Gaussian one.

        Raises
        ------
        DivergedError
        """
        loss = float(processes.average(self._mean_loss(generator, self._batches, "acceptance")))
        if not loss <= self._generator.linear_loss + _MARGIN:
            raise DivergedError(
                f"the trained model predicts worse (loss {loss:.2f}) than a linear prediction "
                f"with Gaussian errors ({self._generator.linear_loss:.2f})",
                remedy="train longer, or with a lower phase.learning_rate, into a new folder",
            )

    def _mean_loss(self, generator: Generator, batches: Batches, purpose: str) -> Tensor:
        density, records = cast(Density, generator), self._window_records
        with torch.no_grad():
            losses = [
                self._loss_of(density, batches.draw(turn, purpose, records))
                for turn in range(_VALIDATION_BATCHES)
            ]
        return torch.stack(losses).mean()
