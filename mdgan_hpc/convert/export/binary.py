"""Binary formats: NumPy archive, AMBER's netCDF, and XTC of GROMACS."""

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdgan_hpc import __version__
from mdgan_hpc.convert.export.excerpt import Excerpt, lengths_and_angles
from mdgan_hpc.errors import UsageError
from mdgan_hpc.units import ANGSTROM_PER_NM, EV_PER_KCAL_PER_MOL

#: Whole numbers in a nm that XTC stores positions in: 0.001 Angstrom, ten times its usual digits.
_XTC_PRECISION = 10_000


def export_npz(excerpt: Excerpt, path: Path) -> None:
    """Write a NumPy archive: positions, times_ps, steps, species, cell, and what else is known."""
    t, n = len(excerpt.records), excerpt.n_atoms
    source = excerpt.trajectory
    streamed = {"positions": ((t, n, 3), "<f4")}
    if source.has_velocities:
        streamed["velocities"] = ((t, n, 3), "<f4")
    if source.has_forces:
        streamed["forces"] = ((t, n, 3), "<f4")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, (shape, kind) in streamed.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(
                    member, {"descr": kind, "fortran_order": False, "shape": shape}
                )
                for piece in excerpt.pieces(motion=name != "positions"):
                    member.write(np.ascontiguousarray(getattr(piece, name), kind).tobytes())
        arrays = {
            "cell": excerpt.cells() if source.has_cell else None,
            "times_ps": excerpt.times_ps,
            "steps": excerpt.steps,
            "species": excerpt.species,
        }
        arrays |= {name: excerpt.observable(name) for name in source.observables}
        for name, values in arrays.items():
            if values is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)


def export_xtc(excerpt: Excerpt, path: Path) -> None:
    """Write XTC, which stores positions to 0.001 Angstrom, compressed.

    Raises
    ------
    UsageError
        If MDAnalysis, whose writer is used, is not installed.
    """
    try:
        from MDAnalysis.lib.formats.libmdaxdr import XTCFile
    except ImportError:
        raise UsageError(
            "XTC is written through MDAnalysis, which is not installed",
            remedy="install mdgan-hpc[mdanalysis], or export amber, which needs nothing",
        ) from None
    steps_fit = int(np.abs(excerpt.steps).max()) < 2**31
    with XTCFile(str(path), "w") as out:
        for piece in excerpt.standard_pieces(motion=False):
            places = (piece.positions / ANGSTROM_PER_NM).astype(np.float32)
            cells = np.zeros((len(places), 3, 3)) if piece.cells is None else piece.cells
            boxes = (cells / ANGSTROM_PER_NM).astype(np.float32)
            for i, record in enumerate(piece.record):
                step = int(piece.steps[i] if steps_fit else record)
                out.write(places[i], boxes[i], step, piece.times_ps[i], _XTC_PRECISION)


def export_amber(excerpt: Excerpt, path: Path) -> None:
    """Write a trajectory by the netCDF convention of AMBER, positions as they are stored here.

    ``time`` in ps, ``coordinates`` in Angstrom, ``cell_lengths`` and ``cell_angles``,
    ``velocities`` in Angstrom/ps and ``forces`` in kcal/mol/Angstrom where they are known.

    The header is written here, as SciPy's writer keeps the whole trajectory in memory.

    Source: AMBER NetCDF Trajectory/Restart Convention, version 1.0, revision C; "The NetCDF Classic
    Format Specification" of Unidata, 64-bit offset.
    """
    n, source = excerpt.n_atoms, excerpt.trajectory
    columns = [_Column("time", (), "f4", "picosecond")]
    columns.append(_Column("coordinates", ("atom", "spatial"), "f4", "angstrom"))
    if source.has_cell:
        columns.append(_Column("cell_lengths", ("cell_spatial",), "f8", "angstrom"))
        columns.append(_Column("cell_angles", ("cell_angular",), "f8", "degree"))
    if source.has_velocities:
        columns.append(_Column("velocities", ("atom", "spatial"), "f4", "angstrom/picosecond"))
    if source.has_forces:
        unit = "kilocalorie/mole/angstrom"
        columns.append(_Column("forces", ("atom", "spatial"), "f4", unit))
    shapes = {"atom": n, "spatial": 3, "cell_spatial": 3, "cell_angular": 3}
    row = np.dtype([(c.name, f">{c.kind}", tuple(shapes[d] for d in c.axes)) for c in columns])
    with open(path, "wb") as out:
        out.write(_amber_head(columns, row, n, len(excerpt.records)))
        for piece in excerpt.standard_pieces():
            rows = np.empty(len(piece.record), row)
            rows["time"], rows["coordinates"] = piece.times_ps, piece.positions
            if piece.cells is not None:
                rows["cell_lengths"], rows["cell_angles"] = lengths_and_angles(piece.cells)
            if piece.velocities is not None:
                rows["velocities"] = piece.velocities
            if piece.forces is not None:
                rows["forces"] = piece.forces / EV_PER_KCAL_PER_MOL
            out.write(rows.tobytes())


class _Column(NamedTuple):
    """A variable of a netCDF file that has a value in each record."""

    name: str
    axes: tuple[str, ...]
    kind: str
    unit: str


#: Tags of lists, and numbers of types, of the netCDF classic format.
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_CHAR = 2
_TYPES = {"f4": 5, "f8": 6}


def _amber_head(columns: list[_Column], row: np.dtype[np.void], n_atoms: int, t: int) -> bytes:
    """Return what lies before the records: the header and the names of the axes."""
    sizes = {"frame": 0, "spatial": 3, "atom": n_atoms, "cell_spatial": 3, "cell_angular": 3}
    sizes["label"] = 5
    axes = list(sizes)
    fixed = {
        "spatial": (("spatial",), b"xyz"),
        "cell_spatial": (("cell_spatial",), b"abc"),
        "cell_angular": (("cell_angular", "label"), b"alphabeta gamma"),
    }
    told = {
        "title": "trajectory of mdgan_hpc",
        "application": "mdgan_hpc",
        "program": "mdgan_hpc",
        "programVersion": __version__,
        "Conventions": "AMBER",
        "ConventionVersion": "1.0",
    }

    def head(begin: int) -> bytes:
        variables, at = [], begin
        for name, (dims, values) in fixed.items():
            variables.append(_variable(name, [axes.index(d) for d in dims], "", _CHAR, values, at))
            at += len(_padded(values))
        for column in columns:
            assert row.fields is not None
            kind, offset = row.fields[column.name][:2]
            grows = [0, *(axes.index(d) for d in column.axes)]
            size = b"\0" * kind.itemsize
            place, code = at + offset, _TYPES[column.kind]
            variables.append(_variable(column.name, grows, column.unit, code, size, place))
        dimensions = [_name(name) + struct.pack(">i", size) for name, size in sizes.items()]
        return (
            b"CDF\2"
            + struct.pack(">i", t)
            + _list(_DIMENSION, dimensions)
            + _list(_ATTRIBUTE, [_text(name, text) for name, text in told.items()])
            + _list(_VARIABLE, variables)
        )

    labels = b"".join(_padded(values) for _, values in fixed.values())
    return head(len(head(0))) + labels


def _variable(name: str, dims: list[int], unit: str, kind: int, values: bytes, begin: int) -> bytes:
    """Return the entry of a variable; of one that grows, `values` are those of one record."""
    units = _list(_ATTRIBUTE, [_text("units", unit)]) if unit else struct.pack(">ii", 0, 0)
    shape = struct.pack(f">i{len(dims)}i", len(dims), *dims)
    place = struct.pack(">iIq", kind, len(_padded(values)), begin)
    return _name(name) + shape + units + place


def _list(tag: int, items: Iterable[bytes]) -> bytes:
    items = list(items)
    return struct.pack(">ii", tag, len(items)) + b"".join(items)


def _text(name: str, text: str) -> bytes:
    return _name(name) + struct.pack(">ii", _CHAR, len(text)) + _padded(text.encode())


def _name(name: str) -> bytes:
    return struct.pack(">i", len(name)) + _padded(name.encode())


def _padded(values: bytes) -> bytes:
    return values + b"\0" * (-len(values) % 4)
