"""Commands run in forks of one process that has everything loaded: a tenth of a second each.

Each fork has a limit of its memory and of its time, so that a crash, a hang or a bomb is seen and
harms nobody. Run as a program it is that process: one request a line on standard input.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

_COMMANDS = ("convert", "train", "generate", "msd", "report")
#: Exit statuses that a command may have; 70, an exception that nobody foresaw, is none of them.
_STATUSES = (0, 1, 2, 75)
MOST_MEMORY = 2 * 2**30


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


class Commands:
    """The process whose forks run commands; use as a context manager."""

    def __enter__(self) -> Self:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MDGAN_LAUNCHER": "single",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }
        # A damaged option may be the name of an output: a file that is then written here.
        self._scratch = tempfile.TemporaryDirectory()
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self._scratch.name,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()
        self._scratch.cleanup()

    def __call__(self, command: str, *arguments: object, timeout_s: float = 180.0) -> Outcome:
        """Run ``mdgan-command`` with arguments."""
        return Outcome(**self._ask(command, timeout_s, *arguments))

    def here(self, command: str, *arguments: object) -> None:
        """Run it in the process itself: forks then have what the command loads when it is used."""
        outcome = Outcome(**self._ask(command, None, *arguments))
        assert outcome.status == 0, outcome.told

    def _ask(self, command: str, timeout_s: float | None, *arguments: object) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = [command, timeout_s, *map(str, arguments)]
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


def run_main(command: str, arguments: Sequence[str]) -> int:
    """Run a command in this process; return the status that it ends with."""
    status: Any = 1
    sys.argv = [f"mdgan-{command}", *arguments]
    try:
        module = import_module(f"mdgan_hpc.cli.{command}")
        module.main(args=list(arguments), prog_name=sys.argv[0])
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else 1


def _here(command: str, arguments: Sequence[str]) -> Outcome:
    with tempfile.TemporaryFile("w+") as told, redirect_stdout(told), redirect_stderr(told):
        begin = time.monotonic()
        status = run_main(command, arguments)
        told.seek(0)
        return Outcome(status, told.read(), time.monotonic() - begin, False, 0)


def _forked(command: str, timeout_s: float, arguments: Sequence[str]) -> Outcome:
    with tempfile.TemporaryFile() as told:
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for target, source in ((0, nothing), (1, told.fileno()), (2, told.fileno())):
                os.dup2(source, target)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + 2 * MOST_MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os._exit(run_main(command, arguments))
        pause, hung = 0.001, False
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if not hung and time.monotonic() - begin > timeout_s:
                hung = True
                os.killpg(child, signal.SIGKILL)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        told.seek(0)
        return Outcome(
            os.waitstatus_to_exitcode(status),
            told.read().decode(errors="replace"),
            time.monotonic() - begin,
            hung,
            usage.ru_maxrss * 1024,
        )


def _serve() -> None:
    for command in _COMMANDS:
        __import__(f"mdgan_hpc.cli.{command}")
    for module in (
        *("mdgan_hpc.analysis.command", "mdgan_hpc.generate.run", "mdgan_hpc.training.run"),
        *("mdgan_hpc.report.advice", "mdgan_hpc.convert.batch", "mdgan_hpc.analysis.streaming"),
        *("mdgan_hpc.report.command", "mdgan_hpc.models.latent", "spglib"),
        "mdgan_hpc.models.transition.generator",
    ):
        __import__(module)
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        command, timeout_s, *arguments = json.loads(line)
        if timeout_s is None:
            outcome = _here(command, arguments)
        else:
            outcome = _forked(command, timeout_s, arguments)
        print(json.dumps(vars(outcome)), flush=True)


if __name__ == "__main__":
    _serve()
