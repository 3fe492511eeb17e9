"""Values that another file holds for the same records: energies, cells, positions to compare."""

import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.errors import DataWarning

#: How far a file may run ahead at a restart before the pairing by step is given up.
_LOOK_AHEAD = 64
_MAX_SHIFTS = 1000

Table = dict[str, np.ndarray]


class Companion:
    """Rows of a stream fetched by increasing index; each row is read once.

    Parameters
    ----------
    pieces : iterator of (index [n], table of arrays [n, ...])
        In increasing order; indices may be missing.
    """

    def __init__(self, pieces: Iterator[tuple[np.ndarray, Table]]) -> None:
        self._pieces = pieces
        self._index = np.zeros(0, np.int64)
        self._table: Table = {}
        self._ended = False

    def _fetch(self, last: int) -> None:
        while not self._ended and (not len(self._index) or self._index[-1] < last):
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                return
            index, table = piece
            self._index = np.concatenate([self._index, index])
            self._table = {
                name: np.concatenate([self._table[name], values]) if self._table else values
                for name, values in table.items()
            }

    def at(self, index: np.ndarray) -> Table:
        """Return the rows of `index` (increasing), NaN where there is none; earlier ones go."""
        self._fetch(int(index[-1]))
        places = np.searchsorted(self._index, index)
        places = np.minimum(places, max(len(self._index) - 1, 0))
        known = self._index[places] == index if len(self._index) else np.zeros(len(index), bool)
        found = {}
        for name, values in self._table.items():
            rows = np.full((len(index), *values.shape[1:]), np.nan)
            rows[known] = values[places[known]]
            found[name] = rows
        keep = int(np.searchsorted(self._index, int(index[-1]) - _LOOK_AHEAD))
        self._index = self._index[keep:]
        self._table = {name: values[keep:] for name, values in self._table.items()}
        return found

    def beyond(self, last: int) -> int:
        """Return how many rows lie after the index `last`."""
        count = int((self._index > last).sum())
        self._index, self._table = self._index[:0], {}
        for index, _ in self._pieces:
            count += int((index > last).sum())
        self._ended = True
        return count


class StepTable:
    """Lines of step and values (`.MDE`, `.out`) paired with the records of a trajectory.

    Paired line for record; where the trajectory has step numbers too, a line or record too many,
    as a killed run leaves them, is passed over.

    Parameters
    ----------
    pieces : iterator of (steps [n], values [n, k])
    names : tuple of str
        Of the k columns.
    where : object
        For messages.
    """

    def __init__(
        self,
        pieces: Iterator[tuple[np.ndarray, np.ndarray]],
        names: tuple[str, ...],
        where: object,
    ) -> None:
        self.names, self.where = names, where
        self._pieces = pieces
        self._steps = np.zeros(0, np.int64)
        self._values = np.zeros((0, len(names)))
        self._start = 0  # line of the first row kept
        self._shift = 0  # line - record
        self._n_shifts = 0
        self._ended = False
        self.missing = self.passed_over = 0

    def _fetch(self, line: int) -> None:
        while not self._ended and self._start + len(self._steps) <= line:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                return
            self._steps = np.concatenate([self._steps, piece[0]])
            self._values = np.concatenate([self._values, piece[1]])

    def _lines(self, record: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the lines of records lie among the rows kept, and whether they are there."""
        self._fetch(int(record[-1]) + self._shift + _LOOK_AHEAD)
        at = record + self._shift - self._start
        known = (at >= 0) & (at < len(self._steps))
        return np.clip(at, 0, max(len(self._steps) - 1, 0)), known

    def at(
        self, record: np.ndarray, steps: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return the values of the records, NaN where missing, and the steps if all are known."""
        values = np.full((len(record), len(self.names)), np.nan)
        found = np.zeros(len(record), np.int64)
        all_known = True
        first = 0
        while first < len(record):
            at, known = self._lines(record[first:])
            stop = len(record)
            if steps is not None and self._n_shifts < _MAX_SHIFTS and known.any():
                differs = known & (self._steps[at] != steps[first:])
                if differs.any():
                    stop = first + int(np.argmax(differs))
            rows = slice(first, stop)
            ok = known[: stop - first]
            values[rows][ok] = self._values[at[: stop - first][ok]]
            found[rows][ok] = self._steps[at[: stop - first][ok]]
            all_known &= bool(ok.all())
            self.missing += int((~ok).sum())
            if stop < len(record) and steps is not None:
                here = int(at[stop - first])
                ahead = self._steps[here + 1 : here + 1 + _LOOK_AHEAD] == steps[stop]
                self._n_shifts += 1
                if ahead.any():
                    self._shift += int(np.argmax(ahead)) + 1
                    self.passed_over += int(np.argmax(ahead)) + 1
                else:
                    self._shift -= 1  # no line for this record
                    self.missing += 1
                    all_known = False
                    stop += 1
            first = stop
        keep = max(0, min(int(record[-1]) + self._shift - self._start - 1, len(self._steps)))
        self._steps, self._values = self._steps[keep:], self._values[keep:]
        self._start += keep
        table = dict(zip(self.names, values.T, strict=True))
        return table, found if all_known else None

    def finish(self, n_records: int) -> None:
        """Warn if the file had fewer or more lines than the trajectory records."""
        left = self._start + len(self._steps) - (n_records + self._shift)
        left = max(left, 0) + sum(len(steps) for steps, _ in self._pieces)
        counts = {
            "records without a line": self.missing,
            "lines without a record": self.passed_over,
            "more lines than records": left,
        }
        told = [f"{count} {what}" for what, count in counts.items() if count]
        if told:
            warnings.warn(
                f"{self.where}: {', '.join(told)}; the files of the run have different lengths",
                DataWarning,
                stacklevel=2,
            )
