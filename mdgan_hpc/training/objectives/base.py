"""What every objective is: a loss of the generator, and what it needs before each step."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from mdgan_hpc.errors import DivergedError
from mdgan_hpc.models.base import Generator
from mdgan_hpc.training.distributed import Processes


class Objective(ABC):
    """A term that a phase minimises; the same on all ranks but for its part of the batch.

    Attributes
    ----------
    name : str
        Of its loss in the metrics.
    weight : float
        Of its loss beside others.
    """

    name: ClassVar[str]
    weight: float

    def before_step(self, step: int) -> dict[str, Tensor]:
        """Train what stands beside the generator; return numbers for the metrics."""
        return {}

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """Return the loss of the generator, without its weight, on this rank's part of a batch.

        Parameters
        ----------
        step : int
            Of the whole training: with the seed it decides every random number.
        """

    def accept(self, generator: Generator, processes: Processes) -> None:  # noqa: B027
        """Raise `DivergedError` if what was learned is worth nothing."""

    def set_learning_rate(self, factor: float) -> None:  # noqa: B027, most have nothing to set
        """Scale the learning rates of what stands beside the generator."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a continued training needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Go on from `state`."""


def only_finite(step: int, values: dict[str, float]) -> None:
    """Raise `DivergedError` if a number is not finite; all ranks must see the same numbers."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise DivergedError(f"{', '.join(bad)} not finite at step {step}")
