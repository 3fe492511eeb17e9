"""Opening a trajectory file: is it one, and is each of its elements what H5MD says.

`Elements` gives the datasets of a file, each looked at before it is read (`mdgan_hpc.hdf5`). The
positions are judged by what the file stores of them; everything else is judged by their shape.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mdgan_hpc import digests, hdf5
from mdgan_hpc.errors import DataError
from mdgan_hpc.inputs import parse_json
from mdgan_hpc.trajectory import layout

#: Rows of what should not change with time that are looked at.
_ROWS_COMPARED = 64
_MADE_BY = "a trajectory made by mdgan-convert or mdgan-generate is needed"


class Elements:
    """The elements of a trajectory file open for reading.

    Parameters
    ----------
    path : path

    Raises
    ------
    DataError
        If it is no H5MD file, has no positions [T, N, 3], or a part of it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = hdf5.open_file(path, remedy=_MADE_BY)
        try:
            self.root = self.file["/"]
            self.group = self._particle_group()
            self.position = hdf5.numbers(self.group, "position/value", (None, None, 3))
            if self.position.is_virtual:
                _require_parts(self.position, path)
            else:
                hdf5.require_stored(self.position)
        except BaseException:
            self.file.close()
            raise
        self.n_records, self.n_atoms = (int(n) for n in self.position.shape[:2])
        self._parameters: dict[str, Any] | None = None

    def _particle_group(self) -> h5py.Group:
        """Return the particle group with positions: the only one, ``trajectory`` or ``all``."""
        particles = hdf5.find(self.root, "particles")
        if hdf5.find(self.root, "h5md") is None or not isinstance(particles, h5py.Group):
            raise DataError("is not an H5MD trajectory", where=self.path)
        names = [name for name in hdf5.names(particles) if _has_positions(particles, name)]
        told = all(isinstance(hdf5.find(particles, n), h5py.Group) for n in hdf5.names(particles))
        if not names and told and hdf5.find(self.root, layout.LEDGER) is not None:
            raise DataError(
                "holds no positions: it was made with --no-store",
                where=self.path,
                remedy="its analysis lies beside it, with the ending .msd.json",
            )
        known = [name for name in ("trajectory", "all") if name in names]
        if len(names) != 1 and not known:
            raise DataError(
                f"has {len(names)} particle groups with positions ({', '.join(names) or 'none'})",
                where=self.path,
                remedy="one, or one called 'trajectory', is needed",
            )
        found = hdf5.group(particles, (known or names)[0])
        assert found is not None
        return found

    def has(self, element: str) -> bool:
        """Whether the particles have an element that changes with time."""
        return hdf5.find(self.group, f"{element}/value") is not None

    def vectors(self, element: str) -> h5py.Dataset:
        """Return the dataset [T, N, 3] of ``velocity``, ``forces`` or ``image``.

        Raises
        ------
        DataError
            If there is none, or it does not match the positions.
        """
        if not self.has(element):
            raise DataError(f"has no {element}", where=self.path)
        shape = (self.n_records, self.n_atoms, 3)
        return hdf5.numbers(self.group, f"{element}/value", shape)

    def first_row(self, element: str) -> np.ndarray | None:
        """Return the first record [N] of an element that all particles keep, or None.

        Raises
        ------
        DataError
            If it is not of N numbers, one of them is not finite, or they change with time.
        """
        found, n = hdf5.find(self.group, element), self.n_atoms
        if found is None:
            return None
        if isinstance(found, h5py.Group):
            dataset = hdf5.numbers(found, "value", (self.n_records, n))
            row = hdf5.read(dataset, 0)
            _require_constant(dataset, row)
        else:
            dataset = hdf5.numbers(self.group, element, (n,))
            row = hdf5.read(dataset)
        if not np.isfinite(row).all():
            raise DataError("holds values that are no numbers", where=hdf5.place(dataset))
        return row

    def of_records(self, element: str) -> h5py.Dataset | None:
        """Return ``step`` or ``time`` of the positions: a dataset [T], a number, or None.

        Raises
        ------
        DataError
            If it is shorter than the positions.
        """
        if hdf5.find(self.group, f"position/{element}") is None:
            return None
        found = hdf5.numbers(self.group, f"position/{element}", (), (None,))
        if found.shape and found.shape[0] < self.n_records:
            raise DataError(
                f"has {found.shape[0]} values, the positions {self.n_records} records",
                where=hdf5.place(found),
            )
        return found

    def require_ids(self) -> None:
        """Raise where the ids, if there are any, change with time or name a particle twice.

        Raises
        ------
        DataError
        """
        ids = self.first_row("id")
        if ids is not None and len(np.unique(ids)) < self.n_atoms:
            raise DataError(
                "names several particles by one id",
                where=f"{self.path}:{self.group.name}/id",
                remedy="write the id of each particle, or no ids",
            )

    def edges(self) -> h5py.Dataset | None:
        """Return the dataset of the cell: [T, 3, 3], [T, 3], [3, 3], [3], or None.

        Raises
        ------
        DataError
            If it has another shape.
        """
        found = hdf5.find(self.group, "box/edges")
        if found is None:
            return None
        if isinstance(found, h5py.Dataset):
            return hdf5.numbers(self.group, "box/edges", (3,), (3, 3))
        t = self.n_records
        return hdf5.numbers(found, "value", (t, 3, 3), (t, 3))

    @property
    def ledger(self) -> h5py.Group | None:
        """How far each particle block of a generated trajectory is; None in files of others."""
        return hdf5.group(self.root, layout.LEDGER)

    def completed_records(self) -> np.ndarray:
        """Return the records complete in each particle block [n_blocks]; all in files of others."""
        if self.ledger is None:
            return np.array([self.n_records])
        from mdgan_hpc.trajectory.blocks.ledger import completed_of

        return completed_of(self)

    @property
    def chunk(self) -> tuple[int, int] | None:
        """Records and particles of a chunk of the part files, or None where there are none."""
        ledger = self.ledger
        if ledger is None or (told := hdf5.attribute(ledger, "chunk")) is None:
            return None
        told = np.atleast_1d(told)
        if told.shape != (2,) or told.dtype.kind not in "iu" or told.min() < 1:
            raise DataError(f"has the chunk {told}", where=hdf5.place(ledger))
        return int(told[0]), int(told[1])

    @property
    def block_particles(self) -> int:
        """Particles that one count of complete records is of; all where the file does not tell.

        Raises
        ------
        DataError
            If it tells a number that cannot be.
        """
        ledger = self.ledger
        told = None if ledger is None else hdf5.attribute(ledger, "block_particles")
        if ledger is None or told is None:
            return self.n_atoms
        if np.ndim(told) or np.asarray(told).dtype.kind not in "iu" or told < 1:
            raise DataError(f"has blocks of {told} particles", where=hdf5.place(ledger))
        return int(told)

    def observables(self) -> list[str]:
        """Return the names of the observables that change with time."""
        found = hdf5.group(self.root, "observables")
        if found is None:
            return []
        return [
            name
            for name in hdf5.names(found)
            if isinstance(inner := hdf5.find(found, name), h5py.Group)
            and hdf5.find(inner, "value") is not None
        ]

    def observable(self, name: str) -> np.ndarray | None:
        """Return an observable [T], or None."""
        if hdf5.find(self.root, f"observables/{name}/value") is None:
            return None
        shape = (self.n_records,)
        return hdf5.read(hdf5.numbers(self.root, f"observables/{name}/value", shape))

    def parameters(self) -> dict[str, Any]:
        """Return the constants of ``parameters/``: numbers, arrays, texts and mappings of them.

        Raises
        ------
        DataError
            If they do not match their digest.
        """
        if self._parameters is None:
            self._parameters = read_parameters(self.root)
        return self._parameters

    def number(self, name: str) -> float | None:
        """Return a parameter that is a finite number, or None if there is none.

        Raises
        ------
        DataError
            If it is anything else.
        """
        found = self.parameters().get(name)
        if found is None:
            return None
        if not isinstance(found, int | float) or not np.isfinite(found):
            where = f"{self.path}:/parameters/{name}"
            raise DataError("is no number", where=where, remedy="make the file again")
        return float(found)

    def text_of_json(self, name: str) -> dict[str, Any]:
        """Return a parameter that is kept as JSON; empty if there is none.

        Raises
        ------
        DataError
        """
        found = self.parameters().get(name)
        where = f"{self.path}:/parameters/{name}"
        if not found:
            return {}
        if not isinstance(found, str):
            raise DataError("is no text", where=where)
        return parse_json(found, where)


def _require_constant(dataset: h5py.Dataset, first: np.ndarray) -> None:
    """Compare rows from all over a dataset [T, N] with its first.

    Raises
    ------
    DataError
    """
    with hdf5.damage_told(dataset):
        if dataset.is_virtual or dataset.id.get_storage_size() == 0:
            return  # written as one row for all records
    for record in np.unique(np.linspace(0, len(dataset) - 1, _ROWS_COMPARED).astype(int)):
        if not np.array_equal(hdf5.read(dataset, int(record)), first):
            raise DataError(
                f"differs between records 0 and {record}: the particles change, or their order",
                where=hdf5.place(dataset),
                remedy="write them sorted, and cut the trajectory where a particle changes",
            )


def _has_positions(particles: h5py.Group, name: str) -> bool:
    found = hdf5.find(particles, name)
    return isinstance(found, h5py.Group) and hdf5.find(found, "position/value") is not None


def _require_parts(positions: h5py.Dataset, path: Path) -> None:
    """Look at the files of a virtual dataset: HDF5 reads what is missing as fill values.

    Raises
    ------
    DataError
        Naming the file that is missing, was not written to its end, or is of another generation.
    """
    with hdf5.damage_told(positions):
        sources = positions.virtual_sources()
        mapped = sum(source.vspace.get_select_npoints() for source in sources)
        if mapped != positions.size:
            raise DataError(
                f"claims {positions.size} numbers, its parts hold {mapped}",
                where=hdf5.place(positions),
            )
    stored = hdf5.find(positions.file["/"], f"{layout.LEDGER}/settings")
    settings = parse_json(hdf5.text(stored), path) if isinstance(stored, h5py.Dataset) else {}
    for name, dataset in hdf5.sources(positions):
        part = path.parent / name if name != "." else path
        if not part.exists():
            raise DataError(
                f"its part {part.relative_to(path.parent)} is missing",
                where=path,
                remedy="move a file together with the folder of its parts",
            )
        with hdf5.open_file(part) as file:
            if settings:
                require_generation(file, settings)
            found = hdf5.find(file["/"], dataset)
            assert isinstance(found, h5py.Dataset)  # as `hdf5.numbers` made sure of
            hdf5.require_stored(found)


def require_generation(part: h5py.File, settings: Mapping[str, Any]) -> None:
    """Raise unless a part file is of the generation with these settings; old ones do not tell.

    Raises
    ------
    DataError
    """
    path, ledger = Path(part.filename), hdf5.group(part["/"], layout.LEDGER)
    told = None if ledger is None else hdf5.text_attribute(ledger, layout.GENERATION)
    if told is not None and told != layout.generation_of(settings, path.name):
        raise DataError(
            "is a part of another generated file, or another part of this one",
            where=path,
            remedy="bring back the part that was generated for it, or generate the file again",
        )


def files_of(path: str | Path) -> list[Path]:
    """Return the files that a trajectory is made of: itself, and the parts of a virtual dataset.

    Of a file that cannot be read, only itself.
    """
    path = Path(path)
    try:
        elements = Elements(path)
    except DataError:
        return [path]
    with elements.file:
        sources = elements.position.virtual_sources() if elements.position.is_virtual else ()
        names = {source.file_name for source in sources}
    return [path, *(path.parent / name for name in sorted(names) if name != ".")]


def all_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files that trajectories are made of; see `files_of`."""
    return (file for path in paths for file in files_of(path))


# Parameters -----------------------------------------------------------------------------------


def read_parameters(root: h5py.Group) -> dict[str, Any]:
    """Return the constants of ``parameters/`` of a file, checked by their digest if it has one.

    Raises
    ------
    DataError
    """
    group = hdf5.group(root, "parameters")
    if group is None:
        return {}
    tree = _constants(group)
    told = hdf5.text_attribute(group, layout.DIGEST)
    digests.require_digest(_sealed(tree), told, hdf5.place(group), remedy="make the file again")
    return tree


def seal_parameters(file: h5py.File) -> None:
    """Store the digest of the constants in ``parameters/``, all of which are there by now."""
    group = file["parameters"]
    group.attrs[layout.DIGEST] = digests.of_tree(_sealed(_constants(group)))


def _sealed(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name not in layout.CHANGING}


def _constants(group: h5py.Group, depth: int = 8) -> dict[str, Any]:
    """Return what is in a group, but for the ledger of a file that grows."""
    tree: dict[str, Any] = {}
    for name in hdf5.names(group):
        if (found := hdf5.find(group, name)) is None or found.name in layout.GROWING:
            continue
        if isinstance(found, h5py.Dataset):
            tree[name] = hdf5.value(found)
        elif depth:
            tree[name] = _constants(found, depth - 1)
        else:
            raise DataError("is nested too deep", where=hdf5.place(found))
    return tree


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a file of this package came to be, complete or not.

    Raises
    ------
    DataError
    """
    with hdf5.open_file(Path(path)) as file:
        found = read_parameters(file["/"]).get("provenance")
    return parse_json(found, path) if isinstance(found, str) and found else {}
