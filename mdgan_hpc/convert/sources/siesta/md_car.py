"""`.MD_CAR`: cell and fractional positions of every step, like a POSCAR without names.

The counts are per species, but the atoms follow the order of the input.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.streams import Rows, Stream, lines
from mdgan_hpc.errors import DataError, DataWarning

_MAX_ATOMS = 2**22


def _numbers(rows: list[str], columns: int) -> np.ndarray:
    """Return [rows, columns]; raises ValueError for anything else."""
    words = [row.split() for row in rows]
    if any(len(row) != columns for row in words):
        raise ValueError("columns")
    values = np.array(words, dtype=np.float64).reshape(len(rows), columns)
    if not np.isfinite(values).all():
        raise ValueError("not finite")
    return values


class MdCarFile:
    """A `.MD_CAR` file.

    Parameters
    ----------
    stream : Stream

    Attributes
    ----------
    n_atoms : int

    Raises
    ------
    DataError
        If it does not begin with a complete frame.
    """

    kind = "MD_CAR"
    ahead = 1
    has_cell = True

    def __init__(self, stream: Stream) -> None:
        self._stream, self.path = stream, stream.path
        first = next(self._parsed(0), None)
        if first is None:
            raise DataError("does not begin with a complete frame", where=self.path)
        self.n_atoms = len(first[1])

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn frames keep their place, with a warning."""
        cells: list[np.ndarray] = []
        positions: list[np.ndarray] = []
        places: list[int] = []
        for record, (cell, fractions) in enumerate(self._parsed(self.n_atoms)):
            if not len(fractions):
                warnings.warn(
                    f"{self.path}: frame {record} is torn; it is left out",
                    DataWarning,
                    stacklevel=2,
                )
            else:
                cells.append(cell)
                positions.append(fractions @ cell)
                places.append(record)
            if len(places) == piece_records(self.n_atoms):
                yield Frames(np.array(places), np.array(positions), cells=np.array(cells))
                cells, positions, places = [], [], []
        if places:
            yield Frames(np.array(places), np.array(positions), cells=np.array(cells))

    def _parsed(self, n_atoms: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield cell and fractional positions of each frame; none of a torn one.

        A frame begins at a title ``---label---``; with `n_atoms` = 0 the counts tell how many
        atoms follow and the first torn frame ends it.
        """
        self._stream.rewind()
        rows = Rows(lines(self._stream))
        for title in rows:
            if not _is_title(title):
                if title.strip() and not n_atoms:
                    return
                continue
            try:
                yield self._frame(rows, n_atoms)
            except (ValueError, IndexError, OverflowError):
                if not n_atoms:
                    return
                yield np.zeros((3, 3)), np.zeros((0, 3))

    def _frame(self, rows: Rows, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        head = _until("direct", rows, _MAX_ATOMS // 30 + 8)
        cell = _numbers(head[1:4], 3) * float(head[0])
        counts = sum(int(word) for row in head[4:] for word in row.split())
        if not 0 < counts < _MAX_ATOMS or (n_atoms and counts != n_atoms):
            raise ValueError("counts")
        return cell, _numbers([_body_row(rows) for _ in range(counts)], 3)


def _is_title(row: str) -> bool:
    return row.lstrip().startswith("---")


def _body_row(rows: Rows) -> str:
    """Return the next line of a frame; raises ValueError if it ends before."""
    row = next(rows, None)
    if row is None or _is_title(row):
        if row is not None:
            rows.put_back(row)
        raise ValueError("cut")
    return row


def _until(word: str, rows: Rows, limit: int) -> list[str]:
    """Return the lines before one that is `word`; raises ValueError if it does not come."""
    found: list[str] = []
    while (row := _body_row(rows)).strip().lower() != word:
        found.append(row)
        if len(found) > limit:
            raise ValueError("head")
    return found
