"""Supercells: several cells of the training data side by side, in which all ions see each other."""

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from mdgan_hpc.errors import UsageError

#: Cells more than are asked for at most, of them, where a compact shape is looked for.
_SPARE = 0.1


@dataclass(frozen=True)
class Supercell:
    """How often a cell is repeated along each of its vectors.

    Attributes
    ----------
    repeats : tuple of int, [3]
    """

    repeats: tuple[int, int, int]

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return what a text such as ``2,2,1`` means.

        Raises
        ------
        UsageError
            If it is not three whole numbers above zero.
        """
        words = [word.strip() for word in text.split(",")]
        numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
        if len(words) != 3 or len(numbers) != 3 or min(numbers) < 1:
            raise UsageError(
                f"--supercell {text} is not three whole numbers above zero",
                remedy="use, e.g., 2,2,1: twice along the first two cell vectors; or auto",
            )
        return cls((numbers[0], numbers[1], numbers[2]))

    @classmethod
    def compact(cls, cell: np.ndarray, n_cells: int) -> Self:
        """Return the thickest supercell of `n_cells` cells, or up to a tenth more.

        Parameters
        ----------
        cell : array, [3, 3]
            Rows are the cell vectors.
        n_cells : int
        """
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        most = int(n_cells * (1 + _SPARE))
        found: list[tuple[float, int, tuple[int, int, int]]] = []
        for a, b in itertools.product(range(1, most + 1), repeat=2):
            if a * b > most:
                continue
            c = -(-n_cells // (a * b))
            if a * b * c <= most:
                least = float((heights * (a, b, c)).min())
                found.append((-least, a * b * c, (a, b, c)))
        return cls(min(found)[2])

    @property
    def n_cells(self) -> int:
        """Cells in it."""
        return int(np.prod(self.repeats))

    def __str__(self) -> str:
        return " x ".join(map(str, self.repeats))

    def of_cell(self, cell: np.ndarray) -> np.ndarray:
        """Return the vectors [3, 3] of the supercell of `cell` [3, 3]."""
        return np.asarray(np.array(self.repeats)[:, None] * cell)

    def corners(self) -> np.ndarray:
        """Return where its cells begin, in fractions of one, [n_cells, 3]."""
        return np.array(list(itertools.product(*map(range, self.repeats))), float)

    def spread(self, places: Tensor, ions: int) -> Tensor:
        """Return places of ions, each in a cell of its own, in fractions of the supercell.

        Parameters
        ----------
        places : Tensor, [B n_cells ions, 3]
            In fractions of a cell; the `ions` of a cell follow each other, the cells as `corners`.
        ions : int
        """
        corners = places.new_tensor(self.corners()).repeat_interleave(ions, 0)
        apart = places.view(-1, len(corners), 3) + corners
        return (apart / apart.new_tensor(self.repeats)).flatten(0, 1)
