"""A run folder into a trajectory file: one pass over the frames, in bounded memory."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.config import as_mapping
from mdgan_hpc.convert.chain import Chain, ChainRules
from mdgan_hpc.convert.drift import RunStatistics
from mdgan_hpc.convert.frames import UNITS, Frames, TimedFrames, gathered
from mdgan_hpc.convert.select import selected
from mdgan_hpc.convert.sources.siesta.fa import read_fa
from mdgan_hpc.convert.sources.siesta.pairing import complete_frames, source_name
from mdgan_hpc.convert.sources.siesta.run import Run, open_foreign, open_run
from mdgan_hpc.convert.wrapping import Unwrapper
from mdgan_hpc.errors import DataError, DataWarning, MdganError, UsageError
from mdgan_hpc.outputs import refuse_existing
from mdgan_hpc.progress import Progress
from mdgan_hpc.provenance import Fingerprints, provenance
from mdgan_hpc.trajectory import TrajectoryWriter
from mdgan_hpc.units import FS_PER_PS

#: Which instant a stored frame is of, in the words of the file.
PAIRING = (
    "everything in one frame is of the same instant: the positions and the cell of MD step `step` "
    "with the velocities, temperature and energies of that step (SIESTA writes them one record "
    "apart); NaN where a file does not hold them, as in the last frame"
)


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
        Atoms kept: species labels, elements, index ranges, ``all``.
    drift : str
        ``framework``, ``all``, ``none``; empty: framework, or all where no atom is left over.
    every : int
        Keep every n-th step.
    records : str
        Records of the source to use, ``first:end`` from 0; empty: all.
    source, label : str
        Forced source, run label; empty: chosen.
    format : str
        ASE's name of the format of another code's trajectory; empty: SIESTA.
    species : str
        Elements of the types of a LAMMPS dump, with commas.
    time_step_fs : float
        Where no file tells; 0: read.
    unwrap, include_initial, strict, check, force : bool
        Unfold coordinates; begin with the first geometry; refuse what would be mended; compare
        the sources; replace an existing output.
    """

    run: str
    output: str
    select: str = "all"
    drift: str = ""
    every: int = 1
    records: str = ""
    source: str = ""
    label: str = ""
    format: str = ""
    species: str = ""
    time_step_fs: float = 0.0
    unwrap: bool = False
    include_initial: bool = False
    strict: bool = False
    check: bool = True
    force: bool = False


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
        How far the centre of mass that stands still now had moved, Angstrom.
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


def convert(config: ConvertConfig, *, silent: bool = False, ranks: int = 1) -> Summary:
    """Convert one run; warnings are raised again and listed in the summary and the file.

    Raises
    ------
    UsageError, DataError
    """
    summary = Summary(config.run, config.output)
    refuse_existing(config.output, force=config.force)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error" if config.strict else "always", DataWarning)
        try:
            _convert(config, summary, silent, ranks, caught)
        except DataWarning as warning:
            raise DataError(str(warning), remedy="leave --strict away to go on with it") from None
        except MdganError:
            raise
        except (ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
            raise DataError(
                f"holds values that cannot be ({type(error).__name__}: {error})", where=config.run
            ) from error
        finally:
            summary.warnings = _texts(caught)
    for text in summary.warnings:
        warnings.warn(text, DataWarning, stacklevel=2)
    return summary


def _texts(caught: list) -> list[str]:
    return [str(w.message) for w in caught if issubclass(w.category, DataWarning)]


def _convert(
    config: ConvertConfig, summary: Summary, silent: bool, ranks: int, caught: list
) -> None:
    run = open_as_configured(config)
    atoms = _chosen_atoms(config, run)
    initial = run.initial_geometry() if config.include_initial and run.source.ahead else None
    chain = Chain(_rules(config, run))
    statistics = RunStatistics(run.masses, atoms.reference, atoms.rest)
    unwrapper = Unwrapper(unwrap=config.unwrap, where=run.files.folder)
    dt = run.time_steps_fs[0]
    writer = TrajectoryWriter(
        config.output,
        species=run.atomic_numbers[atoms.chosen],
        cell=run.cell,
        masses=run.masses[atoms.chosen],
        parameters={
            "drift": atoms.drift,
            "source": f"{run.source.kind} ({source_name(run)})",
            "pairing": PAIRING,
            "time_step_fs": dt,
            "stored_interval_ps": dt * config.every / FS_PER_PS,
            "siesta_version": run.version,
            "species_labels": ",".join(np.array(run.labels)[atoms.chosen]),
        },
        force=config.force,
    )
    inputs = [*run.files.files.values(), *run.files.outputs, *run.files.inputs]
    with (
        writer,
        Fingerprints(inputs) as fingerprints,
        Progress(run.files.label, 0, "frames", silent=silent) as progress,
    ):
        raw = _in_range(complete_frames(run, check=config.check), config.records)
        for piece in _thinned(gathered(chain.frames(raw, initial)), config.every):
            cells = run.cell if piece.cells is None else piece.cells
            positions = unwrapper.apply(piece.positions, cells, piece.steps)
            positions = statistics.without_drift(positions, piece.observables.get("temperature"))
            _append(writer, piece, positions, atoms.chosen)
            progress.update(len(piece.steps))
        unwrapper.finish()
        writer.set_parameters(statistics.parameters(run.atomic_numbers, atoms.rest))
        writer.set_parameters(_last_forces(run, atoms.chosen))
        writer.set_parameters(
            {
                "restart_steps": np.array(chain.seams, np.int64),
                "notes": "\n".join(chain.notes),
                "warnings": "\n".join(_texts(caught)),
            }
        )
        fingerprint = fingerprints.result()
        writer.set_provenance(
            provenance(config=as_mapping(config), inputs=fingerprint, ranks=ranks)
        )
    summary.source, summary.n_records = run.source.kind, writer.n_records
    summary.n_atoms, summary.time_step_fs = int(atoms.chosen.sum()), dt
    summary.temperature = statistics.temperature.mean
    summary.temperature_spread = statistics.temperature.spread
    summary.drift_length, summary.notes = statistics.drift_length, chain.notes


@dataclass(frozen=True)
class _Atoms:
    """Which atoms are kept, which are the framework, and whose centre of mass stands still."""

    chosen: np.ndarray  # [N] bool, as the others
    rest: np.ndarray
    reference: np.ndarray
    drift: str


def _chosen_atoms(config: ConvertConfig, run: Run) -> _Atoms:
    real = run.atomic_numbers > 0
    if not real.any():
        raise DataError("holds ghost atoms only", where=config.run)
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
    return _Atoms(chosen, rest, reference, drift)


def _rules(config: ConvertConfig, run: Run) -> ChainRules:
    return ChainRules(
        where=run.files.folder,
        ahead=run.source.ahead,
        first_step=_first_step(run),
        time_steps_fs=run.time_steps_fs,
        given_time_step=config.time_step_fs > 0,
        velocities_tell_time=run.velocities_tell_time,
        dynamics=not run.relaxation,
        appended=not config.format,
        cell=_reference_cell(run),
    )


def _append(
    writer: TrajectoryWriter, piece: TimedFrames, positions: np.ndarray, chosen: np.ndarray
) -> None:
    writer.append(
        positions[:, chosen],
        piece.steps,
        piece.times_ps,
        cells=piece.cells,
        velocities=None if piece.velocities is None else piece.velocities[:, chosen],
        forces=None if piece.forces is None else piece.forces[:, chosen],
        observables={name: (values, UNITS[name]) for name, values in piece.observables.items()},
    )


def open_as_configured(config: ConvertConfig) -> Run:
    """Open the run that a configuration names."""
    if config.format:
        species = [word for word in config.species.split(",") if word]
        return open_foreign(Path(config.run), config.format, config.time_step_fs, species)
    return open_run(
        Path(config.run),
        source=config.source or None,
        label=config.label or None,
        time_step_fs=config.time_step_fs,
    )


def _reference_cell(run: Run) -> np.ndarray | None:
    """Return a cell by which jumps across it are known, or None."""
    cell = run.cell if run.cell is not None else getattr(run.source, "cell", None)
    return None if cell is None or abs(np.linalg.det(cell)) < 1e-9 else cell


def _first_step(run: Run) -> int:
    """Return the number of the first step where the source does not tell."""
    if run.relaxation or not run.source.ahead:
        return 0
    return run.fdf.integer("MD.InitialTimeStep", 1) if run.fdf else 1


def _last_forces(run: Run, chosen: np.ndarray) -> dict[str, Any]:
    """Return the forces of the last step evaluated, eV/Angstrom, [N, 3]."""
    path = run.files.files.get("FA")
    if path is None:
        return {}
    try:
        forces = read_fa(path)
    except DataError as error:
        warnings.warn(f"{error}; it is not used", DataWarning, stacklevel=2)
        return {}
    return {"last_forces": forces[chosen]} if len(forces) == len(chosen) else {}


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
        if piece.record[-1] >= stop:
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
