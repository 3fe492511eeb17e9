"""Coordinates folded back into the cell: recognised, and unfolded on request."""

import warnings

import numpy as np

from mdgan_hpc.errors import DataWarning, UsageError

#: A move is a jump across the cell if the rest after taking whole cell vectors off is below this
#: part of the move.
_REST = 0.5


def lattice_jumps(moves: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the whole cell vectors nearest to displacements.

    Parameters
    ----------
    moves : array, [n, N, 3]
        Angstrom.
    cells : array, [3, 3] or [n, 3, 3]
        Angstrom, rows are the vectors.

    Returns
    -------
    array, [n, N, 3]
        Whole numbers of the three vectors.
    """
    return np.asarray(np.rint(moves @ np.linalg.inv(cells)))


def least_height(cells: np.ndarray) -> float:
    """Return the smallest distance between opposite faces of any of the cells, 0 if one is flat."""
    volumes = np.abs(np.linalg.det(cells))
    if not (volumes > 1e-12).all():
        return 0.0
    return float((1.0 / np.linalg.norm(np.linalg.inv(cells), axis=-2)).min())


def nearest_image(moves: np.ndarray, cells: np.ndarray | None) -> np.ndarray:
    """Return displacements [n, N, 3] less whole cell vectors; as they are without a cell.

    Parameters
    ----------
    moves : array, [n, N, 3]
    cells : array, [3, 3] or [n, 3, 3], or None
    """
    if cells is None or not np.isfinite(cells).all() or least_height(cells) <= 0.0:
        return moves
    return np.asarray(moves - lattice_jumps(moves, cells) @ cells)


class Unwrapper:
    """Follows atoms from frame to frame.

    Unfolding adds up whole cell vectors in fractional coordinates, u(t) = s(t) - n(t), where n is
    the sum of the rounded changes of s from frame to frame. In a constant cell positions are u
    times the cell. In a changing one they are u times the mean cell: then an atom of a crystal
    that crosses a face to and fro stays where it is, and a displacement is not stretched by the
    fluctuations of a cell that is many images away.

    The other schemes fail one of the two. Adding up Cartesian nearest-image displacements (the
    toroidal-view-preserving scheme of S. von Bülow, J. T. Bullerjahn, G. Hummer, J. Chem. Phys.
    153, 021101 (2020)) adds a step of the cell's fluctuation at every crossing, so atoms on a face
    diffuse in a crystal at rest. Multiplying u by the cell of each frame moves an atom n images
    away by n times the fluctuation.

    Parameters
    ----------
    unwrap : bool
        Unfold; otherwise only warn of input that looks folded.
    where : object
        For messages.
    periodic : array of bool, [3]
        Cell vectors along which the coordinates are folded.
    mean_cell : array, [3, 3], optional
        Of a changing cell, Angstrom.

    Raises
    ------
    UsageError
        If there is something to unfold, and no direction to do it in.
    """

    def __init__(
        self,
        *,
        unwrap: bool,
        where: object,
        periodic: np.ndarray | None = None,
        mean_cell: np.ndarray | None = None,
    ) -> None:
        self.unwrap, self.where = unwrap, where
        self.n_jumps = 0
        self._periodic = np.ones(3, bool) if periodic is None else periodic
        self._mean_cell = mean_cell
        self._last: np.ndarray | None = None  # [N, 3] as in the file, or its fractions
        self._images: np.ndarray | float = 0.0  # [N, 3] whole cell vectors crossed
        self._first_jump = ""
        self._n_left = 0  # jumps along vectors that are not periodic
        if unwrap and not self._periodic.any():
            raise UsageError(
                "--unwrap needs a periodic cell, and no direction of it is periodic",
                where=where,
                remedy="leave --unwrap away",
            )

    def apply(
        self, positions: np.ndarray, cells: np.ndarray | None, steps: np.ndarray
    ) -> np.ndarray:
        """Return positions [n, N, 3], unfolded if asked, given cells [3, 3] or [n, 3, 3].

        Raises
        ------
        UsageError
            If a frame to unfold has no cell, or one that is flat.
        """
        if self.unwrap:
            return self._unfolded(positions, self._cells(cells, steps))
        if cells is not None and np.isfinite(cells).all() and least_height(cells) > 0.0:
            self._look(positions, cells, steps)
        return positions

    def _cells(self, cells: np.ndarray | None, steps: np.ndarray) -> np.ndarray:
        remedy = "leave --unwrap away, or give a file with the cell of every frame"
        if cells is None:
            raise UsageError("--unwrap needs a cell, and no file tells it", where=self.where)
        each = cells.reshape(-1, 3, 3)
        known = np.isfinite(each).all(axis=(1, 2))
        known[known] = np.abs(np.linalg.det(each[known])) > 1e-9
        if not known.all():
            step = steps[int(np.argmin(known)) if len(each) > 1 else 0]
            raise UsageError(
                f"--unwrap needs three cell vectors, and step {step} has none, or a flat cell",
                where=self.where,
                remedy=remedy,
            )
        return cells

    def _unfolded(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        fractions = positions @ np.linalg.inv(cells)
        before = fractions[:1] if self._last is None else self._last[None]
        jumps = np.rint(np.diff(fractions, axis=0, prepend=before))
        crossed = jumps * self._periodic
        self._n_left += int(np.count_nonzero(jumps - crossed))
        self._last = fractions[-1].copy()
        images = self._images + np.cumsum(crossed, axis=0)
        self._images = images[-1].copy()
        self.n_jumps += int(np.count_nonzero(crossed.any(axis=2)))
        if self._mean_cell is None:
            return np.asarray(positions - images @ cells)
        return np.asarray((fractions - images) @ self._mean_cell)

    def _look(self, positions: np.ndarray, cells: np.ndarray, steps: np.ndarray) -> None:
        """Count the jumps across the cell."""
        before = positions[:1] if self._last is None else self._last[None]
        moves = np.diff(positions, axis=0, prepend=before)
        self._last = positions[-1].copy()
        far = np.abs(moves).max(axis=(1, 2)) > 0.5 * least_height(cells) / np.sqrt(3.0)
        if not far.any():
            return
        own = cells[far] if cells.ndim == 3 else cells
        vectors = lattice_jumps(moves[far], own) @ own
        rest = np.linalg.norm(moves[far] - vectors, axis=2)
        length = np.linalg.norm(vectors, axis=2)
        jumped = (length > 0) & (rest < _REST * length)
        if jumped.any() and not self.n_jumps:
            frame, atom = np.argwhere(jumped)[0]
            self._first_jump = f"atom {atom + 1} at step {steps[far][frame]}"
        self.n_jumps += int(jumped.sum())

    def finish(self) -> None:
        """Warn of folded input that was not unfolded."""
        if self._n_left:
            warnings.warn(
                f"{self.where}: atoms jump {self._n_left} times by a cell vector along which the "
                "file says that the cell is not periodic; they are left as they are",
                DataWarning,
                stacklevel=2,
            )
        if self.n_jumps and not self.unwrap:
            warnings.warn(
                f"{self.where}: atoms jump by a cell vector {self.n_jumps} times (first "
                f"{self._first_jump}): the coordinates look wrapped; use --unwrap",
                DataWarning,
                stacklevel=2,
            )
