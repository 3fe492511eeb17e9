"""The temperature of a trajectory: what the thermostat was set to, and what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.trajectory.reader import Trajectory

#: Name of the constant of ``parameters/`` that holds the target.
TARGET = "temperature_target"
#: Temperatures of one system differ by at most these shares: what thermostats are set to, and means
#: of short runs without one.
_TARGETS, _MEANS = 0.01, 0.1


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
