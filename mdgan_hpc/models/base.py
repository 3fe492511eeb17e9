"""What every generator is: a start state, advancing by n steps, the state out.

A sample is one particle, or the k particles that are generated together; a step emits
`records_per_step` records. All randomness comes in as arguments, so that the caller decides where
random numbers come from (`mdgan_hpc.generate` keys them by block).

A generator is one class with its own configuration. It says what it can do by `Capabilities`;
training and generation ask these and never for a class. How to add one: `registry.register`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.condition import IonSpecies, Temperatures
from mdgan_hpc.models.media import Medium, Surroundings
from mdgan_hpc.models.neighbours import NeighbourView
from mdgan_hpc.models.supercell import Supercell

#: Everything a sample must carry from one step to the next; first dimension is the sample.
State = dict[str, Tensor]
#: Makes free runs of the generator that is calibrated: (samples, records, burn-in records) to
#: positions [records + 1, samples, k, 3], Angstrom. The caller may share the work among ranks.
FreeRun = Callable[[int, int, int], Tensor]
#: Which particles form a sample: those that follow each other in the file, or each with those
#: nearest to it.
Grouping = Literal["file", "nearest"]


class Described(Protocol):
    """Neighbour descriptors [B, L, k, A, 4] of windows: a tensor, or what makes one of a part."""

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        """Return those of some windows at some records."""


@dataclass(frozen=True)
class Window:
    """A batch of windows of data.

    Attributes
    ----------
    positions : Tensor, [B, L, k, 3]
        Angstrom, float64.
    neighbours : Described, [B, L, k, A, 4], or None
        What each particle sees around it (`Surroundings`), where the generator uses it.
    temperature_k, medium : Tensor, [B], or None
        Of each window, where the generator is told it (float32); number of it, where ions see it.
    species : Tensor, [B, k], or None
        Which species each particle is, where there are several.
    inertial : Tensor, [B, L, k, 3], or None
        Positions, but for a constant, in the frame of all atoms, where the framework recoils.
    """

    positions: Tensor
    neighbours: Described | None = None
    temperature_k: Tensor | None = None
    medium: Tensor | None = None
    species: Tensor | None = None
    inertial: Tensor | None = None


#: Draws windows of whole cells of the data, not moved: (number of the draw, windows, records); the
#: same whenever and on whatever rank it is called.
Cells = Callable[[int, int, int], Window]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a generator can do.

    Attributes
    ----------
    likelihood : bool
        It has a tractable density: it is a `Density`.
    neighbours : bool
        The k particles of a sample are all mobile ions of a cell and see each other.
    conditions : tuple of str
        What a sample can be told: ``temperature``, ``species``.
    """

    likelihood: bool = False
    neighbours: bool = False
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What a generator is built from.

    Attributes
    ----------
    displacements : list of array, [n, N, 3]
        From record to record, Angstrom; one array for each run and each phase of the step skip.
    symmetry : Symmetry
    cell : array [3, 3] or None
        Rows are the cell vectors, Angstrom.
    ions_per_run : int or None
        None where the runs differ.
    runs : list of array, [T, N, 3]
        Positions, Angstrom.
    neighbours : list of array [T, N, A, 4], or None
        What ions see around them over the runs, where the generator asked for it.
    temperatures, temperature_k : Temperatures or None, and list of float or None
        Where the runs are at several; that of each array of displacements.
    step_skip : int
        Frames of the runs in a record.
    media, run_medium : list of Medium and of int
        Atoms that stay in place where there is no lattice, one medium for each run of all data;
        that of each of `runs`. Empty in a crystal and in a liquid.
    species : tuple of int
        Atomic numbers, ascending, where there are several.
    which_species, run_species : list of array, [N]
        Then which of them the particles of `displacements`, and of `runs`, are.
    recoil, inertial : array, [N], or None, and list of array, [n, N, 3]
        Where the framework recoils: mass of each ion over its mass, and the displacements in the
        frame of the centre of mass of all atoms.
    """

    displacements: list[np.ndarray]
    symmetry: Symmetry
    cell: np.ndarray | None
    ions_per_run: int | None
    runs: list[np.ndarray] = field(default_factory=list)
    neighbours: list[np.ndarray] | None = None
    temperatures: Temperatures | None = None
    temperature_k: list[float] | None = None
    step_skip: int = 1
    media: list[Medium] = field(default_factory=list)
    run_medium: list[int] = field(default_factory=list)
    species: tuple[int, ...] = ()
    which_species: list[np.ndarray] = field(default_factory=list)
    run_species: list[np.ndarray] = field(default_factory=list)
    recoil: np.ndarray | None = None
    inertial: list[np.ndarray] = field(default_factory=list)


class DataSettings(Protocol):
    """What a generator may ask of the section ``data`` of a training (`Generator.check`)."""

    @property
    def records(self) -> int:
        """Records in a window; 0 where the data decide later."""

    @property
    def symmetry(self) -> str:
        """The symmetry asked for."""


class Generator(nn.Module, ABC):
    """A stochastic recurrent map that emits displacements.

    A subclass is made by `create`, so that a model file can say how to make it again.

    Attributes
    ----------
    kind : str
        Name in the configuration and in model files.
    label : str
        Name in files, tables and figures.
    behaviour : int
        Raised when the code would move the ions of an old model file differently.
    Config : type
        Frozen dataclass of `mdgan_hpc.config.key` fields: the section ``generator`` of a training
        without ``kind``.
    config : Config
        Of this generator.
    arguments : dict
        Keyword arguments of the constructor beside `config`: plain numbers, lists and texts.
    capabilities : Capabilities
    particles_per_sample : int
        k, particles whose records are made together.
    records_per_step : int
        Records emitted by one step.
    start_size : int
        Uniform random numbers that choose the start state of one sample.
    noise_size : int
        Standard normal random numbers that one step of one sample consumes.
    history_records, start_windows : int
        Records of data from which `condition` makes a state, and windows of so many that `prepare`
        takes; 0 where none are needed.
    temperatures : Temperatures or None
        Those it was trained at, where they are several.
    temperature_k : float or None
        Of free runs then (`set_temperature`).
    in_solid : bool
        Whether the other atoms of the training runs are known to stand still.
    ion_species : IonSpecies or None
        The species that it was trained on, where they are several.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    behaviour: ClassVar[int] = 1
    Config: ClassVar[type]

    config: Any
    arguments: dict[str, Any]
    capabilities: Capabilities = Capabilities()
    particles_per_sample: int = 1
    records_per_step: int = 1
    start_size: int
    noise_size: int
    history_records: int = 0
    start_windows: int = 0
    temperatures: Temperatures | None = None
    temperature_k: float | None = None
    in_solid: bool = False
    ion_species: IonSpecies | None = None

    # How it is made -------------------------------------------------------------------------

    @classmethod
    def create(cls, config: Any, **arguments: Any) -> Self:
        """Build with fresh weights (torch's global random numbers) and remember how."""
        generator = cls(config, **arguments)
        generator.config, generator.arguments = config, arguments
        return generator

    def copy(self) -> Self:
        """Return another generator of the same configuration and weights, on the same device."""
        other = type(self).create(self.config, **self.arguments)
        other.load_state_dict(self.state_dict())
        if self.temperature_k is not None:
            other.set_temperature(self.temperature_k)
        device = next((t.device for t in self.state_dict().values()), torch.device("cpu"))
        return other.to(device)

    @classmethod
    def check(cls, config: Any, data: DataSettings) -> None:
        """Refuse what cannot work together.

        Raises
        ------
        ConfigError
        """

    @classmethod
    def uses_symmetry(cls, config: Any) -> bool:
        """Tell whether operations move windows; else ``data.symmetry = "auto"`` is none."""
        return True

    @classmethod
    def whole_records(cls, config: Any, records: int) -> int:
        """Return a length of training windows near `records` that this generator can use."""
        return records

    @classmethod
    def grouping(cls, config: Any) -> tuple[int, Grouping]:
        """Return how many particles of the data form a sample, and which."""
        return 1, "file"

    @classmethod
    def surroundings(cls, config: Any, summary: DataSummary) -> Surroundings | None:
        """Return what of their surroundings ions see, and data bring along; None: nothing.

        Raises
        ------
        UsageError
            If the configuration demands one and the data cannot have it.
        """
        return None

    @classmethod
    @abstractmethod
    def from_data(
        cls, config: Any, summary: DataSummary, surroundings: Surroundings | None
    ) -> Self:
        """Build a generator for data, with fresh weights.

        Parameters
        ----------
        config : Config
        summary : DataSummary
        surroundings : Surroundings or None
            Of the method of this name; then `summary.neighbours` is there too.
        """

    def prepare(self, history: Window) -> None:
        """Take start states from the ends of `start_windows` windows of `history_records`."""

    def calibrate(self, free_run: FreeRun, cells: Cells) -> None:
        """Correct what whole cells of data and free runs tell; see `Cells` and `FreeRun`."""

    @classmethod
    def from_format_1(
        cls, arguments: dict[str, Any], weights: dict[str, Tensor]
    ) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
        """Return configuration, arguments and weights of a file of the first format.

        Raises
        ------
        ValueError
            If there never was one of this kind.
        """
        raise ValueError(f"no model file of the first format holds a {cls.kind} generator")

    # What it is -------------------------------------------------------------------------------

    @property
    def ions_per_cell(self) -> int:
        """Ions that were generated in one cell and see each other; 1 where each is alone."""
        return self.particles_per_sample if self.capabilities.neighbours else 1

    def lattice_phases(self) -> Tensor | None:
        """Return phases [3, m] (radian per Angstrom) of the lattice that it knows, for critics."""
        return None

    def neighbour_view(self) -> NeighbourView | None:
        """Return how its ions see each other, for critics; None where each is alone."""
        return None

    def in_supercell(self, supercell: Supercell) -> Self:
        """Return this generator for a cell as many times as large, whose ions see each other.

        Raises
        ------
        UsageError
            If ions do not see each other, so that the cell makes no difference.
        """
        raise UsageError(
            "the ions of this model do not see each other: a larger cell would change nothing",
            remedy="leave --supercell out, or train with generator.neighbours = 'on'",
        )

    # How it moves -----------------------------------------------------------------------------

    def set_temperature(self, kelvin: float) -> None:
        """Make the free runs that follow at a temperature; only where it was trained at several."""
        raise NotImplementedError(f"{type(self).__name__} is not told the temperature")

    @abstractmethod
    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw start states.

        Parameters
        ----------
        uniform : Tensor, [B, start_size]
            In [0, 1).

        Returns
        -------
        state : State
        position : Tensor, [B, k, 3]
            Where the particles are before the first emitted record, Angstrom.
        """

    def condition(self, window: Window) -> State:
        """Return the states at the end of windows of `history_records` of data."""
        raise NotImplementedError(f"{type(self).__name__} starts without data")

    @abstractmethod
    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on by n steps.

        Parameters
        ----------
        state : State
        noise : Tensor, [n, B, noise_size]
            Standard normal.

        Returns
        -------
        displacement : Tensor, [n * records_per_step, B, k, 3]
            From the record before, Angstrom.
        state : State
            Of the last record.
        """


class Density(Generator):
    """A generator whose probability density of data can be computed.

    Attributes
    ----------
    linear_loss : float
        Negative log likelihood, nats a record, of a linear prediction with Gaussian errors: what is
        worse is no model. Infinite where it is not known.
    """

    linear_loss: float = math.inf
    capabilities = Capabilities(likelihood=True)

    @abstractmethod
    def window_records(self, records: int) -> int:
        """Return the least window, in records, that `negative_log_likelihood` can use."""

    @abstractmethod
    def negative_log_likelihood(
        self, window: Window, *, warm_up: int, weighted: bool = False
    ) -> Tensor:
        """Return the mean negative log density of a record, in nats.

        Parameters
        ----------
        window : Window
            Of `window_records` records.
        warm_up : int
            First records of a window that only fill the memory.
        weighted : bool
            As it is minimised in training, where that is not the plain mean.
        """


def rollout(
    generator: Generator,
    n_samples: int,
    n_records: int,
    *,
    rng: torch.Generator,
    burn_in_records: int = 0,
    part: slice = slice(None),
) -> Tensor:
    """Return positions [n_records + 1, n, k, 3] of free runs, for evaluation in memory.

    Parameters
    ----------
    generator : Generator
    n_samples, n_records : int
    rng : torch.Generator
        Source of all random numbers.
    burn_in_records : int
        Records dropped before the first that is returned.
    part : slice
        The n of the samples that are made; the numbers of all are drawn.
    """
    device = next(generator.parameters()).device
    uniform = torch.rand(n_samples, generator.start_size, generator=rng)
    state, position = generator.start(uniform[part].to(device))
    per_step = generator.records_per_step
    chunk = max(1, 256 // per_step)
    pieces = []
    wanted = burn_in_records + n_records
    done = 0
    with torch.no_grad():
        while done < wanted:
            noise = torch.randn(chunk, n_samples, generator.noise_size, generator=rng)
            displacement, state = generator.advance(state, noise[:, part].to(device))
            pieces.append(displacement[: wanted - done].double().cpu())
            done += chunk * per_step
    path = torch.cat([position.double().cpu()[None], torch.cat(pieces)]).cumsum(0)
    return path[burn_in_records:].float()
