"""A run folder into a trajectory file: one pass over the frames, in bounded memory."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgan_hpc.config import as_mapping
from mdgan_hpc.errors import DataError, DataWarning, UsageError
from mdgan_hpc.outputs import refuse_existing
from mdgan_hpc.progress import Progress
from mdgan_hpc.provenance import provenance
from mdgan_hpc.siesta.frames import UNITS, Frames
from mdgan_hpc.siesta.mde import COLUMNS, read_mde
from mdgan_hpc.siesta.run import Run, open_run
from mdgan_hpc.siesta.select import selected
from mdgan_hpc.trajectory import TrajectoryWriter
from mdgan_hpc.units import FS_PER_PS


@dataclass(frozen=True)
class ConvertConfig:
    """What to convert and how.

    Attributes
    ----------
    run : str
        Run folder or trajectory file.
    output : str
        H5MD file to make.
    select : str
        Atoms kept.
    drift : str
        ``framework``, ``all``, ``none``; empty: framework, or all where no atom is left over.
    every : int
        Keep every n-th step.
    source, label : str
        Forced source, run label; empty: chosen.
    time_step_fs : float
        Where no file tells; 0: read.
    force : bool
        Replace an existing output.
    """

    run: str
    output: str
    select: str = "all"
    drift: str = ""
    every: int = 1
    source: str = ""
    label: str = ""
    time_step_fs: float = 0.0
    force: bool = False


@dataclass
class Summary:
    """What became of a run."""

    output: str
    source: str
    n_records: int
    n_atoms: int
    time_step_fs: float
    temperature: float
    temperature_spread: float
    drift: float
    n_warnings: int = 0


@dataclass
class _Piece:
    """Records with everything of the same step, [n] each."""

    steps: np.ndarray
    times_ps: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray | None
    cells: np.ndarray | None
    observables: dict[str, np.ndarray]


def convert(config: ConvertConfig, *, silent: bool = False, ranks: int = 1) -> Summary:
    """Convert one run.

    Raises
    ------
    UsageError, DataError
    """
    refuse_existing(config.output, force=config.force)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        try:
            summary = _convert(config, silent, ranks, caught)
        finally:
            told = [str(w.message) for w in caught]
    for text in told:
        warnings.warn(text, DataWarning, stacklevel=2)
    summary.n_warnings = len(told)
    return summary


def _convert(config: ConvertConfig, silent: bool, ranks: int, caught: list) -> Summary:
    run = open_run(
        Path(config.run),
        source=config.source or None,
        label=config.label or None,
        time_step_fs=config.time_step_fs,
    )
    real = run.atomic_numbers > 0
    chosen = selected(config.select, run.labels, run.elements) & real
    if not chosen.any():
        raise UsageError(f"--select {config.select} leaves no atom", where=config.run)
    rest = real & ~chosen
    drift = config.drift or ("framework" if rest.any() else "all")
    if drift == "framework" and not rest.any():
        raise UsageError(
            "--drift framework needs atoms that are not selected",
            remedy="select fewer, or use --drift all",
        )
    reference = {"framework": rest, "all": real, "none": np.zeros_like(real)}[drift]
    framework = _Framework(int(rest.sum()))
    temperature = _Moments()
    inputs = [*run.files.files.values(), *run.files.outputs, *run.files.inputs]
    writer = TrajectoryWriter(
        config.output,
        species=run.atomic_numbers[chosen],
        cell=run.cell,
        masses=run.masses[chosen],
        parameters={
            "drift": drift,
            "source": run.source.kind,
            "time_step_fs": run.time_steps_fs[0],
            "stored_interval_ps": run.time_steps_fs[0] * config.every / FS_PER_PS,
            "siesta_version": run.head.version,
            "species_labels": list(np.array(run.labels)[chosen]),
        },
        provenance=provenance(config=as_mapping(config), inputs=inputs, ranks=ranks),
        force=config.force,
    )
    moved = 0.0
    origin = None
    with writer, Progress(run.files.label, 0, "frames", silent=silent) as progress:
        for piece in _thinned(_timed(run), config.every):
            positions = piece.positions
            if reference.any():
                weights = run.masses[reference] / run.masses[reference].sum()
                centre = np.einsum("tni,n->ti", positions[:, reference], weights)
                origin = centre[0] if origin is None else origin
                shift = centre - origin
                moved = float(np.linalg.norm(shift[-1]))
                positions = positions - shift[:, None]
            framework.add(positions[:, rest])
            if "temperature" in piece.observables:
                temperature.add(piece.observables["temperature"])
            writer.append(
                positions[:, chosen],
                piece.steps,
                piece.times_ps,
                cells=None if run.cell is not None and piece.cells is None else piece.cells,
                velocities=None if piece.velocities is None else piece.velocities[:, chosen],
                observables={
                    name: (values, UNITS[name]) for name, values in piece.observables.items()
                },
            )
            progress.update(len(piece.steps))
        writer.set_parameters(
            {
                "drift_length": moved,
                "warnings": "\n".join(str(w.message) for w in caught),
            }
        )
        if temperature.count:
            writer.set_parameters(
                {
                    "temperature_mean": temperature.mean,
                    "temperature_spread": temperature.spread,
                }
            )
        if rest.any() and framework.count:
            writer.set_parameters(
                {
                    "framework": {
                        "species": run.atomic_numbers[rest].astype(np.int32),
                        "position": framework.mean,
                        "rms_displacement": framework.rms_displacement,
                    },
                    "framework_masses": run.masses[rest],
                }
            )
    return Summary(
        config.output,
        run.source.kind,
        writer.n_records,
        int(chosen.sum()),
        run.time_steps_fs[0],
        temperature.mean,
        temperature.spread,
        moved,
    )


class _Framework:
    """Streamed mean and scatter of positions, about the first frame to keep the digits."""

    def __init__(self, n_atoms: int) -> None:
        self.count = 0
        self._first = np.zeros((n_atoms, 3))
        self._sum = np.zeros((n_atoms, 3))
        self._squares = np.zeros(n_atoms)

    def add(self, positions: np.ndarray) -> None:
        if not self.count:
            self._first = positions[0].copy()
        away = positions - self._first
        self._sum += away.sum(axis=0)
        self._squares += np.einsum("tni,tni->n", away, away)
        self.count += len(positions)

    @property
    def mean(self) -> np.ndarray:
        return self._first + self._sum / self.count

    @property
    def rms_displacement(self) -> np.ndarray:
        square = self._squares / self.count - ((self._sum / self.count) ** 2).sum(axis=1)
        return np.sqrt(np.maximum(square, 0.0))


class _Moments:
    """Streamed mean and standard deviation of numbers that may be NaN."""

    def __init__(self) -> None:
        self.count, self._sum, self._squares, self._first = 0, 0.0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        values = values[np.isfinite(values)]
        if not len(values):
            return
        if not self.count:
            self._first = float(values[0])
        away = values - self._first
        self.count += len(values)
        self._sum += float(away.sum())
        self._squares += float((away**2).sum())

    @property
    def mean(self) -> float:
        return self._first + self._sum / self.count if self.count else float("nan")

    @property
    def spread(self) -> float:
        if not self.count:
            return float("nan")
        return float(np.sqrt(max(self._squares / self.count - (self._sum / self.count) ** 2, 0.0)))


def _with_energies(run: Run) -> Iterator[Frames]:
    """Add the values of `.MDE` to the frames, line for record."""
    path = run.files.files.get("MDE")
    if path is None:
        yield from run.source.frames()
        return
    steps, values = np.zeros(0, np.int64), np.zeros((0, len(COLUMNS)))
    pieces = read_mde(path)
    start = 0  # record of steps[0]
    ended = False
    used = 0
    for frames in run.source.frames():
        last = int(frames.record[-1])
        while start + len(steps) <= last and not ended:
            try:
                more = next(pieces)
            except StopIteration:
                ended = True
                break
            steps, values = np.concatenate([steps, more[0]]), np.concatenate([values, more[1]])
        at = frames.record - start
        known = at < len(steps)
        table = np.full((len(frames), len(COLUMNS)), np.nan)
        table[known] = values[at[known]]
        frames.observables = dict(zip(COLUMNS, table.T, strict=True))
        if frames.steps is None and known.all():
            frames.steps = steps[at]
        used = last + 1
        yield frames
        keep = max(0, min(used - start, len(steps)))
        steps, values, start = steps[keep:], values[keep:], start + keep
    left = len(steps) + sum(len(more[0]) for more in pieces)
    if left or used > start + len(steps):
        warnings.warn(
            f"{path}: holds {start + left} lines for {used} frames",
            DataWarning,
            stacklevel=2,
        )


def _timed(run: Run) -> Iterator[_Piece]:
    """Give every record its step and time, and the velocities and energies of that step.

    Positions of the record of step s are those of step s + `ahead`, so with `ahead` = 1 the other
    values come from the record after; the last one has none.
    """
    ahead = run.source.ahead
    first = run.fdf.integer("MD.InitialTimeStep", 1) if run.fdf else 1
    dt = run.time_steps_fs[0] / FS_PER_PS
    kept: Frames | None = None
    for frames in _with_energies(run):
        steps = frames.record + first + ahead
        if not ahead:
            yield _piece(frames, frames, steps, dt)
            continue
        if kept is not None:
            yield _piece(kept, frames[:1], steps[:1] - 1, dt)
        if len(frames) > 1:
            yield _piece(frames[:-1], frames[1:], steps[:-1], dt)
        kept = frames[-1:]
    if kept is not None:
        unknown = kept[:]
        if unknown.velocities is not None:
            unknown.velocities = np.full_like(unknown.velocities, np.nan)
        unknown.observables = {k: np.full_like(v, np.nan) for k, v in unknown.observables.items()}
        yield _piece(kept, unknown, kept.record + first + ahead, dt)
    else:
        raise DataError("holds no complete frame", where=run.files.folder)


def _piece(places: Frames, motion: Frames, steps: np.ndarray, dt_ps: float) -> _Piece:
    return _Piece(
        steps,
        steps * dt_ps,
        places.positions,
        motion.velocities,
        places.cells,
        motion.observables,
    )


def _thinned(pieces: Iterator[_Piece], every: int) -> Iterator[_Piece]:
    """Keep the steps that are a multiple of `every` after the first."""
    first = None
    for piece in pieces:
        first = int(piece.steps[0]) if first is None else first
        rows = (piece.steps - first) % every == 0
        if rows.all():
            yield piece
        elif rows.any():
            yield _Piece(
                piece.steps[rows],
                piece.times_ps[rows],
                piece.positions[rows],
                None if piece.velocities is None else piece.velocities[rows],
                None if piece.cells is None else piece.cells[rows],
                {name: values[rows] for name, values in piece.observables.items()},
            )
