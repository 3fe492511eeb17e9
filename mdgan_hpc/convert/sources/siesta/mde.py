"""`.MDE`: one line of temperature, energies, volume and pressure a step."""

import itertools
import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.convert.streams import Stream, lines
from mdgan_hpc.errors import DataWarning

#: Columns after the step `i6`, format `1x,f9.2,2(1x,f13.5),1x,f11.3,1x,f11.3`.
COLUMNS = ("temperature", "potential_energy", "conserved_energy", "volume", "pressure")
_EDGES = (6, 16, 30, 44, 56, 68)
_LINES = 8192


def read_mde(stream: Stream) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the lines of a `.MDE` file in pieces.

    Yields
    ------
    steps : array of int, [n]
    values : array, [n, 5]
        In the order of `COLUMNS`; NaN where the number overflowed its column.
    """
    steps: list[int] = []
    rows: list[list[float]] = []
    unreadable = 0
    stream.rewind()
    for line in lines(stream):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = _row(line)
        if row is None:
            unreadable += 1
            continue
        steps.append(row[0])
        rows.append(row[1])
        if len(steps) == _LINES:
            yield np.array(steps), np.array(rows)
            steps, rows = [], []
    if steps:
        yield np.array(steps), np.array(rows)
    if unreadable:
        warnings.warn(
            f"{stream.path}: {unreadable} lines cannot be read and are left out",
            DataWarning,
            stacklevel=2,
        )


def _row(line: str) -> tuple[int, list[float]] | None:
    """Return step and values; columns that touch are cut by position, others by blanks."""
    fields = line.split()
    if len(fields) != len(COLUMNS) + 1:
        fields = [line[:6], *(line[a:b] for a, b in itertools.pairwise(_EDGES))]
    try:
        step = int(fields[0])
    except ValueError:
        return None
    if abs(step) > 2**62:
        return None
    values = []
    for text in fields[1:]:
        if "*" in text:
            values.append(float("nan"))
            continue
        try:
            values.append(float(text))
        except ValueError:
            return None
    return (step, values) if len(values) == len(COLUMNS) else None
