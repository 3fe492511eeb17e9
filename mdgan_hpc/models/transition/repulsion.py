"""Short-range repulsion: ions closer than those of the data are pushed apart.

Of such ions the network has learned nothing, and in free runs two of them once came to share a site
for long. Interatomic potentials that are learned get a repulsion of their own there for the same
reason (V. L. Deringer, G. Csanyi, Phys. Rev. B 95, 094203 (2017), section II). Here it continues
what the data show: the share of ions with a neighbour within d falls towards the least distances
about as exp(d / l), as if a potential kT (d_0 - d) / l acted from the least distance d_0 on. In one
record its force kT / l moves an ion by s^2 / l, where s is its thermal displacement along one axis,
and a part of the depth at most: a record is long for hard ions. Where ions are further from each
other nothing is changed. d_0 is the least distance of a sample of the data (`measured_repulsion`):
a few of a hundred thousand ions of the data may be closer, where the likelihood does not have it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.neighbours import Pairs, nearest_distances, sampled_frames
from mdgan_hpc.models.transition.friction import force_weights
from mdgan_hpc.models.transition.mixture import tiled

#: Shares of the ions between whose distances the decay is measured, and places of ions for that.
_SHARES, _ENOUGH = (1e-3, 1e-2), 10_000
#: Of the depth that an ion is moved back by in one record at most; two ions that do so both
#: overshoot only from 1 on.
_RESPONSE = 0.25


class MeasuredRepulsion(TypedDict):
    """Where ions of each pair of species begin to repel each other; as a model file holds it.

    Attributes
    ----------
    distance, decay : list of list of float, [s, s]
        d_0 and l, Angstrom; d_0 = 0: they do not.
    """

    distance: list[list[float]]
    decay: list[list[float]]


@dataclass(frozen=True)
class Repulsion:
    """The repulsion in a free run.

    Attributes
    ----------
    distance, decay : Tensor, [s, s]
        Of `MeasuredRepulsion`.
    square : float or Tensor, [k]
        s^2, Angstrom^2; of each ion of a cell where they are of several species.
    scale : float or Tensor, [k]
        What residuals are multiplied by before they displace an ion.
    weights : Tensor, [r]
        Of `force_weights`.
    """

    distance: Tensor
    decay: Tensor
    square: float | Tensor
    scale: float | Tensor
    weights: Tensor

    @classmethod
    def of(
        cls,
        found: MeasuredRepulsion | None,
        motion: Tensor,
        mean_square: float | Tensor,
        scale: Tensor | None,
    ) -> Self | None:
        """Return the repulsion that was measured, of ions that move as a free run tells.

        Parameters
        ----------
        found : MeasuredRepulsion or None
        motion : Tensor, [r, p + r]
        scale : Tensor, [k], or None
            Of `InferenceKernel`.
        mean_square : float or Tensor, [k]
            Of a displacement of one record, Angstrom^2.
        """
        if found is None:
            return None
        distance, decay = (motion.new_tensor(found[name]) for name in ("distance", "decay"))
        of = 1.0 if scale is None else scale, force_weights(motion)
        return cls(distance, decay, mean_square / 3, *of)

    def residual(self, pairs: Pairs) -> Tensor:
        """Return what is added to the residuals [r, 3, n] of ions, given all pairs of them."""
        n = len(pairs.distance)
        which: tuple[Tensor | int, Tensor | int] = (0, 0)
        if pairs.of_ion is not None:
            of_ion = pairs.of_ion
            which = tiled(of_ion, n)[:, None], of_ion[(pairs.other % len(of_ion)).long()]
        depth = (self.distance[which] - pairs.distance).clamp(min=0)
        square, scale = (_of_ions(value, n, depth) for value in (self.square, self.scale))
        back = torch.minimum(square / self.decay[which], _RESPONSE * depth) / scale
        moved = (pairs.unit[:, :3] @ back[..., None])[..., 0]  # towards the others
        return -self.weights[:, None, None] * moved.T


def _of_ions(value: float | Tensor, n: int, like: Tensor) -> Tensor:
    """Return values [n or 1, 1] of n ions, given one or those of the ions of a cell."""
    return tiled(torch.as_tensor(value).to(like), n).view(-1, 1)


def measured_repulsion(
    runs: Sequence[np.ndarray], cell: np.ndarray, species: Sequence[np.ndarray] = ()
) -> MeasuredRepulsion | None:
    """Measure the repulsion of the ions of runs.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Positions, Angstrom; about 12 000 places of ions of each run are looked at.
    cell : array, [3, 3]
    species : sequence of array, [N]
        Which species the ions of each run are, from 0 on, where there are several.

    Returns
    -------
    MeasuredRepulsion or None
        None where the data are too few to tell a least distance.
    """
    every = species or [np.zeros(run.shape[1], int) for run in runs]
    kinds = 1 + max(int(which.max()) for which in every)
    distance, decay = np.zeros((2, kinds, kinds))

    def frames(a: int, b: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for run, which in zip(runs, every, strict=True):
            for frame in sampled_frames(run):
                here, there = frame[which == a], frame[which == b]
                yield from [(here, None)] if a == b else [(here, there), (there, here)]

    for a in range(kinds):
        for b in range(a + 1):
            nearest = nearest_distances(frames(a, b), cell)
            nearest = nearest[np.isfinite(nearest)]  # not that of an ion without another one
            low, high = np.quantile(nearest, _SHARES) if len(nearest) >= _ENOUGH else (0.0, 0.0)
            if high > low:
                distance[a, b] = distance[b, a] = nearest.min()
                decay[a, b] = decay[b, a] = (high - low) / math.log(_SHARES[1] / _SHARES[0])
    if not distance.any():
        return None
    return {"distance": distance.tolist(), "decay": np.where(distance, decay, 1.0).tolist()}
