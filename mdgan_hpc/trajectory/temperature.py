"""The temperature of a trajectory: what the thermostat was set to, and what was measured."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.trajectory.reader import Trajectory

#: Name of the constant of ``parameters/`` that holds the target.
TARGET = "temperature_target"


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


def temperature_of(trajectory: Trajectory) -> Temperature:
    """Return the temperature that a file tells."""
    target = trajectory.number(TARGET)
    measured = trajectory.observable("temperature")
    known = np.zeros(0) if measured is None else measured[np.isfinite(measured)]
    return Temperature(
        target if target is not None and target > 0 else None,
        float(known.mean()) if known.size else None,
    )
