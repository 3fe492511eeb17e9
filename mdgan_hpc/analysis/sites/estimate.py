"""From the sums of blocks to rates, occupancies and the rest, each with its error."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mdgan_hpc.analysis.sites.chains import LONGEST
from mdgan_hpc.analysis.sites.jumps import (
    BACK,
    CHAINED,
    CHANCE,
    COLUMNS,
    COUNT,
    FOLLOWED,
    JUMP_LAGS,
    Blocks,
    JumpSums,
    JumpTable,
)
from mdgan_hpc.analysis.sites.kinds import SiteSymmetry
from mdgan_hpc.analysis.sites.percolation import dimensions
from mdgan_hpc.analysis.sites.results import (
    Chains,
    CorrelationFactor,
    JumpGraph,
    JumpKinds,
    SiteTable,
    Vibration,
)
from mdgan_hpc.units import BOLTZMANN_EV_PER_K

#: Returns an estimate from sums over blocks, and its standard error, as `jackknife` does.
Estimator = Callable[..., tuple[np.ndarray, np.ndarray]]
#: The error of fewer jumps than this is that of counting, at least.
FEW = 10
#: The growth of the squared displacement is taken over stretches of so many jumps at least ...
_FIRST_LAG = 4
#: ... of which there are so many that do not overlap.
_FEWEST_STRETCHES = 16


def jackknife(
    estimate: Callable[..., np.ndarray], *blocks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return an estimate from sums over blocks, and its standard error.

    Parameters
    ----------
    estimate : callable
        Of sums whose first axis counts estimates.
    *blocks : array, [G, ...]
        Sums of each block; blocks without any are left out.

    References
    ----------
    B. Efron and C. Stein, Ann. Statist. 9, 586 (1981).
    """
    used = np.any([b.reshape(len(b), -1).any(1) for b in blocks], axis=0)
    parts = [b[used] for b in blocks]
    totals = [b.sum(0, keepdims=True) for b in parts]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = estimate(*totals)[0]
        without = estimate(*(t - b for t, b in zip(totals, parts, strict=True)))
        n = len(without)
        if n < 2:
            return value, np.full(np.shape(value), np.nan)
        spread = without - without.mean(0)
        return value, np.asarray(np.sqrt((n - 1) / n * (spread**2).sum(0)))


def errors_of(blocks: Blocks) -> Estimator:
    """Return how errors are made of so many blocks: by `jackknife`, of models by their spread.

    Bootstrap replicas of one training set all miss what that set does not hold, so the error is the
    spread between them, not that of their mean. It holds the number of ions of a model too; a
    spread that by chance is less than this alone counts as that.
    """
    if blocks.n_models == 1:
        return jackknife
    widened = np.sqrt(blocks.n_models)

    def estimator(
        estimate: Callable[..., np.ndarray], *sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        value, of_ions = jackknife(estimate, *sums)
        each = (
            np.stack([part[blocks.model == k].sum(0) for k in range(blocks.n_models)])
            for part in sums
        )
        return value, widened * np.fmax(of_ions, jackknife(estimate, *each)[1])

    return estimator


def most_events(count: np.ndarray | float) -> np.ndarray:
    """Return the upper limit at 95 % of the mean of a Poisson process of which `count` were seen.

    3.0 where there was none.

    References
    ----------
    F. Garwood, Biometrika 28, 437 (1936).
    """
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(np.asarray(count) + 1.0, 0.95))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a / b)


def _proportion(
    part: np.ndarray, whole: np.ndarray, blocks: Blocks | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of `part` in `whole`, [G, ...] each, and its standard error.

    Where all blocks have the same share, as none or all of a few, they tell no error: then it is
    that of as many independent ones as a model has (A. Agresti, B. A. Coull, Am. Stat. 52, 119
    (1998)).
    """
    estimator = jackknife if blocks is None else errors_of(blocks)
    share, error = estimator(_ratio, part, whole)
    n_models = 1 if blocks is None else blocks.n_models
    n = whole.sum(0) / n_models
    some = (part.sum(0) / n_models + 2) / (n + 4)
    alike = ~(error > 0) & (n > 0)
    return share, np.where(alike, np.sqrt(some * (1 - some) / (n + 4)), error)


def site_table(
    sums: JumpSums,
    symmetry: SiteSymmetry,
    interval_ps: float,
    *,
    ions_per_cell: float | None,
    temperature_k: float | None,
) -> SiteTable:
    """Return what is known of the sites.

    Parameters
    ----------
    sums : JumpSums
    symmetry : SiteSymmetry
    interval_ps : float
    ions_per_cell : float, optional
        Ions in one cell of the sites.
    temperature_k : float, optional
    """
    sites, table = sums.sites, sums.table()
    leaving = np.zeros_like(sums.time)
    np.add.at(leaving.T, table.begin, table.counts[..., COUNT].T)
    estimator = errors_of(sums.blocks)
    of_kind = np.eye(symmetry.kind.max() + 1)[symmetry.kind]  # [S, K]

    def shares(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return estimator(lambda t, n: t / n[:, None], inside, sums.ions)

    def residences(time: np.ndarray, visits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return estimator(lambda t, n: t * interval_ps / n, time, visits)

    share, core = shares(sums.time), shares(sums.core)
    kind_share = shares(sums.time @ of_kind)
    residence = residences(sums.time, leaving)
    kind_residence = residences(sums.time @ of_kind, leaving @ of_kind)
    more = {}
    if ions_per_cell is not None:
        more = {"occupancy": core[0] * ions_per_cell, "occupancy_error": core[1] * ions_per_cell}
    if temperature_k is not None:
        kt, volume = BOLTZMANN_EV_PER_K * temperature_k, sites.core_radius**3
        densest = int(np.argmax(core[0] / volume))

        def energy(inside: np.ndarray) -> np.ndarray:
            density = inside / volume
            return np.asarray(kt * np.log(density[:, densest, None] / density))

        more["free_energy_ev"], more["free_energy_error_ev"] = estimator(energy, sums.core)
    return SiteTable(
        kind=symmetry.kind,
        fraction=sites.fraction,
        position=sites.fraction @ sites.lattice,
        core_radius=sites.core_radius,
        share=share[0],
        share_error=share[1],
        in_core=core[0],
        in_core_error=core[1],
        residence_ps=residence[0],
        residence_error_ps=residence[1],
        kind_share=kind_share[0],
        kind_share_error=kind_share[1],
        kind_residence_ps=kind_residence[0],
        kind_residence_error_ps=kind_residence[1],
        **more,
    )


def jump_kinds(
    sums: JumpSums,
    symmetry: SiteSymmetry,
    interval_ps: float,
    *,
    together: bool,
    temperature_k: float | None,
    swings: Vibration | None,
) -> tuple[JumpKinds, JumpGraph]:
    """Return the kinds of jumps and the graph of them.

    Parameters
    ----------
    sums : JumpSums
    symmetry : SiteSymmetry
    interval_ps : float
    together : bool
        Ions saw each other, so that there are chains.
    temperature_k, swings : optional
        For barriers.
    """
    table, sites, estimator = sums.table(), sums.sites, errors_of(sums.blocks)
    kind = symmetry.jump_kinds(table, sites)
    n_kinds = int(kind.max(initial=-1)) + 1
    number = np.bincount(kind, table.counts[..., COUNT].sum(0), n_kinds)
    rank = np.argsort(-number, kind="stable")
    kind = np.argsort(rank)[kind]
    counts = np.zeros((len(table.counts), n_kinds, COLUMNS))
    np.add.at(counts.swapaxes(0, 1), kind, table.counts.swapaxes(0, 1))
    example = np.unique(kind, return_index=True)[1]
    begin, end = symmetry.kind[table.begin[example]], symmetry.kind[table.end[example]]
    vector = table.vectors(sites)
    equivalent = symmetry.kind[None] == begin[:, None]  # [K, S]
    time = sums.time @ equivalent.T * interval_ps
    # Each way out of one site is in the orbit, but a rare one may not have been seen.
    ways = np.maximum(
        1, np.round(np.bincount(kind, minlength=n_kinds) / np.maximum(equivalent.sum(1), 1))
    )
    rate = estimator(_ratio, counts[..., COUNT], time)
    seen, whole = counts[..., COUNT].sum(0), time.sum(0)
    # All of a few jumps may be in one block: then blocks tell too small an error, or none.
    few = seen < FEW
    counted = np.sqrt(seen * sums.blocks.n_models) / whole
    rate_error = np.where(few, np.fmax(rate[1], counted), rate[1])
    back = _proportion(counts[..., BACK], counts[..., FOLLOWED], sums.blocks)
    more = {}
    if together:
        for name, column in (("chained", CHAINED), ("chance", CHANCE)):
            share = _proportion(counts[..., column], counts[..., COUNT], sums.blocks)
            more[name], more[f"{name}_error"] = share
    if temperature_k is not None and swings is not None:
        kt, tries = BOLTZMANN_EV_PER_K * temperature_k, swings.attempt_frequency_per_ps
        more["barrier_ev"], more["barrier_error_ev"] = estimator(
            lambda n, t: kt * np.log(tries * ways * t / n), counts[..., COUNT], time
        )
    kinds = JumpKinds(
        begin=begin,
        end=end,
        length=np.linalg.norm(vector, axis=1)[example],
        count=number[rank],
        ways=ways,
        rate_per_ps=rate[0],
        rate_error_per_ps=rate_error,
        rate_upper_per_ps=most_events(seen) / whole,
        back=back[0],
        back_error=back[1],
        **more,
    )
    return kinds, _graph(table, kind, np.argsort(-rate[0] / ways, kind="stable"), sites.count)


def _graph(table: JumpTable, kind: np.ndarray, order: np.ndarray, n_sites: int) -> JumpGraph:
    """Return the graph of jumps of so many kinds [J], with these in the order of their rates."""
    reach = []
    for k in range(len(order)):
        some = np.isin(kind, order[: k + 1])
        reach.append(dimensions(table.begin[some], table.end[some], table.shift[some]))
    seen = table.counts[..., COUNT].sum(0)
    matrix = np.zeros((n_sites, n_sites))
    np.add.at(matrix, (table.begin, table.end), seen)
    return JumpGraph(
        table.begin, table.end, table.shift, kind, seen, matrix, np.array(reach, int), order
    )


def correlation_factor(sums: JumpSums) -> CorrelationFactor | None:
    """Return f from the sums of a walk; None where there are too few jumps.

    <R^2> of n jumps goes to f a^2 n + c: its growth from n to 2 n jumps has no c, and the longer
    lag that adds nothing beyond its error is not needed.

    References
    ----------
    K. Compaan and Y. Haven, Trans. Faraday Soc. 52, 786 (1956); 54, 1498 (1958).
    """

    def growth(w: np.ndarray) -> np.ndarray:
        mean = w[..., 1] / w[..., 0]
        return np.asarray(np.diff(mean, axis=1) / (JUMP_LAGS[:-1] * mean[:, :1]))

    walk, estimator = sums.walk, errors_of(sums.blocks)
    total = walk.sum(0)[:, 0]
    known = int((total[1:] >= _FEWEST_STRETCHES * JUMP_LAGS[1:]).sum())
    if known < 1:
        return None
    value, error = (v[:known] for v in estimator(growth, walk))
    first = min(int(np.log2(_FIRST_LAG)), known - 1)
    chosen = next(
        (
            k
            for k in range(first, known - 1)
            if abs(value[k + 1] - value[k]) <= 2 * np.hypot(error[k], error[k + 1])
        ),
        known - 1,
    )
    return CorrelationFactor(
        float(value[chosen]),
        float(error[chosen]),
        float(JUMP_LAGS[chosen]),
        JUMP_LAGS[:known],
        value,
        error,
    )


def chains_of(sums: JumpSums, window_ps: float) -> Chains:
    """Return jumps alone and in chains, as seen and by chance."""
    counts, estimator = sums.table().counts.sum(1), errors_of(sums.blocks)  # [G, 5]
    shares: dict[str, float] = {}
    for name, column, chains in (
        ("share", CHAINED, sums.chains),
        ("chance", CHANCE, sums.by_chance),
    ):
        of_jumps = _proportion(counts[:, column], counts[:, COUNT], sums.blocks)
        of_charge = estimator(lambda s: s[:, 1:].sum(1) / s.sum(1), chains.square)
        for kind, (value, error) in (("jump", of_jumps), ("charge", of_charge)):
            shares[f"{kind}_{name}"] = float(value)
            shares[f"{kind}_{name}_error"] = float(error)
    return Chains(
        window_ps,
        np.arange(1, LONGEST + 1),
        sums.chains.number.sum(0),
        sums.by_chance.number.sum(0),
        **shares,
    )


def of_all(sums: JumpSums, interval_ps: float) -> dict[str, Any]:
    """Return rate, length, back-jump probability and D of uncorrelated jumps, over all kinds."""
    counts, estimator = sums.table().counts.sum(1), errors_of(sums.blocks)  # [G, 5]
    squared, time = sums.walk[:, 0, 1], sums.ions * interval_ps
    rate = estimator(lambda c, t: c[:, COUNT] / t, counts, time)
    back = _proportion(counts[:, BACK], counts[:, FOLLOWED], sums.blocks)
    diffusion = estimator(lambda s, t: s / (6 * t), squared, time)
    n = counts[:, COUNT].sum()
    return {
        "jump_rate_per_ps": float(rate[0]),
        "jump_rate_error_per_ps": float(
            np.fmax(rate[1], np.sqrt(n * sums.blocks.n_models) / time.sum()) if n < FEW else rate[1]
        ),
        "jump_rate_upper_per_ps": float(most_events(n) / time.sum()),
        "back": float(back[0]),
        "back_error": float(back[1]),
        "jump_diffusion": float(diffusion[0]),
        "jump_diffusion_error": float(diffusion[1]),
        "jump_length": float(np.sqrt(squared.sum() / n)) if n else 0.0,
    }
