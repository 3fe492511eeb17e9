"""The time that a generation has taken, kept in the file that it makes."""

import os
from pathlib import Path

import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.trajectory.layout import GENERATION_TIME

_PLACE = f"parameters/{GENERATION_TIME}"


def read_time_s(path: str | Path) -> float:
    """Return the seconds that a file tells; 0 where it tells none.

    Raises
    ------
    DataError
    """
    with hdf5.open_file(Path(path)) as file:
        if hdf5.find(file["/"], _PLACE) is None:
            return 0.0
        return float(hdf5.value(hdf5.numbers(file["/"], _PLACE, ())))


def add_time_s(path: str | Path, seconds: float) -> None:
    """Add the time of a session: in place, so that no kill can harm the structure of the file."""
    with hdf5.open_file(Path(path)) as file:
        if hdf5.find(file["/"], _PLACE) is None:
            return
        dataset = hdf5.numbers(file["/"], _PLACE, ())
        total = np.array(float(hdf5.value(dataset)) + seconds, dataset.dtype)
        place = dataset.id.get_offset()
    if place is None:
        return
    with open(path, "r+b") as stream:
        stream.seek(place)
        stream.write(total.tobytes())
        stream.flush()
        os.fsync(stream.fileno())
