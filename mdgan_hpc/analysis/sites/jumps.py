"""Sums over the visits of runs, in blocks that tell the errors; ranks and runs add up."""

from dataclasses import dataclass, field

import numpy as np

from mdgan_hpc.analysis.sites.chains import Cell, ChainCounts, Moves
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.visits import Visits
from mdgan_hpc.errors import DataError

#: Blocks of which errors are made: at least and at most.
FEWEST_BLOCKS, MOST_BLOCKS = 16, 64
#: Numbers of jumps at which the squared displacement is summed.
JUMP_LAGS = 2 ** np.arange(13)
#: Cells between the two ends of a jump are fewer than this.
_FAR = 64
#: Columns of the table of jumps.
COLUMNS = 5
COUNT, FOLLOWED, BACK, CHAINED, CHANCE = range(COLUMNS)
#: Times that the jumps of all ions are shifted, to find how many are chained by chance.
_SHIFTS = 16
#: Visits that are added at once, or those of one ion where it has more.
_AT_ONCE = 2**19


class Blocks:
    """How the cells and records of all runs are shared out into blocks.

    Cells of different runs, or of one, know nothing of each other; where there are few of them,
    each is cut in time. A block holds cells of one model alone.

    Parameters
    ----------
    model : array of int, [C]
        Number of the model that made each cell of all runs, from zero; of MD zeros.

    Attributes
    ----------
    n_models : int
    in_time : int
        Blocks that the time of a cell is cut into.
    count : int
        Number of blocks G.
    """

    def __init__(self, model: np.ndarray) -> None:
        cells = np.bincount(model)
        self.n_models = len(cells)
        self.in_time = max(1, -(-FEWEST_BLOCKS // len(model)))
        self._groups = max(1, min(int(cells.min()), MOST_BLOCKS // self.n_models))  # of a model
        self.count = self.n_models * self._groups * self.in_time
        # Cells of a model, in their order, are shared out evenly.
        order = np.argsort(model, kind="stable")
        rank = np.empty(len(model), np.int64)
        rank[order] = np.arange(len(model)) - np.repeat(np.cumsum(cells) - cells, cells)
        self._group = model * self._groups + rank * self._groups // cells[model]

    @property
    def model(self) -> np.ndarray:
        """The model of each block, [G]."""
        return np.arange(self.count) // (self._groups * self.in_time)

    def of(self, cell: np.ndarray, record: np.ndarray | int, n_records: int) -> np.ndarray:
        """Return the blocks of records of cells, which are numbered through all runs."""
        late = np.asarray(record, np.int64) * self.in_time // n_records
        return np.asarray(self._group[cell] * self.in_time + late)


@dataclass(frozen=True)
class JumpTable:
    """Jumps of each type in each block.

    Attributes
    ----------
    begin, end : array, [J]
        Sites of the cell.
    shift : array, [J, 3]
        Cells from the one to the other.
    counts : array, [G, J, 5]
        Jumps; those that are followed by another one; those whose follower leads back; those of
        chains; those that would be by chance.
    """

    begin: np.ndarray
    end: np.ndarray
    shift: np.ndarray
    counts: np.ndarray

    def vectors(self, sites: Sites) -> np.ndarray:
        """Return the displacements [J, 3] of the jumps, Angstrom."""
        way = self.shift + sites.fraction[self.end] - sites.fraction[self.begin]
        return np.asarray(way @ sites.lattice)


@dataclass
class JumpSums:
    """Sums of G blocks of runs in S sites.

    Attributes
    ----------
    blocks : Blocks
    sites : Sites
    window : int, optional
        Records between two jumps of one chain, at most; no chains are looked for if not given.
    time, core : array, [G, S]
        Records at each site, and in its core.
    ions : array, [G]
        Records of all ions.
    walk : array, [G, M, 2]
        Numbers of stretches of so many jumps (`JUMP_LAGS`), and sums of their squared
        displacements, Angstrom^2.
    chains, by_chance : ChainCounts
        Those that are seen, and those of ions that know nothing of each other.
    """

    blocks: Blocks
    sites: Sites
    window: int | None = None
    time: np.ndarray = field(init=False)
    core: np.ndarray = field(init=False)
    ions: np.ndarray = field(init=False)
    walk: np.ndarray = field(init=False)
    chains: ChainCounts = field(init=False)
    by_chance: ChainCounts = field(init=False)

    def __post_init__(self) -> None:
        n, s = self.blocks.count, self.sites.count
        self.time, self.core, self.ions = np.zeros((n, s)), np.zeros((n, s)), np.zeros(n)
        self.walk = np.zeros((n, len(JUMP_LAGS), 2))
        self.chains, self.by_chance = ChainCounts.empty(n), ChainCounts.empty(n)
        self._code = np.zeros(0, np.int64)
        self._counts = np.zeros((0, COLUMNS))

    def add_cores(self, counts: np.ndarray, cell: np.ndarray, record: int, n_records: int) -> None:
        """Add the records [N, S] of ions in cores, all of one block in time from `record` on."""
        np.add.at(self.core, self.blocks.of(cell, record, n_records), counts)

    def add(self, visits: Visits, cell: np.ndarray, box: Cell | None) -> None:
        """Add the visits of ions of some cells.

        Parameters
        ----------
        visits : Visits
        cell : array of int, [N]
            Cell of each ion, numbered through all runs.
        box : Cell, optional
            Where the ions saw each other and all those of each cell are here: chains are looked
            for.
        """
        n_records = visits.n_records
        every = self.blocks.of(cell[:, None], np.arange(self.blocks.in_time), self.blocks.in_time)
        edges = -(-np.arange(self.blocks.in_time + 1) * n_records // self.blocks.in_time)
        np.add.at(self.ions, every, np.diff(edges)[None])
        if not len(visits.label):
            return
        chained = None
        if box is not None and self.window is not None:
            chained = self._chained(visits, cell, box)
        for piece in visits.pieces(_AT_ONCE):
            self._add(visits.part(piece), cell, None if chained is None else chained[piece])

    def _group(self, visits: Visits, cell: np.ndarray) -> np.ndarray:
        """Return the block of each visit and of the jump that ends it: that in which it begins."""
        begin = np.where(visits.first, 0, visits.record)
        return self.blocks.of(cell[visits.particle], begin, visits.n_records)

    def _add(self, visits: Visits, cell: np.ndarray, chained: np.ndarray | None) -> None:
        """Add the visits of some ions, with the last columns [V, 2] of the jumps that end them."""
        n_sites, group = self.sites.count, self._group(visits, cell)
        here, site = self.sites.parts(visits.label)
        np.add.at(self.time, (group, site), visits.length)
        jump = np.flatnonzero(visits.leaves)
        shift = here[jump + 1] - here[jump]
        if np.abs(shift).max(initial=0) >= _FAR:
            raise DataError(
                f"an ion moves {np.abs(shift).max()} cells between the cores of two sites",
                remedy="give more of the sites (--sites), or larger cores (--core)",
            )
        code = 0
        for k in range(3):
            code = code * 2 * _FAR + shift[:, k] + _FAR
        code = ((code * n_sites + site[jump]) * n_sites + site[jump + 1]) * self.blocks.count
        rows = np.zeros((len(jump), COLUMNS))
        rows[:, COUNT] = 1
        follower = np.append(np.diff(jump) == 1, False)[: len(jump)]
        rows[:, FOLLOWED] = follower
        there = visits.label[np.minimum(jump + 2, len(visits.label) - 1)]
        rows[:, BACK] = follower & (there == visits.label[jump])
        if chained is not None:
            rows[:, [CHAINED, CHANCE]] = chained[jump]
        self._add_walk(visits, group)
        self._add_table(code + group[jump], rows)

    def _chained(self, visits: Visits, cell: np.ndarray, box: Cell) -> np.ndarray:
        """Add chains; return whether the jump that ends each visit is in one, and how often it
        would be by chance, [V, 2]."""
        assert self.window is not None
        jump = np.flatnonzero(visits.leaves)
        group = self._group(visits, cell)[jump]
        moves = Moves.of_visits(visits, jump, cell, self.sites, box)
        seen = moves.chains(self.window)
        self.chains.add(seen, group)
        # Sixteenths are whole in single precision.
        columns = np.zeros((len(visits.label), 2), np.float32)
        columns[jump, 0] = seen.together
        rng, chance = np.random.default_rng(int(cell[0])), np.zeros(len(group), np.float32)
        for _ in range(_SHIFTS):
            shifted = moves.shifted(rng).chains(self.window)
            self.by_chance.add(shifted, group, 1 / _SHIFTS)
            chance += shifted.together / np.float32(_SHIFTS)
        columns[jump, 1] = chance
        return columns

    def _add_walk(self, visits: Visits, group: np.ndarray) -> None:
        place = self.sites.places(visits.label)
        for at, lag in enumerate(JUMP_LAGS):
            if lag >= len(place):
                break
            same = np.flatnonzero(visits.particle[lag:] == visits.particle[:-lag])
            square = ((place[same + lag] - place[same]) ** 2).sum(1)
            n = self.blocks.count
            self.walk[:, at, 0] += np.bincount(group[same], minlength=n)
            self.walk[:, at, 1] += np.bincount(group[same], weights=square, minlength=n)

    def _add_table(self, code: np.ndarray, rows: np.ndarray) -> None:
        every = np.concatenate([self._code, code])
        self._code, index = np.unique(every, return_inverse=True)
        counts = np.concatenate([self._counts, rows])
        self._counts = np.stack(
            [np.bincount(index, counts[:, k], len(self._code)) for k in range(COLUMNS)], axis=1
        )

    def merge(self, other: "JumpSums") -> None:
        """Add the sums of another rank."""
        for name in ("time", "core", "ions", "walk"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.chains.merge(other.chains)
        self.by_chance.merge(other.by_chance)
        self._add_table(other._code, other._counts)

    def table(self) -> JumpTable:
        """Return the jumps by type and block."""
        n_sites, n_blocks = self.sites.count, self.blocks.count
        code, group = np.divmod(self._code, n_blocks)
        types, index = np.unique(code, return_inverse=True)
        counts = np.zeros((n_blocks, len(types), COLUMNS))
        counts[group, index] = self._counts
        rest, end = np.divmod(types, n_sites)
        rest, begin = np.divmod(rest, n_sites)
        shift = np.stack([rest // (2 * _FAR) ** k % (2 * _FAR) for k in (2, 1, 0)], 1) - _FAR
        return JumpTable(begin, end, shift, counts)
