"""Friction that free runs lack: a share of the last displacement is taken from each ion.

Errors of many steps add up to ions that keep their velocity for too long, by a hundredth of its
square over the first dozen records: they diffuse some per cent too fast. A force against the
velocity, as that of a Langevin equation, mends both; what it takes, the noise gives back, so that
the temperature stays. Its strength is calibrated (`calibrate`). Along data it is not there.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mdgan_hpc.models.transition.mixture import tiled


@dataclass(frozen=True)
class Friction:
    """Friction in a free run.

    Attributes
    ----------
    share : Tensor, [] or [k]
        Of the last displacement, taken in the first record of a step; twice that in the second and
        so on. Of all ions, or of each of a cell, over what residuals are multiplied by.
    weights : Tensor, [r]
        Of `force_weights`.
    """

    share: Tensor
    weights: Tensor

    @classmethod
    def of(cls, share: Tensor, motion: Tensor, scale: Tensor | None) -> Self | None:
        """Return it for ions that move as a free run tells; None where there is none.

        Parameters
        ----------
        share : Tensor, [] or [k]
        motion : Tensor, [r, p + r]
        scale : Tensor, [k], or None
            Of `InferenceKernel`.
        """
        if not bool(share.any()):
            return None
        return cls(share if scale is None else share / scale, force_weights(motion))

    def residual(self, last: Tensor) -> Tensor:
        """Return what is added to the residuals [r, 3, n] of ions, given displacements [3, n]."""
        return -self.weights[:, None, None] * (tiled(self.share, last.shape[1]) * last)


def force_weights(motion: Tensor) -> Tensor:
    """Return the residuals [r] that displace an ion as a force does.

    By one Angstrom in the first record of a step, by two in the second and so on.

    Parameters
    ----------
    motion : Tensor, [r, p + r]
        Of `InferenceKernel`.
    """
    records = torch.arange(1.0, len(motion) + 1, device=motion.device)
    weights: Tensor = torch.linalg.solve(motion[:, -len(motion) :], records)
    return weights
