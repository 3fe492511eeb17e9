"""The game of critics and generator over windows of free runs.

Where the ions of a cell see each other, whole cells run freely, from whole cells of the data, and
the critics judge each ion of them, with what it sees of the others.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mdgan_hpc.models.base import Generator, State
from mdgan_hpc.optimisers import Adam
from mdgan_hpc.training.batches import Batches
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.objectives.base import Objective, only_finite
from mdgan_hpc.training.objectives.critics import CRITICS, Critic
from mdgan_hpc.training.objectives.gan_losses import LOSSES
from mdgan_hpc.training.settings import AdversarialSettings

#: Most records that a generator runs freely, unseen, before the critics look.
_UNSEEN_RECORDS = 256
_BETAS = (0.0, 0.99)


class Adversarial(Objective):
    """Critics learn to tell windows of free runs from windows of data, the generator to mislead.

    Parameters
    ----------
    settings : AdversarialSettings
    generator : Generator
    batches : Batches
        Windows of `particles_per_sample` of the generator: those that the critics judge, and those
        from whose ends free runs begin.
    records : int
        Displacements in a window judged.
    covariances : dict of int to array, [3, records]
        Autocovariance of displacements over so many records along x, y, z, for each stride,
        Angstrom^2.
    processes : Processes
    """

    name = "generator_loss"

    def __init__(
        self,
        settings: AdversarialSettings,
        generator: Generator,
        batches: Batches,
        *,
        records: int,
        covariances: dict[int, np.ndarray],
        processes: Processes,
    ) -> None:
        self.weight = settings.weight
        self._settings, self._generator, self._processes = settings, generator, processes
        self._batches, self._records = batches, records
        view = generator.neighbour_view()
        # Critics judge each ion of a whole cell, or a sample of ions together.
        self._ions = 1 if view is None else batches.windows.k
        self._loss = LOSSES[settings.loss](settings.penalty)
        self._critics: list[Critic] = [
            CRITICS[settings.critic](
                records=records,
                covariance=covariances[stride],
                particles=batches.windows.k // self._ions,
                view=view,
                width=settings.width,
                stride=stride,
                waves=generator.lattice_phases(),
            )
            for stride in settings.strides
        ]
        # Of the data as many windows as of the free runs.
        self._judged = [batches.times(self._cuts(stride)) for stride in settings.strides]
        self.critics = nn.ModuleList(self._critics).to(processes.device)
        self._optimiser = Adam(
            self.critics.parameters(), settings.critic_learning_rate, betas=_BETAS
        )

    def set_learning_rate(self, factor: float) -> None:
        """Scale the learning rate of the critics."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.critic_learning_rate * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the critics and their optimiser."""
        return {"critics": self.critics.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.critics.load_state_dict(state["critics"])
        self._optimiser.load_state_dict(state["optimiser"])

    def before_step(self, step: int) -> dict[str, Tensor]:
        """Train the critics; return their last loss."""
        loss = torch.zeros(())
        for turn in range(self._settings.critic_steps):
            loss = self._critic_step(step, f"critic {turn}")
        return {"critic_loss": loss}

    def _critic_step(self, step: int, purpose: str) -> Tensor:
        self._optimiser.zero_grad()
        with torch.no_grad():
            fake = self._fake(step, purpose)
        loss = fake.new_zeros((), dtype=torch.float32)
        mix = torch.rand(
            max(b.size * self._ions for b in self._judged),
            generator=self._batches.rng(step, purpose + " mix"),
        )
        pairs = self._pairs(step, purpose, fake)
        for critic, batches, (real, made) in zip(self._critics, self._judged, pairs, strict=True):
            share = torch.unflatten(mix[: batches.size * self._ions], 0, (-1, self._ions))
            share = batches.mine(share).flatten()
            loss = loss + self._loss.critic(critic, real, made.detach(), share)
        torch.autograd.backward(loss)
        # All ranks see the same numbers, so that all of them stop or none.
        parameters = list(self.critics.parameters())
        total = self._processes.average_gradients(parameters, float(loss.detach()))
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        only_finite(step, {"critic_loss": total, "critic_gradient_norm": float(norm)})
        self._optimiser.step()
        return loss.detach()

    def loss(self, step: int) -> Tensor:
        """Return the loss of the generator, the mean over the critics; see `Objective.loss`."""
        fake = self._fake(step, "generator")
        self.critics.requires_grad_(False)
        pairs = self._pairs(step, "generator", fake)
        losses = [
            self._loss.generator(critic, real, made)
            for critic, (real, made) in zip(self._critics, pairs, strict=True)
        ]
        self.critics.requires_grad_(True)
        return torch.stack(losses).mean()

    def _pairs(self, step: int, purpose: str, fake: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the features of real and fake windows for each critic."""
        rows = self._records + 1
        pairs = []
        for critic, batches in zip(self._critics, self._judged, strict=True):
            real = batches.draw(step, f"{purpose} real {critic.stride}", rows, critic.stride)
            made = self._cut(fake, critic.stride)
            pairs.append((critic.features(real.positions), critic.features(made)))
        return pairs

    def _cuts(self, stride: int) -> int:
        """Return how many windows of this stride are judged of a free run."""
        return min(self._settings.cuts, max(self._settings.strides) // stride)

    def _cut(self, path: Tensor, stride: int) -> Tensor:
        """Return windows [B cuts, records + 1, k, 3] of free runs [B, n + 1, k, 3].

        They follow each other, spread over the runs.
        """
        cuts, length = self._cuts(stride), self._records * stride
        apart = max(self._settings.strides) // stride // cuts * length
        pieces = [path[:, i * apart : i * apart + length + 1 : stride] for i in range(cuts)]
        # Run by run, as the ranks share them.
        return torch.stack(pieces, 1).flatten(0, 1)

    def _fake(self, step: int, purpose: str) -> Tensor:
        """Return free-run positions [B, n + 1, k, 3]; the gradient flows through the last n."""
        generator, batches = self._generator, self._batches
        rng = batches.rng(step, purpose)
        state, start = self._begin(step, purpose, rng)
        per_step = generator.records_per_step
        # As long as the longest window of a critic.
        wanted = self._records * max(self._settings.strides)

        def noise(steps: int, part: str) -> Tensor:
            drawn = batches.normals(step, f"{purpose} {part}", steps, generator.noise_size)
            return drawn.swapaxes(0, 1)

        unseen = int(torch.randint(_UNSEEN_RECORDS // per_step + 1, (1,), generator=rng))
        if unseen and generator.history_records:
            with torch.no_grad():
                moved, state = generator.advance(state, noise(unseen, "unseen"))
                start = start + moved.sum(0)
        moved, _ = generator.advance(state, noise(-(-wanted // per_step), "seen"))
        path = torch.cat([start[None].double(), moved[:wanted].double()]).cumsum(0)
        return path.swapaxes(0, 1)  # [B, n + 1, k, 3]

    def _begin(self, step: int, purpose: str, rng: torch.Generator) -> tuple[State, Tensor]:
        """Return start states and positions [B, k, 3]."""
        generator, batches = self._generator, self._batches
        if not generator.history_records:
            uniform = torch.rand(batches.size, generator.start_size, generator=rng)
            return generator.start(batches.mine(uniform))
        history = batches.draw(step, purpose + " history", generator.history_records)
        with torch.no_grad():
            return generator.condition(history), history.positions[:, -1]
