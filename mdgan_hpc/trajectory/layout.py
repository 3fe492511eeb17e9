"""Where things lie in the H5MD 1.1 file, and how it is laid out so that other readers open it.

The tree::

    h5md                                    version, author, creator
    particles/trajectory                    (particles/all is a soft link to it)
        position/{value,step,time}          [T, N, 3] Angstrom, unwrapped
        velocity/{value,step,time}          [T, N, 3] Angstrom ps-1, where known
        forces/{value,step,time}            [T, N, 3] eV Angstrom-1, where known
        box/edges/{value,step,time}         [T, 3, 3] Angstrom, rows are the cell vectors
        species/{value,step,time}           [T, N] atomic numbers
        mass/{value,step,time}              [T, N] atomic mass units, where known
    observables/<name>/{value,step,time}    [T] temperature (K), energies (eV), pressure
    parameters/                             constants, provenance, framework, ledger

`step` and `time` are explicit one-dimensional datasets, stored once and hard-linked; unit
attributes are variable-length strings: MDAnalysis 2.11 reads nothing else. Rows that are equal in
every record (a constant cell, the species) are virtual datasets over one stored block of rows.
The element is called `forces`, not `force`: MDAnalysis refuses the latter in eV/Angstrom, ZnH5MD
hands both to ASE as forces, which are in eV/Angstrom there.

Reference: P. de Buyl, P. H. Colberg, F. Höfling, Comput. Phys. Commun. 185, 1546 (2014).
"""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np

from mdgan_hpc import __version__, digests, hdf5
from mdgan_hpc.errors import DataError

GROUP = "particles/trajectory"
LINK = "particles/all"
LEDGER = "parameters/ledger"
PROVENANCE = "parameters/provenance"
FRAMEWORK = "parameters/framework"
#: Attribute of the ledger of a part file: which generation it is a part of, and which part.
GENERATION = "generation"
#: Seconds of wall time of a generation, all sessions together; a killed one has not told its time.
GENERATION_TIME = "generation_time_s"
#: What a file being written still changes: too large to be read as constants, and small. All else
#: in ``parameters/`` has a digest, which is an attribute of that group.
GROWING = (f"/{LEDGER}/completed_records", f"/{LEDGER}/carry")
CHANGING = (GENERATION_TIME,)
DIGEST = "sha256"
#: Name among the parameters: the verdict on the model that made the trajectory.
VERDICT = "model_verdict"
#: Name among the parameters: the number of the model that made each particle, [N].
MODELS = "model_of_particle"
#: How often the cell of the training data is repeated along its vectors.
SUPERCELL = "supercell"
#: Ions of a generated supercell, where they are more or fewer than its cells held in training.
OTHER_CONTENTS = "ions_in_supercell"
#: Whether the other atoms of the training runs stand still, of a generated file.
IN_SOLID = "in_solid"

LENGTH_UNIT = "Angstrom"
TIME_UNIT = "ps"
VELOCITY_UNIT = "Angstrom ps-1"
FORCE_UNIT = "eV Angstrom-1"

#: Bytes of a chunk aimed at: large enough for a parallel file system, small enough to cache.
CHUNK_BYTES = 4 * 2**20

_ROWS_BYTES = 2**20
_TIMES_AT_ONCE = 2**17


def write_identity(file: h5py.File, *, boundary: str = "periodic") -> h5py.Group:
    """Write the H5MD header and the empty particle group; return that group.

    Parameters
    ----------
    file : h5py.File
        An empty file.
    boundary : str
        ``periodic`` or ``none``, the same along all three cell vectors.
    """
    header = file.create_group("h5md")
    header.attrs["version"] = np.array([1, 1], dtype=np.int32)
    header.create_group("author").attrs["name"] = "mdgan_hpc"
    creator = header.create_group("creator")
    creator.attrs["name"] = "mdgan_hpc"
    creator.attrs["version"] = __version__
    group = file.create_group(GROUP)
    file[LINK] = h5py.SoftLink(f"/{GROUP}")
    box = group.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs.create("boundary", [boundary] * 3, dtype=h5py.string_dtype())
    file.create_group("observables")
    file.create_group("parameters")
    return group


def write_times(group: h5py.Group, steps: np.ndarray, times_ps: np.ndarray) -> None:
    """Store `step` [T] and `time` [T] of the time-dependent element `group`."""
    group.create_dataset("step", data=np.asarray(steps, dtype=np.int64))
    time = group.create_dataset("time", data=np.asarray(times_ps, dtype=np.float64))
    time.attrs["unit"] = TIME_UNIT


def write_regular_times(
    group: h5py.Group, n_records: int, step_interval: int, interval_ps: float
) -> None:
    """Store `step` and `time` [T] of records 1, 2, ... times an interval, in bounded memory."""
    chunk = (min(max(n_records, 1), _TIMES_AT_ONCE),)
    step = group.create_dataset(
        "step", (n_records,), np.int64, chunks=chunk, shuffle=True, compression="gzip"
    )
    time = group.create_dataset(
        "time", (n_records,), np.float64, chunks=chunk, shuffle=True, compression="gzip"
    )
    time.attrs["unit"] = TIME_UNIT
    for start in range(0, n_records, _TIMES_AT_ONCE):
        count = np.arange(start + 1, min(start + _TIMES_AT_ONCE, n_records) + 1)
        step[start : start + len(count)] = count * step_interval
        time[start : start + len(count)] = count * interval_ps


def link_times(group: h5py.Group, source: h5py.Group) -> None:
    """Let the element `group` share the `step` and `time` of the element `source`."""
    group["step"], group["time"] = source["step"], source["time"]


def write_constant_rows(group: h5py.Group, row: np.ndarray, n_records: int) -> h5py.Dataset:
    """Make ``group/value`` [T, ...] whose every record is `row`, at nearly no cost in space.

    A row of one repeated number is the fill value of a dataset without content; any other is
    stored in one block of rows that a virtual dataset repeats.
    """
    row = np.asarray(row)
    shape = (n_records, *row.shape)
    if row.size and n_records and (row == row.flat[0]).all():
        chunk = (max(1, min(n_records, _ROWS_BYTES // max(row.nbytes, 1))), *row.shape)
        return group.create_dataset("value", shape, row.dtype, chunks=chunk, fillvalue=row.flat[0])
    if n_records == 0:
        return group.create_dataset("value", shape, row.dtype)
    n_rows = max(1, min(n_records, _ROWS_BYTES // max(row.nbytes, 1)))
    rows = group.create_dataset(
        "rows", data=np.broadcast_to(row, (n_rows, *row.shape)), compression="gzip", shuffle=True
    )
    layout = h5py.VirtualLayout(shape, row.dtype)
    source = h5py.VirtualSource(".", rows.name, rows.shape, row.dtype)
    for start in range(0, n_records, n_rows):
        stop = min(start + n_rows, n_records)
        layout[start:stop] = source[: stop - start]
    return group.create_virtual_dataset("value", layout)


def write_cell(group: h5py.Group, cell: np.ndarray, n_records: int) -> None:
    """Store a constant cell [3, 3] (rows are the vectors, Angstrom) as ``box/edges``."""
    edges = group["box"].create_group("edges")
    write_constant_rows(edges, np.asarray(cell, np.float64), n_records).attrs["unit"] = LENGTH_UNIT
    link_times(edges, group["position"])


def write_species(group: h5py.Group, species: np.ndarray, n_records: int) -> None:
    """Store the atomic numbers [N] of the particles."""
    element = group.create_group("species")
    write_constant_rows(element, np.asarray(species, np.int32), n_records)
    link_times(element, group["position"])


def write_masses(group: h5py.Group, masses: np.ndarray, n_records: int) -> None:
    """Store the masses [N] of the particles, u; ZnH5MD 0.4 reads nothing beside a fixed one."""
    element = group.create_group("mass")
    write_constant_rows(element, np.asarray(masses, np.float64), n_records).attrs["unit"] = "u"
    link_times(element, group["position"])


def write_ledger(
    file: h5py.File, completed: np.ndarray, block_particles: int, block_records: int
) -> None:
    """Store how many records of each particle block are complete, [n_blocks]."""
    ledger = file.create_group(LEDGER)
    ledger.create_dataset("completed_records", data=np.asarray(completed, np.int64))
    ledger.attrs["block_particles"] = block_particles
    ledger.attrs["block_records"] = block_records


def write_parameters(group: h5py.Group, values: Mapping[str, Any]) -> None:
    """Store constants under `group`: numbers and arrays as datasets, mappings as groups or JSON.

    A mapping of arrays becomes a group; texts and anything else become JSON strings.
    """
    for name, value in values.items():
        if (
            isinstance(value, Mapping)
            and value
            and all(isinstance(item, np.ndarray) for item in value.values())
        ):
            write_parameters(group.require_group(name), value)
        elif isinstance(value, np.ndarray | np.generic | int | float) and not isinstance(
            value, bool
        ):
            group[name] = value
        elif isinstance(value, str):
            # HDF5 strings end at a NUL, which a damaged input may bring along.
            text = value.replace("\0", "?")
            group.create_dataset(name, data=text, dtype=h5py.string_dtype())
        else:
            group.create_dataset(
                name,
                data=json.dumps(value, sort_keys=True, default=str),
                dtype=h5py.string_dtype(),
            )


def generation_of(settings: Mapping[str, Any], part: str) -> str:
    """Return what tells a part file from those of other generations, and from the other parts.

    Parameters
    ----------
    settings : mapping
        What decides every bit of the generation; versions of libraries may change on the way.
    part : str
        Path of the part file, of which the name counts.
    """
    deciding = {name: value for name, value in settings.items() if name != "libraries"}
    return digests.of_tree([deciding, PurePath(part).name])


def chunk_shape(n_particles: int, n_records: int | None = None) -> tuple[int, int, int]:
    """Return the chunk [records, particles, 3] of float32 positions near `CHUNK_BYTES`."""
    particles = max(1, min(n_particles, 256))
    records = max(1, CHUNK_BYTES // (particles * 12))
    if n_records is not None:
        records = max(1, min(records, n_records))
    return records, particles, 3


_LENGTHS = {"Angstrom": 1.0, "angstrom": 1.0, "A": 1.0, "nm": 10.0, "pm": 0.01}
_TIMES = {"ps": 1.0, "fs": 1e-3, "ns": 1e3}


def unit_of(dataset: h5py.Dataset) -> str:
    """Return the unit attribute of a dataset, or an empty string."""
    return hdf5.text_attribute(dataset, "unit") or ""


def length_factor(dataset: h5py.Dataset, otherwise: str = "") -> float:
    """Return the factor to Angstrom; `otherwise` is the unit of a dataset that states none.

    Raises
    ------
    DataError
        For a unit that is not a length, or none.
    """
    return _factor(dataset, _LENGTHS, "length", otherwise)


def time_factor(dataset: h5py.Dataset, otherwise: str = "") -> float:
    """Return the factor to ps; `otherwise` is the unit of a dataset that states none.

    Raises
    ------
    DataError
        For a unit that is not a time, or none.
    """
    return _factor(dataset, _TIMES, "time", otherwise)


def time_rounding(dataset: h5py.Dataset, largest: float) -> float:
    """Return how much an interval may differ by the digits of stored times up to `largest`."""
    floating = np.issubdtype(dataset.dtype, np.floating)
    digits = float(np.finfo(dataset.dtype).eps) if floating else 0.0
    return 1e-9 + 2.0 * abs(largest) * digits


def velocity_factor(dataset: h5py.Dataset, otherwise: str = "") -> float:
    """Return the factor to Angstrom/ps, from units such as ``nm ps-1``.

    Raises
    ------
    DataError
        For a unit that is not a velocity, or none.
    """
    known = {f"{a} {b}": x / y for a, x in _LENGTHS.items() for b, y in _TIMES.items()}
    unit = (unit_of(dataset) or otherwise).removesuffix("-1").replace("/", " ")
    return _known(dataset, unit, known, "velocity")


def _factor(
    dataset: h5py.Dataset, factors: Mapping[str, float], kind: str, otherwise: str
) -> float:
    return _known(dataset, unit_of(dataset) or otherwise, factors, kind)


def _known(dataset: h5py.Dataset, unit: str, factors: Mapping[str, float], kind: str) -> float:
    where = f"{dataset.file.filename}:{dataset.name}"
    if not unit.strip():
        raise DataError(
            f"states no unit of {kind}",
            where=where,
            remedy="tell it: mdgan-convert FILE -o OURS --format h5md --units nm,ps",
        )
    if unit not in factors:
        raise DataError(
            f"{kind} unit {unit!r} is not known",
            where=where,
            remedy=f"known: {', '.join(factors)}",
        )
    return factors[unit]
