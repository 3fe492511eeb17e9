"""Training windows: resident on the device, drawn at random, moved by symmetry operations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import DataError
from mdgan_hpc.gan.symmetry import Symmetry


class Windows:
    """Every window of records in a set of runs.

    Parameters
    ----------
    runs : sequence of array, [T, N, 3]
        Unwrapped positions in Angstrom, all runs in the same frame of the lattice. Runs are never
        joined.
    step_skip : int
        Stored frames from one record to the next.
    particles_per_sample : int
        k; N must be a multiple of it.
    symmetry : Symmetry
        Operations that a window may be moved by.

    Raises
    ------
    DataError
        If the particles cannot be grouped.
    """

    def __init__(
        self,
        runs: Sequence[np.ndarray],
        *,
        step_skip: int,
        particles_per_sample: int,
        symmetry: Symmetry,
        device: torch.device,
    ) -> None:
        k = particles_per_sample
        self.step_skip, self.k, self.symmetry, self.device = step_skip, k, symmetry, device
        pieces, lengths = [], []
        for run in runs:
            n_frames, n_particles, _ = run.shape
            if n_particles % k:
                raise DataError(
                    f"{n_particles} particles cannot be grouped by {k}",
                    remedy="set data.particles_per_sample to a divisor of their number",
                )
            grouped = run.reshape(n_frames, n_particles // k, k, 3).swapaxes(0, 1)
            pieces.append(grouped.reshape(-1, k, 3).astype(np.float64))
            lengths += [n_frames] * (n_particles // k)
        # [all frames of all samples, k, 3]
        self.positions = torch.from_numpy(np.concatenate(pieces)).to(device)
        self.lengths = np.array(lengths)
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self._rotations = torch.from_numpy(symmetry.rotations).to(device)
        self._translations = torch.from_numpy(symmetry.translations).to(device)

    def count(self, records: int, spacing: int = 1) -> int:
        """Return the number of (overlapping) windows of this many records."""
        return int(self._valid(records, spacing).sum())

    def _valid(self, records: int, spacing: int) -> np.ndarray:
        return np.maximum(self.lengths - (records - 1) * self.step_skip * spacing, 0)

    def draw(
        self,
        batch: int,
        records: int,
        random: torch.Generator,
        *,
        spacing: int = 1,
        part: slice = slice(None),
    ) -> Tensor:
        """Draw windows with equal probability and move each by a random symmetry operation.

        Parameters
        ----------
        batch : int
            Windows drawn in all.
        records : int
            L.
        random : torch.Generator
        spacing : int
            Records from one row of the window to the next.
        part : slice
            The windows of the batch that are returned (those of this rank).

        Returns
        -------
        Tensor, [B, L, k, 3]
            Positions, Angstrom, float64.

        Raises
        ------
        DataError
            If every run is shorter than a window.
        """
        ends = np.cumsum(self._valid(records, spacing))
        if ends[-1] == 0:
            need = (records - 1) * self.step_skip * spacing + 1
            raise DataError(
                f"the runs have {self.lengths.max()} frames, a window needs {need}",
                remedy="lower data.records, data.step_skip or critic.skips",
            )
        pick = torch.randint(int(ends[-1]), (batch,), generator=random).numpy()
        operation = torch.randint(len(self._rotations), (batch,), generator=random)
        backwards = torch.rand(batch, generator=random) < 0.5
        turn = self.symmetry.random_rotations(batch, random)
        sample = np.searchsorted(ends, pick, side="right")
        start = self._offsets[sample] + pick - np.concatenate([[0], ends[:-1]])[sample]
        rows = np.arange(records) * self.step_skip * spacing
        index = torch.from_numpy(start[part, None] + rows).to(self.device)
        window = self.positions[index]
        if self.symmetry.time_reversal:
            flag = backwards[part].to(self.device)[:, None, None, None]
            window = torch.where(flag, window.flip(1), window)
        chosen = operation[part].to(self.device)
        rotation = self._rotations[chosen]
        if turn is not None:
            rotation = turn[part].to(self.device) @ rotation
        moved = torch.einsum("bij,blkj->blki", rotation, window)
        return moved + self._translations[chosen][:, None, None, :]
