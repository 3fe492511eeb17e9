"""Configuration of the transition density: sizes, inputs, bounds and noise calibration."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mdgan_hpc.config import key, require
from mdgan_hpc.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TransitionConfig:
    """Recurrent mixture density for the next records.

    The keys of the first group are for users; those of the second are numbers that define the
    model and are kept in its file.
    """

    hidden: int = key(128, "units | memory")
    records_per_step: int = key(
        0,
        "records | made together by one step; 0: 2 where the last displacements tell more than "
        "half of the next one, else 1",
    )
    head: int = key(96, "units | between memory and mixture, for each record of a step")
    components: int = key(48, "Gaussians | in the mixtures of a step, shared by its records")
    neighbours: Literal["auto", "on", "off"] = key(
        "auto",
        "neighbour descriptor of the mobile ions of a cell; auto: in a crystal or a glass whose "
        "atoms the files hold, where ions keep apart, and of several species; on: in a liquid too, "
        "an error where the data do not allow it; off: each ion is alone",
    )
    neighbour_radii: list[float] = key(
        [0.9, 1.06, 1.25, 1.47, 1.74, 2.05, 2.42, 2.85],
        "contact distances | shells of the neighbour descriptor; one ion in a thousand has a "
        "neighbour within the contact distance, which is measured",
    )
    neighbour_width: float = key(0.15, "of its radius | Gaussian width of a shell")
    neighbour_cutoff: float = key(3.5, "contact distances | where all shells end")
    neighbour_count: float = key(
        24.0,
        "ions | within the cutoff, on average, and as many as two cells hold at most: where there "
        "are fewer, shells follow, each further by the ratio of the last two radii, and the cutoff "
        "with them; 0: none follow",
    )
    neighbour_ions: int = key(256, "ions | in a cell at most")
    framework_radii: list[float] = key(
        [0.95, 1.12, 1.32, 1.56, 1.84, 2.17, 2.56, 3.02],
        "contact distances | shells around an ion in which it sees the atoms that stay in place, "
        "where they form no lattice; for each species of these",
    )
    framework_cutoff: float = key(
        3.8, "contact distances of the nearest of these species | where all those shells end"
    )
    ema_records: list[float] = key(
        [40.0, 120.0, 360.0],
        "records | decay times of the exponential moving averages of the position",
    )

    ema_share: float = key(12.0, "a decay time is used where a run holds so many of it")
    ema_history: float = key(1.5, "longest decay time | of data before each window, for the EMA")
    history_records: int = key(96, "records | of data that fill the memory before a free run")
    start_states: int = key(2048, "states | at the ends of windows of data, stored in the model")
    reciprocal_vectors: int = key(60, "vectors | at least, in whole shells, that show the place")
    directions: int = key(2, "stretched directions of each Gaussian")
    vector_bound: float = key(6.0, "standard deviations | bound of vector inputs")
    mean_bound: float = key(12.0, "standard deviations | bound of the means of a Gaussian residual")
    mean_stretch: float = key(
        1.5,
        "standard deviations | from which on means grow exponentially with what the network gives, "
        "as repulsive forces do with distance; 0: nowhere",
    )
    direction_bound: float = key(0.9, "bound of the stretch of a Gaussian")
    log_width_least: float = key(-6.0, "least logarithm of the width of a Gaussian")
    log_width_most: float = key(0.0, "largest, for a residual that is Gaussian")
    activity_floor: float = key(0.1, "added to the mean square displacement before its logarithm")
    temperature_slope: float = key(
        0.3,
        "how fast the slopes of the mixtures with the temperature grow, to other weights: slow "
        "ones take what the data ask for and little of the noise of the training",
    )
    far: float = key(4.0, "standard deviations | where Gaussians for rare long moves begin")
    far_width: float = key(0.2, "of that distance | width of such a Gaussian at the start")
    calibration_ions: int = key(1024, "ions | in the free runs of the noise calibration")
    calibration_burn_in: int = key(500, "records | dropped before they are measured")
    calibration_records: int = key(
        3000,
        "records | measured in each of four free runs, a quarter in each trial before; times half "
        "of the ions, pairs of ions looked at for the noise that they share",
    )
    calibration_range: float = key(
        0.01, "logarithm | of the noise tried, below and above; four times that at most is set"
    )
    calibration_slope: float = key(
        0.02, "change of that with the kinetic energy over its mean, tried and set likewise"
    )
    calibration_friction: float = key(
        0.0025,
        "of the last displacement | friction tried, six times that at most set, by the mean square "
        "displacement where the data know it within a percent or so",
    )
    thermostat_records: float = key(
        4.0,
        "records | in which the kinetic energy of a cell goes back to its mean, in free runs of "
        "ions of a liquid that see each other; 0: it is free",
    )
    thermostat_range: float = key(
        0.04, "logarithm | of the kinetic energy aimed at, tried in the place of the noise"
    )
    kinetic_energy_bound: float = key(6.0, "mean kinetic energies | up to which the noise changes")

    def __post_init__(self) -> None:
        for name in (
            *("hidden", "head", "components", "neighbour_ions", "history_records"),
            *("start_states", "reciprocal_vectors", "directions"),
            *("calibration_ions", "calibration_records"),
        ):
            value = getattr(self, name)
            require(value >= 1, f"generator.{name}", value, "at least 1")
        for name in (
            "records_per_step",
            "calibration_burn_in",
            "ema_history",
            "mean_stretch",
            "thermostat_records",
            "neighbour_count",
        ):
            value = getattr(self, name)
            require(value >= 0, f"generator.{name}", value, "at least 0")
        for name in (
            *("neighbour_width", "neighbour_cutoff", "framework_cutoff", "ema_share"),
            "vector_bound",
            *("direction_bound", "activity_floor", "far", "far_width", "calibration_range"),
            *("mean_bound", "calibration_slope", "kinetic_energy_bound", "temperature_slope"),
            *("thermostat_range", "calibration_friction"),
        ):
            value = getattr(self, name)
            require(value > 0, f"generator.{name}", value, "above 0")
        self._check_lists()
        self._refuse_unused()

    def _refuse_unused(self) -> None:
        """Refuse what has no effect where ions do not see each other."""
        unused = ("neighbour_", "framework_", "thermostat_")
        given = self.changed(*unused) if self.neighbours == "off" else []
        if given:
            raise ConfigError(
                f"generator.{given[0]} has no effect where generator.neighbours = 'off'",
                remedy="leave it out, or use 'auto' or 'on'",
            )

    def changed(self, *beginnings: str) -> list[str]:
        """Return the names that begin so and have other values than the defaults."""
        names = []
        for field in dataclasses.fields(self):
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if field.name.startswith(beginnings) and getattr(self, field.name) != default:
                names.append(field.name)
        return names

    def _check_lists(self) -> None:
        times = self.ema_records
        for shells in ("neighbour", "framework"):
            radii, most = getattr(self, f"{shells}_radii"), getattr(self, f"{shells}_cutoff")
            require(
                bool(radii) and min(radii) > 0 and max(radii) <= most,
                f"generator.{shells}_radii",
                radii,
                f"a list of numbers above 0 and up to generator.{shells}_cutoff",
            )
        require(
            all(t > 0 for t in times) and times == sorted(times),
            "generator.ema_records",
            times,
            "numbers above 0 in ascending order",
        )
        require(
            self.log_width_least < self.log_width_most,
            "generator.log_width_least",
            self.log_width_least,
            "below generator.log_width_most",
        )
