"""How often an ion tries to jump, and how far it swings.

Both are made of the speed at which its distance from where it started changes. The attempt
frequency is the mean of the frequency over the power spectrum of that speed; the amplitude is the
standard deviation of the ways between two turning points. The frequency depends on the time between
records: compare trajectories of one interval.

References
----------
N. J. J. de Klerk, E. van der Maas and M. Wagemaker, ACS Appl. Energy Mater. 1, 3230 (2018), as the
program GEMDAT computes them.
"""

from collections.abc import Iterable

import numpy as np

from mdgan_hpc.analysis.sites.results import Vibration


def vibration(runs: Iterable[np.ndarray], interval_ps: float) -> Vibration | None:
    """Return attempt frequency and amplitude; None where nothing moves.

    Parameters
    ----------
    runs : iterable of array, [T, N, 3]
        Positions, Angstrom.
    interval_ps : float
    """
    frequencies: list[np.ndarray] = []
    total = np.zeros(3)  # number of swings, their sum and that of their squares
    for positions in runs:
        for ion in range(positions.shape[1]):
            x = positions[:, ion].astype(np.float64)
            speed = np.diff(np.linalg.norm(x - x[0], axis=1), prepend=0.0)
            power = np.abs(np.fft.rfft(speed - speed.mean())) ** 2
            power[1 : (len(speed) + 1) // 2] *= 2  # both signs of the frequency
            if power.sum() > 0:
                at = np.fft.rfftfreq(len(speed), interval_ps)
                frequencies.append(np.array((at * power).sum() / power.sum()))
            total += _swings(speed)
    if not frequencies or total[0] < 2:
        return None
    mean = total[1] / total[0]
    return Vibration(
        attempt_frequency_per_ps=float(np.mean(frequencies)),
        spread_per_ps=float(np.std(frequencies)),
        amplitude=float(np.sqrt(max(total[2] / total[0] - mean**2, 0.0))),
        n_ions=len(frequencies),
    )


def _swings(speed: np.ndarray) -> np.ndarray:
    """Return number, sum and sum of squares of the ways between turning points."""
    sign = np.sign(speed)
    turns = np.flatnonzero(sign != np.roll(sign, -1))[1:-1] + 1
    ways = np.add.reduceat(speed, np.append(0, turns))
    return np.array([len(ways), ways.sum(), (ways**2).sum()])
