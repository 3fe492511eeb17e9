"""How many threads a process computes on.

One, unless another number is wished for: by an option, by OMP_NUM_THREADS, or by the cores of a
task of Slurm. Steps of a small network are many operations of some microseconds: threads wait for
each other at the end of each, and for milliseconds where others use their cores. On idle cores two
are quicker than one, on busy ones much slower. The number is a rule and no measurement, so that the
bits of a result do not depend on what else ran.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mdgan_hpc.errors import UsageError

#: Of a process: more than any machine has cores.
MOST = 1024
#: Variables by which a number is wished for, the first that is set.
_WISHES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")


@dataclass(frozen=True)
class Threads:
    """How many, and why.

    Attributes
    ----------
    number : int
    reason : str
        Where the number comes from.
    """

    number: int
    reason: str

    @property
    def text(self) -> str:
        """One line that tells it."""
        return f"{self.number} thread{'s' * (self.number > 1)} a process ({self.reason})"


def chosen_threads(
    asked: int | None = None, environment: Mapping[str, str] | None = None
) -> Threads:
    """Return the threads of this process.

    Parameters
    ----------
    asked : int, optional
        By the caller, above all else.
    environment : mapping, optional
        That of the process if not given.

    Raises
    ------
    UsageError
        If a wish is no number from 1 to `MOST`.
    """
    if asked is not None:
        return Threads(_number("--threads", str(asked)), "--threads")
    env = os.environ if environment is None else environment
    for name in _WISHES:
        if env.get(name):
            # OpenMP takes a list too, for nested regions: the first is ours.
            return Threads(_number(name, env[name].partition(",")[0]), name)
    return Threads(1, "safe beside other programs; --threads sets another number")


def _number(name: str, text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= MOST:
        raise UsageError(f"{name}: {text!r} is no number of threads", remedy=f"use 1 to {MOST}")
    return int(text)


@contextmanager
def computing_on(threads: int) -> Iterator[None]:
    """Compute on so many threads, and leave the caller's number as it was."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
