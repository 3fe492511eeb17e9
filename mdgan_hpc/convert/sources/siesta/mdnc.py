"""`.MD.nc`: netCDF, classic or netCDF-4, with the cell of every record.

Lengths are in Bohr whatever the attributes say: up to SIESTA 4.1 the text in ``Description`` names
Angstrom and is wrong; later versions write the attributes ``info`` and ``unit``, which are right.
``etot`` repeats ``eks`` up to 4.1 and in versions between it and 5.0; then it is the conserved
energy. Source: `Src/md_out.F90` of SIESTA 4.1, MaX-1.2 and 5.4.

The classic format is read record by record from the stream, so that size and compression do not
matter. Format: R. Rew et al., "The NetCDF User's Guide", appendix "File format specification".
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.sources.siesta.constants import FROM_5_0, UP_TO_4_1, Constants
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.units import FS_PER_PS

_TYPES = {1: ">i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}
_TYPES |= {7: ">u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
_Item = TypeVar("_Item")

_STREAMING = 0xFFFFFFFF
_MAX_ITEMS = 10_000
_MAX_HEADER_BYTES = 2**24
_MAX_RECORD_BYTES = 2**30


@dataclass
class _Variable:
    shape: tuple[int, ...]  # without the record dimension
    dtype: np.dtype[Any]
    is_record: bool
    begin: int
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


class _Header:
    """The header of a classic netCDF file.

    Raises
    ------
    DataError
        If it is cut or its numbers cannot be.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.bytes_read = 0
        magic = self._take(4)
        version = magic[3]
        if magic[:3] != b"CDF" or version not in (1, 2, 5):
            self._fail("is not a netCDF file")
        self._count, self._offset = (8 if version == 5 else 4), (4 if version == 1 else 8)
        self.n_records = self._unsigned(self._count)
        if self.n_records == 256**self._count - 1:
            self.n_records = -1  # written without going back to the header
        dimensions = self._list(self._dimension)
        self._list(self._attribute)
        self.variables = dict(self._list(lambda: self._variable(dimensions)))

    def _fail(self, what: str) -> NoReturn:
        raise DataError(what, where=self._stream.path)

    def _take(self, n_bytes: int) -> bytes:
        self.bytes_read += n_bytes
        if self.bytes_read > _MAX_HEADER_BYTES:
            self._fail("has a damaged header")
        data = self._stream.read(n_bytes)
        if len(data) < n_bytes:
            self._fail("stops within its header")
        return data

    def _unsigned(self, n_bytes: int) -> int:
        return int.from_bytes(self._take(n_bytes), "big")

    def _padded(self, n_bytes: int) -> bytes:
        return self._take(n_bytes + -n_bytes % 4)[:n_bytes]

    def _list(self, read: Callable[[], _Item]) -> list[_Item]:
        self._take(4)
        count = self._unsigned(self._count)
        if count > _MAX_ITEMS:
            self._fail("has a damaged header")
        return [read() for _ in range(count)]

    def _name(self) -> str:
        return self._padded(self._unsigned(self._count)).decode("latin-1")

    def _dimension(self) -> tuple[str, int]:
        return self._name(), self._unsigned(self._count)

    def _values(self, dtype: np.dtype[Any]) -> np.ndarray:
        count = self._unsigned(self._count)
        return np.frombuffer(self._padded(count * dtype.itemsize), dtype)

    def _type(self) -> np.dtype[Any]:
        code = self._unsigned(4)
        if code not in _TYPES:
            self._fail("has a damaged header")
        return np.dtype(_TYPES[code])

    def _attribute(self) -> tuple[str, Any]:
        name, dtype = self._name(), self._type()
        values = self._values(dtype)
        return name, values.tobytes().decode("latin-1") if dtype.kind == "S" else values

    def _variable(self, dimensions: list[tuple[str, int]]) -> tuple[str, _Variable]:
        name = self._name()
        places = [self._unsigned(self._count) for _ in range(self._rank())]
        if any(place >= len(dimensions) for place in places):
            self._fail("has a damaged header")
        shape = [dimensions[place][1] for place in places]
        attributes = dict(self._list(self._attribute))
        dtype = self._type()
        self._unsigned(self._count)  # size, which overflows for large variables
        begin = self._unsigned(self._offset)
        is_record = bool(shape) and shape[0] == 0
        if 0 in shape[1:]:
            self._fail("has a dimension without length")
        return name, _Variable(
            tuple(shape[1:] if is_record else shape), dtype, is_record, begin, attributes
        )

    def _rank(self) -> int:
        rank = self._unsigned(self._count)
        if rank > 32:
            self._fail("has a damaged header")
        return rank

    def record_type(self) -> np.dtype[Any]:
        """Return the layout of one record."""
        members = {name: v for name, v in self.variables.items() if v.is_record}
        begin = min(v.begin for v in members.values())
        pad = 1 if len(members) == 1 else 4
        size = sum(v.n_bytes + -v.n_bytes % pad for v in members.values())
        offsets = [v.begin - begin for v in members.values()]
        ends = [o + v.n_bytes for o, v in zip(offsets, members.values(), strict=True)]
        if max(ends) > size or size > _MAX_RECORD_BYTES:
            self._fail("has a damaged header")
        return np.dtype(
            {
                "names": list(members),
                "formats": [(v.dtype, v.shape) for v in members.values()],
                "offsets": offsets,
                "itemsize": size,
            }
        )


class MdNcFile:
    """A `.MD.nc` file.

    Parameters
    ----------
    stream : Stream
    constants : Constants, optional
        Of the version that wrote it; where it is not known the attributes tell.

    Attributes
    ----------
    n_atoms : int
    constants : Constants
    species, atomic_numbers : array of int, [N]

    Raises
    ------
    DataError
        If it is no netCDF file, damaged, or lacks the positions.
    """

    kind = "MD.nc"
    ahead = 1
    has_cell = True

    def __init__(self, stream: Stream, constants: Constants | None = None) -> None:
        self._stream, self.path = stream, stream.path
        self._is_hdf5 = stream.read(8) == b"\x89HDF\r\n\x1a\n"
        stream.rewind()
        shape, attributes = self._open_hdf5() if self._is_hdf5 else self._open_classic()
        if len(shape) != 2 or shape[1] != 3 or shape[0] < 1:
            raise DataError("has no positions of atoms (variable xa)", where=self.path)
        self.n_atoms = shape[0]
        self.constants = constants or (FROM_5_0 if "unit" in attributes else UP_TO_4_1)
        unit = str(attributes.get("unit", "Bohr")).lower()
        self._length = 1.0 if unit.startswith("ang") else self.constants.angstrom_per_bohr
        self._energy = self.constants.ev_per_rydberg
        #: Whether ``etot`` is more than ``eks`` again; None until the first records are read.
        self._has_total: bool | None = None if "unit" in attributes else False

    def _open_classic(self) -> tuple[tuple[int, ...], dict[str, Any]]:
        header = _Header(self._stream)
        xa = header.variables.get("xa")
        if xa is None or not xa.is_record:
            raise DataError("has no positions of atoms (variable xa)", where=self.path)
        self._record = header.record_type()
        self._begin = min(v.begin for v in header.variables.values() if v.is_record)
        if self._record.itemsize > 4096 + 512 * xa.shape[0]:
            raise DataError("has a damaged header", where=self.path)
        self._n_records = header.n_records
        if self._begin < header.bytes_read or self._begin > _MAX_HEADER_BYTES:
            raise DataError("has a damaged header", where=self.path)
        before = self._stream.read(self._begin - header.bytes_read)
        fixed = {}
        for name in ("isa", "iza"):
            variable = header.variables.get(name)
            if variable is None or variable.is_record:
                raise DataError(f"has no variable {name}", where=self.path)
            start = variable.begin - header.bytes_read
            data = before[max(start, 0) : start + variable.n_bytes]
            if start < 0 or len(data) < variable.n_bytes or variable.shape != xa.shape[:1]:
                raise DataError("has a damaged header", where=self.path)
            fixed[name] = np.frombuffer(data, variable.dtype).astype(np.int64)
        self.species, self.atomic_numbers = fixed["isa"], fixed["iza"]
        self._names = set(self._record.names or ())
        return xa.shape, xa.attributes

    def _open_hdf5(self) -> tuple[tuple[int, ...], dict[str, Any]]:
        import h5py

        try:
            with h5py.File(self._stream.seekable(), "r") as file:
                if "xa" not in file or "isa" not in file or "iza" not in file:
                    raise DataError("has no positions of atoms (variable xa)", where=self.path)
                self.species = np.asarray(file["isa"][:], np.int64)
                self.atomic_numbers = np.asarray(file["iza"][:], np.int64)
                self._names = {name for name in file if isinstance(file[name], h5py.Dataset)}
                attributes = {
                    key: value.decode() if isinstance(value, bytes) else value
                    for key, value in file["xa"].attrs.items()
                    if key in ("unit", "info")
                }
                return file["xa"].shape[1:], attributes
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"is a damaged netCDF-4 file ({error})", where=self.path) from None

    def frames(self) -> Iterator[Frames]:
        """Yield the records in pieces."""
        pieces = self._hdf5_pieces() if self._is_hdf5 else self._classic_pieces()
        record = 0
        for rows in pieces:
            yield self._frames(rows, record)
            record += len(rows["xa"])

    def _classic_pieces(self) -> Iterator[Any]:
        size = self._record.itemsize
        left = self._n_records if self._n_records >= 0 else _STREAMING
        done = 0
        buffer = bytearray(piece_records(self.n_atoms) * size)
        self._stream.rewind()
        self._stream.read(self._begin)
        while left:
            want = min(left, piece_records(self.n_atoms))
            n = min(self._stream.read_into(buffer) // size, want)
            if n:
                yield np.frombuffer(buffer, self._record, n)
                done += n
            left -= n
            if n < want:
                break
        if self._n_records >= 0 and done < self._n_records:
            warnings.warn(
                f"{self.path}: holds {done} of {self._n_records} records",
                DataWarning,
                stacklevel=2,
            )

    def _hdf5_pieces(self) -> Iterator[Any]:
        import h5py

        wanted = ("xa", "va", "cell", "temp", "psol", "eks", "etot", "volume")
        try:
            with h5py.File(self._stream.seekable(), "r") as file:
                n_records = file["xa"].shape[0]
                step = piece_records(self.n_atoms)
                for start in range(0, n_records, step):
                    rows = slice(start, min(start + step, n_records))
                    yield {name: file[name][rows] for name in wanted if name in self._names}
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"is a damaged netCDF-4 file ({error})", where=self.path) from None

    def _frames(self, rows: Any, record: int) -> Frames:
        n = len(rows["xa"])
        shape = (n, self.n_atoms, 3)

        def take(name: str, factor: float, shape: tuple[int, ...]) -> np.ndarray | None:
            if name not in self._names:
                return None
            values: np.ndarray = np.multiply(rows[name], factor, dtype=np.float64)
            if values.shape != shape:
                raise DataError(f"{name} has the shape {values.shape}", where=self.path)
            return np.asarray(values)

        positions = take("xa", self._length, shape)
        assert positions is not None
        if not np.isfinite(positions.sum()):
            bad = record + int(np.argmin(np.isfinite(positions).all(axis=(1, 2))))
            raise DataError(f"record {bad} has a position that is not a number", where=self.path)
        names = {"temp": ("temperature", 1.0), "psol": ("pressure", 1.0)}
        names |= {"eks": ("potential_energy", self._energy), "volume": ("volume", 1.0)}
        if self._has_total is None and {"eks", "etot"} <= self._names:
            self._has_total = not np.array_equal(rows["eks"], rows["etot"])
        if self._has_total:
            names["etot"] = ("conserved_energy", self._energy)
        observables = {}
        for name, (ours, factor) in names.items():
            values = take(name, factor, (n,))
            if values is not None:
                observables[ours] = values
        return Frames(
            np.arange(record, record + n),
            positions,
            None,
            take("va", self._length * FS_PER_PS, shape),
            take("cell", self._length, (n, 3, 3)),
            observables=observables,
        )
