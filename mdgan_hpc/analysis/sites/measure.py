"""The way from trajectories to a `SitesResult`; work is shared out over MPI ranks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mdgan_hpc.analysis.dynamics import READ_BYTES, open_runs
from mdgan_hpc.analysis.observables.fourier import Scratch
from mdgan_hpc.analysis.parts import Part, parts_of
from mdgan_hpc.analysis.sites import estimate
from mdgan_hpc.analysis.sites.chains import Cell
from mdgan_hpc.analysis.sites.find import find_sites
from mdgan_hpc.analysis.sites.given import given_sites
from mdgan_hpc.analysis.sites.jumps import Blocks, JumpSums
from mdgan_hpc.analysis.sites.kinds import SiteSymmetry
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.network import Sites
from mdgan_hpc.analysis.sites.results import SitesResult, Vibration
from mdgan_hpc.analysis.sites.settings import SitesConfig
from mdgan_hpc.analysis.sites.vibration import vibration
from mdgan_hpc.analysis.sites.visits import VisitFinder, Visits
from mdgan_hpc.config import from_options
from mdgan_hpc.crystal import Alignment, Crystal, NoCrystal, align_frameworks
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import Communicator, SingleProcess, share, together
from mdgan_hpc.progress import Progress
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.origin import verdict_of
from mdgan_hpc.trajectory.temperature import temperature_of
from mdgan_hpc.verdict import worst_of

#: Positions of which sites are found, each moved by all operations of the lattice.
_TO_FIND = 4 * 10**6
#: Positions that are read at once, and those of them that are moved into one frame.
_READ_BYTES, _AT_ONCE = 128 * 2**20, 2**20
#: Positions of which vibrations are measured.
_TO_SWING = 4 * 10**6


@dataclass(frozen=True)
class Place:
    """Where ions are looked for.

    Attributes
    ----------
    sites : Sites
    lattice : Lattice
        Its operations tell equivalent sites.
    crystal : str
    given : str
        File of the sites, if any.
    """

    sites: Sites
    lattice: Lattice
    crystal: str
    given: str = ""


def jumps(
    paths: str | Path | Sequence[str | Path],
    config: SitesConfig | None = None,
    **options: Any,
) -> SitesResult:
    """Find the sites of the ions in trajectory files, and their jumps.

    Parameters
    ----------
    paths : path or sequence of path
        H5MD files of one system in a crystal, each a replica.
    config : SitesConfig, optional
    **options
        Fields of `SitesConfig`, instead of `config`: ``sites="sites.cif"``, ``species="Li"``.

    Returns
    -------
    SitesResult

    Raises
    ------
    DataError
        If the framework is no crystal and no sites are given, or a file cannot be used.
    UsageError
        If the sites do not fit the cell, or a file holds several species and none is named.
    """
    if config is not None and options:
        raise UsageError(f"give either config or {', '.join(options)}")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise UsageError("no trajectory file is given")
    found = measure_jumps(paths, config or from_options(SitesConfig, options), SingleProcess())
    assert found is not None
    return found


def measure_jumps(
    paths: Sequence[str | Path],
    config: SitesConfig,
    communicator: Communicator,
    *,
    place: Place | None = None,
) -> SitesResult | None:
    """As `jumps`, shared over the ranks; every rank must call it.

    Parameters
    ----------
    paths, config
        See `jumps`.
    communicator : Communicator
    place : Place, optional
        Sites that are known already, in the frame of these trajectories.

    Returns
    -------
    SitesResult or None
        On rank 0; None on the others.
    """
    found = find_place(paths, config, communicator) if place is None else place
    with open_runs(paths, config.species) as trajectories:
        if isinstance(found, NoCrystal):
            raise DataError(
                f"sites cannot be found: {found}",
                where=trajectories[0].path,
                remedy="give them (--sites FILE)",
            )
        together(communicator, lambda: _require_records(trajectories))
        alignment = _alignment(trajectories)
        swings = _on_root(communicator, lambda: _swings(trajectories))
        sums = _shared_sums(trajectories, alignment, found.sites, config, swings, communicator)
        if sums is None:
            return None
        return _result(trajectories, found, config, swings, sums)


def find_place(
    paths: Sequence[str | Path], config: SitesConfig, communicator: Communicator
) -> Place | NoCrystal:
    """Find the sites of ions, or read those that are given; every rank must call it.

    Returns
    -------
    Place or NoCrystal
        The latter where the framework is no crystal and no sites are given.
    """
    with open_runs(paths, config.species) as trajectories:
        return _on_root(communicator, lambda: _place(trajectories, config))


Found = TypeVar("Found")


def _on_root(communicator: Communicator, work: Callable[[], Found]) -> Found:
    """Do `work` on rank 0 and give all ranks what it finds, or raise its error on all."""
    found = together(communicator, lambda: work() if communicator.rank == 0 else None)
    everywhere: Found = communicator.bcast(found)
    return everywhere


def _require_records(trajectories: Sequence[Trajectory]) -> None:
    for t in trajectories:
        if t.n_records < 16:
            raise DataError(f"has only {t.n_records} records", where=t.path)


def _alignment(trajectories: Sequence[Trajectory]) -> Alignment:
    """Return how the runs are brought into the frame of the first."""
    return align_frameworks(
        [t.framework for t in trajectories], [t.constant_cell for t in trajectories]
    )


def _place(trajectories: Sequence[Trajectory], config: SitesConfig) -> Place | NoCrystal:
    """Find the sites, or read them."""
    alignment = _alignment(trajectories)
    crystal, cell = alignment.crystal, alignment.cell
    lattice = Lattice.of_crystal(crystal) if isinstance(crystal, Crystal) else None
    core, radius = config.core, config.radius_angstrom
    if config.sites:
        if cell is None:
            raise DataError("has no constant cell, so no sites", where=trajectories[0].path)
        species = trajectories[0].require_one_species()
        sites = given_sites(config.sites, species, cell, lattice, core=core, radius=radius)
        return Place(sites, lattice or Lattice.of_vectors(cell), str(crystal), config.sites)
    if isinstance(crystal, NoCrystal) or lattice is None:
        return crystal if isinstance(crystal, NoCrystal) else NoCrystal("it has no lattice")
    sites = find_sites(
        _sample(trajectories, alignment, _TO_FIND // len(lattice.rotations)),
        lattice,
        core=core,
        radius=radius,
    )
    return Place(sites, lattice, str(crystal))


def _sample(
    trajectories: Sequence[Trajectory], alignment: Alignment, count: int
) -> Iterable[np.ndarray]:
    """Give about so many positions, spread evenly over ions and times."""
    total = sum(t.n_records * t.n_particles for t in trajectories)
    for number, t in enumerate(trajectories):
        ions = min(t.n_particles, 512)
        most = max(1, count * t.n_records * t.n_particles // (total * ions))
        step = max(1, t.n_records // most)
        for start in range(0, t.n_records, 4096):
            rows = slice(start + -start % step, min(start + 4096, t.n_records))
            x = t.positions(slice(rows.start, rows.stop), slice(0, ions))[::step]
            if len(x):
                yield alignment.apply(number, x.astype(np.float64))


def _swings(trajectories: Sequence[Trajectory]) -> Vibration | None:
    """Return how the first ions of the runs swing."""
    each = _TO_SWING // len(trajectories)

    def runs() -> Iterable[np.ndarray]:
        for t in trajectories:
            records = min(t.n_records, each)
            yield t.positions(
                slice(0, records), slice(0, min(t.n_particles, max(1, each // records)))
            )

    return vibration(runs(), trajectories[0].record_interval_ps)


def _shared_sums(
    trajectories: Sequence[Trajectory],
    alignment: Alignment,
    sites: Sites,
    config: SitesConfig,
    swings: Vibration | None,
    communicator: Communicator,
) -> JumpSums | None:
    """Add up the runs, each rank its share of the ions; rank 0 has the sums of all."""
    cells = [_cell_numbers(t) for t in trajectories]
    first = np.cumsum([0, *(int(c.max()) + 1 for c in cells)])
    window = _window(trajectories[0].record_interval_ps, config, swings)
    sums = JumpSums(Blocks(_models(trajectories, cells)), sites, window)
    units = [
        (number, part)
        for number, t in enumerate(trajectories)
        for part, _ in Part(t, ((0, t.n_particles),), "").units(READ_BYTES)
    ]
    late: list[tuple[int, slice, Visits]] = []
    total = sum(t.n_particles for t in trajectories)
    title = f"sites of {trajectories[0].path}"
    with Progress(title, total, "particles", silent=communicator.rank != 0) as progress:
        scratch = Scratch()
        for index in share(len(units), communicator.rank, communicator.size):
            run, part = units[index]
            t, cell = trajectories[run], cells[run][part] + first[run]
            visits = _visits(t, run, part, cell, sums, alignment, scratch)
            if t.ions_per_cell > 1 and _whole_cells(t, part):
                sums.add(visits, cell, _box(t))
            elif t.ions_per_cell > 1:
                late.append((run, part, visits))  # its other ions are elsewhere
            else:
                sums.add(visits, cell, None)
            progress.update((part.stop - part.start) * communicator.size)
        progress.finish()
    gathered = communicator.gather((sums, late))
    if gathered is None:
        return None
    for other, _ in gathered[1:]:
        sums.merge(other)
    waiting = [piece for _, pieces in gathered for piece in pieces]
    for run, t in enumerate(trajectories):
        pieces = sorted(((p, v) for r, p, v in waiting if r == run), key=lambda x: x[0].start)
        if pieces:
            sums.add(_joined(pieces), cells[run] + first[run], _box(t))
    return sums


def _visits(
    t: Trajectory,
    run: int,
    part: slice,
    cell: np.ndarray,
    sums: JumpSums,
    alignment: Alignment,
    scratch: Scratch,
) -> Visits:
    """Return the visits of some ions, and add the records in cores to the sums."""
    n = part.stop - part.start
    finder = VisitFinder(sums.sites, n)
    n_blocks = sums.blocks.in_time
    step, rows = max(1, _READ_BYTES // (12 * n)), max(1, _AT_ONCE // n)
    for block in range(n_blocks):
        begin, end = (-(-k * t.n_records // n_blocks) for k in (block, block + 1))
        for start in range(begin, end, step):
            stop = min(start + step, end)
            buffer = scratch.array("positions", (stop - start, n, 3), t.position_type)
            x = t.positions(slice(start, stop), part, out=buffer)
            if not np.isfinite(x).all():
                raise DataError("holds positions that are no numbers", where=t.path)
            for first in range(0, len(x), rows):
                moved = alignment.apply(run, x[first : first + rows]).astype(x.dtype, copy=False)
                sums.add_cores(finder.add(moved), cell, start + first, t.n_records)
    return finder.result()


def _cell_numbers(t: Trajectory) -> np.ndarray:
    """Return the number of the cell [N] of each ion of a trajectory."""
    return np.arange(t.n_particles) // t.ions_per_cell


def _models(trajectories: Sequence[Trajectory], cells: Sequence[np.ndarray]) -> np.ndarray:
    """Return the number of the model that made each cell of all trajectories; of MD zeros."""
    names = []
    for t, cell in zip(trajectories, cells, strict=True):
        of_cell = np.empty(int(cell.max()) + 1, object)
        for part in parts_of(t):
            for start, stop in part.stretches:
                of_cell[cell[start] : cell[stop - 1] + 1] = part.model
        names.append(of_cell)
    return np.unique(np.concatenate(names).astype(str), return_inverse=True)[1]


def _whole_cells(t: Trajectory, part: slice) -> bool:
    ions = t.ions_per_cell
    return bool(part.start % ions == 0 and (part.stop % ions == 0 or part.stop == t.n_particles))


def _box(t: Trajectory) -> Cell | None:
    return None if t.constant_cell is None else Cell(t.constant_cell)


def _window(interval_ps: float, config: SitesConfig, swings: Vibration | None) -> int | None:
    """Return the records between two jumps of a chain, at most."""
    window_ps = config.window_ps
    if window_ps is None:
        if swings is None:
            return None
        window_ps = 1 / swings.attempt_frequency_per_ps
    return max(1, round(window_ps / interval_ps))


def _joined(pieces: Sequence[tuple[slice, Visits]]) -> Visits:
    """Return the visits of all ions of a run from those of its parts, in their order."""
    return Visits(
        np.concatenate([v.particle + p.start for p, v in pieces]),
        np.concatenate([v.record for _, v in pieces]),
        np.concatenate([v.label for _, v in pieces]),
        pieces[0][1].n_records,
    )


def _result(
    trajectories: Sequence[Trajectory],
    place: Place,
    config: SitesConfig,
    swings: Vibration | None,
    sums: JumpSums,
) -> SitesResult:
    first = trajectories[0]
    interval = first.record_interval_ps
    temperature = config.temperature_k or temperature_of(first).k
    symmetry = SiteSymmetry.of_sites(place.sites, place.lattice)
    ions, cell = first.ions_per_cell, first.constant_cell
    seen = all(t.ions_per_cell > 1 and t.constant_cell is not None for t in trajectories)
    chained = seen and sums.window is not None
    per_cell = None
    if cell is not None and not (first.generated and ions == 1):
        per_cell = ions * abs(np.linalg.det(place.sites.lattice) / np.linalg.det(cell))
    table = estimate.site_table(
        sums, symmetry, interval, ions_per_cell=per_cell, temperature_k=temperature
    )
    kinds, graph = estimate.jump_kinds(
        sums, symmetry, interval, together=chained, temperature_k=temperature, swings=swings
    )
    made = [t for t in trajectories if t.generated]
    return SitesResult(
        label=first.label,
        species=first.require_one_species(),
        crystal=place.crystal,
        given=str(place.given),
        record_interval_ps=interval,
        n_ions=sum(t.n_particles for t in trajectories),
        ions_time_ps=float(sums.ions.sum() * interval),
        n_blocks=sums.blocks.count,
        n_models=sums.blocks.n_models,
        lattice=place.sites.lattice,
        cell=cell,
        sites=table,
        kinds=kinds,
        graph=graph,
        **estimate.of_all(sums, interval),
        correlation=estimate.correlation_factor(sums),
        vibration=swings,
        chains=estimate.chains_of(sums, sums.window * interval)
        if chained and sums.window is not None
        else None,
        temperature_k=temperature,
        verdict=worst_of(map(verdict_of, made)) if made else None,
    )
