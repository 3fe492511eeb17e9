"""LAMMPS text dumps (`dump custom`, `dump atom`), streamed.

Everything that the header of a frame may hold is used: UNITS, TIME, TIMESTEP, a box that is
orthogonal, triclinic or general triclinic, and which of its directions are periodic. Source:
`src/dump_custom.cpp` and the pages "dump" and "Howto_triclinic" of the LAMMPS manual.

Atoms are put in the order of their ids. Of the coordinates the best are taken: unwrapped ones
(`xu`, `xsu`), those with image flags (`x ix`, `xs ix`), then `x` and `xs`. A frame is taken only
if its counts, columns and numbers are whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, chemical_symbols

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    CellWatch,
    ForeignRun,
    Torn,
    check_masses,
    element_number,
    element_of_mass,
    existing,
    named_species,
    no_frame,
    refuse_siesta_options,
    run_of_file,
    stated_times,
    usual_difference,
)
from mdgan_hpc.convert.sources.lammps_text import (
    DumpFrame,
    TornFrame,
    cell_of,
    parsed,
    parsed_group,
    raw_frames,
)
from mdgan_hpc.convert.streams import Files, Stream
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.units import FS_PER_PS


@dataclass(frozen=True)
class _Units:
    """Factors of a unit style to Angstrom, ps and Angstrom/ps."""

    length: float
    time: float
    velocity: float


#: Page "units" of the LAMMPS manual; `electron`: Bohr, fs, Bohr per atomic time unit.
_UNITS = {
    "metal": _Units(1.0, 1.0, 1.0),
    "real": _Units(1.0, 1e-3, 1e3),
    "si": _Units(1e10, 1e12, 1e-2),
    "cgs": _Units(1e8, 1e12, 1e-4),
    "electron": _Units(0.529177249, 1e-3, 0.529177249 / 1.03275e-3),
    "micro": _Units(1e4, 1e6, 1e-2),
    "nano": _Units(10.0, 1e3, 1e-2),
}
#: Where no style is stated or given: lengths of `metal` and `real`, which agree.
_LENGTHS_ONLY = _Units(1.0, 0.0, 0.0)

#: Coordinates, best first: the columns, whether they are fractions, whether images go with them.
_COORDINATES = (
    ("xu yu zu", False, False),
    ("xsu ysu zsu", True, False),
    ("x y z ix iy iz", False, True),
    ("xs ys zs ix iy iz", True, True),
    ("x y z", False, False),
    ("xs ys zs", True, False),
)


class DumpFile:
    """A LAMMPS dump.

    Parameters
    ----------
    stream : Stream
    config : ConvertConfig

    Attributes
    ----------
    n_atoms : int
    atomic_numbers : array of int, [N]
        In the order of the ids.
    masses : array, [N]
        Atomic mass units.
    unwrapped : bool
        Whether the path stands in the file unwrapped.
    periodic : array of bool, [3]
    first : list of (step, time in ps or None)
        Of the first records.

    Raises
    ------
    UsageError
        For what the file does not state and the user has to.
    DataError
        For a file without a whole frame.
    """

    def __init__(self, stream: Stream, config: ConvertConfig) -> None:
        self.path, self._stream, self._config = stream.path, stream, config
        whole = []
        for raw in islice(raw_frames(stream), LOOK_AHEAD):
            try:
                whole.append(parsed(raw))
            except TornFrame:
                continue
        self._style = self._units_style(whole)
        self._units = _UNITS[self._style] if self._style else _LENGTHS_ONLY
        for first in whole:
            try:
                self._begin_with(first)
                break
            except TornFrame:
                continue
        else:
            raise no_frame(self.path)
        self._first_cells = [frame.cell for frame in whole]
        self._has_velocities = {"vx", "vy", "vz"} <= set(self._columns)
        if self._has_velocities and not self._style:
            raise UsageError(
                "has velocities, but does not state their units",
                where=self.path,
                remedy="give them with --units metal, real, ...",
            )
        self.first = [(frame.step, self._time_ps(frame)) for frame in whole]

    def _begin_with(self, first: DumpFrame) -> None:
        """Take what is constant from a frame; raises `TornFrame` if it is damaged."""
        self.n_atoms, self.periodic = first.n_atoms, first.periodic
        self._columns = first.columns
        twice = [name for name in first.columns if first.columns.count(name) > 1]
        if twice:
            raise DataError(f"names the column {twice[0]} twice", where=self.path)
        self._choose_coordinates()
        self._ids, self._order = self._reference_order(first)
        self._types = self._kinds(first)
        self.atomic_numbers, self.masses = self._species(first)
        self._positions(first)

    def _units_style(self, whole: list[DumpFrame]) -> str:
        stated = next((frame.units for frame in whole if frame.units), "")
        given = self._config.units
        if stated and given and stated != given:
            raise UsageError(f"--units {given}, but the dump states {stated}", where=self.path)
        style = stated or given
        if style and style not in _UNITS:
            raise UsageError(
                f"the units {style!r} have no lengths in Angstrom"
                if style == "lj"
                else f"the units {style!r} are not known",
                where=self.path,
                remedy=f"known: {', '.join(_UNITS)}",
            )
        return style

    def _choose_coordinates(self) -> None:
        for names, scaled, images in _COORDINATES:
            if set(names.split()) <= set(self._columns):
                self._places, self._scaled, self._images = names.split()[:3], scaled, images
                self.unwrapped = "u" in names or images
                return
        raise UsageError(
            f"has no coordinates among its columns ({' '.join(self._columns)})", where=self.path
        )

    def _reference_order(self, frame: DumpFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the sorted ids and the order of the atoms of a frame, or None without ids."""
        if "id" in self._columns:
            ids = frame.integers("id")
            order = np.argsort(ids, kind="stable")
            if (np.diff(ids[order]) == 0).any():
                raise TornFrame("an id comes twice")
            self._last_ids = ids
            return ids[order], order
        if not self._config.fixed_order:
            raise UsageError(
                "has no ids, and LAMMPS changes the order of atoms",
                where=self.path,
                remedy="dump them with id, or give --fixed-order if it was written sorted",
            )
        return None, None

    def _sorted(self, values: np.ndarray) -> np.ndarray:
        return values if self._order is None else np.asarray(values[self._order])

    def _kinds(self, frame: DumpFrame) -> np.ndarray | None:
        """Return what is constant of each atom [N]: its type, or else its element."""
        for name in ("type", "element"):
            if name in self._columns:
                self._kind = name
                return self._sorted(frame.constant(name))
        return None

    def _species(self, frame: DumpFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return atomic numbers and masses [N], by element, --species and mass, which agree."""
        masses = self._sorted(frame.numbers("mass")) if "mass" in self._columns else None
        given = named_species(self._config, self.path)
        numbers: np.ndarray | None = None
        if "element" in self._columns:
            words = self._sorted(np.array(frame.texts("element")))
            numbers = np.array([element_number(str(word), self.path) for word in words])
        if given:
            named = self._by_type(frame, given)
            if numbers is not None and not np.array_equal(named, numbers):
                atom = int(np.argmax(named != numbers))
                raise UsageError(
                    f"--species says {chemical_symbols[named[atom]]} where the dump says "
                    f"{chemical_symbols[numbers[atom]]}",
                    where=self.path,
                    remedy="leave it away",
                )
            numbers = named
        if numbers is None and masses is not None:
            numbers = np.array([element_of_mass(mass, self.path) for mass in masses])
        if numbers is None:
            raise UsageError(
                "the dump has atom types but no elements",
                where=self.path,
                remedy="name the elements of the types with --species, such as Li,O",
            )
        if masses is not None:
            check_masses(numbers, masses, self.path)
        return numbers, atomic_masses[numbers] if masses is None else masses

    def _by_type(self, frame: DumpFrame, given: list[int]) -> np.ndarray:
        if "type" not in self._columns:
            raise UsageError("--species names types, and the dump has none", where=self.path)
        types = self._sorted(frame.integers("type"))
        if types.min() < 1 or types.max() > len(given):
            raise UsageError(
                f"--species names {len(given)} types, and the dump has type {types.max()}",
                where=self.path,
            )
        return np.asarray(np.array(given)[types - 1])

    def _time_ps(self, frame: DumpFrame) -> float | None:
        return None if frame.time is None or not self._style else frame.time * self._units.time

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each frame, Angstrom."""
        watch = CellWatch(self._first_cells)
        for raw in raw_frames(self._stream):
            cell = cell_of(raw)
            if cell is not None and watch.fits(cell):
                yield cell * self._units.length

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn ones keep their place.

        Raises
        ------
        DataError
            If the atoms change from frame to frame.
        """
        torn, cells = Torn(self.path), CellWatch(self._first_cells)
        raws = raw_frames(self._stream)
        record = 0
        while group := list(islice(raws, min(piece_records(self.n_atoms), 256))):
            piece = self._alike(group, record, cells) or self._one_by_one(
                group, record, cells, torn
            )
            if piece is not None:
                yield piece
            record += len(group)
        torn.tell()

    def _alike(self, group: list[bytes], record: int, cells: CellWatch) -> Frames | None:
        """Return frames with nothing unusual, or None."""
        found = parsed_group(group)
        if found is None:
            return None
        frames, table = found
        if frames[0].columns != self._columns or self._types is None or self._ids is None:
            return None
        at = {name: place for place, name in enumerate(self._columns)}
        if table.shape[1] != self.n_atoms:
            return None
        ids = table[:, :, at["id"]]
        if (ids != self._ids).any():
            table = np.take_along_axis(table, np.argsort(ids, axis=1)[:, :, None], axis=1)
            if (table[:, :, at["id"]] != self._ids).any():
                return None
        if (table[:, :, at[self._kind]] != self._types).any():
            return None
        if not np.isfinite(table).all() or not all(cells.fits(frame.cell) for frame in frames):
            return None
        boxes = np.array([frame.cell for frame in frames])
        x = table[:, :, [at[name] for name in self._places]]
        if self._scaled:
            x = np.array([frame.origin for frame in frames])[:, None] + x @ boxes
        if self._images:
            images = table[:, :, [at[name] for name in ("ix", "iy", "iz")]]
            if (images != np.rint(images)).any():
                return None
            x = x + images @ boxes
        v = table[:, :, [at[f"v{axis}"] for axis in "xyz"]] if self._has_velocities else None
        return self._piece(
            frames,
            np.arange(record, record + len(frames)),
            x * self._units.length,
            None if v is None else v * self._units.velocity,
        )

    def _one_by_one(
        self, group: list[bytes], record: int, cells: CellWatch, torn: Torn
    ) -> Frames | None:
        """Return the frames of a group that are whole; None without any."""
        kept: list[tuple[int, DumpFrame, np.ndarray, np.ndarray | None]] = []
        for place, raw in enumerate(group, start=record):
            try:
                frame = parsed(raw)
                if frame.columns != self._columns:
                    raise TornFrame("its columns are others")
                if not cells.fits(frame.cell):
                    raise TornFrame("its cell is another")
                self._check_atoms(frame, place)
                velocities = self._velocities(frame) if self._has_velocities else None
                kept.append((place, frame, self._positions(frame), velocities))
            except TornFrame as why:
                torn.add(place, str(why))
        if not kept:
            return None
        return self._piece(
            [frame for _, frame, *_ in kept],
            np.array([place for place, *_ in kept]),
            np.array([positions for *_, positions, _ in kept]),
            np.array([v for *_, v in kept]) if self._has_velocities else None,
        )

    def _check_atoms(self, frame: DumpFrame, record: int) -> None:
        if self._ids is not None:
            ids = frame.integers("id")
            if not np.array_equal(ids, self._last_ids):
                order = np.argsort(ids, kind="stable")
                if (np.diff(ids[order]) == 0).any():
                    raise TornFrame("an id comes twice")
                if not np.array_equal(ids[order], self._ids):
                    self._refuse_atoms(set(ids.tolist()), frame, record)
                self._last_ids, self._order = ids, order
        elif frame.n_atoms != self.n_atoms:
            raise DataError(
                f"frame {record} (step {frame.step}) has {frame.n_atoms} atoms, the "
                f"first {self.n_atoms}",
                where=self.path,
            )
        kinds = self._kinds(frame)
        if kinds is not None and self._types is not None and (kinds != self._types).any():
            raise DataError(
                f"frame {record} (step {frame.step}) has atoms of other types than the first",
                where=self.path,
            )

    def _refuse_atoms(self, ids: set[int], frame: DumpFrame, record: int) -> None:
        assert self._ids is not None
        known = set(self._ids.tolist())
        changes = [
            f"id {', '.join(map(str, sorted(some)[:3]))}{' ...' if len(some) > 3 else ''} {what}"
            for some, what in ((known - ids, "left"), (ids - known, "came"))
            if some
        ]
        raise DataError(
            f"frame {record} (step {frame.step}) holds other atoms than the first: "
            f"{'; '.join(changes)}",
            where=self.path,
            remedy="dump a group of atoms that stay",
        )

    def _positions(self, frame: DumpFrame) -> np.ndarray:
        """Return positions [N, 3] in Angstrom, in the order of the ids."""
        x = np.stack([frame.numbers(name) for name in self._places], axis=1)
        if self._scaled:
            x = frame.origin + x @ frame.cell
        if self._images:
            x = x + np.stack([frame.integers(name) for name in ("ix", "iy", "iz")], 1) @ frame.cell
        return np.asarray(self._sorted(x) * self._units.length)

    def _velocities(self, frame: DumpFrame) -> np.ndarray:
        """Return velocities [N, 3] in Angstrom/ps."""
        v = np.stack([frame.numbers(name) for name in ("vx", "vy", "vz")], axis=1)
        return np.asarray(self._sorted(v) * self._units.velocity)

    def _piece(
        self,
        frames: list[DumpFrame],
        records: np.ndarray,
        positions: np.ndarray,
        velocities: np.ndarray | None,
    ) -> Frames:
        times = [self._time_ps(frame) for frame in frames]
        known = [time for time in times if time is not None]
        return Frames(
            records,
            positions,
            np.array([frame.step for frame in frames]),
            velocities,
            np.array([frame.cell for frame in frames]) * self._units.length,
            times_ps=np.array(known) if len(known) == len(times) else None,
        )


def open_source(path: Path, config: ConvertConfig, files: Files) -> ForeignRun:
    """Open a dump.

    Raises
    ------
    UsageError, DataError
    """
    refuse_siesta_options(config, path)
    dump = DumpFile(files.open(existing(path)), config)
    steps = [step for step, _ in dump.first]
    times = [time for _, time in dump.first if time is not None]
    stated = 0.0
    if len(times) == len(steps) > 1:
        pairs = zip(np.diff(times), np.diff(steps), strict=True)
        rates = [time / ahead for time, ahead in pairs if ahead > 0 and time > 0]
        if rates:
            stated = float(np.median(rates)) * usual_difference(steps) * FS_PER_PS
    time_line = stated_times(
        path, config, steps, stated_interval_fs=stated, unwrapped=dump.unwrapped
    )
    if config.unwrap and dump.unwrapped:
        time_line.notes.append("the dump states the unwrapped path: --unwrap has nothing to do")
    more = {"unwrapped": dump.unwrapped, "periodic": dump.periodic}
    numbers, masses = dump.atomic_numbers, dump.masses
    return run_of_file(path, "LAMMPS dump", dump, time_line, numbers, masses, **more)
