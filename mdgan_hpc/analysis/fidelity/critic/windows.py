"""Windows of the motion as a critic reads them: rows of averages over short blocks of time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdgan_hpc.analysis.fidelity.critic.scalars import Scalars, Series
from mdgan_hpc.progress import Progress

#: Rows of a window.
ROWS = 24
#: Windows that are cut of all MD runs at most, generated ones for each of them at most, and how far
#: windows overlap at most: by three quarters.
_WINDOWS, _MORE, _OVERLAP = 8000, 2, 4


@dataclass(frozen=True)
class Motion:
    """Ions of runs, or of generated cells.

    Attributes
    ----------
    cells : sequence of array, [T, n, 3]
        Positions of ions that see each other, unwrapped, Angstrom; single ones where none do.
    cell : array, [3, 3], optional
        Rows are the cell vectors, Angstrom: needed to see neighbours.
    """

    cells: Sequence[np.ndarray]
    cell: np.ndarray | None = None


@dataclass(frozen=True)
class Span:
    """The length of a window.

    Attributes
    ----------
    block : int
        Records that a row averages over.
    interval_ps : float
        Between two records.
    """

    block: int
    interval_ps: float

    @classmethod
    def of(cls, span_ps: float, interval_ps: float) -> "Span":
        """Return the span nearest to a time."""
        return cls(max(1, round(span_ps / (ROWS * interval_ps))), interval_ps)

    @property
    def records(self) -> int:
        """Records from the first to the last, which is one more place."""
        return ROWS * self.block

    @property
    def ps(self) -> float:
        """In ps."""
        return self.records * self.interval_ps

    def lags(self) -> list[int]:
        """Return the lags that fit, each twice the one before."""
        return [2**k for k in range(int(np.log2(2 * self.records / 3)) + 1)]


@dataclass(frozen=True)
class Windows:
    """Windows of ions.

    Attributes
    ----------
    rows : array, [n, C, ROWS]
        What the critic sees, float32.
    source : array of int, [n]
        Number of the run or the cell.
    ion : array of int, [n]
        Within it.
    start : array of int, [n]
        First record.
    """

    rows: np.ndarray
    source: np.ndarray
    ion: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray) -> "Windows":
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})

    @classmethod
    def join(cls, parts: Sequence["Windows"]) -> "Windows":
        """Put windows behind each other."""
        names = vars(parts[0])
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def cut(series: Sequence[Series], span: Span, starts: np.ndarray, source: int) -> Windows:
    """Return the windows of all ions of a cell that begin at the same records.

    Numbers of a lag are averaged over the blocks of centre times, those at the ends of a window
    over the nearest block that lies within it. Squares become roots: fewer large numbers.
    """
    rows = []
    for one in series:
        if one.lag not in (0, *span.lags()):
            continue
        sums = np.concatenate([np.zeros((1, *one.values.shape[1:])), one.values.cumsum(0)])
        last = span.records - one.lag + 1 - span.block
        first = np.clip(np.arange(ROWS) * span.block - one.lag // 2, 0, last)
        at = starts[:, None] + first
        mean = (sums[at + span.block] - sums[at]) / span.block  # [m, ROWS, n, c]
        rows.append(np.sqrt(np.maximum(mean, 0.0)) if one.lag else mean)
    seen = np.concatenate(rows, 3).transpose(0, 2, 3, 1).astype(np.float32)
    m, n = seen.shape[:2]
    return Windows(
        seen.reshape(m * n, -1, ROWS),
        np.full(m * n, source),
        np.tile(np.arange(n), m),
        np.repeat(starts, n),
    )


def cut_all(
    sides: Sequence[Motion], scalars: Scalars, spans: Sequence[Span], *, silent: bool = False
) -> list[tuple[tuple[Windows, Windows], Windows]]:
    """Return windows of MD runs and generated cells, and the MD ones backward, for each length.

    Parameters
    ----------
    sides : (Motion, Motion)
        MD runs, and generated cells.
    """
    md, made = sides
    parts: list[list[list[Windows]]] = [[[] for _ in spans] for _ in range(3)]
    total = len(md.cells) + len(made.cells)
    with Progress("Critics look at", total, "cells", silent=silent) as progress:
        for number, run in enumerate(md.cells):
            ways = scalars.of(run, md.cell), scalars.of(run[::-1], md.cell)
            for k, span in enumerate(spans):
                starts = _starts(len(run), run.shape[1], span, _WINDOWS // len(md.cells))
                parts[0][k].append(cut(ways[0], span, starts, number))
                mirrored = len(run) - 1 - span.records - starts
                parts[1][k].append(cut(ways[1], span, mirrored, number))
            progress.update()
        for number, cell in enumerate(made.cells):
            seen = scalars.of(cell, made.cell)
            for k, span in enumerate(spans):
                wanted = _MORE * sum(map(len, parts[0][k])) // len(made.cells)
                starts = _starts(len(cell), cell.shape[1], span, wanted)
                parts[2][k].append(cut(seen, span, starts, number))
            progress.update()
    forward, backward, generated = ([Windows.join(p) for p in part] for part in parts)
    return [((f, g), b) for f, g, b in zip(forward, generated, backward, strict=True)]


def _starts(records: int, ions: int, span: Span, windows: int) -> np.ndarray:
    """Return where windows begin, spread over a run, for about so many windows of `ions`."""
    last = records - 1 - span.records
    most = _OVERLAP * last // span.records + 1
    count = max(1, min(most, windows // ions))
    return np.unique(np.linspace(0, last, count).round().astype(int))
