"""Everything that changes from step to step, phase after phase, and how it is saved."""

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor

from mdgan_hpc.models.base import Generator, Window
from mdgan_hpc.training.average import Average, copy_weights
from mdgan_hpc.training.batches import Batches
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.evaluation import shared_free_run
from mdgan_hpc.training.objectives.base import Objective
from mdgan_hpc.training.objectives.likelihood import Likelihood
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.selection import Selection, is_candidate
from mdgan_hpc.training.settings import PhaseSettings, TrainingConfig
from mdgan_hpc.training.step import Step

_log = logging.getLogger(__name__)
#: Makes the objectives of the phase of this number (from 0), with fresh weights.
MakeObjectives = Callable[[int, PhaseSettings, Generator], list[Objective]]


class Trainer:
    """Generator, its average, the best so far, and the phase that goes on.

    A phase begins with the averaged weights of the one before, a new optimiser and new critics;
    its average begins anew from there.

    Parameters
    ----------
    config : TrainingConfig
    generator : Generator
        With its first weights, the same on all ranks.
    make_objectives : callable
        See `MakeObjectives`.
    windows : Windows
        Of the training data.
    starts : Windows
        Windows whose ends are start states of free runs.
    held_out : Batches or None
        Data kept out of training.
    processes : Processes

    Attributes
    ----------
    step : int
        Steps done, of all phases.
    seconds : float
        Spent on them.
    selection : Selection
    """

    def __init__(
        self,
        config: TrainingConfig,
        generator: Generator,
        make_objectives: MakeObjectives,
        *,
        windows: Windows,
        starts: Windows,
        held_out: Batches | None,
        processes: Processes,
    ) -> None:
        self.config, self.processes = config, processes
        self.windows, self.starts, self.held_out = windows, starts, held_out
        self.step, self.seconds = 0, 0.0
        self.generator = generator.to(processes.device)
        self.average = Average(self.generator)
        self.selection = Selection()
        self._make_objectives = make_objectives
        self._begin(0)

    def _begin(self, number: int) -> None:
        """Set up a phase; the weights are those that the generator has."""
        self._number, settings = number, self.config.phase[number]
        objectives = self._make_objectives(number, settings, self.generator)
        self._current = Step(settings, self.generator, objectives, self.processes)
        self._before = sum(phase.steps for phase in self.config.phase[:number])

    # One step ---------------------------------------------------------------------------------

    @property
    def _done(self) -> int:
        """Steps of this phase that are done."""
        return self.step - self._before

    @property
    def objectives(self) -> list[Objective]:
        """What the phase of now minimises."""
        return self._current.objectives

    @property
    def ends_phase(self) -> bool:
        """Whether the last step of a phase has just been done."""
        return self._done == self.config.phase[self._number].steps

    def advance(self, stop_asked: bool = False) -> tuple[dict[str, float], bool]:
        """Do one step on all ranks; see `Step.advance`."""
        if self.ends_phase:
            copy_weights(self.average.generator, self.generator)
            self._begin(self._number + 1)
        metrics, stop = self._current.advance(self.step, self._done, stop_asked)
        if self._current.wrong:
            self._go_back(self._current.wrong)
        else:
            self.average.update(self.generator, self.config.phase[self._number].ema, self._done)
        self.step += 1
        self._current.watch.keep(self.step, self.average.generator.state_dict())
        return metrics, stop

    def _go_back(self, wrong: str) -> None:
        """Go on from averaged weights of before a jump, at half the learning rate."""
        watch = self._current.watch
        step, weights = watch.go_back(self.step, wrong)
        self.average.generator.load_state_dict(weights)
        copy_weights(self.average.generator, self.generator)
        self._current.forget_momentum()
        _log.warning(
            "step %d: %s; back to the averaged weights of step %d, learning rate times %g",
            *(self.step, wrong, step, watch.rate_factor),
        )

    # What is judged ---------------------------------------------------------------------------

    @property
    def is_candidate(self) -> bool:
        """Whether the averaged generator of now may become the model."""
        return is_candidate(self._done, self.config.phase[self._number].steps)

    def ready_generator(self) -> Generator:
        """Return the averaged generator of now, with start states from the data.

        Where it may become the model, it is calibrated; the ranks share the free runs for that.
        """
        generator, seed = self.average.generator, self.config.train.seed
        if generator.start_windows:
            rng = stream(seed, 0, "pool")
            history = self.starts.draw(generator.start_windows, generator.history_records, rng)
            generator.prepare(history)
        if self.is_candidate:
            rng = stream(seed, self.step, "temperature")
            free_run = shared_free_run(generator, self.processes, rng)
            generator.calibrate(free_run, self._cells)
        return generator

    def _cells(self, draw: int, number: int, records: int) -> Window:
        """Draw windows of whole cells of the data; see `Cells`."""
        return self.starts.draw(number, records, stream(self.config.train.seed, draw, "cells"))

    def validation_loss(self) -> float | None:
        """Return the likelihood loss of the averaged generator on data kept out of training.

        None if no data were kept out, or none as long as a window, or if this phase learns nothing
        by likelihood.
        """
        if self.held_out is None:
            return None
        for objective in self.objectives:
            if isinstance(objective, Likelihood):
                loss: Tensor | None = objective.on(self.held_out, self.average.generator)
                return None if loss is None else float(self.processes.average(loss))
        return None

    def best_generator(self) -> Generator:
        """Return the best candidate, or the generator of now if none was compared.

        Raises
        ------
        DivergedError
            If it is a density that predicts no better than a linear Gaussian one.
        """
        if not self.selection.restore(self.average.generator):
            self.ready_generator()
        self._current.accept(self.average.generator)
        return self.average.generator

    # Saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a continued training needs."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "phase": self._number,
            "network": self._network(),
            "generator": self.generator.state_dict(),
            "average": self.average.generator.state_dict(),
            "selection": self.selection.state_dict(),
            **self._current.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises
        ------
        ValueError
            If it is of a network that means something else by its weights.
        """
        if state["network"] != self._network():
            raise ValueError("another network")
        if state["phase"] != self._number:
            self._begin(state["phase"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.generator.load_state_dict(state["generator"])
        self.average.generator.load_state_dict(state["average"])
        self.selection.load_state_dict(state["selection"])
        self._current.load_state_dict(state)

    def _network(self) -> list[str]:
        """Return what the code of now defines the network by, but for its measured numbers.

        Weights of the same shapes may be those of another version.
        """
        generator = self.generator
        return [generator.kind, str(generator.behaviour), *sorted(generator.arguments)]
