"""The temperature of a trajectory: what the thermostat was set to, and what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory.reader import Trajectory

#: Name of the constant of ``parameters/`` that holds the target.
TARGET = "temperature_target"
#: Temperatures of one system differ by at most these shares: what thermostats are set to, and means
#: of short runs without one.
_TARGETS, _MEANS = 0.01, 0.1
_REMEDY = "give --temperature once for all runs, or once for each in their order"


@dataclass(frozen=True)
class Temperature:
    """In K; None where the file does not tell.

    Attributes
    ----------
    target_k : float or None
        What the thermostat was set to; of generated ions that of the training data.
    mean_k : float or None
        Mean of the temperatures of the records.
    """

    target_k: float | None = None
    mean_k: float | None = None

    @property
    def k(self) -> float | None:
        """The target, or else the mean."""
        return self.mean_k if self.target_k is None else self.target_k

    def differs(self, other: "Temperature") -> bool:
        """Tell whether two runs are at different temperatures, as far as both tell theirs."""
        mine, theirs = self.k, other.k
        if mine is None or theirs is None:
            return False
        both = self.target_k is not None and other.target_k is not None
        return abs(mine - theirs) > (_TARGETS if both else _MEANS) * min(mine, theirs)


def temperature_of(trajectory: Trajectory) -> Temperature:
    """Return the temperature that a file tells."""
    target = trajectory.number(TARGET)
    measured = trajectory.observable("temperature")
    known = np.zeros(0) if measured is None else measured[np.isfinite(measured)]
    return Temperature(
        target if target is not None and target > 0 else None,
        float(known.mean()) if known.size else None,
    )


def levels_of(temperatures: Sequence[Temperature]) -> list[float | None]:
    """Return the temperature of each run in K, where runs at nearly one share their mean."""
    known = [t for t in temperatures if t.k is not None]
    groups: list[list[Temperature]] = []
    for one in sorted(known, key=lambda t: t.k or 0.0):
        if groups and not one.differs(groups[-1][0]):
            groups[-1].append(one)
        else:
            groups.append([one])
    level = {id(t): float(np.mean([m.k for m in group])) for group in groups for t in group}
    return [level.get(id(t)) for t in temperatures]


def run_temperatures(
    trajectories: Sequence[Trajectory], told_k: float | Sequence[float] = ()
) -> list[float]:
    """Return the temperature of each run, K; nothing where neither the files nor the user tell it.

    Parameters
    ----------
    trajectories : sequence of Trajectory
    told_k : float or sequence of float
        For files that do not tell it: one for all runs, or one for each.

    Raises
    ------
    DataError
        If a file tells another temperature, or some runs are at several and one does not tell.
    UsageError
        If the number of those told is not that of the runs.
    """
    given = np.atleast_1d(told_k).tolist()
    if len(given) > 1 and len(given) != len(trajectories):
        raise UsageError(
            f"{len(given)} temperatures are given for {len(trajectories)} runs", remedy=_REMEDY
        )
    found = [temperature_of(trajectory) for trajectory in trajectories]
    each = given * (len(found) if len(given) == 1 else 1)
    for number, kelvin in enumerate(each):
        told = Temperature(kelvin)
        if told.differs(found[number]):
            raise DataError(
                f"is at {found[number].k:.0f} K, not {kelvin:g} K",
                where=trajectories[number].path,
                remedy="leave --temperature out, or correct it",
            )
        found[number] = told
    levels = levels_of(found)
    known = [k for k in levels if k is not None]
    if len(set(known)) > 1 and len(known) < len(levels):
        raise DataError(
            "does not tell its temperature, and other runs are at several",
            where=trajectories[levels.index(None)].path,
            remedy=_REMEDY,
        )
    # At one temperature, files that do not tell it are of that too.
    return [float(np.mean(known))] * len(levels) if len(set(known)) == 1 else known
