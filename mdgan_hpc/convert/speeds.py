"""Velocities beside the motion of the same atoms: where units or time step contradict the file."""

import numpy as np

#: Between two records atoms come at most as far as their velocities take them; beyond this multiple
#: of it something is wrong.
_FARTHER = 3.0
#: No ion of a solid or a liquid is as fast, Angstrom/ps: hydrogen at a million kelvin is.
_FASTEST = 1000.0


def contradiction(moves: np.ndarray, velocities: np.ndarray, intervals_ps: np.ndarray) -> str:
    """Return in words how velocities contradict the motion; nothing where they agree.

    Medians are compared: some atoms of folded coordinates may cross the cell. A shorter way than
    the velocities tell is none: atoms turn round between two records.

    Parameters
    ----------
    moves : array, [n, N, 3]
        Displacements from record to record, Angstrom.
    velocities : array, [n, N, 3]
        At the first of each two records, Angstrom/ps; NaN where unknown.
    intervals_ps : array, [n]
        Times between two records.
    """
    speeds = np.linalg.norm(velocities, axis=2)
    known = np.isfinite(speeds) & (speeds > 0)
    if not known.any():
        return ""
    speed = float(np.median(speeds[known]))
    if speed > _FASTEST:
        return (
            f"atoms have velocities of {speed:.2g} Angstrom/ps, faster than any of a solid or a "
            "liquid: compare the units with the input of the run (--units)"
        )
    allowed = (speeds * intervals_ps[:, None])[known]
    farther = float(np.median(np.linalg.norm(moves, axis=2)[known]) / np.median(allowed))
    if farther > _FARTHER:
        return (
            f"atoms move {farther:.2g} times as far from record to record as their velocities "
            "take them: compare units and time step with the input of the run (--units, "
            "--time-step)"
        )
    return ""
