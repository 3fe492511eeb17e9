"""The particles of one species among those of a file, and what species are called."""

import difflib
from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from mdgan_hpc import hdf5
from mdgan_hpc.errors import DataError, UsageError

#: Bytes of all particles read at once to pick some of them.
_PICK_BYTES = 64 * 2**20


def atomic_number(species: str | int) -> int:
    """Return the atomic number of a chemical symbol, or of a number as it is or as a text.

    Raises
    ------
    UsageError
        If there is no such element.
    """
    from ase.data import atomic_numbers, chemical_symbols

    if not isinstance(species, str) or (species.isdecimal() and len(species) < 10):
        number = int(species)
    else:
        number = atomic_numbers.get(species.strip().capitalize(), -1)
    if not 1 <= number < len(chemical_symbols):
        near = difflib.get_close_matches(str(species).capitalize(), chemical_symbols[1:], 1)
        raise UsageError(
            f"species {str(species)[:40]!r} is no chemical element",
            remedy="did you mean " + near[0] + "?" if near else "give a symbol such as Li",
        )
    return number


def atomic_numbers_of(species: str | int) -> list[int]:
    """Return the atomic numbers of one species, or of several given as a text such as ``Na,Cl``.

    Raises
    ------
    UsageError
        If there is no such element, or one is given twice.
    """
    names = species.split(",") if isinstance(species, str) else [species]
    numbers = [atomic_number(name) for name in names]
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"--species {species} names a species twice")
    return sorted(numbers)


def symbol(number: int) -> str:
    """Return the chemical symbol of an atomic number; ``X`` where it is not known (0)."""
    from ase.data import chemical_symbols

    return str(chemical_symbols[number]) if 0 <= number < len(chemical_symbols) else "X"


def composition(species: np.ndarray) -> str:
    """Return symbols and numbers of the atomic numbers [N], such as ``Li20 O60``."""
    numbers, counts = np.unique(species, return_counts=True)
    return " ".join(f"{symbol(z)}{count}" for z, count in zip(numbers, counts, strict=True))


def require_species(numbers: np.ndarray, where: object) -> np.ndarray:
    """Return atomic numbers [N] as integers; 0 stands for an atom of an unknown kind.

    Raises
    ------
    DataError
        If one of them is none.
    """
    from ase.data import chemical_symbols

    known = (numbers >= 0) & (numbers < len(chemical_symbols)) & (numbers == np.floor(numbers))
    if not known.all():
        bad = int(np.flatnonzero(~known)[0])
        raise DataError(
            f"particle {bad} has the atomic number {numbers[bad]}, which there is not", where=where
        )
    return np.asarray(numbers, np.int32)


class Selection:
    """Particles of a file by their numbers in it, ascending.

    Parameters
    ----------
    index : array of int, [n]
    """

    def __init__(self, index: np.ndarray) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of_species(cls, species: np.ndarray, wanted: Sequence[int], where: object) -> "Selection":
        """Return the particles of the atomic numbers `wanted` among `species` [N].

        Raises
        ------
        UsageError
            Naming the species there are, if one of them is none.
        """
        for number in wanted:
            if (species == number).any():
                continue
            raise UsageError(
                f"holds no {symbol(number)}"
                if species.any()
                else "does not tell the species of its particles",
                where=where,
                remedy=f"it holds {composition(species)}"
                if species.any()
                else "leave --species out",
            )
        return cls(np.flatnonzero(np.isin(species, wanted)))

    def within(self, ions_per_cell: int, n_particles: int, where: object) -> int:
        """Return how many of the selected particles each cell of the file holds.

        Parameters
        ----------
        ions_per_cell, n_particles : int
            Particles of a cell, which follow each other, and of the file.
        where : object
            Name of the file, for messages.

        Raises
        ------
        DataError
            If whole cells hold different numbers of them.
        """
        if ions_per_cell == 1:
            return 1  # each is alone, whatever it is
        whole = max(1, n_particles // ions_per_cell)
        counts = np.bincount(self.index // ions_per_cell, minlength=whole)[:whole]
        if (counts != counts[0]).any():
            raise DataError("its cells do not hold equal numbers of each species", where=where)
        return int(counts[0])

    def read(
        self,
        dataset: h5py.Dataset,
        records: slice,
        particles: slice,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return rows of `dataset` [T, N, ...] of some of the selected particles, [t, n, ...].

        Particles that follow each other in the file are read straight; of others all between the
        first and the last are read, some records at once, and those wanted are kept. `out` is
        memory of the shape and type of the result, to read into.
        """
        index = self.index[particles]
        first, last = int(index[0]), int(index[-1]) + 1
        if len(index) == last - first and (np.diff(index) == 1).all():
            return read_block(dataset, records, slice(first, last), out)
        rows = range(*records.indices(len(dataset)))
        if out is None:
            out = np.empty((len(rows), len(index), *dataset.shape[2:]), dataset.dtype)
        between = dataset.dtype.itemsize * (last - first) * int(np.prod(dataset.shape[2:]))
        for piece in _pieces(len(rows), max(1, _PICK_BYTES // between)):
            some = rows[piece]
            block = hdf5.read(dataset, np.s_[some.start : some.stop : some.step, first:last])
            out[piece] = block[:, index - first]
        return out


def _pieces(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def read_block(
    dataset: h5py.Dataset, records: slice, particles: slice, out: np.ndarray | None = None
) -> np.ndarray:
    """Return ``dataset[records, particles]``, in the memory `out` if given."""
    return hdf5.read(dataset, np.s_[records, particles], out)
