"""The conversion of one run: one pass over its frames, in bounded memory."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdgan_hpc.config import as_mapping
from mdgan_hpc.convert.drift import RunStatistics
from mdgan_hpc.convert.frames import UNITS, Frames, TimedFrames, gathered
from mdgan_hpc.convert.run import Run
from mdgan_hpc.convert.select import selected
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources import open_source
from mdgan_hpc.convert.streams import Files
from mdgan_hpc.convert.wrapping import Unwrapper
from mdgan_hpc.errors import DataError, DataWarning, MdganError, UsageError
from mdgan_hpc.outputs import check_output, refuse_input
from mdgan_hpc.progress import Progress
from mdgan_hpc.provenance import Fingerprints, provenance
from mdgan_hpc.trajectory import TrajectoryWriter
from mdgan_hpc.trajectory.temperature import TARGET, Temperature
from mdgan_hpc.units import FS_PER_PS

#: How the coordinates of a changing cell were unfolded, in the words of the file.
UNWRAPPING = (
    "unwrapped fractional coordinates times the mean cell, which is stored as the cell; the "
    "changing cell's volume is an observable"
)

#: Which instant a stored frame is of, in the words of the file.
PAIRING = (
    "everything in one frame is of the same instant: the positions and the cell of MD step `step` "
    "with the velocities, temperature and energies of that step (SIESTA writes them one record "
    "apart); NaN where a file does not hold them, as in the last frame"
)


@dataclass
class Summary:
    """What became of a run.

    Attributes
    ----------
    run, output, source : str
    n_records, n_atoms : int
    time_step_fs : float
    temperature, temperature_spread : float
        Mean and standard deviation in K; NaN if unknown.
    drift_length : float
        How far the centre of mass whose drift was removed had moved, Angstrom.
    notes, warnings : list of str
    error : str
        Why there is no output; empty on success.
    """

    run: str
    output: str
    source: str = ""
    n_records: int = 0
    n_atoms: int = 0
    time_step_fs: float = float("nan")
    temperature: float = float("nan")
    temperature_spread: float = float("nan")
    drift_length: float = float("nan")
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""


def convert_run(
    source: str | Path,
    output: str | Path,
    config: ConvertConfig,
    *,
    force: bool = False,
    silent: bool = False,
    ranks: int = 1,
) -> Summary:
    """Convert one run; warnings are raised again and listed in the summary and the file.

    Parameters
    ----------
    source : path
        Run folder or trajectory file.
    output : path
        H5MD file to make.
    config : ConvertConfig
    force : bool
        Replace an existing output.
    silent : bool
        Show no progress.
    ranks : int
        Number of processes that take part, for the record.

    Raises
    ------
    UsageError, DataError
    """
    check_output(output, force=force, inputs=[source])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if config.strict else "always", DataWarning)
        try:
            with Files() as files:
                conversion = _Conversion(Path(source), Path(output), config, files)
                summary = conversion.run(caught, force=force, silent=silent, ranks=ranks)
        except DataWarning as warning:
            raise DataError(str(warning), remedy="leave --strict away to go on with it") from None
        except MdganError:
            raise
        except (ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
            raise DataError(
                f"holds values that cannot be ({type(error).__name__}: {error})", where=source
            ) from error
    summary.warnings = _texts(caught)
    for text in summary.warnings:
        warnings.warn(text, DataWarning, stacklevel=2)
    return summary


def _texts(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if issubclass(w.category, DataWarning)]


class _Conversion:
    """One run on its way into one file."""

    def __init__(self, source: Path, output: Path, config: ConvertConfig, files: Files) -> None:
        self._source, self._output = source, output
        self._config, self._files = config, files
        self._run = open_source(source, config, files)
        self._atoms = chosen_atoms(config, self._run)
        self._chain = self._run.time_line
        self._mean_cell = self._run.mean_cell() if self._unwraps else None
        self._statistics = RunStatistics(self._run.masses, self._atoms.reference, self._atoms.rest)

    @property
    def _unwraps(self) -> bool:
        """Whether there is something to unfold: not where the file states the unwrapped path."""
        return self._config.unwrap and not self._run.unwrapped

    def run(
        self,
        caught: list[warnings.WarningMessage],
        *,
        force: bool,
        silent: bool,
        ranks: int,
    ) -> Summary:
        """Write the file, and return what became of it."""
        run, config = self._run, self._config
        refuse_input(self._output, run.inputs)
        writer = self._writer(force)
        with (
            writer,
            Fingerprints(self._files.descriptors(run.inputs)) as fingerprints,
            Progress(run.label, 0, "frames", silent=silent) as progress,
        ):
            for piece in self._pieces():
                self._append(writer, piece)
                progress.update(len(piece.steps))
            notes = "\n".join(self._chain.notes)
            writer.set_parameters(self._statistics.parameters(run.atomic_numbers, self._atoms.rest))
            writer.set_parameters({"restart_steps": np.array(self._chain.seams, np.int64)})
            writer.set_parameters({"notes": notes, "warnings": "\n".join(_texts(caught))})
            told = {**as_mapping(config), "run": str(self._source), "output": str(self._output)}
            writer.set_provenance(
                provenance(config=told, inputs=fingerprints.result(), ranks=ranks)
            )
        return self._summary(writer.n_records)

    def _writer(self, force: bool) -> TrajectoryWriter:
        run, chosen = self._run, self._atoms.chosen
        parameters = {
            "drift": self._atoms.drift,
            "source": f"{run.kind} ({run.name})",
            "pairing": PAIRING,
            "time_step_fs": run.time_step_fs,
            "stored_interval_ps": run.time_step_fs * self._config.every / FS_PER_PS,
            "species_labels": ",".join(np.array(run.labels)[chosen]),
            **run.parameters,
        }
        kelvin = self._config.temperature_k
        if kelvin is not None:
            found = Temperature(parameters.get(TARGET))
            if found.differs(Temperature(kelvin)):
                raise UsageError(
                    f"the input sets {found.k:.0f} K, --temperature says {kelvin:g} K",
                    where=run.where,
                    remedy="leave --temperature out, or correct it",
                )
            parameters[TARGET] = kelvin
        if self._mean_cell is not None:
            parameters["unwrapping"] = UNWRAPPING
        if "last_forces" in parameters:
            parameters["last_forces"] = parameters["last_forces"][chosen]
        return TrajectoryWriter(
            self._output,
            species=run.atomic_numbers[chosen],
            cell=run.cell if self._mean_cell is None else self._mean_cell,
            masses=run.masses[chosen],
            parameters=parameters,
            force=force,
        )

    def _pieces(self) -> Iterator[TimedFrames]:
        """Yield the frames that are kept, unwrapped, all atoms of them."""
        run, config = self._run, self._config
        initial = run.initial_geometry() if config.include_initial else None
        unwrapper = Unwrapper(
            unwrap=self._unwraps,
            where=run.where,
            periodic=run.periodic,
            mean_cell=self._mean_cell,
        )
        raw = _in_range(run.frames(check=config.check), config.records)
        for piece in _thinned(gathered(self._chain.frames(raw, initial)), config.every):
            cells = run.cell if piece.cells is None else piece.cells
            if not run.unwrapped:
                piece.positions = unwrapper.apply(piece.positions, cells, piece.steps)
            if self._mean_cell is not None and piece.cells is not None:
                volume = np.abs(np.linalg.det(piece.cells))
                piece.observables = {"volume": volume, **piece.observables}
                piece.cells = None
            yield piece
        unwrapper.finish()

    def _append(self, writer: TrajectoryWriter, piece: TimedFrames) -> None:
        chosen = self._atoms.chosen
        temperature = piece.observables.get("temperature")
        positions = self._statistics.without_drift(piece.positions, temperature)
        writer.append(
            positions[:, chosen],
            piece.steps,
            piece.times_ps,
            cells=piece.cells,
            velocities=None if piece.velocities is None else piece.velocities[:, chosen],
            forces=None if piece.forces is None else piece.forces[:, chosen],
            observables={name: (values, UNITS[name]) for name, values in piece.observables.items()},
        )

    def _summary(self, n_records: int) -> Summary:
        temperature = self._statistics.temperature
        return Summary(
            str(self._source),
            str(self._output),
            source=self._run.kind,
            n_records=n_records,
            n_atoms=int(self._atoms.chosen.sum()),
            time_step_fs=self._run.time_step_fs,
            temperature=temperature.mean,
            temperature_spread=temperature.spread,
            drift_length=self._statistics.drift_length,
            notes=self._chain.notes,
        )


@dataclass(frozen=True)
class Atoms:
    """Which atoms are kept, which are the framework, and whose drift is removed, [N] each."""

    chosen: np.ndarray  # [N] bool, as the others
    rest: np.ndarray
    reference: np.ndarray
    drift: str


def chosen_atoms(config: ConvertConfig, run: Run) -> Atoms:
    """Return which atoms of a run are kept.

    Raises
    ------
    UsageError, DataError
        If none is left, or --drift names atoms that are not there.
    """
    real = run.atomic_numbers > 0
    if not real.any():
        raise DataError("holds ghost atoms only", where=run.where)
    chosen = selected(config.select, run.labels, run.elements) & real
    if not chosen.any():
        raise UsageError(f"--select {config.select} leaves no atom", where=run.where)
    rest = real & ~chosen
    drift: str = config.drift
    if drift == "auto":
        drift = "framework" if rest.any() else "all"
    if drift == "framework" and not rest.any():
        raise UsageError(
            "--drift framework needs atoms that are not selected",
            remedy="select fewer, or use --drift all",
        )
    reference = {"framework": rest, "all": real, "none": np.zeros_like(real)}[drift]
    return Atoms(chosen, rest, reference, drift)


def _in_range(frames: Iterator[Frames], records: str) -> Iterator[Frames]:
    if not records:
        yield from frames
        return
    first, colon, end = records.partition(":")
    try:
        start, stop = int(first or 0), int(end) if end else 2**62
    except ValueError:
        start = stop = -1
    if not colon or not 0 <= start < stop:
        raise UsageError(f"--records {records} is not first:end", remedy="such as 0:1000 or 500:")
    for piece in frames:
        rows = (piece.record >= start) & (piece.record < stop)
        if rows.any():
            yield piece[rows]
        if piece.record[-1] >= stop - 1:
            return


def _thinned(pieces: Iterator[TimedFrames], every: int) -> Iterator[TimedFrames]:
    """Keep the steps that are a multiple of `every` after the first."""
    first = None
    for piece in pieces:
        first = int(piece.steps[0]) if first is None else first
        rows = (piece.steps - first) % every == 0
        if rows.all():
            yield piece
        elif rows.any():
            yield piece[rows]
