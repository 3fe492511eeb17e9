"""Stopping on request: signals and a wall-time limit set a flag that the work looks at.

Work that cannot be saved half done is ended by the same signals as by a Ctrl-C.
"""

import _thread
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from mdgan_hpc.errors import SignalledInterrupt, UsageError

_log = logging.getLogger(__name__)
#: A launcher passes on the Ctrl-C that the terminal sends to all: within this time it is the same.
_SAME_KEY_S = 1.0
#: Until a signal that was not heard is sent again.
_AGAIN_S = 0.01
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals that would end the process at once raise `SignalledInterrupt` instead.

    So temporary files go and ranks end together. Signals that are ignored (nohup) or handled stay
    so; those that follow within a second are copies of a launcher's. Where Python ignores what is
    raised (finalizers, callbacks of weak references), the signal is sent again, as a Ctrl-C is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last = -math.inf

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > _SAME_KEY_S:
            raise SignalledInterrupt(number)

    def ignored(told: "sys.UnraisableHookArgs") -> None:
        nonlocal last
        if not isinstance(told.exc_value, KeyboardInterrupt):
            before_us(told)
            return
        last = -math.inf
        number = getattr(told.exc_value, "number", signal.SIGINT)
        # Not before this function ends, which would not hear it either: `threading` waits in it
        # for its threads to begin, on a busy machine for longer.
        here = _thread.allocate_lock()
        here.acquire()
        _thread.start_new_thread(_send_again, (number, here))
        here.release()

    before_us, sys.unraisablehook = sys.unraisablehook, ignored
    ours = [n for n in _ENDING if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        sys.unraisablehook = before_us


def _send_again(number: int, busy: _thread.LockType) -> None:
    with busy:
        pass
    time.sleep(_AGAIN_S)
    os.kill(os.getpid(), number)


class StopRequest:
    """Becomes true once the process was asked to end; use as a context manager.

    Ctrl-C (SIGINT), SIGTERM, SIGUSR2 (Slurm's ``--signal=USR2@300``; NCCL may take USR1) and, where
    given, the wall-time limit count. The work goes on to the next place where it can save, and asks
    there. A second Ctrl-C ends it at once, by `KeyboardInterrupt`.

    Parameters
    ----------
    wall_time_min : float, optional
        Minutes after which the work should end by itself.

    Raises
    ------
    UsageError
        If it is negative or not finite.
    """

    def __init__(self, wall_time_min: float | None = None) -> None:
        if wall_time_min is not None and not 0 <= wall_time_min < math.inf:
            raise UsageError(f"a wall time of {wall_time_min} minutes must be 0 or more")
        self.reason = ""
        self._deadline = None if wall_time_min is None else time.monotonic() + 60 * wall_time_min
        self._before: dict[signal.Signals, object] = {}
        self._interrupted = -math.inf

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; elsewhere the limit alone counts.
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupt()
        self.reason = self.reason or signal.Signals(number).name

    def _interrupt(self) -> None:
        """Tell that the work saves; end it where that was told before."""
        now = time.monotonic()
        if now - self._interrupted < _SAME_KEY_S:
            return
        if self._interrupted > -math.inf:
            raise KeyboardInterrupt
        self._interrupted = now
        with suppress(RuntimeError):  # the signal came while something else was written
            _log.warning("Ctrl-C: saving, then stopping; a second Ctrl-C stops without saving.")

    def __bool__(self) -> bool:
        if not self.reason and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "wall-time limit"
        return bool(self.reason)
