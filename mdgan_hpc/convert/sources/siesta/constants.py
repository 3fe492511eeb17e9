"""Unit constants of SIESTA, which depend on its version."""

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Constants:
    """Conversion factors compiled into an executable.

    Attributes
    ----------
    angstrom_per_bohr, ev_per_rydberg : float
    """

    angstrom_per_bohr: float
    ev_per_rydberg: float


#: SIESTA up to 4.1, and 5 where it was compiled with the older convention: module `units`.
UP_TO_4_1 = Constants(0.529177, 13.60580)
#: SIESTA 5: module `units_codata2018_m`.
FROM_5_0 = Constants(0.529177210903, 13.605693122994)


def major_minor(version: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version text such as ``v4.1.5`` or ``siesta-4.0--582``."""
    match = re.search(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None


def constants_of(version: str) -> Constants:
    """Return the factors that this version used; an unknown one counts as 4.1 or before."""
    numbers = major_minor(version)
    return FROM_5_0 if numbers is not None and numbers >= (5, 0) else UP_TO_4_1


def constants_of_cells(in_bohr: np.ndarray, in_angstrom: np.ndarray) -> Constants | None:
    """Return the factors by which one program printed a cell in both units.

    Parameters
    ----------
    in_bohr, in_angstrom : array, [3, 3]

    Returns
    -------
    Constants or None
        None if the two are not the same cell.
    """
    for constants in (UP_TO_4_1, FROM_5_0):
        cell = in_bohr * constants.angstrom_per_bohr
        # The two factors are 4e-7 apart; `.XV` and `.STRUCT_OUT` have nine decimals.
        if np.abs(cell - in_angstrom).max() < 1e-7 * np.abs(in_angstrom).max():
            return constants
    return None
