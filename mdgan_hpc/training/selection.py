"""Model selection: which of the averaged generators of a training becomes the model.

Losses do not tell which generator moves as the ions do; the comparison of its free runs with MD
does. Candidates are those of the second half of each phase. Not only the last: of few data a long
training learns too much by heart, and its free runs heat up.
"""

import math
from typing import Any

from mdgan_hpc.models.base import Generator

#: From this share of the steps of a phase on a generator may be chosen.
_LATE = 0.5


def is_candidate(step: int, steps: int) -> bool:
    """Tell whether the generator after `step` of the `steps` of a phase may become the model."""
    return step >= _LATE * steps


class Selection:
    """Keeps the best candidate.

    Attributes
    ----------
    score : float
        Of the best; lower is better. Infinite if there was no candidate.
    step : int
        After which it was seen; -1 if there was none.
    """

    def __init__(self) -> None:
        self.score, self.step = math.inf, -1
        self._weights: dict[str, Any] = {}

    def offer(self, generator: Generator, score: float, step: int) -> None:
        """Keep a candidate, ready to be the model, if it is the best so far."""
        if score < self.score:
            self.score, self.step = score, step
            self._weights = {k: v.detach().clone() for k, v in generator.state_dict().items()}

    def restore(self, generator: Generator) -> bool:
        """Give `generator` what the best candidate was; false if there was none."""
        if self._weights:
            generator.load_state_dict(self._weights)
        return bool(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a continued training needs."""
        return {"score": self.score, "step": self.step, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.score, self.step, self._weights = state["score"], state["step"], state["weights"]
