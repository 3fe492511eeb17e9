"""Steps and times of the records of a trajectory file, and the interval between them."""

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.opening import Elements

#: Relative difference of record intervals up to which they count as equal (text formats round).
_UNEVEN = 1e-4


def steps_of(elements: Elements) -> np.ndarray:
    """Return the MD step of each record, [T].

    Raises
    ------
    DataError
        If there are none, or they are no whole numbers.
    """
    step = elements.of_records("step")
    if step is None:
        raise DataError("has no steps", where=elements.path)
    values = _finite(step, _stored(step, elements.n_records))
    if (values != np.floor(values)).any() or np.abs(values).max() >= 2**62:
        raise DataError("holds steps that are no whole numbers", where=hdf5.place(step))
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def times_of(elements: Elements, unit: str = "") -> np.ndarray:
    """Return the time of each record in ps, [T] float64; `unit` is that of a file that has none.

    Raises
    ------
    DataError
        If there are none, or one is no number.
    """
    time = elements.of_records("time")
    if time is None:
        raise DataError("has no times", where=elements.path)
    factor = layout.time_factor(time, unit)
    return factor * _finite(time, _stored(time, elements.n_records)).astype(np.float64)


def _stored(dataset: h5py.Dataset, n_records: int) -> np.ndarray:
    """Return the values [T]; H5MD allows one number, the interval, with an offset."""
    if dataset.shape:
        return hdf5.read(dataset, slice(0, n_records))
    told = hdf5.attribute(dataset, "offset")
    offset = np.asarray(0 if told is None else told)
    if offset.size != 1 or offset.dtype.kind not in "iuf":
        raise DataError("has an offset that is no number", where=hdf5.place(dataset))
    return np.asarray(hdf5.value(dataset) * np.arange(n_records) + offset.reshape(())[()])


def _finite(dataset: h5py.Dataset, values: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        where = f"{hdf5.place(dataset)}, record {bad[0]}"
        raise DataError("is no number", where=where, remedy="make the file again")
    return values


def interval_of(elements: Elements, times_ps: np.ndarray) -> float:
    """Return the time between two records in ps.

    Raises
    ------
    DataError
        If there is a single record, or they are not evenly spaced in time.
    """
    if len(times_ps) < 2:
        raise DataError("has a single record, no interval", where=elements.path)
    intervals = np.diff(times_ps)
    mean = float((times_ps[-1] - times_ps[0]) / (len(times_ps) - 1))
    time = elements.of_records("time")
    assert time is not None
    rounding = layout.time_rounding(time, float(times_ps.max()))
    odd = np.flatnonzero(np.abs(intervals - mean) > _UNEVEN * abs(mean) + rounding)
    if not mean > 0 or odd.size:
        at = int(odd[0]) if odd.size else 0
        raise DataError(
            f"records {at} and {at + 1} are {intervals[at]:g} ps apart, others {mean:g} ps",
            where=elements.path,
            remedy="split the trajectory where its time step changes",
        )
    return mean
