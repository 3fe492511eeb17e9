"""Standard outputs beside a trajectory: what they print of each of its records.

An output is written anew at every start of the program, often over the last one, and may be lost;
the trajectory is appended to. So the records that an output goes with are found from the positions
it started from, which it prints before the first step. Either they are those of a record, and the
output begins with the next one; or no record holds them, as at the very beginning, and they go on
into the first record of a new motion.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from mdgan_hpc.convert.frames import Frames
from mdgan_hpc.convert.motion import goes_on
from mdgan_hpc.convert.sources.siesta.constants import Constants
from mdgan_hpc.convert.sources.siesta.out import ENERGIES, Output, OutStep
from mdgan_hpc.errors import DataWarning

#: Angstrom up to which a start, printed in Bohr with five decimals, is a record of the trajectory.
_SAME = 5e-6


def prints_forces(outputs: list[Output]) -> bool:
    """Whether the first step of an output has its forces (`WriteForces`)."""
    return any(step.forces is not None for output in outputs for step in output.begin())


class Outputs:
    """Energies and forces that outputs print, paired with the records of a trajectory.

    Parameters
    ----------
    outputs : list of Output
        In the order in which they were started.
    constants : Constants
    energies, forces : bool
        What to take from them.
    dynamics : bool
        Whether the steps follow each other smoothly. Otherwise, as where an output does not tell
        where it started, the first output begins with the first record, the next where it ends.
    """

    def __init__(
        self,
        outputs: list[Output],
        constants: Constants,
        *,
        energies: bool,
        forces: bool,
        dynamics: bool,
    ) -> None:
        self._waiting, self._unused = list(outputs), list[Output]()
        self._steps_of = {output.path: output.steps() for output in outputs}
        self._bohr = constants.angstrom_per_bohr
        self._energies, self._forces = energies, forces
        self._dynamics = dynamics and all(output.head.start is not None for output in outputs)
        self._where = outputs[0].path.parent
        self._steps: Iterator[OutStep] = iter(())
        self._next: OutStep | None = None  # the step that is not paired yet
        self._offset = 0  # step - record
        self._without_step = self._without_record = 0
        self._before = np.zeros((0, 0, 3))  # positions of the last records before the piece

    def add_to(self, frames: Iterator[Frames]) -> Iterator[Frames]:
        """Yield the frames with what the outputs print of them, NaN where they do not."""
        piece = next(frames, None)
        while piece is not None:
            following = next(frames, None)
            self._add(piece, following)
            yield piece
            piece = following
        self._finish()

    def _add(self, piece: Frames, following: Frames | None) -> None:
        n_atoms = piece.positions.shape[1]
        starts = self._starts(piece, following) if self._waiting else {}
        values = np.full((len(piece), len(ENERGIES)), np.nan)
        forces = np.full(piece.positions.shape, np.nan) if self._forces else None
        steps = np.full(len(piece), -1)
        for row, record in enumerate(piece.record):
            if row in starts:
                self._begin(starts[row], int(record))
            elif self._next is None and self._waiting and not self._dynamics:
                self._begin(self._waiting[0], int(record))
            wanted = int(record) + self._offset if piece.steps is None else int(piece.steps[row])
            step = self._step(wanted)
            if step is None:
                self._without_step += 1
                continue
            steps[row] = step.step
            values[row] = [step.values.get(name, np.nan) for name in ENERGIES]
            if forces is not None:
                forces[row] = step.forces_of(n_atoms)
        if self._energies:
            told = dict(zip(ENERGIES, values.T, strict=True))
            piece.observables = {**piece.observables, **told}
            if piece.steps is None and (steps >= 0).all():
                piece.steps = steps
        piece.forces = forces

    def _starts(self, piece: Frames, following: Frames | None) -> dict[int, Output]:
        """Return the outputs that begin in the piece, by the row they begin with."""
        x = piece.positions
        after = x[:0] if following is None else following.positions[:1]
        before = self._before.reshape(-1, *x.shape[1:])
        self._before = np.concatenate([before, x])[-2:].copy()
        if len(before) + len(x) + len(after) < 2:
            self._dynamics = False  # a single record does not tell where it comes from
        track = np.concatenate([before, x, after])
        moves = np.diff(track, axis=0)
        own = slice(len(before), len(before) + len(x))
        is_seam = np.ones(len(track), bool)
        is_seam[1:2] = False
        is_seam[2:] = ~goes_on(moves[:-1], moves[1:])
        starts: dict[int, Output] = {}
        last = -1
        for output in self._waiting:
            start = output.head.start
            if start is None or not self._dynamics or len(start) != x.shape[1]:
                continue
            away = track - start * self._bohr
            begins = np.zeros(len(track), bool)
            begins[1:] = np.abs(away[:-1]).max(axis=(1, 2)) < _SAME
            begins[:-1] |= is_seam[:-1] & goes_on(away[:-1], moves)
            rows = np.flatnonzero(begins[own])
            rows = rows[rows > last]
            if len(rows):
                last = int(rows[0])
                starts[last] = output
        return starts

    def _begin(self, output: Output, record: int) -> None:
        """Go on with an output, which begins at this record."""
        self._without_record += self._left()
        place = self._waiting.index(output)
        self._unused += self._waiting[:place]
        self._waiting = self._waiting[place + 1 :]
        self._where = output.path.parent
        self._steps = self._steps_of.pop(output.path)
        self._next = next(self._steps, None)
        if self._next is not None:
            self._offset = self._next.step - record

    def _left(self) -> int:
        count = sum(1 for _ in self._steps) + (self._next is not None)
        self._steps, self._next = iter(()), None
        return count

    def _step(self, wanted: int) -> OutStep | None:
        """Return the step of that number; those before it have no record."""
        while self._next is not None and self._next.step < wanted:
            self._without_record += 1
            self._next = next(self._steps, None)
        if self._next is None or self._next.step != wanted:
            return None
        found, self._next = self._next, next(self._steps, None)
        return found

    def _finish(self) -> None:
        for output in self._unused + self._waiting:
            warnings.warn(
                f"{output.path}: started from positions that are not in the trajectory; it is not "
                "used",
                DataWarning,
                stacklevel=3,
            )
        left = self._without_record + self._left()
        told = []
        if self._without_step:
            told.append(f"records in no output: {self._without_step}")
        if left:
            told.append(f"steps of the outputs in no record: {left}")
        if told and not self._unused + self._waiting:
            warnings.warn(f"{self._where}: {', '.join(told)}", DataWarning, stacklevel=3)
