"""How the ions around an ion move: sums of their displacements.

Where ions are dense, one that knows its own past alone damps motion that all around it share: a
sound wave, or a swing of all ions against their framework. Beside where its neighbours are it is
then told how they move: their displacement over the last record, over the one before, and over all
that it remembers of its own; each summed over wide shells of distance, as it is and along the line
to them, and the mean over the ions of the cell. Compare the friction between pairs of particles
in dissipative particle dynamics, along their line and across it (P. Espanol, P. Warren, Europhys.
Lett. 30, 191 (1995); C. Junghans, M. Praprotnik, K. Kremer, Soft Matter 4, 156 (2008)).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.neighbours import Pairs

#: Displacements that are told: of the last record, of the one before, of all that are remembered.
_TOLD = 3
#: Shells of the neighbour descriptor in a wide one.
_WIDE = 2


@dataclass(frozen=True)
class MotionDescriptor:
    """Describes how the ions around an ion move.

    Attributes
    ----------
    shells : int
        Of the neighbour descriptor.
    records : int
        p, the last displacements that an ion remembers.
    """

    shells: int
    records: int

    @property
    def n_scalars(self) -> int:
        """How fast the ions of each wide shell go away from an ion, for each displacement."""
        return _TOLD * -(-self.shells // _WIDE)

    @property
    def n_rows(self) -> int:
        """Vectors: of each wide shell two, and the mean of the cell, for each displacement."""
        return 2 * self.n_scalars + _TOLD

    def told(self, last: Tensor) -> Tensor:
        """Return the displacements [3, 3, n] that are told, of the last [p, 3, n], newest first."""
        return torch.stack([last[0], last[1], last[: self.records].sum(0)])

    def along(self, run: np.ndarray, step_skip: int) -> Tensor:
        """Return those of ions of a run [T, N, 3] at all frames, [3, 3, T, N], float32.

        Zero where the past is not known.
        """
        found = np.zeros((_TOLD, *run.shape), np.float32)
        for row, (newest, oldest) in enumerate(((0, 1), (1, 2), (0, self.records))):
            first, last = newest * step_skip, oldest * step_skip
            if last < len(run):
                found[row, last:] = run[last - first : len(run) - first] - run[: len(run) - last]
        return torch.from_numpy(found).permute(0, 3, 1, 2)

    def of_pairs(self, pairs: Pairs, told: Tensor, ions: int) -> Tensor:
        """Describe n ions, `ions` of a cell one after another.

        Parameters
        ----------
        pairs : Pairs
            All of the n ions.
        told : Tensor, [3, 3, n]
        ions : int

        Returns
        -------
        Tensor, [n_rows, 4, n]
            Vectors and scalars; zero where there are more vectors than scalars.
        """
        n, shells, many = pairs.inside.shape
        inside, unit = pairs.inside.transpose(0, 1), pairs.unit.transpose(0, 1)[:3]
        wide = torch.stack(
            [inside[first : first + _WIDE].sum(0) for first in range(0, shells, _WIDE)]
        )  # [S, n, M]
        told = told.to(wide.dtype)
        # What is summed over the others: displacements, along the line to them, and their lengths.
        summed = wide.new_empty(7 * _TOLD, n, many)
        theirs, along, away = torch.split(summed, [3 * _TOLD, 3 * _TOLD, _TOLD])
        torch.gather(
            *(told.reshape(-1, n), 1, pairs.other.long().flatten().expand(3 * _TOLD, -1)),
            out=theirs.view(3 * _TOLD, -1),
        )
        torch.sum(torch.unflatten(theirs, 0, (_TOLD, 3)) * unit, 1, out=away)
        torch.mul(away[:, None], unit, out=torch.unflatten(along, 0, (_TOLD, 3)))
        sums = wide.transpose(0, 1) @ summed.permute(1, 2, 0)  # [n, S, 21]
        found = told.new_zeros(n, self.n_rows, 4)
        found[:, : self.n_scalars, :3] = sums[..., : 3 * _TOLD].reshape(n, -1, 3)
        found[:, self.n_scalars : -_TOLD, :3] = sums[..., 3 * _TOLD : -_TOLD].reshape(n, -1, 3)
        found[:, : self.n_scalars, 3] = sums[..., -_TOLD:].flatten(1)
        mean = torch.unflatten(told, 2, (-1, ions)).mean(3, keepdim=True)
        found[:, -_TOLD:, :3] = mean.expand(-1, -1, -1, ions).flatten(2).permute(2, 0, 1)
        return found.permute(1, 2, 0)


@dataclass(frozen=True)
class MotionAlongRuns:
    """How the ions around the ions of runs move, at all frames (`AlongRuns`).

    Attributes
    ----------
    motion : MotionDescriptor
    runs : sequence of array, [T, N, 3]
        In the frame that displacements are remembered in.
    step_skip : int
        Frames from one record to the next.
    """

    motion: MotionDescriptor
    runs: Sequence[np.ndarray]
    step_skip: int
    _told: dict[int, Tensor] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """See `MotionDescriptor`."""
        return self.motion.n_rows

    def of_pairs(self, number: int, frames: Tensor, pairs: Pairs) -> Tensor:
        """See `AlongRuns`."""
        run = self.runs[number]
        if number not in self._told:
            self._told.clear()
            self._told[number] = self.motion.along(run, self.step_skip)
        told = self._told[number][:, :, frames].flatten(2)
        return self.motion.of_pairs(pairs, told, run.shape[1])
