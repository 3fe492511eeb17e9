"""The one door to spglib."""

import os
import warnings
from typing import Any

import numpy as np


def symmetry_dataset(
    cell: np.ndarray, fractional: np.ndarray, species: np.ndarray, tolerance: float
) -> Any:
    """Return what spglib finds for atoms in a cell at a tolerance in Angstrom, or None.

    Parameters
    ----------
    cell : array, [3, 3]
        Rows are the cell vectors, Angstrom.
    fractional : array, [M, 3]
        Positions in fractions of the cell.
    species : array, [M]
    """
    import spglib

    # A tolerance that does not work is tried on purpose: the library need not tell the terminal.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    crystal = (cell.tolist(), (fractional % 1).tolist(), species.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return spglib.get_symmetry_dataset(crystal, symprec=tolerance)
