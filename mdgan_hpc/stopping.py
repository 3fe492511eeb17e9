"""Stopping on request: signals and a wall-time limit set a flag that the work looks at."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """Becomes true once the process was asked to end; use as a context manager.

    SIGTERM, SIGUSR2 (Slurm's ``--signal=USR2@300``; NCCL may take USR1) and, where given, the
    wall-time limit count. The work goes on to the next place where it can save, and asks there.

    Parameters
    ----------
    wall_time_min : float, optional
        Minutes after which the work should end by itself.
    """

    def __init__(self, wall_time_min: float | None = None) -> None:
        self.reason = ""
        self._deadline = None if wall_time_min is None else time.monotonic() + 60 * wall_time_min
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; elsewhere the limit alone counts.
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGTERM, signal.SIGUSR2):
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
        self.reason = signal.Signals(number).name

    def __bool__(self) -> bool:
        if not self.reason and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "wall-time limit"
        return bool(self.reason)
