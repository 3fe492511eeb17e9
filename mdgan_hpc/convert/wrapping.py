"""Coordinates folded back into the cell: recognised, and unfolded on request."""

import warnings

import numpy as np

from mdgan_hpc.errors import DataWarning

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


class Unwrapper:
    """Follows atoms from frame to frame.

    Each displacement is brought to its nearest image in the cell of its own frame and added up.
    The sum keeps displacements right when the cell changes, where unfolding by whole multiples of
    the present cell does not: J. T. Bullerjahn et al., J. Chem. Theory Comput. 19, 3406 (2023),
    the toroidal-view-preserving scheme.

    Parameters
    ----------
    unwrap : bool
        Unfold; otherwise only warn of input that looks folded.
    where : object
        For messages.
    """

    def __init__(self, *, unwrap: bool, where: object) -> None:
        self.unwrap, self.where = unwrap, where
        self.n_jumps = 0
        self._last: np.ndarray | None = None  # [N, 3] as in the file
        self._shift: np.ndarray | float = 0.0  # [N, 3]
        self._first_jump = ""

    def apply(
        self, positions: np.ndarray, cells: np.ndarray | None, steps: np.ndarray
    ) -> np.ndarray:
        """Return positions [n, N, 3], unfolded if asked, given cells [3, 3] or [n, 3, 3]."""
        if cells is None or not np.isfinite(cells).all():
            return positions
        height = least_height(cells)
        if height <= 0.0:
            return positions
        before = positions[:1] if self._last is None else self._last[None]
        moves = np.diff(positions, axis=0, prepend=before)
        self._last = positions[-1].copy()
        far = np.abs(moves).max(axis=(1, 2)) > 0.5 * height / np.sqrt(3.0)
        offset = self._shift
        if far.any():
            own = cells[far] if cells.ndim == 3 else cells
            vectors = lattice_jumps(moves[far], own) @ own
            rest = np.linalg.norm(moves[far] - vectors, axis=2)
            length = np.linalg.norm(vectors, axis=2)
            jumped = (length > 0) & (rest < _REST * length)
            if jumped.any() and not self.n_jumps:
                frame, atom = np.argwhere(jumped)[0]
                self._first_jump = f"atom {atom + 1} at step {steps[far][frame]}"
            self.n_jumps += int(jumped.sum())
            if self.unwrap:
                corrections = np.zeros_like(moves)
                corrections[far] = -vectors
                offset = self._shift + np.cumsum(corrections, axis=0)
                self._shift = offset[-1].copy()
        return positions + offset if self.unwrap else positions

    def finish(self) -> None:
        """Warn of folded input that was not unfolded."""
        if self.n_jumps and not self.unwrap:
            warnings.warn(
                f"{self.where}: atoms jump by a cell vector {self.n_jumps} times (first "
                f"{self._first_jump}): the coordinates look wrapped; use --unwrap",
                DataWarning,
                stacklevel=2,
            )
