"""Records that state their own step or time, as those of most codes do, on one time line.

Steps need not be evenly apart: times follow them. Where the numbers go back, the positions tell
why: a restart repeats what is there already, or the numbers began anew and the run goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mdgan_hpc.convert.frames import Frames, TimedFrames
from mdgan_hpc.convert.motion import middle
from mdgan_hpc.convert.speeds import contradiction
from mdgan_hpc.convert.told import tell, tell_other_trajectory
from mdgan_hpc.convert.wrapping import nearest_image
from mdgan_hpc.errors import DataError
from mdgan_hpc.units import FS_PER_PS

#: Beyond this multiple of the usual displacement, and this length in Angstrom, atoms have jumped.
_JUMP, _JUMP_LENGTH = 10.0, 0.2
#: Within this multiple of the usual displacement a run goes on whose steps are numbered anew.
_GOES_ON = 4.0
#: Angstrom up to which a frame is the same again, in the digits of a text file.
_SAME = 2e-3


class TimeLine(Protocol):
    """Puts the records of a source on one time line.

    Attributes
    ----------
    notes : list of str
        What was recognised and needed no mending.
    seams : list of int
        Steps at which a start of the program went on.
    """

    notes: list[str]
    seams: list[int]

    def frames(
        self,
        pieces: Iterator[Frames],
        initial: tuple[np.ndarray, np.ndarray | None] | None = None,
    ) -> Iterator[TimedFrames]:
        """Yield the frames of the time line."""


@dataclass(frozen=True)
class StatedRules:
    """What is known of the numbers that the records state.

    Attributes
    ----------
    where : object
        The file, for messages.
    interval_fs : float
        Time of `usual` steps.
    usual : int
        Steps from one record to the next where nothing else happens.
    unwrapped : bool
        The file states the unwrapped path.
    renumbered : bool
        The code numbers the steps anew at every start: no reason for a warning.
    """

    where: object
    interval_fs: float
    usual: int = 1
    unwrapped: bool = False
    renumbered: bool = False


class StatedTimes:
    """A time line by the steps, or the times, that the records state (see `TimeLine`).

    Parameters
    ----------
    rules : StatedRules
    """

    def __init__(self, rules: StatedRules) -> None:
        self.rules = rules
        self.notes: list[str] = []
        self.seams: list[int] = []
        self._ps_per_step = rules.interval_fs / FS_PER_PS / rules.usual
        self._last: _Record | None = None
        self._offset = 0  # step of the time line - step stated
        self._time_offset = 0.0
        self._usual_move = 0.0  # median displacement from record to record, Angstrom
        self._skipped: list[int] = []  # records that repeat earlier ones
        self._kept = _Kept()
        self._uneven: list[str] = []
        self._compared = False  # velocities with the motion

    def frames(
        self,
        pieces: Iterator[Frames],
        initial: tuple[np.ndarray, np.ndarray | None] | None = None,
    ) -> Iterator[TimedFrames]:
        """Yield the frames of the time line.

        Raises
        ------
        DataError
            If there is no record.
        """
        for piece in pieces:
            if not len(piece):
                continue
            steps = piece.record if piece.steps is None else piece.steps
            moves = self._moves(piece)
            if not self._usual_move and len(moves) > 1:
                self._usual_move = middle(moves[1:])
            row = 0
            while row < len(piece):
                start = self._start(piece, steps, moves, row)
                if start is None:
                    self._tell(piece, row)
                    self._finish()
                    return
                if start == len(piece):
                    break
                row = self._plain_until(steps, moves, start)
                timed = self._timed(piece, steps, start, row)
                self._compare_velocities(timed)
                yield timed
        if self._last is None:
            raise DataError("holds no complete frame", where=self.rules.where)
        self._finish()

    def _moves(self, piece: Frames) -> np.ndarray:
        """Return the median displacement from the record before, [n], Angstrom; 0 for the first.

        The median, as some atoms of folded coordinates may cross the cell.
        """
        before = piece.positions[:1] if self._last is None else self._last.positions[None]
        moves = np.diff(piece.positions, axis=0, prepend=before)
        if not self.rules.unwrapped:
            moves = nearest_image(moves, piece.cells)
        return np.asarray(np.median(np.linalg.norm(moves, axis=2), axis=1))

    def _limit(self, ahead: np.ndarray | int) -> np.ndarray:
        """Return how far records may be apart that are some steps ahead, Angstrom."""
        intervals = np.maximum(np.asarray(ahead) / self.rules.usual, 1.0)
        return np.maximum(_JUMP * self._usual_move * intervals, _JUMP_LENGTH)

    def _plain_until(self, steps: np.ndarray, moves: np.ndarray, start: int) -> int:
        """Return the first row after `start` that does not simply come next."""
        ahead = np.diff(steps[start:])
        odd = ahead <= 0
        if self._usual_move:
            odd |= moves[start + 1 :] > self._limit(ahead)
        return start + 1 + int(np.argmax(odd)) if odd.any() else len(steps)

    def _start(self, piece: Frames, steps: np.ndarray, moves: np.ndarray, row: int) -> int | None:
        """Return the first row to use from `row` on; None to end the time line before it."""
        last = self._last
        if last is None:
            return row
        if self._skipped:
            return self._resume(piece, steps, row)
        number = int(steps[row]) + self._offset
        if number > last.step:
            far = self._usual_move and moves[row] > self._limit(number - last.step)
            return None if far else row
        frame = piece[row : row + 1]
        if self._kept.holds(number, frame, unwrapped=self.rules.unwrapped):
            return self._resume(piece, steps, row)
        known = self._kept.find(frame, unwrapped=self.rules.unwrapped)
        if known is not None:
            self._offset = known - int(steps[row])
            return self._resume(piece, steps, row)
        if self._usual_move and self._distance(piece, row) > self._near:
            return None
        self._renumber(piece, int(steps[row]), row)
        return row

    @property
    def _near(self) -> float:
        return max(_GOES_ON * self._usual_move, _JUMP_LENGTH)

    def _resume(self, piece: Frames, steps: np.ndarray, row: int) -> int | None:
        """Pass over records that are there already; None if they are not the same."""
        last = self._last
        assert last is not None
        while row < len(piece) and int(steps[row]) + self._offset <= last.step:
            number, one = int(steps[row]) + self._offset, piece[row : row + 1]
            if self._kept.holds(number, one, unwrapped=self.rules.unwrapped) is False:
                return None
            self._skipped.append(int(piece.record[row]))
            row += 1
        if row == len(piece):
            return row
        ahead = int(steps[row]) + self._offset - last.step
        if self._usual_move and self._distance(piece, row) > self._limit(ahead):
            return None
        self._tell_repeats()
        if piece.times_ps is not None:
            interval = ahead * self._ps_per_step
            self._time_offset = last.time_ps + interval - float(piece.times_ps[row])
        self._skipped = []
        self.seams.append(last.step)
        return row

    def _tell_repeats(self) -> None:
        first, end = self._skipped[0], self._skipped[-1]
        records = (
            f"record {first} repeats an earlier step and is"
            if first == end
            else (f"records {first} to {end} repeat earlier steps and are")
        )
        self._mend(f"{records} left out")
        self._tell_twin()

    def _tell_twin(self) -> None:
        """Tell where the last record has its own number and the atoms of an earlier one."""
        assert self._last is not None
        twin = self._kept.twin_of_last()
        if twin is not None:
            self._mend(f"step {self._last.step} has the positions of step {twin}")

    def _distance(self, piece: Frames, row: int) -> float:
        """Return the median displacement of a row from the last record, Angstrom."""
        assert self._last is not None
        move = (piece.positions[row] - self._last.positions)[None]
        if not self.rules.unwrapped:
            cells = None if piece.cells is None else piece.cells[row : row + 1]
            move = nearest_image(move, cells)
        return float(np.median(np.linalg.norm(move, axis=2)))

    def _renumber(self, piece: Frames, step: int, row: int) -> None:
        last = self._last
        assert last is not None
        text = (
            f"record {int(piece.record[row])} is numbered {step} after "
            f"{last.step - self._offset}, and its positions go on: counted on"
        )
        if self.rules.renumbered:
            self.notes.append(text)
        else:
            self._mend(text)
        # Torn records between them keep their place.
        ahead = self.rules.usual * max(1, int(piece.record[row]) - last.record)
        self._offset = last.step + ahead - step
        if piece.times_ps is not None:
            interval = ahead * self._ps_per_step
            self._time_offset = last.time_ps + interval - float(piece.times_ps[row])
        self.seams.append(last.step)

    def _timed(self, piece: Frames, steps: np.ndarray, a: int, b: int) -> TimedFrames:
        """Return the rows a to b, which come after the last record one by one."""
        numbers = steps[a:b] + self._offset
        if piece.times_ps is None:
            times = numbers * self._ps_per_step
        else:
            times = piece.times_ps[a:b] + self._time_offset
        before = numbers[0] - self.rules.usual if self._last is None else self._last.step
        ahead = np.diff(numbers, prepend=before)
        for row in np.flatnonzero(ahead != self.rules.usual):
            self._uneven.append(f"{ahead[row]} before step {numbers[row]}")
        if self._last is not None and (
            times[0] <= self._last.time_ps or (np.diff(times) <= 0).any()
        ):
            raise DataError(
                f"times do not increase at step {int(numbers[0])}", where=self.rules.where
            )
        self._kept.add(numbers, piece.positions[a:b])
        self._last = _Record(
            int(piece.record[b - 1]),
            int(numbers[-1]),
            float(times[-1]),
            piece.positions[b - 1].copy(),
        )
        rows = piece[a:b]
        return TimedFrames(
            numbers,
            times,
            rows.positions,
            rows.velocities,
            rows.cells,
            rows.forces,
            rows.observables,
        )

    def _compare_velocities(self, piece: TimedFrames) -> None:
        """Tell, once, where velocities and motion contradict each other."""
        if self._compared or piece.velocities is None or len(piece.steps) < 2:
            return
        self._compared = True
        moves = np.diff(piece.positions, axis=0)
        if not self.rules.unwrapped:
            moves = nearest_image(moves, None if piece.cells is None else piece.cells[1:])
        told = contradiction(moves, piece.velocities[:-1], np.diff(piece.times_ps))
        if told:
            self._mend(told)

    def _finish(self) -> None:
        if self._skipped:
            self._tell_repeats()
        if self._uneven:
            rules, n = self.rules, len(self._uneven)
            places = "1 place" if n == 1 else f"{n} places"
            self._mend(
                f"records are {rules.usual} steps ({rules.interval_fs:g} fs) apart, but not in "
                f"{places} (first: {self._uneven[0]}); times follow the steps"
            )

    def _tell(self, piece: Frames, row: int) -> None:
        record = self._skipped[0] if self._skipped else int(piece.record[row])
        self._skipped = []
        tell_other_trajectory(self.rules.where, record)
        self._tell_twin()

    def _mend(self, text: str) -> None:
        tell(self.rules.where, text)


@dataclass
class _Record:
    """The newest record of the time line."""

    record: int
    step: int
    time_ps: float
    positions: np.ndarray  # [N, 3]


class _Kept:
    """What is kept of every record to know it again: its step, and where two atoms are."""

    def __init__(self) -> None:
        self._steps: list[np.ndarray] = []
        self._places: list[np.ndarray] = []  # [n, 2, 3]

    def add(self, steps: np.ndarray, positions: np.ndarray) -> None:
        """Take in records with increasing steps [n], positions [n, N, 3]."""
        self._steps.append(np.array(steps))
        self._places.append(positions[:, [0, -1]].copy())

    def holds(self, step: int, frame: Frames, *, unwrapped: bool) -> bool | None:
        """Whether the record of that step is the one given; None if there is none."""
        for steps, places in zip(reversed(self._steps), reversed(self._places), strict=True):
            if steps[0] <= step <= steps[-1]:
                row = int(np.searchsorted(steps, step))
                if steps[row] != step:
                    return None
                away = frame.positions[:, [0, -1]] - places[row]
                if not unwrapped:
                    away = nearest_image(away, frame.cells)
                return bool(np.abs(away).max() < _SAME)
        return None

    def twin_of_last(self) -> int | None:
        """Return the step of another record that has the positions of the last; None without one.

        Where the one before has them too, the atoms stand still.
        """
        steps, places = (np.concatenate(kept) for kept in (self._steps, self._places))
        same = np.abs(places[:-1] - places[-1]).max(axis=(1, 2)) < _SAME
        return int(steps[:-1][same][-1]) if same.any() and not same[-1] else None

    def find(self, frame: Frames, *, unwrapped: bool) -> int | None:
        """Return the step of a record with the same positions, the newest; None without one."""
        for steps, places in zip(reversed(self._steps), reversed(self._places), strict=True):
            away = frame.positions[:, [0, -1]] - places
            if not unwrapped:
                cells = None if frame.cells is None else frame.cells[0]
                away = nearest_image(away, cells)
            same = np.flatnonzero(np.abs(away).max(axis=(1, 2)) < _SAME)
            if len(same):
                return int(steps[same[-1]])
        return None
