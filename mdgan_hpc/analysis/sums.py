"""Sums over particles and time origins of one run, for everything that one pass over it gives."""

import math
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.analysis.correlation import (
    Scratch,
    padded_length,
    power,
    squared_displacements,
    summed_power,
)
from mdgan_hpc.analysis.plan import Plan
from mdgan_hpc.errors import DataError
from mdgan_hpc.parallel import Communicator

#: Width and number of histogram bins of displacements (Angstrom); what is beyond is counted last.
BIN_WIDTH = 0.05
N_BINS = 4096

#: Numbers worked on at once: few enough for a core's cache, many enough for its vectors.
WORK_NUMBERS = 2**17

#: Histograms and fourth moments need no more samples than this: origins are thinned in larger
#: files. (The MSD is over all of them.)
SAMPLES = 5e7

#: Origins of fourth moments are this share of the lag apart: closer ones add cost, no knowledge.
ORIGINS_PER_LAG = 16


#: Simulations in one run are shared out over this many bundles, whose scatter tells how far their
#: ions are independent.
BUNDLES = 24


class RunSums:
    """Sums over particles and time origins of one run.

    Parameters
    ----------
    n_records : int
        T.
    plan : Plan
    n_particles : int
        Of the whole run: decides how origins of histograms and moments are thinned.
    together : int, optional
        Particles, following each other, that were simulated together; all of the run if not given.
    inverse_cell : array [3, 3], optional
        For the test that positions are unwrapped.
    where : str
        Name of the file, for messages.
    """

    def __init__(
        self,
        n_records: int,
        plan: Plan,
        *,
        n_particles: int,
        together: int | None = None,
        inverse_cell: np.ndarray | None = None,
        where: object = "",
    ) -> None:
        self.plan, self.n_records, self.where = plan, n_records, where
        self.length = padded_length(n_records, int(plan.lags[-1]) + 1)
        self.velocity_length = padded_length(n_records, plan.velocity_lags * plan.config.stride)
        self.padded = np.zeros((max(1, WORK_NUMBERS // self.length), self.length))
        self.ramp = np.arange(n_records) - 0.5 * (n_records - 1)
        self.inverse_cell = inverse_cell
        self.together = together or n_particles
        self._one_simulation = self.together == n_particles
        # Many simulations of one particle each tell nothing of collective motion.
        self._collective = self.together > 1 or self._one_simulation
        self._in_path = 0
        n_lags, n_times = len(plan.lags), len(plan.histogram_lags)
        self.origin_step = max(1, math.ceil(n_particles * n_records / SAMPLES))
        self.moment_steps = np.maximum(self.origin_step, plan.lags // ORIGINS_PER_LAG)
        self.sums: dict[str, np.ndarray] = {
            "particles": np.zeros(1),
            "power": np.zeros((3, self.length // 2 + 1)),
            "squares": np.zeros((3, n_records)),
            "trend": np.zeros((3, n_records)),
            "trend_squared": np.zeros(3),
            "first_to_last": np.zeros(3),
            "first_to_last_squared": np.zeros(3),
        }
        if plan.config.full:
            self.sums |= {
                "velocity_power": np.zeros(self.velocity_length // 2 + 1),
                "path": np.zeros((3, n_records)),
                "simulations": np.zeros(1),
                "bundle_particles": np.zeros(BUNDLES),
                "bundle_squares": np.zeros((BUNDLES, n_lags)),
                "collective_power": np.zeros(self.length // 2 + 1),
                "collective_squares": np.zeros(n_records),
                "second": np.zeros(n_lags),
                "tensor": np.zeros((n_times, 3, 3)),
                "fourth": np.zeros(n_lags),
                "radial": np.zeros((n_times, N_BINS)),
                "axial": np.zeros((n_times, 3, 2 * N_BINS)),
            }
        self.per_particle: list[np.ndarray] = []
        self.scratch = Scratch()

    def add(self, positions: np.ndarray, number: int = 0) -> None:
        """Add particles, positions [T, n, 3] in Angstrom, unwrapped.

        `number` is that of the first of them in the run, for messages. Where the run holds several
        simulations, it is the first of one.

        Raises
        ------
        DataError
            If positions are wrapped into the cell or not finite.
        """
        self._begin_part()
        together = max(1, WORK_NUMBERS // (3 * self.n_records))
        for first, group in series(positions, self.scratch):
            self._add_squared(group, number + first)
            for start in range(0, len(group), together):
                x = group[start : start + together]
                if self.inverse_cell is not None:
                    refuse_wrapped(x, self.inverse_cell, self.where)
                if self.plan.config.full:
                    self._add_full(x, number + first + start)

    def _add_squared(self, group: np.ndarray, first: int) -> None:
        """Add what the squared displacements of particles [n, 3, T] need."""
        sums, n_lags = self.sums, int(self.plan.lags[-1]) + 1
        travel = (group[..., -1] - group[..., 0]).astype(np.float64)
        sums["particles"] += len(group)
        sums["first_to_last"] += travel.sum(0)
        sums["first_to_last_squared"] += (travel**2).sum(0)
        each = np.zeros((len(group), len(self.plan.lags)))
        together = len(self.padded)
        for axis in range(3):
            for start in range(0, len(group), together):
                some = slice(start, start + together)
                padded, velocity = self._beside_line(group[some, axis])
                y = padded[:, : self.n_records]
                squares = np.einsum("nt,nt->t", y, y)
                if not np.isfinite(squares.sum()):
                    self._refuse_not_finite(group, first)
                sums["squares"][axis] += squares
                sums["trend"][axis] += np.einsum("nt,n->t", y, velocity)
                sums["trend_squared"][axis] += (velocity**2).sum()
                if self.plan.config.per_particle:
                    powers = power(padded, self.length)
                    sums["power"][axis] += powers.sum(0)
                    trend = y * velocity[:, None], velocity**2
                    total = squared_displacements(powers, y**2, self.length, n_lags, *trend)
                    each[some] += total[:, self.plan.lags]
                else:
                    sums["power"][axis] += summed_power(padded, self.length)
        if self.plan.config.per_particle:
            self.per_particle.append(each / (self.n_records - self.plan.lags))

    def _beside_line(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return series [n, T] less the line from first to last record, and its slopes [n].

        The transform subtracts large numbers: it gets what is left beside the line, and the line
        is added exactly. Zeros follow each series, up to the length of the transform.
        """
        first, last = x[:, 0].astype(np.float64), x[:, -1].astype(np.float64)
        velocity = (last - first) / max(self.n_records - 1, 1)
        line = self.scratch.array("line", x.shape)
        np.multiply(velocity[:, None], self.ramp, out=line)
        line += 0.5 * (first + last)[:, None]
        padded = self.padded[: len(x)]
        np.subtract(x, line, out=padded[:, : self.n_records])
        return padded, velocity

    def _refuse_not_finite(self, group: np.ndarray, first: int) -> None:
        particle, _, record = np.argwhere(~np.isfinite(group))[0]
        raise DataError(
            f"position of particle {first + particle} in record {record} is not a number",
            where=self.where,
        )

    def _add_full(self, group: np.ndarray, first: int) -> None:
        """Add collective motion, velocities, moments and histograms of particles [n, 3, T]."""
        sums, stride = self.sums, self.plan.config.stride
        x = self.scratch.array("centred", group.shape)
        np.subtract(group, group.mean(-1, dtype=np.float64, keepdims=True), out=x)
        if self._collective:
            for some in self._by_simulation(len(x)):
                self._add_path(x[some].sum(0), some.stop - some.start)
        steps = self.scratch.array("line", (*x.shape[:2], self.n_records - stride))
        np.subtract(x[..., stride:], x[..., :-stride], out=steps)
        steps = steps.reshape(-1, steps.shape[-1])
        sums["velocity_power"] += summed_power(steps, self.velocity_length)
        self._add_moments(x, self._bundles(first, len(x)))
        self._add_histograms(x)

    def _begin_part(self) -> None:
        """Forget a simulation of which the part before held not all particles."""
        if self.plan.config.full and not self._one_simulation:
            self.sums["path"][...] = 0
            self._in_path = 0

    def _by_simulation(self, n: int) -> Iterator[slice]:
        """Cut the next n particles where simulations end."""
        start = 0
        while start < n:
            stop = min(n, start + self.together - self._in_path)
            yield slice(start, stop)
            start = stop

    def _add_path(self, path: np.ndarray, n: int) -> None:
        """Add the summed positions [3, T] of the next n particles of a simulation."""
        self.sums["path"] += path
        self._in_path += n
        if self._in_path == self.together:
            self._end_simulation()

    def _end_simulation(self) -> None:
        path, sums = self.sums["path"], self.sums
        sums["collective_power"] += summed_power(path, self.length)
        sums["collective_squares"] += (path**2).sum(0)
        sums["simulations"] += 1
        path[...] = 0
        self._in_path = 0

    def _bundles(self, first: int, n: int) -> np.ndarray:
        """Return the bundle of each of the next n particles."""
        bundles = (first + np.arange(n)) // self.together % BUNDLES
        np.add.at(self.sums["bundle_particles"], bundles, 1)
        return bundles

    def _add_moments(self, x: np.ndarray, bundles: np.ndarray) -> None:
        for index, (lag, step) in enumerate(zip(self.plan.lags, self.moment_steps, strict=True)):
            late, early = x[..., lag::step], x[..., : x.shape[-1] - lag : step]
            d = np.subtract(late, early, out=self.scratch.array("line", late.shape))
            r2 = self.scratch.array("square", (len(d), d.shape[-1]))
            np.einsum("nit,nit->nt", d, d, out=r2)
            each = r2.sum(1)
            self.sums["second"][index] += each.sum()
            np.add.at(self.sums["bundle_squares"][:, index], bundles, each)
            self.sums["fourth"][index] += np.einsum("nt,nt->", r2, r2)

    def _add_histograms(self, x: np.ndarray) -> None:
        for index, lag in enumerate(self.plan.histogram_lags):
            step = self.origin_step
            d = (x[..., lag::step] - x[..., : x.shape[-1] - lag : step]) / BIN_WIDTH
            self.sums["tensor"][index] += np.einsum("nit,njt->ij", d, d)
            r = np.sqrt(np.einsum("nit,nit->nt", d, d))
            self.sums["radial"][index] += bin_counts(r, N_BINS)
            for axis in range(3):
                self.sums["axial"][index, axis] += bin_counts(d[:, axis] + N_BINS, 2 * N_BINS)

    def reduce(self, communicator: Communicator) -> None:
        """Add up what the ranks have; every rank must call it. Rank 0 holds the result."""
        for name in sorted(self.sums):
            self.sums[name] = communicator.sum_to_root(self.sums[name])
        pieces = communicator.gather(self.per_particle)
        # The particles of a single simulation may be spread over the ranks.
        spread = self.plan.config.full and self._one_simulation and not self.sums["simulations"][0]
        if communicator.rank == 0 and spread and self.n_particles:
            self._end_simulation()
        if pieces is not None:
            self.per_particle = [part for rank in pieces for part in rank]

    @property
    def n_particles(self) -> int:
        """Particles added."""
        return int(self.sums["particles"][0])

    def origins(self, lags: np.ndarray) -> np.ndarray:
        """Number of time origins of each lag, over all particles."""
        return self.n_particles * (self.n_records - lags)

    def collective(self) -> np.ndarray:
        """Sums over simulations and origins of (sum of the displacements of its particles)^2.

        [lag] for all lags up to the longest.
        """
        return squared_displacements(
            self.sums["collective_power"],
            self.sums["collective_squares"],
            self.length,
            int(self.plan.lags[-1]) + 1,
        )

    def squared(self) -> np.ndarray:
        """Sums of squared displacements per axis, [3, lag] for all lags up to the longest."""
        return squared_displacements(
            self.sums["power"],
            self.sums["squares"],
            self.length,
            int(self.plan.lags[-1]) + 1,
            self.sums["trend"],
            self.sums["trend_squared"],
        )


def bin_counts(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Count values in bins [0, 1), [1, 2) ...; what is beyond goes into the first or last."""
    index = np.clip(values, 0, n_bins - 1).astype(np.intp)
    return np.bincount(index.ravel(), minlength=n_bins)


def series(positions: np.ndarray, scratch: Scratch) -> Iterator[tuple[int, np.ndarray]]:
    """Turn positions [T, N, 3] into time series, some particles at once.

    Yields
    ------
    first : int
        Number of the first particle.
    series : array, [n, 3, T]
        Of the type of the positions, time contiguous; overwritten by the next one.
    """
    n_records, n_particles = positions.shape[:2]
    group = int(np.clip(4 * 10**6 // n_records, 4, 64))
    for first in range(0, n_particles, group):
        part = positions[:, first : first + group]
        n = part.shape[1]
        out = scratch.array("series", (n, 3, n_records), positions.dtype)
        # Some whole records first come together in the cache: a plain transposition touches a
        # cache line per number, and lines a power of two apart push each other out. The
        # unused column keeps them from being so here.
        tile = scratch.array("tile", (256, 3 * n + 1), positions.dtype)[:, : 3 * n]
        for t in range(0, n_records, 256):
            records = part[t : t + 256]
            tile[: len(records)].reshape(-1, n, 3)[...] = records
            out[..., t : t + 256] = tile[: len(records)].reshape(-1, n, 3).transpose(1, 2, 0)
        yield first, out


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
