"""`.MD`: Fortran unformatted records of step, positions, velocities and, at times, the cell.

Record 1: int32 step, float64 xa(3,N) in Bohr, float64 va(3,N) in Bohr/fs. Record 2, for variable
cells: float64 cell(3,3), vcell(3,3). Each between two 4-byte lengths, in either byte order.
"""

import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.sources.siesta.constants import UP_TO_4_1, Constants
from mdgan_hpc.convert.streams import Stream
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.units import FS_PER_PS

_CELL_BYTES = 144
_MAX_ATOMS = 2**24


class MdFile:
    """A `.MD` file.

    Parameters
    ----------
    stream : Stream
    constants : Constants
        Of the version that wrote it.

    Attributes
    ----------
    n_atoms : int
    has_cell : bool
    byte_order : str
        ``<`` or ``>``.

    Raises
    ------
    DataError
        If it does not begin with a complete record.
    """

    kind = "MD"
    ahead = 1

    def __init__(self, stream: Stream, constants: Constants = UP_TO_4_1) -> None:
        self._stream, self.path = stream, stream.path
        self._bohr = constants.angstrom_per_bohr
        self._read_head()

    def _read_head(self) -> None:
        stream, path = self._stream, self.path
        first = stream.read(4)
        if len(first) < 4:
            raise DataError("is empty", where=path, remedy="was the run killed at once?")
        length = 0
        for order in "<>":
            (length,) = struct.unpack(order + "i", first)
            if 52 <= length < 4 + 48 * _MAX_ATOMS and (length - 4) % 48 == 0:
                break
        else:
            raise DataError(
                f"does not begin with a record of positions (length {length})", where=path
            )
        self.byte_order = order
        self.n_atoms = (length - 4) // 48
        stream.read(length)
        if stream.read(4) != first:
            raise DataError("stops within its first record", where=path)
        cell = struct.pack(order + "i", _CELL_BYTES)
        self.has_cell = stream.read(4) == cell
        number, real = order + "i4", order + "f8"
        fields: list[tuple[Any, ...]] = [
            ("head", number),
            ("step", number),
            ("xa", real, (self.n_atoms, 3)),
            ("va", real, (self.n_atoms, 3)),
            ("tail", number),
        ]
        if self.has_cell:
            fields += [
                ("cell_head", number),
                ("cell", real, (3, 3)),
                ("vcell", real, (3, 3)),
                ("cell_tail", number),
            ]
        self._type = np.dtype(fields)
        self._length = length

    def frames(self) -> Iterator[Frames]:
        """Yield the records in pieces; torn records keep their place, with a warning."""
        size = self._type.itemsize
        block = size * piece_records(self.n_atoms)
        record = 0
        stream = self._stream
        stream.rewind()
        buffer = bytearray(block)
        rest = b""
        while True:
            if rest:
                data = memoryview(rest + stream.read(block - len(rest)))
            else:
                data = memoryview(buffer)[: stream.read_into(buffer)]
            ended = len(data) < block
            rows = np.frombuffer(data, self._type, len(data) // size)
            n_good = self._whole(rows)
            if n_good:
                yield self._frames(rows[:n_good], record)
                record += n_good
            rest = bytes(data[n_good * size :])
            if n_good == len(rows) and not ended:
                continue
            if not rest:
                return
            byte = stream.offset - len(rest)
            found = self._next_record(rest)
            while found < 0 and not ended:
                # Keep what a marker cut by the end of the piece needs.
                new = stream.read(block)
                ended = len(new) < block
                rest = rest[-(self._length + 8) :] + new
                found = self._next_record(rest)
            self._tell_torn(record, byte, last=found < 0)
            if found < 0:
                return
            record += 1
            rest = rest[found:]

    def _whole(self, rows: np.ndarray) -> int:
        """Return how many records are whole before the first that is not."""
        good = (rows["head"] == self._length) & (rows["tail"] == self._length)
        if self.has_cell:
            good &= rows["cell_head"] == _CELL_BYTES
            good &= rows["cell_tail"] == _CELL_BYTES
        return len(rows) if good.all() else int(np.argmin(good))

    def _tell_torn(self, record: int, byte: int, *, last: bool) -> None:
        end = f" and is the last; {record} records are used" if last else "; it is left out"
        warnings.warn(
            f"{self.path}: record {record} is torn (byte {byte}){end}", DataWarning, stacklevel=3
        )

    def _frames(self, rows: np.ndarray, record: int) -> Frames:
        bohr = self._bohr
        positions = rows["xa"] * bohr
        velocities = rows["va"] * (bohr * FS_PER_PS)
        if not np.isfinite(positions.sum()):
            bad = int(np.argmin(np.isfinite(positions).all(axis=(1, 2))))
            raise DataError(
                f"record {record + bad} has a position that is not a number", where=self.path
            )
        return Frames(
            np.arange(record, record + len(rows)),
            positions,
            rows["step"].astype(np.int64),
            velocities,
            rows["cell"] * bohr if self.has_cell else None,
        )

    def _next_record(self, data: bytes) -> int:
        """Return where the next whole record begins after the first byte, or -1."""
        marker = struct.pack(self.byte_order + "i", self._length)
        at = data.find(marker, 1)
        while at >= 0:
            end = at + 4 + self._length
            if data[end : end + 4] == marker:
                return at
            at = data.find(marker, at + 1)
        return -1
