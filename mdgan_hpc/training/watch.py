"""A likelihood training watched against its own past.

A training that is lost looks like any other to the optimiser: clipping keeps the direction of a
gradient that has lost its meaning, and every number stays finite. It shows in the loss, which jumps
and stays, and in the norm of the gradient, which grows by orders of magnitude.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mdgan_hpc.errors import DivergedError

#: Steps that are looked at together.
BLOCK = 25
#: A jump: the loss of a block above the best one before by so many nats and so many times the
#: scatter of single steps, or gradients as many times longer than usual.
RISE, RISE_IN_SCATTERS, GROWTH = 0.3, 6.0, 100.0
#: Steps between two averaged states that a training can go back to, and how often it may.
KEEP_EVERY, MOST_RESTARTS = 100, 3


class Watch:
    """Tells when loss or gradient leave what they were before, and where to go on from.

    Attributes
    ----------
    restarts : int
        Jumps so far.
    rate_factor : float
        By which the learning rate is lower for them.
    """

    def __init__(self) -> None:
        self.restarts = 0
        self.rate_factor = 1.0
        #: Averaged weights to go back to, oldest first: the last are not yet known to be good.
        self._kept: list[tuple[int, dict[str, Tensor]]] = []
        self._forget()

    def _forget(self) -> None:
        self._block: list[tuple[float, float]] = []
        self._level = self._scatter = self._norm = math.inf

    def see(self, loss: float, gradient_norm: float) -> str:
        """Take in the numbers of one step; return what is wrong, or nothing.

        Every `BLOCK` steps the loss is compared with the lowest of the blocks before, the median
        norm of the gradient with the lowest.
        """
        self._block.append((loss, gradient_norm))
        if len(self._block) < BLOCK:
            return ""
        losses, norms = zip(*self._block, strict=True)
        self._block = []
        mean = sum(losses) / BLOCK
        scatter = math.sqrt(sum((x - mean) ** 2 for x in losses) / (BLOCK - 1))
        norm = sorted(norms)[BLOCK // 2]
        if mean > self._level + max(RISE, RISE_IN_SCATTERS * self._scatter):
            return f"the loss rose from {self._level:.2f} to {mean:.2f}"
        if norm > GROWTH * self._norm:
            return f"the gradient grew from {self._norm:.2g} to {norm:.2g}"
        if mean < self._level:
            self._level, self._scatter = mean, scatter
        self._norm = min(self._norm, norm)
        return ""

    def keep(self, step: int, averaged: Mapping[str, Tensor]) -> None:
        """Keep a copy of averaged weights every `KEEP_EVERY` steps."""
        if step % KEEP_EVERY == 0:
            copy = {name: value.detach().clone() for name, value in averaged.items()}
            self._kept = [*self._kept[-2:], (step, copy)]

    def go_back(self, step: int, wrong: str) -> tuple[int, dict[str, Tensor]]:
        """Return averaged weights of before a jump and their step; half the learning rate follows.

        The newest may have begun to go wrong: those before them are taken.

        Raises
        ------
        DivergedError
            If there are none, or it happened too often.
        """
        if len(self._kept) < 2 or self.restarts == MOST_RESTARTS:
            raise DivergedError(f"{wrong} at step {step}, {self.restarts} times before")
        self._kept = [self._kept[-2]]
        self.restarts += 1
        self.rate_factor /= 2
        self._forget()
        return self._kept[0]

    def state(self) -> dict[str, Any]:
        """Return everything that a continued training needs."""
        return dict(vars(self))

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        vars(self).update(state)
