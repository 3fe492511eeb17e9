"""MD runs to which generated trajectories are compared."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.dynamics import open_runs
from mdgan_hpc.analysis.fidelity.critic import CriticResult, Motion, judge_by_critic
from mdgan_hpc.analysis.fidelity.intervals import common_strides
from mdgan_hpc.analysis.fidelity.measures import (
    NEAREST_LEVELS,
    UNITS,
    Cell,
    Means,
    Plan,
    distance,
    distances_to_nearest,
    join,
    mean,
    observables,
    per_ion,
)
from mdgan_hpc.analysis.fidelity.result import FidelityResult
from mdgan_hpc.analysis.runs import read_runs
from mdgan_hpc.analysis.sites.find import find_sites
from mdgan_hpc.analysis.sites.hops import Hops, count_hops, joined_hops
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.crystal import Crystal
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import Communicator

#: Lags (log-spaced), from one record to this share of a run.
LAGS = 24
LONGEST_LAG = 0.25

#: Times of van Hove functions and of the reversal test, as shares of a run.
TIME_SHARES = (1 / 160, 1 / 40, 1 / 10, 1 / 4)
#: Levels of the distribution of MD displacements at which distributions are compared.
LEVELS = np.linspace(0.05, 0.95, 19)

VACF_PS = 1.0
VOXEL = 1.5  # Angstrom, of the site density

#: Runs drawn from the ions of the pool.
DRAWS = 100

#: From this number of groups on their scatter tells the error of a mean.
MANY_GROUPS = 16

#: Length of a hop where no sites are known, Angstrom.
HOP_ANGSTROM = 3.0

Source = str | Path | np.ndarray | Sequence[str | Path] | Sequence[np.ndarray]


class Fidelity:
    """MD runs to which generated trajectories are compared.

    Parameters
    ----------
    md : path, array [T, N, 3], or sequence of them
        MD runs of one system, each a replica: trajectory files, or unwrapped positions in Angstrom.
    interval_ps : float, optional
        Between two records; needed with arrays, told by files.
    lattice : array [3, 3] or Lattice, optional
        Primitive lattice vectors (rows, Angstrom), or with the symmetry operations: with it sites
        are found and compared as well. Files of a crystal tell it.
    species : str
        Of the ions that are compared; needed where files hold several.
    cell : array [3, 3], optional
        Rows are the vectors of the cell of the MD, Angstrom; files tell it. Distances between ions
        are compared with it, and a critic sees them.

    Raises
    ------
    UsageError
        If arrays come without an interval, or files hold several species and none is named.

    Examples
    --------
    >>> Fidelity(["run1.h5", "run2.h5", "run3.h5"]).compare("generated.h5").median  # doctest: +SKIP
    0.9
    """

    def __init__(
        self,
        md: Source,
        interval_ps: float | None = None,
        lattice: np.ndarray | Lattice | None = None,
        *,
        species: str = "",
        cell: np.ndarray | None = None,
    ) -> None:
        files, arrays = _sorted(md)
        if files:
            runs = read_runs(files, species)
            arrays, interval_ps, cell = runs.positions, runs.interval_ps, runs.cell
            if lattice is None and isinstance(runs.crystal, Crystal):
                lattice = Lattice.of_crystal(runs.crystal)
        if not arrays:
            raise DataError("a reference needs at least one MD run")
        interval_ps = _checked(arrays, interval_ps)
        if lattice is not None and not isinstance(lattice, Lattice):
            lattice = Lattice.of_vectors(np.asarray(lattice))
        self.runs, self.interval_ps, self.lattice = arrays, interval_ps, lattice
        self.species, self.cell = species, cell
        self._prepared: dict[tuple[int, int], _Prepared] = {}

    @cached_property
    def sites(self) -> Sites | None:
        """Sites found in the density of the MD runs, if there is a lattice."""
        if self.lattice is None:
            return None
        step = max(1, sum(r.shape[0] * r.shape[1] for r in self.runs) // 10**6)
        return find_sites([r[::step].astype(np.float64) for r in self.runs], self.lattice)

    @cached_property
    def hops(self) -> Hops | None:
        """Hops between the sites in the MD runs, if there is a lattice."""
        if self.sites is None:
            return None
        each = [count_hops(self.sites, r.astype(np.float64), self.interval_ps) for r in self.runs]
        return joined_hops(each)

    @property
    def hop_angstrom(self) -> float:
        """Length of a hop: root mean square of those seen, `HOP_ANGSTROM` where none is."""
        return HOP_ANGSTROM if self.hops is None else self.hops.length or HOP_ANGSTROM

    def compare(
        self,
        generated: Source,
        interval_ps: float | None = None,
        *,
        ions_per_cell: int = 1,
        cell: np.ndarray | None = None,
    ) -> FidelityResult:
        """Compare a generated trajectory with the MD runs.

        Parameters
        ----------
        generated : path, array [T, N, 3], or sequence of them
            Any number of ions, at least a quarter as long as an MD run; positions unwrapped, in
            Angstrom. Several are pooled, over the length of the shortest.
        interval_ps : float, optional
            Between two records; needed with arrays.
        ions_per_cell : int
            Ions, following each other, that saw each other; files tell it. Ions beyond the last
            whole cell are left out.
        cell : array, [3, 3], optional
            Of the generated ions, that of the MD if not given; files tell it.

        Raises
        ------
        DataError
            If it is too short, or the record intervals have no common multiple.
        """
        files, arrays = _sorted(generated)
        if files:
            with open_runs(files, self.species) as trajectories:
                arrays = [t.positions() for t in trajectories]
                first = trajectories[0]
                interval_ps, cell = first.record_interval_ps, first.constant_cell
                ions_per_cell = min(t.ions_per_cell for t in trajectories)
        interval_ps = _checked(arrays, interval_ps)
        shortest = min(map(len, arrays))
        positions = arrays[0]
        if len(arrays) > 1:
            positions = np.concatenate([a[:shortest] for a in arrays], axis=1)
        strides = common_strides(self.interval_ps, interval_ps)
        if strides not in self._prepared:
            self._prepared[strides] = _Prepared(self, strides[0])
        own = Cell(ions_per_cell, self.cell if cell is None else cell)
        whole = positions[:, : positions.shape[1] // own.ions * own.ions]
        return self._prepared[strides].compare(whole, interval_ps, strides[1], own)

    def critic(
        self,
        generated: Source,
        interval_ps: float | None = None,
        *,
        ions_per_cell: int = 1,
        cell: np.ndarray | None = None,
        seed: int = 0,
        communicator: Communicator | None = None,
    ) -> CriticResult:
        """Train critics to tell generated ions from the MD runs, judged on runs they never saw.

        Parameters
        ----------
        generated : path, array [T, N, 3], or sequence of them
            Positions unwrapped, Angstrom; of a crystal in the frame of the first MD run.
        interval_ps : float, optional
            Between two records; needed with arrays.
        ions_per_cell : int
            Ions, following each other, that saw each other; files tell it.
        cell : array [3, 3], optional
            Of the generated ions; files tell it.
        seed : int
            Of the weights and the batches of the critics.
        communicator : Communicator, optional
            Ranks that share the trainings; see `judge_by_critic`.

        Raises
        ------
        DataError
            If the record intervals have no common multiple.
        UsageError
            If arrays come without an interval.
        """
        files, arrays = _sorted(generated)
        if files:
            with open_runs(files, self.species) as trajectories:
                arrays = [t.positions() for t in trajectories]
                first = trajectories[0]
                interval_ps, cell = first.record_interval_ps, first.constant_cell
                # Of models whose ions see others and some whose do not: single ions.
                ions_per_cell = min(t.ions_per_cell for t in trajectories)
        interval_ps = _checked(arrays, interval_ps, finite=False)  # told as a result
        stride, own = common_strides(self.interval_ps, interval_ps)
        k = ions_per_cell
        cells = [a[::own, i : i + k] for a in arrays for i in range(0, a.shape[1] - k + 1, k)]
        md = Motion([run[::stride] for run in self.runs], self.cell)
        return judge_by_critic(
            md,
            Motion(cells, cell),
            stride * self.interval_ps,
            self.lattice,
            seed=seed,
            communicator=communicator,
        )


def _sorted(source: Source) -> tuple[list[str | Path], list[np.ndarray]]:
    """Return the files and the arrays of a source; one of the two is empty."""
    several = [source] if isinstance(source, str | Path | np.ndarray) else list(source)
    files = [item for item in several if isinstance(item, str | Path)]
    arrays = [np.asarray(item) for item in several if not isinstance(item, str | Path)]
    if files and arrays:
        raise UsageError("give files or positions, not both")
    return files, arrays


def _checked(
    arrays: Sequence[np.ndarray], interval_ps: float | None, *, finite: bool = True
) -> float:
    """Return the interval of positions that can be compared."""
    if interval_ps is None:
        raise UsageError("positions in memory need interval_ps, those that are compared as well")
    if not 0 < interval_ps < np.inf:
        raise UsageError(f"interval_ps = {interval_ps} must be above 0")
    for positions in arrays:
        if positions.ndim != 3 or positions.shape[2] != 3 or not positions.size:
            raise UsageError(f"positions {list(positions.shape)} must be [records, ions, 3]")
        if finite and not np.isfinite(positions).all():
            raise DataError("positions are not finite numbers")
    return interval_ps


class _Prepared:
    """The observables of the MD runs at the lags shared with one generated record interval."""

    def __init__(self, reference: Fidelity, stride: int) -> None:
        replicas = reference.runs
        interval = reference.interval_ps
        shortest = min(map(len, replicas))
        self.span = shortest * interval
        units = max(2, int((shortest - 1) * LONGEST_LAG) // stride)
        lags = np.unique(np.round(np.geomspace(1, units, LAGS)).astype(int)) * stride
        nearest = [int(np.argmin(np.abs(np.log(lags / (shortest * s))))) for s in TIME_SHARES]
        at, first = np.unique(nearest, return_index=True)
        times = lags[at]
        names = tuple(f"van Hove at {self.span * TIME_SHARES[i]:.2g} ps" for i in first)
        sites = reference.sites
        voxels = (1, 1, 1)
        if sites is not None:
            lengths = np.linalg.norm(sites.lattice, axis=1)
            a, b, c = (max(2, round(float(v) / VOXEL)) for v in lengths)
            voxels = (a, b, c)
        edges = np.stack(
            [
                np.quantile(
                    np.concatenate(
                        [
                            np.linalg.norm(r[t:] - r[:-t], axis=-1)[:: max(1, t // 4)].ravel()
                            for r in replicas
                        ]
                    ),
                    LEVELS,
                )
                for t in times
            ]
        )
        count = max(4, round(min(VACF_PS, 0.1 * self.span) / (stride * interval)))
        cells = [Cell(r.shape[1], reference.cell) for r in replicas]
        apart = _levels_of_nearest(replicas, cells)
        self.plan = Plan(interval, stride, lags, times, names, count, edges, sites, voxels, apart)
        self.ions = [per_ion(r, self.plan, c) for r, c in zip(replicas, cells, strict=True)]
        self.pool = join(self.ions)
        self.observables = observables(mean(self.pool, None), self.plan)
        self.size = float(np.mean([r.shape[0] * r.shape[1] for r in replicas])) * interval
        self.references = self._references()

    def _references(self) -> dict[str, float]:
        """Distance another MD run would have to the pool, by observable."""
        n_runs = len(self.ions)
        squares: dict[str, list[float]] = {name: [] for name in self.observables}
        # A run against a pool of R - 1 others is farther than a new run against all R.
        larger = (1 + 1 / n_runs) / (1 + 1 / max(n_runs - 1, 1))
        if n_runs > 1:
            for k in range(n_runs):
                others = join([ions for i, ions in enumerate(self.ions) if i != k])
                rest = observables(mean(others, None), self.plan)
                own = observables(mean(self.ions[k], None), self.plan)
                for name in squares:
                    squares[name].append(larger * distance(own[name], rest[name]) ** 2)
        among = {name: float(np.mean(v)) if v else 0.0 for name, v in squares.items()}
        total = len(next(iter(self.pool.values())))
        draw = max(1, total // n_runs)
        rng = np.random.default_rng(0)
        sums = dict.fromkeys(self.observables, 0.0)
        for _ in range(DRAWS):
            weights = np.bincount(rng.integers(0, total, draw), minlength=total)
            own = observables(mean(self.pool, weights), self.plan)
            for name in sums:
                sums[name] += distance(own[name], self.observables[name]) ** 2 / DRAWS
        # Draws scatter about the pool itself, and a pool of n ions by (n - 1) / n too little.
        chance = {k: v * total / max(total - 1, 1) * (1 + 1 / n_runs) for k, v in sums.items()}
        return {name: float(np.sqrt(max(among[name], chance[name]))) for name in sums}

    def compare(
        self, positions: np.ndarray, interval_ps: float, stride: int, cell: Cell
    ) -> FidelityResult:
        scale = interval_ps / self.plan.interval_ps
        records = round(self.span / interval_ps)
        lags = np.round(self.plan.lags / scale).astype(int)
        if len(positions) <= lags[-1] + stride:
            raise DataError(
                f"the generated trajectory has {len(positions)} records of {interval_ps:g} ps; to "
                f"compare with MD runs of {self.span:.3g} ps it needs more than {lags[-1] + stride}"
            )
        plan = Plan(
            interval_ps,
            stride,
            lags,
            np.round(self.plan.times / scale).astype(int),
            self.plan.names,
            self.plan.velocity_lags,
            self.plan.edges,
            self.plan.sites,
            self.plan.voxels,
            self.plan.nearest,
        )
        # Pieces as long as an MD run; what is left over at the end is not used.
        length = min(records, len(positions))
        group_size = min(positions.shape[1], max(1, round(self.size / (length * interval_ps))))
        pieces = [
            per_ion(positions[start : start + length], plan, cell)
            for start in range(0, len(positions) - length + 1, length)
        ]
        ions = join(pieces)
        distances = self._distances_to_pool(ions)
        runs = [
            self._distances_to_pool(
                {name: v[start : start + group_size] for name, v in piece.items()}
            )
            for piece in pieces
            for start in range(0, positions.shape[1] - group_size + 1, group_size)
        ]
        run_distances = {
            name: float(np.sqrt(np.mean([run[name] ** 2 for run in runs]))) for name in distances
        }
        return FidelityResult(
            self._ratios(distances),
            self._ratios(run_distances),
            distances,
            self.references,
            {name: UNITS.get(name.split(" at ")[0], "") for name in distances},
            float(ions["second"][:, -1].mean() / self.pool["second"][:, -1].mean()),
            float(self.plan.lags[-1] * self.plan.interval_ps),
            _drift_z(positions, group_size),
            *self._too_close(ions),
            self.plan.lags * self.plan.interval_ps,
            ions["second"].mean(0) / np.maximum(self.pool["second"].mean(0), 1e-300),
        )

    def _too_close(self, ions: Means) -> tuple[float | None, float | None]:
        """Return the least distance of an MD ion to the nearest, and the share of those closer."""
        if self.plan.nearest is None or "nearest" not in ions:
            return None, None
        return float(self.plan.nearest[0]), float(ions["nearest"][:, 0].mean())

    def _distances_to_pool(self, ions: Means) -> dict[str, float]:
        """Distances of the mean over ions to the pool, by observable."""
        own = observables(mean(ions, None), self.plan)
        return {name: distance(value, self.observables[name]) for name, value in own.items()}

    def _ratios(self, distances: Mapping[str, float]) -> dict[str, float]:
        return {name: d / max(self.references[name], 1e-300) for name, d in distances.items()}


def _levels_of_nearest(runs: Sequence[np.ndarray], cells: Sequence[Cell]) -> np.ndarray | None:
    """Return the levels of the distance of ions to the nearest other one, Angstrom, if known."""
    if not all(cell.known for cell in cells):
        return None
    each = [distances_to_nearest(run, cell).ravel() for run, cell in zip(runs, cells, strict=True)]
    return np.asarray(np.quantile(np.concatenate(each), NEAREST_LEVELS))


def _drift_z(positions: np.ndarray, group_size: int) -> np.ndarray:
    travel = positions[-1].astype(np.float64) - positions[0]
    if len(travel) >= MANY_GROUPS * group_size:
        whole = len(travel) // group_size * group_size
        travel = travel[:whole].reshape(-1, group_size, 3).mean(1)
    error = travel.std(0, ddof=1) / np.sqrt(len(travel)) if len(travel) > 1 else np.ones(3)
    return np.asarray(np.divide(travel.mean(0), error, out=np.zeros(3), where=error > 0))
