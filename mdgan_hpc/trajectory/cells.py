"""Cells and image flags, as files state them."""

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError


def cells_of(edges: h5py.Dataset, rows: np.ndarray, *, constant: bool) -> np.ndarray:
    """Return stored edges [t, 3, 3], or [t, 3] of orthorhombic boxes, as cells [t, 3, 3].

    Rows of a cell that changes may be NaN: those records tell no cell.

    Raises
    ------
    DataError
        If they are no numbers, or lengths below zero.
    """
    known = ~np.isnan(rows).all(tuple(range(1, rows.ndim)))
    if not np.isfinite(rows[known]).all() or (constant and not known.all()):
        raise DataError("has cell vectors that are no numbers", where=hdf5.place(edges))
    cells = np.asarray(rows, np.float64)
    if cells.ndim > 2:
        return cells
    if (cells[known] < 0).any():
        raise DataError("has a cell with a length below zero", where=hdf5.place(edges))
    return cells[:, :, None] * np.eye(3)


def require_whole(flags: h5py.Dataset, image: np.ndarray) -> np.ndarray:
    """Return image flags as numbers of cells; raises where they are no whole ones.

    Raises
    ------
    DataError
    """
    image = image.astype(np.float64)
    if (image != np.rint(image)).any():
        raise DataError("has image flags that are no whole numbers", where=hdf5.place(flags))
    return image
