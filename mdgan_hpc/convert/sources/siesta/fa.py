"""`.FA`: forces on the atoms in the last step evaluated, eV/Angstrom."""

import numpy as np

from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError

_AFTER_INDEX = 6


def read_fa(stream: Stream) -> np.ndarray:
    """Return the forces [N, 3] of a `.FA` or `.FAC` file, eV/Angstrom.

    Lines are `i6,3(1x,e17.9)` from 4.1 on and `i6,3f12.6` before.

    Raises
    ------
    DataError
        If it is cut or holds anything but numbers.
    """
    rows = [line for line in stream.text().splitlines() if line.strip()]
    try:
        n_atoms = int(rows[0])
        atoms = rows[1 : 1 + n_atoms]
        if n_atoms < 1 or len(atoms) < n_atoms:
            raise ValueError("cut short")
        width = 18 if "E" in atoms[0].upper() else 12
        starts = [_AFTER_INDEX + width * k for k in range(3)]
        forces = np.array([[row[a : a + width] for a in starts] for row in atoms], np.float64)
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"is damaged ({error})", where=stream.path) from None
    if not np.isfinite(forces).all():
        raise DataError("holds a value that is not a number", where=stream.path)
    return forces
