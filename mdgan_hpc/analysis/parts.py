"""Runs as they are summed: a trajectory, or of one that several models made the ions of each."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.origin import model_name, models_of


@dataclass(frozen=True)
class Part:
    """Particles of a trajectory that one model, or MD, made.

    Attributes
    ----------
    trajectory : Trajectory
    stretches : tuple of (int, int)
        Where they lie: first particle, and the one after the last.
    model : str
        What tells the model from others.
    """

    trajectory: Trajectory
    stretches: tuple[tuple[int, int], ...]
    model: str

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return sum(stop - start for start, stop in self.stretches)

    def units(self, most_bytes: int) -> list[tuple[slice, int]]:
        """Share the particles into the pieces that ranks read: storage blocks where they fit.

        Returns
        -------
        list of (slice, int)
            Particles of the trajectory, and the number of the first of them in this part.
        """
        t, together = self.trajectory, self.trajectory.ions_per_cell
        fits = max(1, most_bytes // (12 * t.n_records))
        size = min(fits, t.chunk[1], max(1, math.ceil(t.n_particles / 8)))
        if together < t.n_particles:
            size = max(size // together, 1) * together
        pieces, number = [], 0
        for first, end in self.stretches:
            for start in range(first, end, size):
                stop = min(start + size, end)
                pieces.append((slice(start, stop), number))
                number += stop - start
        return pieces


def parts_of(trajectory: Trajectory) -> list[Part]:
    """Return the parts of a trajectory: one, or one for each model that made ions of it."""
    if not trajectory.generated:
        return [Part(trajectory, ((0, trajectory.n_particles),), "")]
    models, name = models_of(trajectory), model_name(trajectory)
    cuts = [0, *(np.flatnonzero(np.diff(models)) + 1), len(models)]
    stretches = [(int(a), int(b)) for a, b in itertools.pairwise(cuts)]
    return [
        Part(
            trajectory,
            tuple(s for s in stretches if models[s[0]] == number),
            f"{name} {number:06d}",
        )
        for number in np.unique(models)
    ]
