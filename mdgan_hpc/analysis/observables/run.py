"""The sums of all observables over particles and time origins of one run, in one pass over it."""

import math
from typing import Any, NamedTuple

import numpy as np

from mdgan_hpc.analysis.observables.arrays import Arrays, NumpyArrays, TorchArrays
from mdgan_hpc.analysis.observables.collective import CollectiveSums
from mdgan_hpc.analysis.observables.displacements import origin_steps
from mdgan_hpc.analysis.observables.fourier import padded_length
from mdgan_hpc.analysis.observables.moments import MomentSums
from mdgan_hpc.analysis.observables.msd import SquaredDisplacements
from mdgan_hpc.analysis.observables.van_hove import HistogramSums
from mdgan_hpc.analysis.observables.velocities import VelocitySums
from mdgan_hpc.analysis.plan import Plan
from mdgan_hpc.errors import DataError
from mdgan_hpc.parallel import Communicator

#: Histograms and fourth moments need no more samples than this: origins are thinned in larger
#: files. (The MSD is over all of them.)
SAMPLES = 5e7


class Beyond(NamedTuple):
    """The sums of what is measured beyond the MSD."""

    collective: CollectiveSums
    velocities: VelocitySums
    moments: MomentSums
    histograms: HistogramSums


class RunSums:
    """Sums of one run, by NumPy or on the device of the plan.

    Parameters
    ----------
    n_records : int
        T.
    plan : Plan
    n_particles : int
        Of the whole run: decides how origins of histograms and moments are thinned.
    ions_per_cell : int, optional
        Particles, following each other, that saw each other; all of the run if not given.
    inverse_cell : array [3, 3], optional
        For the test that positions are unwrapped.
    where : str
        Name of the file, for messages.

    Attributes
    ----------
    msd : SquaredDisplacements
    beyond : Beyond or None
        None where the MSD alone is asked for.
    """

    def __init__(
        self,
        n_records: int,
        plan: Plan,
        *,
        n_particles: int,
        ions_per_cell: int | None = None,
        inverse_cell: np.ndarray | None = None,
        where: object = "",
    ) -> None:
        config, lags = plan.config, plan.lags
        self.n_records, self.where, self.inverse_cell = n_records, where, inverse_cell
        length = padded_length(n_records, int(lags[-1]) + 1)
        self.arrays = _arrays(n_records, length, config.device)
        self.msd = SquaredDisplacements(n_records, lags, length, config.per_particle)
        self.beyond: Beyond | None = None
        if config.full:
            together = ions_per_cell or n_particles
            step = max(1, math.ceil(n_particles * n_records / SAMPLES))
            self.beyond = Beyond(
                CollectiveSums(
                    n_records,
                    lags,
                    length,
                    n_particles,
                    together,
                    points=plan.current_points,
                    stride=plan.current_stride,
                ),
                VelocitySums(n_records, plan.velocity_lags, config.stride),
                MomentSums(n_records, lags, origin_steps(lags, step), together),
                HistogramSums(plan.histogram_lags, step),
            )

    @property
    def n_particles(self) -> int:
        """Particles added."""
        return self.msd.n_particles

    def add(self, positions: np.ndarray, number: int = 0) -> None:
        """Add particles, positions [T, n, 3] in Angstrom, unwrapped.

        `number` is that of the first of them in the run. Where the run holds several cells, it is
        the first of one.

        Raises
        ------
        DataError
            If positions are wrapped into the cell or not finite.
        """
        if self.beyond is not None:
            self.beyond.collective.begin_part()
        for first, host, group in self.arrays.series(positions):
            if not self.msd.add(self.arrays, group):
                self._refuse_not_finite(host, number + first)
            together = self.arrays.at_once(3 * self.n_records)
            for start in range(0, len(group), together):
                some = slice(start, start + together)
                if self.inverse_cell is not None:
                    refuse_wrapped(host[some], self.inverse_cell, self.where)
                if self.beyond is not None:
                    self._add_beyond(self.beyond, group[some], number + first + start)

    def _add_beyond(self, beyond: Beyond, group: Any, first: int) -> None:
        x = self.arrays.centred(group)
        beyond.collective.add(self.arrays, x)
        beyond.velocities.add(self.arrays, x)
        beyond.moments.add(self.arrays, x, first)
        beyond.histograms.add(self.arrays, x)

    def _refuse_not_finite(self, group: np.ndarray, first: int) -> None:
        particle, _, record = np.argwhere(~np.isfinite(group))[0]
        raise DataError(
            f"position of particle {first + particle} in record {record} is not a number",
            where=self.where,
        )

    def reduce(self, communicator: Communicator) -> None:
        """Add up what the ranks have; every rank must call it. Rank 0 holds the result."""
        for sums in [self.msd.sums, *(part.sums for part in self.beyond or ())]:
            for name in sums:
                sums[name] = communicator.sum_to_root(sums[name])
        pieces = communicator.gather(self.msd.per_particle)
        if pieces is not None:
            self.msd.per_particle = [part for rank in pieces for part in rank]
        if communicator.rank == 0 and self.beyond is not None and self.n_particles:
            self.beyond.collective.end()


class CollectiveRun:
    """The sums of all ions of a cell together, and no others, of one run.

    Parameters
    ----------
    n_records : int
        T.
    plan : Plan
    n_particles, ions_per_cell : int
        As of `RunSums`.
    """

    def __init__(self, n_records: int, plan: Plan, *, n_particles: int, ions_per_cell: int) -> None:
        length = padded_length(n_records, int(plan.lags[-1]) + 1)
        self._arrays = _arrays(n_records, length, plan.config.device)
        self.collective = CollectiveSums(n_records, plan.lags, length, n_particles, ions_per_cell)

    def add(self, positions: np.ndarray, number: int = 0) -> None:
        """Add particles, positions [T, n, 3]; see `RunSums.add`."""
        self.collective.begin_part()
        for _, _, group in self._arrays.series(positions):
            self.collective.add(self._arrays, self._arrays.centred(group))

    def reduce(self, communicator: Communicator) -> None:
        """Add up what the ranks have; every rank must call it. Rank 0 holds the result."""
        sums = self.collective.sums
        for name in sums:
            sums[name] = communicator.sum_to_root(sums[name])
        if communicator.rank == 0:
            self.collective.end()


def _arrays(n_records: int, length: int, device: str) -> Arrays:
    """Return the array operations of a device; of the processor where none is named."""
    return TorchArrays(n_records, length, device) if device else NumpyArrays(n_records, length)


def refuse_wrapped(x: np.ndarray, inverse_cell: np.ndarray, where: object = "") -> None:
    """Raise if particles jump across the cell while all of them stay within its bounds.

    Parameters
    ----------
    x : array, [n, 3, T]
        Positions, Angstrom.
    inverse_cell : array, [3, 3]
        Inverse of the matrix whose rows are the cell vectors.

    Raises
    ------
    DataError
        Naming the record.
    """
    # A jump of half a cell vector moves a particle by half the spacing of the lattice planes at
    # least: where no step is that long, the fractions need no look.
    spacing = 1 / np.linalg.norm(inverse_cell, axis=0)
    if np.abs(np.diff(x, axis=-1)).max(initial=0.0) < 0.5 * spacing.min() / np.sqrt(3):
        return
    fraction = np.einsum("nit,ij->njt", x, inverse_cell)
    inside = np.ptp(fraction, axis=(0, 2)) < 1 + 1e-3  # [3]
    bad = np.argwhere((np.abs(np.diff(fraction, axis=-1)) > 0.5) & inside[None, :, None])
    if len(bad):
        record = bad[0][2]
        raise DataError(
            f"particles jump across the cell, first between records {record} and {record + 1}: "
            "positions are wrapped into the cell",
            where=where,
            remedy="give unwrapped positions, or an image element beside them",
        )
