"""Training windows: resident on the device, drawn at random, moved by symmetry operations."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.errors import DataError
from mdgan_hpc.models.base import Window


def random_rotations(n: int, rng: torch.Generator) -> Tensor:
    """Return uniform rotations with reflections, [n, 3, 3], float64."""
    q, r = torch.linalg.qr(torch.randn(n, 3, 3, generator=rng, dtype=torch.float64))
    signs: Tensor = torch.sign(torch.diagonal(r, dim1=1, dim2=2))
    rotations: Tensor = q * signs[:, None, :]
    return rotations


@dataclass(frozen=True)
class _Described:
    """Neighbour descriptors of windows, put together where they are asked for (`Described`).

    Attributes
    ----------
    known : Tensor, [all frames of all particles, A, 4]
    index : Tensor, [B, L, k]
        Where in `known` they are.
    rotation : Tensor, [B, 3, 3]
    """

    known: Tensor
    index: Tensor
    rotation: Tensor

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        windows, records = key
        found = self.known[self.index[windows, records]]
        vectors = torch.einsum("bij,blkaj->blkai", self.rotation[windows], found[..., :3])
        return torch.cat([vectors, found[..., 3:]], -1)


def _by_particle(run: np.ndarray) -> np.ndarray:
    """Return positions [T, N, 3] particle after particle, [N T, 3]."""
    return np.asarray(run.swapaxes(0, 1).reshape(-1, 3), np.float64)


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
        k.
    symmetry : Symmetry
        Operations that a window may be moved by.
    grouping : str
        ``file``: k particles that follow each other, N must be a multiple of k; ``nearest``: each
        particle with the k - 1 that are nearest to it where the window begins, nearest first.
    cell : array [3, 3], optional
        For the distance to the nearest image, Angstrom.
    neighbours, neighbours_backwards : sequence of array, [T, N, A, 4], optional
        What the particles of each run see around them (`mdgan_hpc.models.media`), and what where
        time runs backwards, if that is another.
    temperature_k : sequence of float, optional
        Of each run, where they are at several.
    medium : sequence of int
        Of each run, where there are media.
    species : sequence of array, [N]
        Which species the particles of each run are, where there are several.
    inertial : sequence of array, [T, N, 3]
        The runs in the frame of the centre of mass of all atoms, where the framework recoils.

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
        grouping: str = "file",
        cell: np.ndarray | None = None,
        neighbours: Sequence[np.ndarray] | None = None,
        neighbours_backwards: Sequence[np.ndarray] | None = None,
        temperature_k: Sequence[float] | None = None,
        medium: Sequence[int] = (),
        species: Sequence[np.ndarray] = (),
        inertial: Sequence[np.ndarray] = (),
    ) -> None:
        self.step_skip, self.device = step_skip, device
        self._runs, self._cell = list(runs), cell
        self._run_kelvin, self._run_medium = temperature_k, medium
        self._group_by(particles_per_sample, grouping)
        # [all frames of all particles, 3]
        self.positions = torch.from_numpy(np.concatenate([*map(_by_particle, runs)])).to(device)
        self._inertial = None
        if inertial:
            self._inertial = torch.from_numpy(np.concatenate([*map(_by_particle, inertial)])).to(
                device
            )
        self._neighbours = None
        self._backwards = 0  # where in it those lie that windows see backwards in time
        if neighbours is not None:
            every = [*neighbours, *(neighbours_backwards or ())]
            described = [d.swapaxes(0, 1).reshape(-1, *d.shape[2:]) for d in every]
            self._neighbours = torch.from_numpy(np.concatenate(described)).to(device)
            self._backwards = 0 if neighbours_backwards is None else len(self.positions)
        self._species = np.concatenate(species) if species else None
        self._move_by(symmetry)

    def _group_by(self, k: int, grouping: str) -> None:
        self.k, self._nearest = k, grouping == "nearest" and k > 1
        lengths, owners = [], []
        for number, run in enumerate(self._runs):
            n_frames, n_particles, _ = run.shape
            if n_particles < k or (not self._nearest and n_particles % k):
                raise DataError(
                    f"{n_particles} particles cannot be grouped by {k}",
                    remedy="set generator.particles_per_sample to a divisor of their number",
                )
            n_samples = n_particles if self._nearest else n_particles // k
            lengths += [n_frames] * n_samples
            owners += [(number, i if self._nearest else i * k) for i in range(n_samples)]
        self.lengths = np.array(lengths)
        # Of each sample: its run, its first particle, and where the run begins in `positions`.
        self._run, self._particle = np.array(owners).T
        self._kelvin = self._medium = None
        if self._run_kelvin is not None:
            kelvin = torch.tensor(self._run_kelvin, dtype=torch.float32)
            self._kelvin = kelvin[self._run].to(self.device)
        if self._run_medium:
            self._medium = torch.tensor(self._run_medium)[self._run].to(self.device)
        frames = [run.shape[0] * run.shape[1] for run in self._runs]
        particles = [run.shape[1] for run in self._runs]
        self._begin = np.cumsum([0, *frames[:-1]])[self._run]
        self._first = np.cumsum([0, *particles[:-1]])[self._run]  # of its particles among all

    def with_grouping(self, particles_per_sample: int, grouping: str) -> Self:
        """Return windows of the same data, which they share, of other groups of particles."""
        other = copy.copy(self)
        other._group_by(particles_per_sample, grouping)
        return other

    def _move_by(self, symmetry: Symmetry) -> None:
        self.symmetry = symmetry
        self._rotations = torch.from_numpy(symmetry.rotations).to(self.device)
        self._translations = torch.from_numpy(symmetry.translations).to(self.device)

    def with_symmetry(self, symmetry: Symmetry) -> Self:
        """Return the same windows, moved by other operations."""
        other = copy.copy(self)
        other._move_by(symmetry)
        return other

    def count(self, records: int, spacing: int = 1) -> int:
        """Return the number of (overlapping) windows of this many records."""
        return int(self._valid(records, spacing).sum())

    def _valid(self, records: int, spacing: int) -> np.ndarray:
        valid: np.ndarray = np.maximum(self.lengths - (records - 1) * self.step_skip * spacing, 0)
        return valid

    def draw(
        self,
        batch: int,
        records: int,
        rng: torch.Generator,
        *,
        spacing: int = 1,
        part: slice = slice(None),
    ) -> Window:
        """Draw windows with equal probability and move each by a random symmetry operation.

        Parameters
        ----------
        batch : int
            Windows drawn in all.
        records : int
            L.
        rng : torch.Generator
        spacing : int
            Records from one row of the window to the next.
        part : slice
            The windows of the batch that are returned (those of this rank).

        Returns
        -------
        Window
            Of B windows: positions [B, L, k, 3], neighbours [B, L, k, A, 4] where they are known.

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
                remedy="lower data.records, data.step_skip or phase.adversarial.strides",
            )
        pick = torch.randint(int(ends[-1]), (batch,), generator=rng).numpy()
        if self._kelvin is not None:
            pick.sort()  # a generator is quick with windows of one temperature after another
        operation = torch.randint(len(self._rotations), (batch,), generator=rng)
        backwards = torch.rand(batch, generator=rng) < 0.5
        turn = random_rotations(batch, rng) if self.symmetry.isotropic else None
        sample = np.searchsorted(ends, pick, side="right")
        start = pick - np.concatenate([[0], ends[:-1]])[sample]
        index = self._index(sample[part], start[part], np.arange(records) * spacing)
        seen = index
        if self.symmetry.time_reversal:
            flag = backwards[part].to(self.device)[:, None, None]
            index = torch.where(flag, index.flip(1), index)
            seen = torch.where(flag, index + self._backwards, index)
        chosen = operation[part].to(self.device)
        rotation = self._rotations[chosen]
        if turn is not None:
            rotation = turn[part].to(self.device) @ rotation
        moved = torch.einsum("bij,blkj->blki", rotation, self.positions[index])
        moved = moved + self._translations[chosen][:, None, None, :]
        kelvin = None if self._kelvin is None else self._kelvin[sample[part]]
        medium = None if self._medium is None else self._medium[sample[part]]
        described = None
        if self._neighbours is not None:
            described = _Described(self._neighbours, seen, rotation.float())
        inertial = None
        if self._inertial is not None:
            inertial = torch.einsum("bij,blkj->blki", rotation, self._inertial[index])
        species = self._species_of(sample[part], start[part])
        return Window(moved, described, kelvin, medium, species, inertial)

    def _species_of(self, sample: np.ndarray, start: np.ndarray) -> Tensor | None:
        """Return the species [B, k] of the particles of windows; None where there is one."""
        if self._species is None:
            return None
        which = self._species[self._first[sample, None] + self._members(sample, start)]
        return torch.from_numpy(which).to(self.device)

    def _index(self, sample: np.ndarray, start: np.ndarray, rows: np.ndarray) -> Tensor:
        """Return where in `positions` windows lie [B, L, k] that begin at frames [B].

        `rows` [L] are their records, from the first.
        """
        frames = start[:, None] + rows * self.step_skip
        firsts = (
            self._begin[sample, None] + self._members(sample, start) * (self.lengths[sample, None])
        )
        return torch.from_numpy(frames[:, :, None] + firsts[:, None, :]).to(self.device)

    def _members(self, sample: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Return the particles [B, k] of samples [B] for windows that begin at frames [B]."""
        first = self._particle[sample]
        if not self._nearest:
            return np.asarray(first[:, None] + np.arange(self.k))
        members = np.empty((len(sample), self.k), int)
        for b, (run, f, i) in enumerate(zip(self._run[sample], frame, first, strict=True)):
            there = self._runs[run][f]
            apart = there - there[i]
            if self._cell is not None:
                fraction = apart @ np.linalg.inv(self._cell)
                apart = (fraction - np.round(fraction)) @ self._cell
            squared = (apart**2).sum(-1)
            squared[i] = -1.0  # itself comes first
            members[b] = np.argsort(squared, kind="stable")[: self.k]
        return members
