"""The part of a trajectory that is exported, in pieces of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mdgan_hpc.convert.select import selected
from mdgan_hpc.convert.settings import ExportConfig
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.trajectory.species import symbol

#: Numbers of one element read at a time.
_PIECE_VALUES = 1_000_000
#: Part of an edge that counts as none: of cells whose vectors lie as programs expect it.
_TURNED = 1e-9


@dataclass(frozen=True)
class Piece:
    """t consecutive records of an excerpt.

    Attributes
    ----------
    record : array of int, [t]
        Numbers in the file, from 0.
    times_ps : array, [t]
    steps : array of int, [t]
    positions : array, [t, n, 3]
        Angstrom; folded into the cell where `images` are given.
    cells : array, [t, 3, 3], or None
        Angstrom, rows are the vectors; NaN where a record tells none.
    velocities : array, [t, n, 3], or None
        Angstrom/ps; NaN where unknown.
    forces : array, [t, n, 3], or None
        eV/Angstrom; NaN where unknown.
    images : array of int, [t, n, 3], or None
        Cell that each ion is in.
    """

    record: np.ndarray
    times_ps: np.ndarray
    steps: np.ndarray
    positions: np.ndarray
    cells: np.ndarray | None
    velocities: np.ndarray | None
    forces: np.ndarray | None
    images: np.ndarray | None = None


class Excerpt:
    """Some ions at some times of a trajectory.

    Parameters
    ----------
    trajectory : Trajectory
    config : ExportConfig

    Attributes
    ----------
    records : range
    species : array of int, [n]
        Atomic numbers.
    chosen : array of bool, [N]
        The n ions among those of the file.

    Raises
    ------
    UsageError
        If the options name nothing, or ask to fold without a cell.
    """

    def __init__(self, trajectory: Trajectory, config: ExportConfig) -> None:
        self.trajectory, self.config = trajectory, config
        names = [symbol(z) for z in trajectory.species]
        self.chosen = selected(config.select, names, names)
        self._atoms = None if self.chosen.all() else np.flatnonzero(self.chosen)
        self.species = trajectory.species[self.chosen]
        self.records = _records(trajectory, config)
        if config.wrap and not trajectory.has_cell:
            raise UsageError("--wrap needs a cell, and there is none", where=trajectory.path)

    @property
    def n_atoms(self) -> int:
        """Number of ions n."""
        return len(self.species)

    @property
    def symbols(self) -> list[str]:
        """Element symbols [n]; ``X`` where the file does not tell."""
        return [symbol(z) for z in self.species]

    def observable(self, name: str) -> np.ndarray | None:
        """Return an observable of the records [T], or None."""
        found = self.trajectory.observable(name)
        return None if found is None else found[self._slice(0, len(self.records))]

    @property
    def times_ps(self) -> np.ndarray:
        """Times of the records in ps, [T]."""
        return self.trajectory.times_ps[self._slice(0, len(self.records))]

    @property
    def steps(self) -> np.ndarray:
        """Steps of the records, [T]."""
        return self.trajectory.steps[self._slice(0, len(self.records))]

    def cells(self) -> np.ndarray:
        """Return the cells of the records, [T, 3, 3] in Angstrom."""
        return self.trajectory.cells(self._slice(0, len(self.records)))

    def pieces(self, *, motion: bool = True) -> Iterator[Piece]:
        """Yield the records in order.

        Parameters
        ----------
        motion : bool
            With velocities and forces, where there are.

        Raises
        ------
        DataError
            If a position is no number, or a record to be folded tells no cell.
        """
        source = self.trajectory
        size = max(1, _PIECE_VALUES // (3 * source.n_particles))
        for start in range(0, len(self.records), size):
            rows = self._slice(start, min(start + size, len(self.records)))
            record = np.arange(source.n_records)[rows]
            positions = self._picked(source.positions(rows))
            if not np.isfinite(positions).all():
                bad = record[np.argmin(np.isfinite(positions).all((1, 2)))]
                raise DataError(
                    "holds positions that are no numbers",
                    where=f"{source.path}, record {bad}",
                    remedy="make the file again",
                )
            velocities = motion and source.has_velocities
            piece = Piece(
                record,
                source.times_ps[rows],
                source.steps[rows],
                positions,
                source.cells(rows) if source.has_cell else None,
                self._picked(source.velocities(rows)) if velocities else None,
                self._picked(source.forces(rows)) if motion and source.has_forces else None,
            )
            yield _folded(piece, source) if self.config.wrap else piece

    def standard_pieces(self, *, motion: bool = True) -> Iterator[Piece]:
        """Yield the records with a along x and b in the plane of x and y, all turned along.

        So do programs expect it that know a cell by lengths and angles, or by a lower triangle.

        Raises
        ------
        DataError
            Where only some records tell a cell.
        """
        for piece in self.pieces(motion=motion):
            if piece.cells is not None:
                require_cells(piece, self.trajectory)
            yield _turned(piece)

    def _slice(self, start: int, stop: int) -> slice:
        rows = self.records[start:stop]
        return slice(rows.start, rows.stop, rows.step)

    def _picked(self, values: np.ndarray) -> np.ndarray:
        return values if self._atoms is None else values[:, self._atoms]


def _records(trajectory: Trajectory, config: ExportConfig) -> range:
    """Return the records that the options name."""
    first, end = bounds(config.records, "--records", "records", "0:1000 or 500:")
    low, high = bounds(config.times_ps, "--times", "ps", "10:50 or 10:")
    start, stop = int(max(first, 0)), int(min(end, trajectory.n_records))
    if config.times_ps:
        inside = np.flatnonzero((trajectory.times_ps >= low) & (trajectory.times_ps <= high))
        inside = inside[(inside >= start) & (inside < stop)]
        start, stop = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
    if start >= stop:
        times = trajectory.times_ps
        raise UsageError(
            "no record is left",
            where=trajectory.path,
            remedy=f"it holds {trajectory.n_records} records from {times[0]:g} to {times[-1]:g} ps",
        )
    return range(start, stop, config.every)


def bounds(text: str, option: str, what: str, example: str) -> tuple[float, float]:
    """Return the two numbers of ``START:STOP``, either of which may be missing.

    Raises
    ------
    UsageError
    """
    if not text:
        return -np.inf, np.inf
    first, colon, last = text.partition(":")
    try:
        start = float(first) if first.strip() else -np.inf
        stop = float(last) if last.strip() else np.inf
    except ValueError:
        colon = ""
    if not colon or not start < stop:
        raise UsageError(
            f"{option} {text} is not START:STOP in {what}", remedy=f"such as {example}"
        )
    return start, stop


def require_cells(piece: Piece, trajectory: Trajectory) -> np.ndarray:
    """Return the cells [t, 3, 3] of a piece.

    Raises
    ------
    DataError
        If a record tells none, or one of no volume.
    """
    cells = piece.cells
    if cells is None:
        raise DataError("has no cell", where=trajectory.path)
    known = np.isfinite(cells).all((1, 2))
    known[known] = np.abs(np.linalg.det(cells[known])) > 1e-9
    if not known.all():
        bad = piece.record[np.argmin(known)]
        raise DataError("tells no cell", where=f"{trajectory.path}, record {bad}")
    return cells


def _folded(piece: Piece, trajectory: Trajectory) -> Piece:
    """Return a piece with its positions folded into the cell, and the images that they were in."""
    cells = require_cells(piece, trajectory)
    positions = piece.positions.astype(np.float64)
    images = np.floor(positions @ np.linalg.inv(cells))
    return replace(piece, positions=positions - images @ cells, images=images.astype(np.int64))


def _turned(piece: Piece) -> Piece:
    """Return a piece in the orientation of `Excerpt.standard_pieces`; see there."""
    cells = piece.cells
    if cells is None:
        return piece
    upper = np.abs(cells[:, [0, 0, 1], [1, 2, 2]]).max()
    if upper <= _TURNED * np.abs(cells).max() and (cells[:, [0, 1, 2], [0, 1, 2]] > 0).all():
        return piece
    standard = standard_cells(cells)
    turn = np.linalg.inv(cells) @ standard  # [t, 3, 3]
    more = {
        name: values @ turn
        for name in ("velocities", "forces")
        if (values := getattr(piece, name)) is not None
    }
    return replace(piece, positions=piece.positions @ turn, cells=standard, **more)


def standard_cells(cells: np.ndarray) -> np.ndarray:
    """Return cells [t, 3, 3] of equal lengths and angles, a along x and b in the x-y plane."""
    # G = L L^T of the metric: the lower triangle with a positive diagonal.
    return np.asarray(np.linalg.cholesky(cells @ cells.swapaxes(1, 2)))


def lengths_and_angles(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lengths [t, 3] in Angstrom and angles alpha, beta, gamma [t, 3] in degrees."""
    lengths = np.linalg.norm(cells, axis=2)
    unit = cells / lengths[:, :, None]
    cosines = np.stack([(unit[:, i] * unit[:, j]).sum(1) for i, j in ((1, 2), (0, 2), (0, 1))], 1)
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))
