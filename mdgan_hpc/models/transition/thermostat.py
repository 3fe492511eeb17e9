"""What MD holds fixed in a liquid, and free runs of a model do not by themselves.

In a crystal or a glass the atoms around take up energy and momentum. The ions of a liquid have only
each other: errors of many steps add up to heat, as those of an integrator of MD do, and to a motion
of all of them together. So free runs have a thermostat, as MD has: the kinetic energy of each
species of a cell goes back to its mean in a few records (weak coupling: H. J. C. Berendsen et al.,
J. Chem. Phys. 81, 3684 (1984)); and where the momentum of all ions is zero in the data, it is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import DataSummary
from mdgan_hpc.models.condition import IonSpecies
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.transition.calibrate import Level
from mdgan_hpc.models.transition.config import TransitionConfig

_log = logging.getLogger(__name__)
#: Mean square of the momentum of a cell, over that of independent ions, below which it is zero.
_AT_REST = 0.01
#: A step changes speeds by this factor at most, up or down.
_MOST = 0.5


class Held(TypedDict):
    """The argument of a generator whose free runs are held.

    Attributes
    ----------
    masses : list of float, [k]
        Of the ions of a cell, atomic mass units, whose momentum is zero; none where it is not.
    """

    masses: list[float]


def held_in(
    config: TransitionConfig, summary: DataSummary, surroundings: Surroundings | None
) -> Held | None:
    """Return what free runs are held by: in a liquid, whose ions see each other.

    Raises
    ------
    UsageError
        If the configuration says how, where nothing is held.
    """
    solid = summary.symmetry.primitive is not None
    if solid or surroundings is None or surroundings.media is not None:
        if given := config.changed("thermostat_"):
            raise UsageError(
                f"generator.{given[0]} has no effect: a thermostat is for the ions of a liquid "
                "that see each other",
                remedy="leave it out of [generator]",
            )
        return None
    if config.thermostat_records == 0:
        return None
    masses = np.ones(summary.displacements[0].shape[1])
    if summary.species:
        from ase.data import atomic_masses

        masses = atomic_masses[np.array(summary.species)[summary.run_species[0]]]
    momentum = [moved * masses[:, None] for moved in summary.displacements]
    together = sum(float((p.sum(1) ** 2).sum()) for p in momentum)
    at_rest = together < _AT_REST * sum(float((p**2).sum()) for p in momentum)
    kept = "kinetic energy and momentum" if at_rest else "kinetic energy"
    _log.info("A liquid: free runs keep the %s of a cell, as MD does.", kept)
    return Held(masses=masses.tolist() if at_rest else [])


def slopes_alone(levels: Tensor) -> Tensor:
    """Return levels [t, 3] of the noise without the first number, which a thermostat takes."""
    return levels * levels.new_tensor([0.0, 1.0, 1.0])


def thermostat_for(
    config: TransitionConfig,
    held: Held | None,
    records_per_step: int,
    levels: Sequence[tuple[float, float | None]],
    species: IonSpecies | None,
    particles: int,
) -> "Thermostat | None":
    """Return the thermostat of the free runs of a generator with these arguments."""
    if held is None:
        return None
    of_ion = np.resize([0] if species is None else species.of_ion, particles)
    mean_square = [3 * one_record**2 for one_record, _ in levels[: int(of_ion.max()) + 1]]
    coupling = records_per_step / (2 * config.thermostat_records)
    return Thermostat(held, coupling, mean_square, of_ion.tolist())


class Thermostat(nn.Module):
    """Brings the kinetic energy of each species of a cell back to its mean.

    Parameters
    ----------
    held : Held
    coupling : float
        Share by which a step lowers speeds, for each mean kinetic energy too many: half the time of
        a step over the relaxation time.
    mean_square : sequence of float, [S]
        Of the displacements of the data in one record, of each species, Angstrom^2.
    of_ion : sequence of int, [k]
        Which species the ions of a cell are.
    """

    #: Logarithm of the kinetic energy that is aimed at, over the data's; calibrated.
    level: Tensor

    def __init__(
        self, held: Held, coupling: float, mean_square: Sequence[float], of_ion: Sequence[int]
    ) -> None:
        super().__init__()
        self.coupling = coupling
        which = np.asarray(of_ion)
        self._mean_square, self._of_ion = torch.tensor(mean_square), torch.from_numpy(which)
        shares = which[:, None] == np.arange(len(mean_square))
        self._shares = torch.tensor(shares / shares.sum(0), dtype=torch.float32)
        masses = np.resize(held["masses"], len(which)) if held["masses"] else np.empty(0)
        self._masses = torch.tensor(masses / masses.sum(), dtype=torch.float32)
        self.register_buffer("level", torch.zeros(len(mean_square)))

    def taken(self, levels: Sequence[Level]) -> list[Level]:
        """Aim at the first number of each level of `calibrated_noise`; return the noise left."""
        self.level.copy_(torch.tensor([level.log_noise for level in levels]))
        return [level._replace(log_noise=0.0) for level in levels]

    def at(self, speed: float) -> "HeldMotion":
        """Return it as free runs use it, where thermal speeds are so many times the reference's."""
        aim, device = self._mean_square * speed**2, self.level.device
        return HeldMotion(
            self.coupling,
            (aim.to(device) * self.level.exp())[self._of_ion.to(device)],
            self._of_ion.to(device),
            self._shares.to(device),
            self._masses.to(device),
        )


@dataclass(frozen=True)
class HeldMotion:
    """A thermostat with what it aims at.

    Attributes
    ----------
    coupling : float
    mean_square : Tensor, [k]
        Of the displacements of each ion of a cell in one record, Angstrom^2.
    of_ion : Tensor, [k]
        Species.
    shares : Tensor, [k, S]
        Of each ion in the mean over its species.
    masses : Tensor, [k], or [0]
        Shares of the mass of a cell; none where the momentum is free.
    """

    coupling: float
    mean_square: Tensor
    of_ion: Tensor
    shares: Tensor
    masses: Tensor

    def applied(self, moved: Tensor, last: Tensor) -> Tensor:
        """Return the displacements of a step, held.

        Parameters
        ----------
        moved : Tensor, [r, 3, n]
            Angstrom; the k ions of a cell follow each other.
        last : Tensor, [3, n]
            Those of the record before.
        """
        k = len(self.of_ion)
        energy = (last.square().sum(0).view(-1, k) / self.mean_square) @ self.shares  # [B, S]
        factor = (1 - self.coupling * (energy - 1)).clamp(1 - _MOST, 1 + _MOST)
        moved = moved * factor[:, self.of_ion].flatten()
        if not len(self.masses):
            return moved
        cells = moved.view(*moved.shape[:2], -1, k)
        held: Tensor = cells - (cells * self.masses).sum(-1, keepdim=True)
        return held.flatten(-2)
