"""Adversarial losses: each gives the critic's loss with its penalty, and the generator's."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from mdgan_hpc.training.objectives.critics import Critic


def _squared_gradient(critic: Critic, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the judgement [B] and the squared norm [B] of its gradient by the features."""
    features = features.detach().requires_grad_()
    judged = critic(features)
    (gradient,) = torch.autograd.grad(judged.sum(), features, create_graph=True)
    return judged, gradient.flatten(1).square().sum(1)


class AdversarialLoss(ABC):
    """A pair of losses.

    Parameters
    ----------
    penalty : float
        Weight of the gradient penalty.
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    @abstractmethod
    def critic(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """Return the critic's loss.

        Parameters
        ----------
        real, fake : Tensor, [B, channels, L]
            Features.
        mix : Tensor, [B]
            Uniform random numbers.
        """

    @abstractmethod
    def generator(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Return the generator's loss."""


class WassersteinGradientPenalty(AdversarialLoss):
    """WGAN-GP: I. Gulrajani et al., arXiv 1704.00028, algorithm 1."""

    def critic(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """Return E[D(fake)] - E[D(real)] + penalty E[(|grad D| - 1)^2] between the two."""
        between = real + mix[:, None, None] * (fake - real)
        _, squared = _squared_gradient(critic, between)
        slope = ((squared + 1e-12).sqrt() - 1).square().mean()
        on_fake, on_real = critic(torch.cat([fake, real])).chunk(2)
        loss: Tensor = on_fake.mean() - on_real.mean() + self.penalty * slope
        return loss

    def generator(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Return -E[D(fake)]."""
        judged: Tensor = critic(fake)
        return -judged.mean()


class RelativisticPairing(AdversarialLoss):
    """R3GAN: relativistic pairing with R1 and R2, N. Huang et al., arXiv 2501.05441, eq. 2 to 5."""

    def critic(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """Return E[softplus(D(fake) - D(real))] + penalty / 2 (R1 + R2)."""
        on_real, r1 = _squared_gradient(critic, real)
        on_fake, r2 = _squared_gradient(critic, fake)
        game = functional.softplus(on_fake - on_real).mean()
        return game + 0.5 * self.penalty * (r1 + r2).mean()

    def generator(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Return E[softplus(D(real) - D(fake))]."""
        return functional.softplus(critic(real) - critic(fake)).mean()


LOSSES: dict[str, type[AdversarialLoss]] = {
    "wgan-gp": WassersteinGradientPenalty,
    "r3gan": RelativisticPairing,
}
