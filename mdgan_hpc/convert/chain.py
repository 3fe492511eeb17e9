"""Records of a file, with its restarts, into one time line.

SIESTA appends to its files at every start, and numbers the steps anew. Whether a start goes on
where the last one ended is read from the positions: they must go on as the last two did.

A record of step s in `.MD`, `.MD.nc`, `.ANI` and `.MD_CAR` holds the positions and the cell of
step s + 1, but velocities, temperature and energies of step s. Here they are brought together, so
that everything in one stored frame is of the same instant; the last frame has no velocities.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from mdgan_hpc.convert.frames import Frames, TimedFrames
from mdgan_hpc.convert.motion import goes_on, middle, rms
from mdgan_hpc.convert.told import tell, tell_other_trajectory
from mdgan_hpc.convert.wrapping import lattice_jumps
from mdgan_hpc.errors import DataError
from mdgan_hpc.units import FS_PER_PS

#: Beyond this multiple of the usual displacement, and this length in Angstrom, atoms have jumped.
_JUMP, _JUMP_LENGTH = 10.0, 0.2
#: Positions count as the same within this part of the usual displacement.
_SAME = 0.5
#: Only records that moved by more than this multiple of the usual can be the first one again.
_AGAIN = 1.5
#: Relative difference from which a time step seen in the velocities counts as another one.
_TIME_STEP_DIFFERS = 0.02
_TIME_STEP_RECORDS = 64


@dataclass
class ChainRules:
    """What the chain must know of the run.

    Attributes
    ----------
    where : object
        The folder, for messages.
    ahead : int
        Steps by which positions are ahead of the rest of their record.
    first_step : int
        Step of the first record where the file does not tell.
    time_steps_fs : list of float
        Of each start of the program; the last holds for all further ones.
    given_time_step : bool
        The user gave it: velocities only raise a warning.
    velocities_tell_time : bool
        Velocities are exactly (x[s+1] - x[s-1]) / 2 dt: Verlet and Nose at constant cell.
    dynamics : bool
        Not a relaxation, whose steps have no usual length.
    appended : bool
        Every start of the program appends to the file, as SIESTA does.
    cell : array, [3, 3], or None
        To recognise jumps across the cell.
    """

    where: object
    ahead: int = 1
    first_step: int = 1
    time_steps_fs: list[float] = field(default_factory=lambda: [1.0])
    given_time_step: bool = False
    velocities_tell_time: bool = False
    dynamics: bool = True
    appended: bool = True
    cell: np.ndarray | None = None


@dataclass
class _Last:
    """The newest record of the chain: its motion is in the record that comes next."""

    frame: Frames  # of length 1
    step: int
    time_ps: float
    raw: int
    before: np.ndarray | None  # positions one step earlier, [N, 3]


class Chain:
    """Puts records on one time line.

    Attributes
    ----------
    notes : list of str
        What was recognised and needed no mending.
    seams : list of int
        Steps at which a start of the program went on.
    """

    def __init__(self, rules: ChainRules) -> None:
        self.rules = rules
        self.notes: list[str] = []
        self.seams: list[int] = []
        self._last: _Last | None = None
        self._raw = 0  # step number of the newest record seen
        self._record = -1
        self._usual = 0.0  # root mean square displacement in one step, Angstrom
        self._first: np.ndarray | None = None
        self._stride = 1  # steps from the newest record to the next
        self._start = 0  # starts of the program so far
        self._dt_ps = rules.time_steps_fs[0] / FS_PER_PS
        self._skips_first = False
        self._skipped: list[int] = []  # records passed over since a repetition began

    def frames(
        self,
        pieces: Iterator[Frames],
        initial: tuple[np.ndarray, np.ndarray | None] | None = None,
    ) -> Iterator[TimedFrames]:
        """Yield the frames of the time line.

        Parameters
        ----------
        pieces : iterator of Frames
        initial : (positions [N, 3], cell [3, 3] or None), optional
            Geometry of the step before the first record's.

        Raises
        ------
        DataError
            If there is no record.
        """
        for piece in pieces:
            if not len(piece):
                continue
            raw = self._raw_steps(piece)
            moved = self._moves(piece)
            if not self._usual and len(moved) > 1:
                self._usual = middle(moved[1:])
            if self._first is None:
                self._first = piece.positions[0].copy()
            if self._last is None and initial is not None:
                self._set_initial(piece, int(raw[0]), *initial)
            events = self._events(piece, raw, moved)
            edges = [*events, len(piece)]
            if not events or events[0] != 0:
                edges = [0, *edges]
            for a, b in pairwise(edges):
                is_event = a in events or self._last is None or bool(self._skipped)
                found = self._event(piece, raw, a, b) if is_event else a
                if found is None:
                    self._told_other(int(piece.record[a]))
                    yield from self._ending()
                    return
                if found < b:
                    yield from self._extend(piece, raw, found, b)
                self._raw, self._record = int(raw[b - 1]), int(piece.record[b - 1])
            if len(moved) > 1:
                self._usual = middle(moved[1:])
        if self._last is None:
            raise DataError("holds no complete frame", where=self.rules.where)
        if self._skipped and self._skips_first:
            self._mend(
                f"records {self._skipped[0]} to {self._skipped[-1]} repeat the first steps and "
                "are left out"
            )
        elif self._skipped:
            self._told_other(self._skipped[0])
        yield from self._ending()

    def _raw_steps(self, piece: Frames) -> np.ndarray:
        if piece.steps is not None:
            return piece.steps
        if self._record < 0:
            return piece.record + self.rules.first_step
        return self._raw + piece.record - self._record

    def _moves(self, piece: Frames) -> np.ndarray:
        """Return the root mean square displacement from the record before, [n]; 0 for the first."""
        before = piece.positions[:1] if self._last is None else self._last.frame.positions
        moves = np.diff(piece.positions, axis=0, prepend=before)
        return np.asarray(np.sqrt(np.einsum("tni,tni->t", moves, moves) / moves.shape[1]))

    def _events(self, piece: Frames, raw: np.ndarray, moved: np.ndarray) -> list[int]:
        """Return the rows before which something other than one step happened."""
        before = self._raw if self._record >= 0 else int(raw[0]) - 1
        odd = np.diff(raw, prepend=before) != 1
        record = self._record if self._record >= 0 else int(piece.record[0]) - 1
        odd |= np.diff(piece.record, prepend=record) != 1
        if self.rules.dynamics:
            odd |= moved > max(_JUMP * self._usual, _JUMP_LENGTH)
            if self.rules.appended and piece.steps is None:
                for row in np.flatnonzero(moved > _AGAIN * self._usual):
                    odd[row] |= self._begins_again(piece, int(row))
        return [int(row) for row in np.flatnonzero(odd)]

    def _set_initial(
        self, piece: Frames, raw: int, positions: np.ndarray, cell: np.ndarray | None
    ) -> None:
        distance = rms(piece.positions[0] - positions)
        if self.rules.dynamics and distance > max(_JUMP * self._usual, _JUMP_LENGTH):
            raise DataError(
                f"the first geometry told by the input is {distance:.3g} Angstrom from the first "
                "record: it is not the step before it",
                where=self.rules.where,
                remedy="leave --include-initial away",
            )
        frame = piece[:1]
        frame.positions = positions[None].astype(np.float64)
        if frame.cells is not None:
            frame.cells = np.full((1, 3, 3), np.nan) if cell is None else cell[None]
        step = raw + self.rules.ahead - 1
        self._check_time_step(piece, 0, len(piece))
        self._last = _Last(frame, step, step * self._dt_ps, raw - 1, None)
        self._raw, self._record = raw - 1, int(piece.record[0]) - 1

    def _event(self, piece: Frames, raw: np.ndarray, a: int, b: int) -> int | None:
        """Decide how the rows a to b go on; return the first to use, None to end the chain."""
        last = self._last
        if last is None:
            self._check_time_step(piece, a, b)
            step = int(raw[a]) + self.rules.ahead
            self._last = _Last(piece[a : a + 1], step, step * self._dt_ps, int(raw[a]), None)
            return a + 1
        if self._skipped:
            return self._rejoin(piece, raw, a, b)
        ahead = int(raw[a]) - self._raw
        lost = int(piece.record[a]) - self._record - 1
        x, xp = piece.positions[a], last.frame.positions[0]
        repeat = self._distance(x, xp)
        usual = self._usual or repeat
        if not self.rules.dynamics:
            if ahead < 1:
                self._mend(
                    f"step {int(raw[a])} follows step {self._raw} at record "
                    f"{int(piece.record[a])}; counted on"
                )
            return self._go_on(1 if ahead < 1 else ahead, a)
        if ahead == 1 and lost == 0:
            if self.rules.appended and piece.steps is None and self._is_first(x):
                return self._begin_skip(piece, raw, a, b)
            if repeat <= max(_JUMP * usual, _JUMP_LENGTH):
                return a  # an atom crossed the cell
            return None
        if ahead == lost + 1:
            self._told_gap(lost, int(raw[a]), "are torn")
            return self._go_on(ahead, a)
        continues = self._continues(x, lost + 1)
        if ahead > 1:
            if continues:
                self._new_start(piece, a, b)
                self._note(f"step numbers jump from {self._raw} to {int(raw[a])} without a gap")
                return self._go_on(1, a)
            self._told_gap(ahead - 1, int(raw[a]), "are missing")
            return self._go_on(ahead, a)
        # Numbered anew: a restart.
        if continues:
            self._new_start(piece, a, b)
            self._note(
                f"restart at record {int(piece.record[a])}, step {last.step + lost + 1}: goes on "
                + (f"after {lost} torn records" if lost else "without a gap")
            )
            return self._go_on(lost + 1, a)
        if repeat < _SAME * usual:
            self._mend(
                f"restart from .XV alone at record {int(piece.record[a])}: it repeats step "
                f"{last.step} ({repeat:.2g} Angstrom away), which is taken from the new start"
            )
            self._new_start(piece, a, b)
            self._replace(piece[a : a + 1], int(raw[a]))
            return a + 1
        return self._begin_skip(piece, raw, a, b)

    def _is_first(self, x: np.ndarray) -> bool:
        return self._first is not None and self._distance(x, self._first) <= _SAME * self._usual

    def _begins_again(self, piece: Frames, row: int) -> bool:
        """Whether a row is the first record again, and not only passed by in a motion."""
        last = self._last
        track = [] if last is None else [last.before, last.frame.positions[0]]
        track = [x for x in track if x is not None] + list(
            piece.positions[max(row - 2, 0) : row + 1]
        )
        if len(track) > 2 and goes_on(track[-2] - track[-3], track[-1] - track[-2]):
            return False
        return self._is_first(piece.positions[row])

    def _continues(self, x: np.ndarray, n_steps: int) -> bool:
        """Whether `x` lies where the last two records point to, `n_steps` on."""
        last = self._last
        if last is None or last.before is None:
            return False
        move = self._move(x, last.frame.positions[0])
        pace = self._move(last.frame.positions[0], last.before)
        return bool(goes_on(pace * n_steps, move))

    def _begin_skip(self, piece: Frames, raw: np.ndarray, a: int, b: int) -> int | None:
        self._skipped = [int(piece.record[a])]
        self._skips_first = self._is_first(piece.positions[a])
        return self._rejoin(piece, raw, a, b)

    def _rejoin(self, piece: Frames, raw: np.ndarray, a: int, b: int) -> int | None:
        """Look in the rows a to b for the record that the chain ended with."""
        last = self._last
        assert last is not None
        distance = np.array(
            [self._distance(x, last.frame.positions[0]) for x in piece.positions[a:b]]
        )
        same = np.flatnonzero(distance <= _SAME * self._usual + 1e-9)
        if len(same):
            at = a + int(same[0])
            self._skipped.append(int(piece.record[at]))
            self._mend(
                f"records {self._skipped[0]} to {self._skipped[-1]} repeat earlier steps and "
                "are left out"
            )
            self._skipped = []
            self._new_start(piece, at, b)
            self._replace(piece[at : at + 1], int(raw[at]))
            return at + 1
        self._skipped.append(int(piece.record[b - 1]))
        if piece.steps is not None and int(raw[b - 1]) > last.raw:
            self._skipped = self._skipped[:1]
            return None
        return b

    def _replace(self, frame: Frames, raw: int) -> None:
        last = self._last
        assert last is not None
        self._last = _Last(frame, last.step, last.time_ps, raw, None)

    def _go_on(self, ahead: int, a: int) -> int:
        """Note how many steps lie between the last record and row a."""
        self._stride = ahead
        return a

    def _extend(self, piece: Frames, raw: np.ndarray, a: int, b: int) -> Iterator[TimedFrames]:
        """Append the rows a to b, which follow each other step by step."""
        last = self._last
        assert last is not None
        stride, self._stride = self._stride, 1
        steps = last.step + stride + np.arange(b - a)
        times = last.time_ps + self._dt_ps * (stride + np.arange(b - a))
        # The motion of the last record is known only if the very next record is there.
        known = stride == 1
        yield self._paired(
            last.frame,
            piece[a : a + 1] if known else None,
            np.array([last.step]),
            np.array([last.time_ps]),
        )
        if b - a > 1:
            rows = piece[a : b - 1]
            yield self._paired(rows, piece[a + 1 : b], steps[:-1], times[:-1])
        before = (
            piece.positions[b - 2]
            if b - a > 1
            else (last.frame.positions[0] if stride == 1 else None)
        )
        self._last = _Last(
            piece[b - 1 : b], int(steps[-1]), float(times[-1]), int(raw[b - 1]), before
        )

    def _paired(
        self, places: Frames, motion: Frames | None, steps: np.ndarray, times: np.ndarray
    ) -> TimedFrames:
        if not self.rules.ahead:
            motion = places
        told = places if motion is None else motion

        def known(values: Any) -> Any:
            return np.full_like(values, np.nan) if motion is None and values is not None else values

        return TimedFrames(
            steps,
            times,
            places.positions,
            known(told.velocities),
            places.cells,
            known(told.forces),
            {name: known(values) for name, values in told.observables.items()},
        )

    def _ending(self) -> Iterator[TimedFrames]:
        last = self._last
        assert last is not None
        yield self._paired(last.frame, None, np.array([last.step]), np.array([last.time_ps]))

    def _move(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the nearest-image displacement from y to x, [N, 3]."""
        move = np.asarray(x - y)
        if self.rules.cell is None:
            return move
        return np.asarray(move - lattice_jumps(move, self.rules.cell) @ self.rules.cell)

    def _distance(self, x: np.ndarray, y: np.ndarray) -> float:
        return rms(self._move(x, y))

    def _new_start(self, piece: Frames, a: int, b: int) -> None:
        assert self._last is not None
        self._start += 1
        self.seams.append(self._last.step)
        steps = self.rules.time_steps_fs
        new = steps[min(self._start, len(steps) - 1)] / FS_PER_PS
        if new != self._dt_ps:
            self._note(
                f"time step changes from {self._dt_ps * FS_PER_PS:g} to {new * FS_PER_PS:g} fs at "
                f"step {self._last.step}"
            )
        self._dt_ps = new
        self._check_time_step(piece, a, b)

    def _check_time_step(self, piece: Frames, a: int, b: int) -> None:
        """Compare with v[s] = (x[s] - x[s-2]) / 2 dt of the records after a start."""
        v = piece.velocities
        b = min(b, a + _TIME_STEP_RECORDS)
        if v is None or not self.rules.velocities_tell_time or b - a < 3:
            return
        x = piece.positions[a:b]
        v = v[a + 2 : b]
        square = 2.0 * float(np.einsum("tni,tni->", v, v))
        if not np.isfinite(square) or square == 0.0:
            return
        seen = float(np.einsum("tni,tni->", x[2:] - x[:-2], v)) / square
        if seen > 0 and abs(seen / self._dt_ps - 1.0) > _TIME_STEP_DIFFERS:
            seen = float(f"{seen:.5g}")
            used = "used as given" if self.rules.given_time_step else "the velocities are followed"
            self._mend(
                f"velocities from record {int(piece.record[a])} on show a time step of "
                f"{seen * FS_PER_PS:g} fs, the input says {self._dt_ps * FS_PER_PS:g} fs; {used}"
            )
            if not self.rules.given_time_step:
                self._dt_ps = seen

    def _told_gap(self, lost: int, raw: int, what: str) -> None:
        self._mend(
            f"{lost} record{'s' if lost > 1 else ''} before step {raw} {what}; times keep the gap"
        )

    def _told_other(self, record: int) -> None:
        tell_other_trajectory(self.rules.where, self._skipped[0] if self._skipped else record)

    def _note(self, text: str) -> None:
        self.notes.append(text)

    def _mend(self, text: str) -> None:
        tell(self.rules.where, text)
