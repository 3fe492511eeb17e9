"""The time that a generation has taken, kept in the file that it makes."""

import os
from pathlib import Path

import h5py
import numpy as np

#: Seconds of wall time, all sessions together; what was killed has not told its time.
GENERATION_TIME = "generation_time_s"
_PLACE = f"parameters/{GENERATION_TIME}"


def read_time_s(path: str | Path) -> float:
    """Return the seconds that a file tells; 0 where it tells none."""
    with h5py.File(path, "r") as file:
        return float(file[_PLACE][()]) if _PLACE in file else 0.0


def add_time_s(path: str | Path, seconds: float) -> None:
    """Add the time of a session: in place, so that no kill can harm the structure of the file."""
    with h5py.File(path, "r") as file:
        if _PLACE not in file:
            return
        dataset = file[_PLACE]
        total = np.array(float(dataset[()]) + seconds, dataset.dtype)
        place = dataset.id.get_offset()
    if place is None:
        return
    with open(path, "r+b") as stream:
        stream.seek(place)
        stream.write(total.tobytes())
        stream.flush()
        os.fsync(stream.fileno())
