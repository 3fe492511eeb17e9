"""What is found of sites and jumps, as typed objects that go to a file and come back from it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from mdgan_hpc.results import Result, save_results
from mdgan_hpc.verdict import Verdict


class _WithNumbers(Result):
    """A result some of whose arrays are numbers of things; JSON gives back floats."""

    def _as_integers(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, np.asarray(getattr(self, name), int))


@dataclass(frozen=True)
class SiteTable(_WithNumbers):
    """The S sites of a cell of the lattice, of K kinds.

    Errors are standard errors, of independent blocks; those of a kind know that its sites go
    together.

    Attributes
    ----------
    kind : array of int, [S]
        Sites that are equivalent by symmetry have one number: 0 is called S1.
    fraction, position : array, [S, 3]
        In the cell, and Angstrom.
    core_radius : array, [S]
        Angstrom.
    share, share_error : array, [S]
        Of the time of an ion: from its entry into the core until it enters another one.
    in_core, in_core_error : array, [S]
        Share of the records in the core.
    residence_ps, residence_error_ps : array, [S]
        Mean time of a visit; infinite where none ends.
    kind_share, kind_share_error, kind_residence_ps, kind_residence_error_ps : array, [K]
        The same of all sites of a kind.
    occupancy, occupancy_error : array, [S], optional
        Ions in the core of a site, where the number of ions of the cell is known.
    free_energy_ev, free_energy_error_ev : array, [S], optional
        -kT log of the density in the core, over that of the densest site.
    """

    kind: np.ndarray
    fraction: np.ndarray
    position: np.ndarray
    core_radius: np.ndarray
    share: np.ndarray
    share_error: np.ndarray
    in_core: np.ndarray
    in_core_error: np.ndarray
    residence_ps: np.ndarray
    residence_error_ps: np.ndarray
    kind_share: np.ndarray
    kind_share_error: np.ndarray
    kind_residence_ps: np.ndarray
    kind_residence_error_ps: np.ndarray
    occupancy: np.ndarray | None = None
    occupancy_error: np.ndarray | None = None
    free_energy_ev: np.ndarray | None = None
    free_energy_error_ev: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._as_integers("kind")

    def residence_of(self, kind: int) -> tuple[float, float]:
        """Return the mean time of a visit to sites of a kind, and its standard error, ps.

        Infinite where no visit ends.
        """
        time = float(self.kind_residence_ps[kind])
        # A file of JSON has no infinite times, and gives back what is no number.
        if not np.isfinite(time):
            return float("inf"), float("inf")
        return time, float(self.kind_residence_error_ps[kind])


@dataclass(frozen=True)
class JumpKinds(_WithNumbers):
    """The K kinds of jumps that are equivalent by symmetry, the most frequent first.

    Attributes
    ----------
    begin, end : array of int, [K]
        Kinds of the sites.
    length : array, [K]
        Between the places of the sites, Angstrom.
    count : array, [K]
        Jumps seen.
    ways : array, [K]
        Jumps of the kind that lead out of one site.
    rate_per_ps, rate_error_per_ps : array, [K]
        Of an ion at a site, over all ways. Of fewer than ten jumps the error is that of counting
        at least.
    rate_upper_per_ps : array, [K], optional
        Upper limit at 95 %, of jumps that know nothing of each other.
    back, back_error : array, [K]
        Probability that the next jump leads back.
    chained, chained_error : array, [K], optional
        Share of the jumps that are part of a chain, where ions see each other.
    chance, chance_error : array, [K], optional
        The same of ions that jump as often but know nothing of each other.
    barrier_ev, barrier_error_ev : array, [K], optional
        Free energy: kT log(attempt frequency / rate of one way).
    """

    begin: np.ndarray
    end: np.ndarray
    length: np.ndarray
    count: np.ndarray
    ways: np.ndarray
    rate_per_ps: np.ndarray
    rate_error_per_ps: np.ndarray
    back: np.ndarray
    back_error: np.ndarray
    rate_upper_per_ps: np.ndarray | None = None
    chained: np.ndarray | None = None
    chained_error: np.ndarray | None = None
    chance: np.ndarray | None = None
    chance_error: np.ndarray | None = None
    barrier_ev: np.ndarray | None = None
    barrier_error_ev: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._as_integers("begin", "end")

    @property
    def names(self) -> list[str]:
        """What the kinds are called: S1-S2 2.91; S1-S2 (a) 2.91 where several are called so."""
        words = [
            (f"S{int(b) + 1}-S{int(e) + 1}", f"{length:.2f}")
            for b, e, length in zip(self.begin, self.end, self.length, strict=True)
        ]
        times = Counter(words)
        letters = {word: (f" ({c})" for c in ascii_lowercase) for word in times if times[word] > 1}
        return [f"{w[0]}{next(letters.get(w, iter(())), '')} {w[1]}" for w in words]


@dataclass(frozen=True)
class JumpGraph(_WithNumbers):
    """The J jumps from sites of the cell to sites of the lattice, and where they lead.

    Attributes
    ----------
    begin, end : array of int, [J]
        Sites of the cell.
    shift : array of int, [J, 3]
        Cells from the one to the other.
    kind : array of int, [J]
    count : array, [J]
        Jumps seen.
    matrix : array, [S, S]
        Jumps seen from one site of the cell to another, over all copies.
    dimensions : array of int, [K]
        Directions, 0 to 3, in which an ion gets to infinity by the kinds with the highest rates of
        a way: by the first alone, the first two, ...
    order : array of int, [K]
        The kinds in that order.
    """

    begin: np.ndarray
    end: np.ndarray
    shift: np.ndarray
    kind: np.ndarray
    count: np.ndarray
    matrix: np.ndarray
    dimensions: np.ndarray
    order: np.ndarray

    def __post_init__(self) -> None:
        self._as_integers("begin", "end", "shift", "kind", "dimensions", "order")
        object.__setattr__(self, "shift", self.shift.reshape(-1, 3))  # of no jumps, too


@dataclass(frozen=True)
class CorrelationFactor(Result):
    """f = <R^2> / (n a^2) of n jumps, in the limit of many.

    Attributes
    ----------
    value, error : float
    jumps : float
        From so many jumps on, to twice as many, the squared displacement grows by `value`.
    lag : array of int, [M]
        Numbers of jumps n.
    growth, growth_error : array, [M]
        (<R^2> of 2 n jumps - <R^2> of n) / (n a^2).
    """

    value: float
    error: float
    jumps: float
    lag: np.ndarray
    growth: np.ndarray
    growth_error: np.ndarray


@dataclass(frozen=True)
class Vibration(Result):
    """How ions swing.

    Attributes
    ----------
    attempt_frequency_per_ps, spread_per_ps : float
        Mean over ions, and its standard deviation between them.
    amplitude : float
        Angstrom.
    n_ions : int
        Ions that were looked at.
    """

    attempt_frequency_per_ps: float
    spread_per_ps: float
    amplitude: float
    n_ions: int


@dataclass(frozen=True)
class Chains(Result):
    """Jumps alone and jumps in chains, in which an ion moves into the site that another leaves.

    Attributes
    ----------
    window_ps : float
        Between two jumps of a chain, at most.
    size : array of int, [C]
        Jumps of a chain; the last number stands for all longer ones.
    number : array, [C]
        Chains seen.
    number_by_chance : array, [C]
        Chains of ions that jump as often but know nothing of each other: the jumps of each ion are
        moved by a time of its own, several times.
    jump_share, jump_share_error : float
        Share of the jumps that are part of a chain of two or more.
    charge_share, charge_share_error : float
        Share of chains of two or more in the squared displacement of charge: of the sum over
        chains of the square of the summed displacement of their ions.
    jump_chance, jump_chance_error, charge_chance, charge_chance_error : float
        The same shares by chance.
    """

    window_ps: float
    size: np.ndarray
    number: np.ndarray
    number_by_chance: np.ndarray
    jump_share: float
    jump_share_error: float
    charge_share: float
    charge_share_error: float
    jump_chance: float
    jump_chance_error: float
    charge_chance: float
    charge_chance_error: float


@dataclass(frozen=True)
class ResidenceTimes(Result):
    """Mean residence time against temperature, of K kinds of sites: time = time0 exp(Ea / kT).

    Attributes
    ----------
    name : list of str
        Of the kinds of sites.
    time_ps, time_error_ps : array, [K, n]
        At each temperature.
    activation_ev, activation_error_ev : array, [K]
    time0_ps, log_time0_error : array, [K]
        Prefactor, and the standard error of its logarithm.
    """

    name: list[str]
    time_ps: np.ndarray
    time_error_ps: np.ndarray
    activation_ev: np.ndarray
    activation_error_ev: np.ndarray
    time0_ps: np.ndarray
    log_time0_error: np.ndarray


@dataclass(frozen=True)
class Activation(Result):
    """Rates against temperature, of K kinds of jumps: rate = rate0 exp(-Ea / kT).

    Attributes
    ----------
    name : list of str
        Of the kinds, at the lowest temperature.
    length : array, [K]
        Angstrom.
    activation_ev, activation_error_ev : array, [K]
    rate0_per_ps, log_rate0_error : array, [K]
        Prefactor, and the standard error of its logarithm.
    temperature_k : array, [n]
        Of the results, ascending.
    label : list of str, [n]
        What made their trajectories.
    rate_per_ps, rate_error_per_ps : array, [K, n]
    residence : ResidenceTimes, optional
        Of the kinds of sites whose visits end at all temperatures.
    unmatched : list of str, optional
        Kinds of jumps that are left out, and why.
    """

    name: list[str]
    length: np.ndarray
    activation_ev: np.ndarray
    activation_error_ev: np.ndarray
    rate0_per_ps: np.ndarray
    log_rate0_error: np.ndarray
    temperature_k: np.ndarray
    label: list[str]
    rate_per_ps: np.ndarray
    rate_error_per_ps: np.ndarray
    residence: ResidenceTimes | None = None
    unmatched: list[str] | None = None


@dataclass(frozen=True)
class SitesResult(Result):
    """Sites of ions and their jumps.

    Attributes
    ----------
    label : str
        What made the trajectories.
    species : str
    crystal : str
        What the framework is.
    given : str
        File of the sites; empty where they were found in the density.
    record_interval_ps : float
    n_ions : int
        In all runs.
    ions_time_ps : float
        Time of all ions together.
    n_blocks : int
        Of which the errors are made.
    lattice : array, [3, 3]
        Rows are the vectors of the cell of the sites, Angstrom.
    sites : SiteTable
    kinds : JumpKinds
    graph : JumpGraph
    jump_rate_per_ps, jump_rate_error_per_ps : float
        Of an ion.
    jump_rate_upper_per_ps : float, optional
        Upper limit at 95 %, of jumps that know nothing of each other.
    back, back_error : float
        Probability that a jump is followed by one that leads back.
    jump_length : float
        Root mean square, Angstrom.
    jump_diffusion, jump_diffusion_error : float
        <a^2> rate / 6, Angstrom^2/ps: D if jumps knew nothing of each other.
    correlation : CorrelationFactor, optional
        Where there are enough jumps.
    vibration : Vibration, optional
    chains : Chains, optional
        Where ions see each other.
    cell : array, [3, 3], optional
        Of the simulation, Angstrom.
    temperature_k : float, optional
    verdict : Verdict, optional
        On the model that made the trajectories.
    n_models : int
        That made them; of several, errors hold their spread: what data and training leave open.
    provenance : dict
    """

    label: str
    species: str
    crystal: str
    given: str
    record_interval_ps: float
    n_ions: int
    ions_time_ps: float
    n_blocks: int
    lattice: np.ndarray
    sites: SiteTable
    kinds: JumpKinds
    graph: JumpGraph
    jump_rate_per_ps: float
    jump_rate_error_per_ps: float
    back: float
    back_error: float
    jump_length: float
    jump_diffusion: float
    jump_diffusion_error: float
    jump_rate_upper_per_ps: float | None = None
    correlation: CorrelationFactor | None = None
    vibration: Vibration | None = None
    chains: Chains | None = None
    cell: np.ndarray | None = None
    temperature_k: float | None = None
    verdict: Verdict | None = None
    n_models: int = 1
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path, *, force: bool = True) -> None:
        """Write the result; a .csv holds the kinds of jumps."""
        save_results(path, self.to_tree(), force=force, table="kinds")
