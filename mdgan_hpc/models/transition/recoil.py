"""The recoil of the framework.

Positions are relative to the framework of a crystal, so that its sites stay where they are. When
ions push it, it recoils, and all ions seem to move the other way together: a step of an ion then
holds the forces on all others, of which it sees little. Without outer forces the centre of mass of
all atoms is at rest. In its frame each ion moves by the forces on itself, and there steps are
predicted:

    moved there = moved - sum_j m_j moved_j / (M + sum_j m_j),

M the mass of the framework. Data bring their displacements in that frame along
(`Window.inertial`), since training looks at single ions of a cell.
"""

import logging
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.supercell import Supercell

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recoil:
    """Ions and a framework that share their momentum.

    Attributes
    ----------
    masses : Tensor, [k]
        Of the ions of a cell, over that of the framework.
    """

    masses: Tensor

    @classmethod
    def of_cells(cls, masses: list[float] | None, supercell: Supercell) -> Self | None:
        """Return that of free runs in a supercell; `masses` are those of the ions of one cell."""
        if masses is None:
            return None
        every = np.resize(masses, supercell.n_ions(len(masses))) / supercell.n_cells
        return cls(torch.tensor(every, dtype=torch.float32))

    def on(self, device: torch.device) -> Self:
        """Return it on a device."""
        return type(self)(self.masses.to(device))

    def inertial(self, moved: Tensor) -> Tensor:
        """Return displacements [..., k, 3] in the frame of the centre of mass of all atoms."""
        masses = self.masses.to(moved)
        together = torch.einsum("k,...ki->...i", masses / (1 + masses.sum()), moved)
        return moved - together[..., None, :]

    def seen(self, moved: Tensor) -> Tensor:
        """Return displacements [r, 3, B k] from there in the frame of the framework."""
        each = torch.unflatten(moved, 2, (-1, len(self.masses)))
        return (each + (each @ self.masses.to(moved))[..., None]).flatten(2)


def recoil_in(summary: DataSummary, surroundings: Surroundings | None) -> list[float] | None:
    """Return the masses of `Recoil` for data: of a crystal whose ions see each other."""
    masses, crystal = summary.recoil, summary.symmetry.primitive is not None
    if masses is None or surroundings is None or not crystal:
        return None
    _log.info(
        "The framework recoils, as it weighs %.3g times what its ions weigh: their steps are "
        "predicted in the frame of all atoms.",
        1 / masses.sum(),
    )
    found: list[float] = masses.tolist()
    return found
