"""Supercells: several cells of the training data side by side, in which all ions see each other.

With as many ions as these cells held, or with some removed or added.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import UsageError

#: Cells more than are asked for at most, of them, where a compact shape is looked for.
_SPARE = 0.1
#: Places tried for an ion that is added; it gets the one that is farthest from all others.
_TRIED = 32


@dataclass(frozen=True)
class Supercell:
    """How often a cell is repeated along each of its vectors, and what is then in it.

    Attributes
    ----------
    repeats : tuple of int, [3]
    ions : int or None
        In all its cells together; None: as many as these hold.
    """

    repeats: tuple[int, int, int] = (1, 1, 1)
    ions: int | None = None

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

    def n_ions(self, in_a_cell: int) -> int:
        """Return the ions in it, given those of a cell of the training data."""
        return self.n_cells * in_a_cell if self.ions is None else self.ions

    def start_size(self, in_a_cell: int) -> int:
        """Return the uniform random numbers that `draw` takes."""
        full = self.n_cells * in_a_cell
        more = self.n_ions(in_a_cell) - full
        return self.n_cells + (full if more < 0 else more * (1 + _TRIED))

    def draw(
        self, uniform: Tensor, windows: Tensor, places: Tensor | None, cell: Any
    ) -> tuple[Tensor, Tensor]:
        """Draw ions from start states, one for each cell, and the cells that they are in.

        Ions that are too many are taken out by chance. One that is added is an ion of some start
        state, in a cell by chance; of several tried, the one farthest from all others.

        Parameters
        ----------
        uniform : Tensor, [B, start_size]
            In [0, 1).
        windows : Tensor, [S, k]
            Numbers of the ions of each start state.
        places, cell : Tensor, [n, 3], and array, [3, 3]
            Where ions are added: of all ions of the start states, in fractions of a cell, and its
            vectors.

        Returns
        -------
        number, where : Tensor, [B N]
            Which ions, and in which cells (`place`).
        """
        n, k = self.n_cells, windows.shape[1]
        number = windows[_choose(uniform[:, :n], len(windows))].flatten(1)
        where = torch.arange(n, device=number.device).repeat_interleave(k).expand(len(number), -1)
        more = self.n_ions(k) - n * k
        if more < 0:
            kept = uniform[:, n:].argsort(1)[:, : n * k + more].sort(1).values
            number, where = number.gather(1, kept), where.gather(1, kept)
        elif more > 0:
            assert places is not None
            tried = torch.unflatten(uniform[:, n:], 1, (more, 1 + _TRIED))
            chosen = windows.flatten()[_choose(tried[:, :, 1:], windows.numel())]
            cells, cell = _choose(tried[:, :, 0], n), np.array(cell)
            vectors = places.cpu().double().numpy() @ cell
            added = [
                self._farthest(one.cpu().numpy(), there.cpu().numpy(), tried_there, vectors, cell)
                for one, there, tried_there in zip(number, cells, chosen.cpu().numpy(), strict=True)
            ]
            found = torch.from_numpy(np.array(added)).to(number.device)
            number, where = torch.cat([number, found], 1), torch.cat([where, cells], 1)
        return number.flatten(), where.flatten()

    def place(self, places: Tensor, where: Tensor) -> Tensor:
        """Return places [n, 3] in fractions of cells, in those of the supercell they are in."""
        corners = places.new_tensor(self.corners())[where]
        return (places + corners) / places.new_tensor(self.repeats)

    def _farthest(
        self,
        number: np.ndarray,
        cells: np.ndarray,
        tried: np.ndarray,
        vectors: np.ndarray,
        cell: np.ndarray,
    ) -> list[int]:
        """Return which of the `tried` [m, t] ions is added to each of `cells` [m], one by one.

        Parameters
        ----------
        number : array, [n_cells k]
            Of the ions that are there.
        vectors : array, [n, 3]
            From the corner of a cell to each ion that has a number, Angstrom.
        """
        inside = [list(row) for row in number.reshape(self.n_cells, -1)]
        corners, added = self.corners().astype(int), []
        around = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
        for where, candidates in zip(cells, tried, strict=True):
            next_to = np.ravel_multi_index(
                ((corners[where] + around) % self.repeats).T, self.repeats
            )
            others = np.concatenate(
                [
                    vectors[inside[n]] + shift
                    for n, shift in zip(next_to, around @ cell, strict=True)
                ]
            )
            apart = vectors[candidates][:, None] - others
            best = int(candidates[(apart**2).sum(-1).min(1).argmax()])
            inside[where].append(best)
            added.append(best)
        return added


def _choose(uniform: Tensor, n: int) -> Tensor:
    """Return numbers below n for uniform random ones in [0, 1)."""
    return (uniform * n).long().clamp_(max=n - 1)
