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
from itertools import chain, islice
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, chemical_symbols

from mdgan_hpc.convert.frames import Frames, piece_records
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.foreign import (
    LOOK_AHEAD,
    ForeignRun,
    Torn,
    check_masses,
    element_number,
    existing,
    named_species,
    no_frame,
    refuse_siesta_options,
    stated_times,
    usual_difference,
)
from mdgan_hpc.convert.streams import CUT, Files, Stream
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.units import FS_PER_PS

_BLOCK = 2**20
#: A frame may not be longer than this; a file without frames is something else.
_MAX_FRAME_BYTES = 2**30
_MARK = b"ITEM: TIMESTEP"
#: Header items that LAMMPS writes before TIMESTEP.
_BEFORE = (b"TIME\n", b"TIME\r", b"UNITS")


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


class _TornFrame(Exception):
    """A frame is not whole; why, in one word or two."""


@dataclass
class _Frame:
    """One frame as it stands in the file."""

    step: int
    time: float | None  # in the units of the dump
    units: str
    cell: np.ndarray  # [3, 3], rows are the vectors
    origin: np.ndarray  # [3]
    periodic: np.ndarray  # [3] bool
    columns: list[str]
    words: list[bytes]  # N times the columns

    @property
    def n_atoms(self) -> int:
        return len(self.words) // len(self.columns)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column [N]."""
        try:
            values = np.array(list(map(float, self.raw(name))))
        except ValueError:
            raise _TornFrame("a number is damaged") from None
        if not np.isfinite(values).all():
            raise _TornFrame("a number is damaged")
        return values

    def integers(self, name: str) -> np.ndarray:
        """Return a column of whole numbers [N]."""
        try:
            return np.array(list(map(int, self.raw(name))), np.int64)
        except (ValueError, OverflowError):
            raise _TornFrame("a number is damaged") from None

    def raw(self, name: str) -> list[bytes]:
        """Return a column as it stands in the file [N]."""
        return self.words[self.columns.index(name) :: len(self.columns)]

    def texts(self, name: str) -> list[str]:
        """Return a column of words [N]."""
        return [word.decode("latin-1") for word in self.raw(name)]


def _raw_frames(stream: Stream) -> Iterator[bytes]:
    """Yield the text of each frame, from its UNITS, TIME or TIMESTEP on."""
    stream.rewind()
    data, ended = b"", False
    begin, look = -1, 0  # where the frame begins, and where to look for the next one
    while not ended:
        new = stream.read(_BLOCK)
        ended = len(new) < _BLOCK
        if begin > 0:
            data, look, begin = data[begin:], look - begin, 0
        data += new
        if len(data) > _MAX_FRAME_BYTES:
            return
        while (at := data.find(_MARK, look)) >= 0:
            start = _header_start(data, max(begin, 0), at)
            if begin >= 0 or data[:start].strip():  # else the end of a frame without beginning
                yield data[max(begin, 0) : start]
            begin, look = start, at + len(_MARK)
        look = max(look, len(data) - len(_MARK))
    rest = data[max(begin, 0) :]
    if rest.strip():
        yield rest if rest.endswith(b"\n") else rest + CUT.encode()


def _header_start(data: bytes, first: int, at: int) -> int:
    """Return where the header begins, from `first` on, whose TIMESTEP is at `at`."""
    while (before := data.rfind(b"ITEM: ", first, at)) >= 0:
        if not data.startswith(_BEFORE, before + 6) or data.count(b"\n", before, at) != 2:
            return at
        at = before
    return at


def _parsed(data: bytes) -> _Frame:
    """Read a frame; raises `_TornFrame` if it is not whole."""
    if data.endswith(CUT.encode()):
        raise _TornFrame("its last line has no end")
    items: dict[str, tuple[str, list[bytes]]] = {}
    for part in data.split(b"ITEM: ")[1:]:
        rows = part.split(b"\n")
        title = rows[0].decode("latin-1").strip()
        name = next((n for n in _ITEMS if title == n or title.startswith(n + " ")), title)
        items[name] = (title[len(name) :], [row for row in rows[1:] if row])
    try:
        step, n_atoms = (int(items[name][1][0]) for name in ("TIMESTEP", "NUMBER OF ATOMS"))
        if any(len(items[name][1]) != 1 for name in ("TIMESTEP", "NUMBER OF ATOMS")):
            raise _TornFrame("its header is damaged")
        bounds, box = items["BOX BOUNDS"]
        titles, rows = items["ATOMS"]
        cell, origin = _box(bounds.split(), [list(map(float, row.split())) for row in box])
        time = float(items["TIME"][1][0]) if "TIME" in items else None
    except (KeyError, IndexError, ValueError):
        raise _TornFrame("its header is damaged") from None
    if not 0 <= step < 2**62 or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-12:
        raise _TornFrame("its header is damaged")
    columns = titles.split()
    split = [row.split() for row in rows]
    if n_atoms < 1 or len(rows) != n_atoms:
        raise _TornFrame("it has not the atoms that it states")
    if any(len(words) != len(columns) for words in split) or b"_" in data:
        raise _TornFrame("a line has not its columns")
    units = items["UNITS"][1][0].decode("latin-1").strip() if "UNITS" in items else ""
    flags = [word for word in bounds.split() if len(word) == 2 and set(word) <= set("pfsm")]
    periodic = np.array([word == "pp" for word in flags]) if len(flags) == 3 else np.ones(3, bool)
    return _Frame(
        step, time, units, cell, origin, periodic, columns, list(chain.from_iterable(split))
    )


_ITEMS = ("UNITS", "TIMESTEP", "TIME", "NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS")


def _box(titles: list[str], rows: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return cell [3, 3] and origin [3] of a BOX BOUNDS item; ValueError if it is damaged."""
    columns = 4 if "abc" in titles else 3 if "xy" in titles else 2
    values = np.array(rows)
    if values.size != 3 * columns or values.ndim != 2:
        raise ValueError("box")
    values = values.reshape(3, columns)
    if columns == 4:
        return values[:, :3], values[:, 3]
    xy, xz, yz = values[:, 2] if columns == 3 else (0.0, 0.0, 0.0)
    low, high = values[:, 0].copy(), values[:, 1].copy()
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    if not (high > low).all():
        raise ValueError("box")
    x, y, z = high - low
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), low


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
        for raw in islice(_raw_frames(stream), LOOK_AHEAD):
            try:
                whole.append(_parsed(raw))
            except _TornFrame:
                continue
        if not whole:
            raise no_frame(self.path)
        first = whole[0]
        self.n_atoms, self.periodic = first.n_atoms, first.periodic
        self._columns = first.columns
        self._style = self._units_style(whole)
        self._units = _UNITS[self._style] if self._style else _LENGTHS_ONLY
        self._choose_coordinates()
        self._ids, self._order = self._reference_order(first)
        self._types = self._kinds(first)
        self.atomic_numbers, self.masses = self._species(first)
        self._has_velocities = {"vx", "vy", "vz"} <= set(self._columns)
        if self._has_velocities and not self._style:
            raise UsageError(
                "has velocities, but does not state their units",
                where=self.path,
                remedy="give them with --units metal, real, ...",
            )
        self.first = [(frame.step, self._time_ps(frame)) for frame in whole]

    def _units_style(self, whole: list[_Frame]) -> str:
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

    def _reference_order(self, frame: _Frame) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the sorted ids and the order of the atoms of a frame, or None without ids."""
        if "id" in self._columns:
            try:
                ids = frame.integers("id")
            except _TornFrame:
                raise DataError("the ids of its first frame are damaged", where=self.path) from None
            order = np.argsort(ids, kind="stable")
            if (np.diff(ids[order]) == 0).any():
                raise DataError("its first frame has an id twice", where=self.path)
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

    def _kinds(self, frame: _Frame) -> np.ndarray | None:
        """Return what is constant of each atom [N]: its type, or else its element."""
        for name in ("type", "element"):
            if name in self._columns:
                return self._sorted(np.array(frame.raw(name)))
        return None

    def _species(self, frame: _Frame) -> tuple[np.ndarray, np.ndarray]:
        """Return atomic numbers and masses [N], by element, --species and mass, which agree."""
        masses = self._sorted(frame.numbers("mass")) if "mass" in self._columns else None
        given = named_species(self._config, self.path)
        numbers: np.ndarray | None = None
        if "element" in self._columns:
            words = self._sorted(np.array(frame.texts("element")))
            numbers = np.array([element_number(word, self.path) for word in words])
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
            numbers = np.array([_element_of_mass(mass, self.path) for mass in masses])
        if numbers is None:
            raise UsageError(
                "the dump has atom types but no elements",
                where=self.path,
                remedy="name the elements of the types with --species, such as Li,O",
            )
        if masses is not None:
            check_masses(numbers, masses, self.path)
        return numbers, atomic_masses[numbers] if masses is None else masses

    def _by_type(self, frame: _Frame, given: list[int]) -> np.ndarray:
        if "type" not in self._columns:
            raise UsageError("--species names types, and the dump has none", where=self.path)
        types = self._sorted(frame.integers("type"))
        if types.min() < 1 or types.max() > len(given):
            raise UsageError(
                f"--species names {len(given)} types, and the dump has type {types.max()}",
                where=self.path,
            )
        return np.array(given)[types - 1]

    def _time_ps(self, frame: _Frame) -> float | None:
        return None if frame.time is None or not self._style else frame.time * self._units.time

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the cell [3, 3] of each whole frame, Angstrom."""
        for raw in _raw_frames(self._stream):
            try:
                head = raw[: raw.index(b"ITEM: ATOMS")]
                title, _, rest = head.partition(b"BOX BOUNDS")[2].partition(b"\n")
                rows = [list(map(float, row.split())) for row in rest.split(b"\n")[:3]]
                yield _box(title.decode("latin-1").split(), rows)[0] * self._units.length
            except ValueError:
                continue

    def frames(self) -> Iterator[Frames]:
        """Yield the frames in pieces; torn ones keep their place.

        Raises
        ------
        DataError
            If the atoms change from frame to frame.
        """
        torn = Torn(self.path)
        kept: list[tuple[int, _Frame, np.ndarray, np.ndarray | None]] = []
        size = min(piece_records(self.n_atoms), 256)
        for record, raw in enumerate(_raw_frames(self._stream)):
            try:
                frame = _parsed(raw)
                if frame.columns != self._columns:
                    raise _TornFrame("its columns are others")
                self._check_atoms(frame, record)
                velocities = self._velocities(frame) if self._has_velocities else None
                kept.append((record, frame, self._positions(frame), velocities))
            except _TornFrame as why:
                torn.add(record, str(why))
                continue
            if len(kept) == size:
                yield self._piece(kept)
                kept = []
        if kept:
            yield self._piece(kept)
        torn.tell()

    def _check_atoms(self, frame: _Frame, record: int) -> None:
        if self._ids is not None:
            ids = frame.integers("id")
            if not np.array_equal(ids, self._last_ids):
                order = np.argsort(ids, kind="stable")
                if (np.diff(ids[order]) == 0).any():
                    raise _TornFrame("an id comes twice")
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

    def _refuse_atoms(self, ids: set[int], frame: _Frame, record: int) -> None:
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

    def _positions(self, frame: _Frame) -> np.ndarray:
        """Return positions [N, 3] in Angstrom, in the order of the ids."""
        x = np.stack([frame.numbers(name) for name in self._places], axis=1)
        if self._scaled:
            x = frame.origin + x @ frame.cell
        if self._images:
            x = x + np.stack([frame.integers(name) for name in ("ix", "iy", "iz")], 1) @ frame.cell
        return self._sorted(x) * self._units.length

    def _velocities(self, frame: _Frame) -> np.ndarray:
        """Return velocities [N, 3] in Angstrom/ps."""
        v = np.stack([frame.numbers(name) for name in ("vx", "vy", "vz")], axis=1)
        return self._sorted(v) * self._units.velocity

    def _piece(self, kept: list[tuple[int, _Frame, np.ndarray, np.ndarray | None]]) -> Frames:
        frames = [frame for _, frame, *_ in kept]
        times = [self._time_ps(frame) for frame in frames]
        known = [time for time in times if time is not None]
        return Frames(
            np.array([record for record, *_ in kept]),
            np.array([positions for *_, positions, _ in kept]),
            np.array([frame.step for frame in frames]),
            np.array([v for *_, v in kept]) if self._has_velocities else None,
            np.array([frame.cell for frame in frames]) * self._units.length,
            times_ps=np.array(known) if len(known) == len(times) else None,
        )


def _element_of_mass(mass: float, where: Path) -> int:
    number = 1 + int(np.argmin(np.abs(atomic_masses[1:] - mass)))
    if abs(atomic_masses[number] - mass) > 0.05:
        raise UsageError(
            f"the mass {mass:g} is that of no element", where=where, remedy="give --species"
        )
    return number


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
    return ForeignRun(
        where=path,
        label=path.stem,
        kind="LAMMPS dump",
        name=path.name,
        inputs=[path],
        atomic_numbers=dump.atomic_numbers,
        labels=[chemical_symbols[z] for z in dump.atomic_numbers],
        masses=dump.masses,
        cell=None,
        time_line=time_line,
        time_step_fs=time_line.rules.interval_fs,
        unwrapped=dump.unwrapped,
        periodic=dump.periodic,
        read=dump.frames,
        read_cells=dump.cells,
    )
