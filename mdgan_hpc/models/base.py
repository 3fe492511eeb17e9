"""What every generator is: a start state, advancing by n steps, the state out.

A sample is one particle, or the k particles of a multi-particle input; a step emits
`records_per_step` records. All randomness comes in as arguments, so that the caller decides where
random numbers come from (`mdgan_hpc.generate` keys them by block).
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

#: Everything a sample must carry from one step to the next; first dimension is the sample.
State = dict[str, Tensor]


class Generator(nn.Module, ABC):
    """A stochastic recurrent map that emits displacements.

    Attributes
    ----------
    particles_per_sample : int
        k, particles whose records are made together.
    simulated_together : int
        k where these are all ions of a simulation and see each other, else 1.
    records_per_step : int
        Records emitted by one step.
    start_size : int
        Uniform random numbers that choose the start state of one sample.
    noise_size : int
        Standard normal random numbers that one step of one sample consumes.
    history_records : int
        Records of data from which `condition` makes a state; 0 where `start` needs no data.
    """

    #: How to build it again, set by `registry.create`.
    description: dict[str, Any]
    particles_per_sample: int = 1
    simulated_together: int = 1
    records_per_step: int = 1
    start_size: int
    noise_size: int
    history_records: int = 0

    @abstractmethod
    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw start states.

        Parameters
        ----------
        uniform : Tensor, [B, start_size]
            In [0, 1).

        Returns
        -------
        state : State
        position : Tensor, [B, k, 3]
            Where the particles are before the first emitted record, Angstrom.
        """

    def condition(self, positions: Tensor) -> State:
        """Return the states at the end of windows of data.

        Parameters
        ----------
        positions : Tensor, [B, history_records, k, 3]
            Angstrom, float64.
        """
        raise NotImplementedError(f"{type(self).__name__} starts without data")

    @abstractmethod
    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on by n steps.

        Parameters
        ----------
        state : State
        noise : Tensor, [n, B, noise_size]
            Standard normal.

        Returns
        -------
        displacement : Tensor, [n * records_per_step, B, k, 3]
            From the record before, Angstrom.
        state : State
            Of the last record.
        """


def rollout(
    generator: Generator,
    n_samples: int,
    n_records: int,
    *,
    random: torch.Generator,
    burn_in_records: int = 0,
) -> Tensor:
    """Return positions [n_records + 1, n_samples, k, 3] of free runs, for evaluation in memory.

    Parameters
    ----------
    generator : Generator
    n_samples, n_records : int
    random : torch.Generator
        Source of all random numbers.
    burn_in_records : int
        Records dropped before the first that is returned.
    """
    device = next(generator.parameters()).device
    uniform = torch.rand(n_samples, generator.start_size, generator=random)
    state, position = generator.start(uniform.to(device))
    per_step = generator.records_per_step
    chunk = max(1, 256 // per_step)
    pieces = []
    wanted = burn_in_records + n_records
    done = 0
    with torch.no_grad():
        while done < wanted:
            noise = torch.randn(chunk, n_samples, generator.noise_size, generator=random)
            displacement, state = generator.advance(state, noise.to(device))
            pieces.append(displacement[: wanted - done].double().cpu())
            done += chunk * per_step
    path = torch.cat([position.double().cpu()[None], torch.cat(pieces)]).cumsum(0)
    return path[burn_in_records:].float()
