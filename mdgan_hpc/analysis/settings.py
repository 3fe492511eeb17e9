"""What is measured, and the configuration of `mdgan-msd`. Loads nothing heavy."""

from dataclasses import dataclass, field

from mdgan_hpc.config import key, require_ranges
from mdgan_hpc.errors import UsageError


@dataclass(frozen=True)
class DynamicsConfig:
    """What is computed."""

    species: str = key(
        "",
        "symbol | species to analyse, e.g. Li; needed where files hold several; Na,Cl: each of "
        "them, and how they move together (Onsager coefficients)",
    )
    every_lag: bool = key(False, "true or false | all lags instead of log-spaced ones")
    lags_per_decade: int = key(20, "number | log-spaced lags in a decade")
    max_fraction: float = key(
        0.5, "0 to 1 | longest lag as a share of the shortest run", flag="--max-lag"
    )
    stride: int = key(
        1,
        "records | lags are multiples of it, and velocities differences over it: the way to "
        "compare with a trajectory of longer record interval",
    )
    full: bool = key(
        True,
        "true or false | measure more than the MSD: fourth moments, histograms, velocities and "
        "collective motion, without which there is no D",
        flag="--msd-only",
    )
    per_particle: bool = key(False, "true or false | keep the MSD of each particle")
    van_hove_ps: tuple[float, ...] = key(
        (), "ps | times of the histograms; empty: four between 1/160 and 1/4 of the run"
    )
    incomplete: bool = key(
        False,
        "true or false | of files that are still being generated, analyse the records that are "
        "complete",
    )
    device: str = key(
        "", "name | compute by PyTorch on this device, e.g. cuda; empty: on the processor"
    )

    def __post_init__(self) -> None:
        if not 0 < self.max_fraction < 1:
            raise UsageError(f"longest lag {self.max_fraction:g} of a run must be between 0 and 1")
        if self.stride < 1 or self.lags_per_decade < 1:
            raise UsageError("lags per decade and stride must be at least 1")


@dataclass(frozen=True)
class MsdConfig:
    """Inputs, output and choices of `mdgan-msd`.

    Attributes
    ----------
    files : tuple of path
        Replicas of one system.
    output : path
        The result file.
    dynamics : DynamicsConfig
    """

    files: tuple[str, ...]
    output: str
    window_ps: tuple[float, float] | None = key(
        None, "ps | fit window, e.g. 2:20; by rule (log-log slope near 1) if not given"
    )
    charge: tuple[float, ...] | None = key(
        None,
        "elementary charges | of an ion (1,-1: of each of two species): estimate the conductivity "
        "(S/cm) as if ions moved independently (Nernst-Einstein), and tell that of their motion "
        "together where they saw each other",
    )
    temperature_k: float | None = key(
        None,
        "K | temperature for the conductivity; if not given the thermostat's, or else the mean "
        "of the first file",
        flag="--temperature",
        above=0,
    )
    viscosity_mpa_s: float | None = key(
        None,
        "mPa s | of a liquid in a cubic cell: correct D for the size of the cell (Yeh and Hummer)",
        flag="--viscosity",
        metavar="MPA_S",
        above=0,
    )
    accept_poor_model: bool = key(
        False, "true or false | give D also of a model that does not move as the MD does"
    )
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    force: bool = key(False, "true or false | replace outputs that exist")

    def __post_init__(self) -> None:
        require_ranges(self)

    @property
    def asks_beside(self) -> bool:
        """Whether more than curves is asked for."""
        beside = (self.window_ps, self.charge, self.viscosity_mpa_s)
        return any(value is not None for value in beside)
