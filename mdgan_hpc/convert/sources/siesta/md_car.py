"""`.MD_CAR`: cell and fractional positions of every step, like a POSCAR without names.

The counts are per species, but the atoms follow the order of the input.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.streams import Stream, lines
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

    def __init__(self, path: Path) -> None:
        self.path = path
        first = next(self._parsed(0), None)
        if first is None:
            raise DataError("does not begin with a complete frame", where=path)
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
        with Stream(self.path) as stream:
            rows = _Rows(lines(stream))
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

    def _frame(self, rows: "_Rows", n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        head = rows.until("direct", _MAX_ATOMS // 30 + 8)
        cell = _numbers(head[1:4], 3) * float(head[0])
        counts = sum(int(word) for row in head[4:] for word in row.split())
        if not 0 < counts < _MAX_ATOMS or (n_atoms and counts != n_atoms):
            raise ValueError("counts")
        return cell, _numbers(rows.take(counts), 3)


def _is_title(row: str) -> bool:
    return row.lstrip().startswith("---")


class _Rows:
    """Lines of which a title that comes too early can be put back."""

    def __init__(self, rows: Iterator[str]) -> None:
        self._rows, self._back = rows, ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._back:
            row, self._back = self._back, ""
            return row
        return next(self._rows)

    def _body_row(self) -> str:
        row = next(self, None)
        if row is None or _is_title(row):
            self._back = row or ""
            raise ValueError("cut")
        return row

    def take(self, count: int) -> list[str]:
        """Return `count` lines; raises ValueError if the frame ends before."""
        return [self._body_row() for _ in range(count)]

    def until(self, word: str, limit: int) -> list[str]:
        """Return the lines before one that is `word`; raises ValueError if it does not come."""
        found: list[str] = []
        while (row := self._body_row()).strip().lower() != word:
            found.append(row)
            if len(found) > limit:
                raise ValueError("head")
        return found
