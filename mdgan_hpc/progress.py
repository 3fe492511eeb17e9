"""Progress: a bar on a terminal, plain lines with rate and ETA in a batch log."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

_log = logging.getLogger(__name__)


def _duration(seconds: float) -> str:
    seconds = int(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


class Progress:
    """Reports how far a long task got: a bar on a terminal, else messages of `logging`.

    Parameters
    ----------
    what : str
        The task, as the user calls it.
    total : int
        Units of work in all; 0 if it is not known.
    unit : str
        Name of a unit, for the rate.
    start : int
        Units done already (a resumed task).
    silent : bool
        Report nothing: for all ranks but the first.
    interval_s : float
        Least time between two lines in a log.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "steps",
        *,
        start: int = 0,
        silent: bool = False,
        interval_s: float = 30.0,
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.start = start
        self.silent, self.interval_s = silent, interval_s
        self._begin = self._last = time.monotonic()
        self._bar = None
        if not silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total or None,
                initial=start,
                desc=what,
                unit=f" {unit}",
                unit_scale=True,
                dynamic_ncols=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif not self.silent and kind is None and self.done > self.start:
            self._line()

    def update(self, units: int = 1, note: str = "") -> None:
        """Count finished units; `note` is shown beside the rate."""
        units = min(units, self.total - self.done) if self.total else units
        self.done += units
        if self.silent:
            return
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(units)
        elif time.monotonic() - self._last >= self.interval_s:
            self._last = time.monotonic()
            self._line(note)

    def finish(self) -> None:
        """Count what is left: the work is done, though the shares of others were only estimated."""
        self.update(self.total - self.done)

    def _line(self, note: str = "") -> None:
        elapsed = max(time.monotonic() - self._begin, 1e-9)
        rate = (self.done - self.start) / elapsed
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        eta = _duration(left) if left < 1e7 else "?"
        share = f"/{self.total} {self.unit} ({100 * self.done / max(self.total, 1):.0f} %)"
        text = (
            f"{self.what}: {self.done}{share if self.total else f' {self.unit}'}, "
            f"{rate:.3g} {self.unit}/s, {_duration(elapsed)} elapsed"
        )
        if self.total:
            text += f", {eta} left"
        _log.info("%s", f"{text}, {note}" if note else text)
