"""One training step: the gradients of all objectives, clipped, averaged and followed."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdgan_hpc.models.base import Generator
from mdgan_hpc.optimisers import AdamW
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.objectives.base import Objective, only_finite
from mdgan_hpc.training.settings import PhaseSettings
from mdgan_hpc.training.watch import Watch

#: Over these the learning rates of a phase rise.
_WARM_UP_STEPS = 100
#: Largest norm of the gradient of a term of weight one.
_CLIP = 1.0
_MOMENTUM, _SECOND_MOMENT = 0.9, 0.99


class Step:
    """Generator, objectives and optimiser of one phase.

    Parameters
    ----------
    settings : PhaseSettings
    generator : Generator
    objectives : sequence of Objective
        What is minimised: the sum of their weighted losses.
    processes : Processes

    Attributes
    ----------
    watch : Watch
        Of the likelihood; a game has no loss that tells how it goes.
    wrong : str
        What the watch saw in the last step, whose gradient was then not followed; mostly nothing.
    """

    def __init__(
        self,
        settings: PhaseSettings,
        generator: Generator,
        objectives: Sequence[Objective],
        processes: Processes,
    ) -> None:
        self.settings, self.objectives = settings, list(objectives)
        self._processes = processes
        self.watch, self.wrong = Watch(), ""
        self._parameters = list(generator.parameters())
        # Momentum serves a likelihood and unsettles a game.
        momentum = _MOMENTUM if settings.likelihood else 0.0
        decay = settings.likelihood.weight_decay if settings.likelihood else 0.0
        # Biases say where Gaussians lie and how wide they are: nothing pulls them to zero.
        named = dict(generator.named_parameters())
        biases = [p for name, p in named.items() if name.endswith("bias")]
        weights = [p for name, p in named.items() if not name.endswith("bias")]
        self._optimiser = AdamW(
            [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}],
            settings.learning_rate,
            betas=(momentum, _SECOND_MOMENT),
        )

    def advance(self, step: int, done: int, stop_asked: bool) -> tuple[dict[str, float], bool]:
        """Do one step on all ranks.

        Parameters
        ----------
        step, done : int
            Steps before this one, of the whole training and of the phase.
        stop_asked : bool
            Whether this rank was asked to stop.

        Returns
        -------
        metrics : dict
            Losses of this step, averaged over the ranks, and the norm of the gradient.
        stop : bool
            Whether any rank was asked to stop.

        Raises
        ------
        DivergedError
            If a loss or a gradient is not finite, before the weights are touched.
        """
        self._set_learning_rates(done)
        metrics: dict[str, Tensor] = {}
        for objective in self.objectives:
            metrics |= objective.before_step(step)
        gradients: list[list[Tensor | None]] = []
        for objective in self.objectives:
            loss = objective.loss(step)
            metrics[objective.name] = loss.detach()
            gradients.append(self._gradient(objective.weight * loss))
        # One reduction for all that the ranks tell each other.
        values = torch.stack(list(metrics.values()))
        stop = self._processes.average_together(gradients, self._parameters, values, stop_asked)
        norms = {o.name: n for o, n in zip(self.objectives, self._follow(gradients), strict=True)}
        numbers = zip(metrics, values.tolist(), strict=True)
        # By PyTorch, whose maximum is not a number where one of them is not.
        largest = float(torch.tensor(list(norms.values())).max())
        result = dict(numbers, gradient_norm=largest)
        only_finite(step, result)
        if self.settings.likelihood:
            # The same on all ranks: both numbers are averages over them. Of the likelihood alone,
            # as the gradient of a game grows and falls by orders of magnitude.
            self.wrong = self.watch.see(result["likelihood_loss"], norms["likelihood_loss"])
            result["restarts"] = self.watch.restarts + bool(self.wrong)
        if not self.wrong:
            self._optimiser.step()
        return result, stop

    def accept(self, generator: Generator) -> None:
        """Refuse a worthless result; a phase shorter than its warm-up is a trial, not judged.

        Raises
        ------
        DivergedError
            See `Likelihood.accept`.
        """
        if self.settings.steps >= _WARM_UP_STEPS:
            for objective in self.objectives:
                objective.accept(generator, self._processes)

    def forget_momentum(self) -> None:
        """Begin anew from other weights."""
        self._optimiser.state.clear()

    def _gradient(self, loss: Tensor) -> list[Tensor | None]:
        """Return the gradient of a term by each parameter; None where it does not depend on it."""
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        return [p.grad for p in self._parameters]

    def _follow(self, gradients: list[list[Tensor | None]]) -> list[float]:
        """Set the gradients of the generator to the sum of those of all terms.

        Beside a likelihood, the gradient of each term is clipped alone, to its weight: through
        hundreds of records of a free run it can grow a thousandfold, and would silence the rest.
        Returns the norm of each term before clipping.
        """
        total = [torch.zeros_like(p) for p in self._parameters]
        norms = []
        for objective, gradient in zip(self.objectives, gradients, strict=True):
            for parameter, part in zip(self._parameters, gradient, strict=True):
                parameter.grad = part
            limit = _CLIP * objective.weight if self.settings.likelihood else math.inf
            norms.append(float(nn.utils.clip_grad_norm_(self._parameters, limit)))
            for whole, part in zip(total, gradient, strict=True):
                if part is not None:
                    whole += part
        for parameter, whole in zip(self._parameters, total, strict=True):
            parameter.grad = whole
        return norms

    def _set_learning_rates(self, done: int) -> None:
        final = self.settings.final_learning_rate
        share = done / self.settings.steps
        cosine = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
        factor = cosine * min(1.0, (done + 1) / _WARM_UP_STEPS) * self.watch.rate_factor
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * factor
        for objective in self.objectives:
            objective.set_learning_rate(factor)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a continued phase needs."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "watch": self.watch.state(),
            "objectives": {o.name: o.state_dict() for o in self.objectives},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._optimiser.load_state_dict(state["optimiser"])
        self.watch.load_state(state["watch"])
        for objective in self.objectives:
            objective.load_state_dict(state["objectives"][objective.name])
