"""Commands run in forks of this process, which has everything loaded: a tenth of a second each.

Each fork has a limit of its memory and of its time, so that a crash, a hang or a bomb is seen and
harms nobody.
"""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

#: Exit statuses that a command may have; 70, an exception that nobody foresaw, is none of them.
_STATUSES = (0, 1, 2, 75)
MOST_MEMORY = 2 * 2**30
#: What commands load when they are used.
_USED = ("analysis.command", "generate.run", "training.run", "convert.batch", "report.command")


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes
    ----------
    status : int
        Exit status; negative: killed by that signal.
    told : str
        Standard output and error together.
    seconds : float
    hung : bool
    memory : int
        Bytes at most.
    """

    status: int
    told: str
    seconds: float
    hung: bool
    memory: int

    def wrong(self) -> str:
        """Return what must never be; empty if nothing of it was."""
        if self.hung:
            return f"hangs ({self.seconds:.0f} s)"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}: {self.told[-500:]}"
        if "Traceback" in self.told or self.status not in _STATUSES:
            return f"status {self.status}: {self.told[-1500:]}"
        errors = [line for line in self.told.splitlines() if line.startswith("Error: ")]
        if self.status in (1, 2) and len(errors) != 1:
            return f"{len(errors)} lines of error: {self.told[-500:]}"
        if self.memory > MOST_MEMORY:
            return f"takes {self.memory / 1e9:.2g} GB"
        return ""


class Forked:
    """``mdgan-command`` with arguments, in a process of its own that leads a session.

    Parameters
    ----------
    command : str
    arguments : sequence
    folder : path
        Working directory.
    silent : bool
        Keep what it says on standard error alone.
    environment : mapping of str, optional
        Variables that it finds set besides.
    most_bytes : int, optional
        Files cannot grow larger, as on a full disk.

    Attributes
    ----------
    pid : int
    """

    def __init__(
        self,
        command: str,
        arguments: Sequence[object],
        folder: Path,
        *,
        silent: bool = False,
        environment: Mapping[str, str] | None = None,
        most_bytes: int = resource.RLIM_INFINITY,
    ) -> None:
        self._told = tempfile.TemporaryFile()  # noqa: SIM115, closed in finish
        self._begin, self._memory = time.monotonic(), 0
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(environment or {})
            nothing, told = os.open(os.devnull, os.O_RDWR), self._told.fileno()
            for target, source in ((0, nothing), (1, nothing if silent else told), (2, told)):
                os.dup2(source, target)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", 1)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            memory = pages * resource.getpagesize() + 2 * MOST_MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            status = _main(command, [str(word) for word in arguments])
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        if self.status is None:
            done, status, usage = os.wait4(self.pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                self._memory = 1024 * usage.ru_maxrss
        return self.status

    def finish(self, timeout_s: float = 180.0) -> Outcome:
        """Wait; nothing of its session is left running."""
        pause, hung = 0.001, False
        while self.poll() is None:
            hung = time.monotonic() - self._begin > timeout_s
            if hung:
                self._end()
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        self._end()
        self._told.seek(0)
        with self._told as told:
            text = told.read().decode(errors="replace")
        assert self.status is not None
        seconds = time.monotonic() - self._begin
        return Outcome(self.status, text, seconds, hung, self._memory)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _main(command: str, arguments: list[str]) -> int:
    """Run a command in this process; return the status that it ends with."""
    status: Any = 1
    sys.argv = [f"mdgan-{command}", *arguments]
    try:
        module = import_module(f"mdgan_hpc.cli.{command}")
        module.main(args=arguments, prog_name=sys.argv[0])
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else 1


class Commands:
    """Runs commands one after the other, in a folder of its own; use as a context manager."""

    def __enter__(self) -> Self:
        for name in _USED:
            import_module(f"mdgan_hpc.{name}")
        # A damaged option may be the name of an output: a file that is then written here.
        self._scratch = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def __call__(self, command: str, *arguments: object, timeout_s: float = 180.0) -> Outcome:
        """Run ``mdgan-command`` with arguments."""
        one = {"MDGAN_LAUNCHER": "single"}
        folder = Path(self._scratch.name)
        return Forked(command, arguments, folder, environment=one).finish(timeout_s)
