"""Who am I among how many: launch detection, and the few collective calls the stages need.

Launchers are recognised by what they put in the environment, in this order: torchrun
(RANK, WORLD_SIZE), Open MPI, PMI (MPICH and others), Slurm (SLURM_PROCID, SLURM_STEP_NUM_TASKS),
else a single process. Slurm comes last because an mpiexec inside a job starts its ranks through a
step of its own, whose variables they inherit. MDGAN_LAUNCHER=torchrun|slurm|openmpi|pmi|single
overrides.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from mdgan_hpc.errors import (
    EXIT_DATA,
    EXIT_SOFTWARE,
    LaunchError,
    MdganError,
    SignalledInterrupt,
    StoppedError,
)

_LAUNCHERS: dict[str, tuple[str, str, str]] = {
    # launcher: variables of rank, number of ranks, rank on this host
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "openmpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "pmi": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    "slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}


@dataclass(frozen=True)
class Launch:
    """Place of this process among those started together."""

    launcher: str
    rank: int = 0
    size: int = 1
    local_rank: int = 0


def detect_launch(environment: Mapping[str, str] | None = None) -> Launch:
    """Read rank and number of ranks from the environment.

    Raises
    ------
    LaunchError
        If the override names no launcher, or its variables are missing or contradictory.
    """
    env = os.environ if environment is None else environment
    override = env.get("MDGAN_LAUNCHER", "")
    if override == "single":
        return Launch("single")
    if override and override not in _LAUNCHERS:
        raise LaunchError(
            f"MDGAN_LAUNCHER={override} is not known",
            remedy=f"use one of {', '.join(_LAUNCHERS)}, single",
        )
    for launcher in [override] if override else list(_LAUNCHERS):
        rank_name, size_name, local_name = _LAUNCHERS[launcher]
        if rank_name not in env or size_name not in env:
            if override:
                raise LaunchError(
                    f"MDGAN_LAUNCHER={override}, but {rank_name} or {size_name} is not set",
                    remedy="start with that launcher or unset MDGAN_LAUNCHER",
                )
            continue
        if launcher == "pmi" and not override and _srun_speaks_pmi(env):
            continue
        try:
            rank, size = int(env[rank_name]), int(env[size_name])
            local_rank = int(env.get(local_name, "0"))
        except ValueError as error:
            raise LaunchError(
                f"{rank_name}={env[rank_name]}, {size_name}={env[size_name]} are not numbers"
            ) from error
        if not 0 <= rank < size:
            raise LaunchError(f"{rank_name}={rank} does not fit {size_name}={size}")
        return Launch(launcher, rank, size, local_rank)
    return Launch("single")


def _srun_speaks_pmi(env: Mapping[str, str]) -> bool:
    # srun --mpi=pmi2 sets both, and only its own variables tell the rank on this host.
    return (env["PMI_RANK"], env["PMI_SIZE"]) == (
        env.get("SLURM_PROCID"),
        env.get("SLURM_STEP_NUM_TASKS"),
    )


def gpus_given(environment: Mapping[str, str] | None = None) -> str:
    """Return the variable by which this process was given GPUs, as ``NAME=VALUE``, or nothing."""
    env = os.environ if environment is None else environment
    visible = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    if any(env.get(name) in ("", "-1") for name in visible):
        return ""  # they were hidden on purpose
    for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", *visible):
        none = ("", "0") if name == "SLURM_GPUS_ON_NODE" else ("", "NoDevFiles")
        if env.get(name, "") not in none:
            return f"{name}={env[name]}"
    return ""


def warn_of_unseen_gpus(seen: bool) -> None:
    """Tell once that GPUs were given to this job and PyTorch sees none of them."""
    given = gpus_given()
    if given and not seen:
        import logging  # here, since every command loads this module

        logging.getLogger(__name__).warning(
            "This job was given GPUs (%s), but PyTorch sees none: it computes on processors. Check "
            "the driver, that PyTorch was built for these GPUs, and --nv or --rocm of a container.",
            given,
        )


class Ranks(Protocol):
    """Ranks that can tell each other something small."""

    rank: int
    size: int

    def allgather(self, value: Any) -> list[Any]:
        """Give every rank the values of all ranks, in their order."""


class Communicator(Ranks, Protocol):
    """The collective calls that the stages use; every rank must make the same ones."""

    def barrier(self) -> None:
        """Wait for all ranks."""

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Give every rank the value of `root`."""

    def gather(self, value: Any) -> list[Any] | None:
        """Give rank 0 the values of all ranks, in their order; the others get None."""

    def sum_to_root(self, values: Any) -> Any:
        """Give rank 0 the sum over ranks of an array of equal shape; the others keep theirs."""

    def abort(self, status: int) -> None:
        """End all ranks at once with this exit status."""


class SingleProcess:
    """A communicator of one rank; needs no MPI."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        """Return at once."""

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Return `value`."""
        return value

    def gather(self, value: Any) -> list[Any] | None:
        """Return `value` in a list."""
        return [value]

    def allgather(self, value: Any) -> list[Any]:
        """Return `value` in a list."""
        return [value]

    def sum_to_root(self, values: Any) -> Any:
        """Return `values`."""
        return values

    def abort(self, status: int) -> None:
        """End the process."""
        sys.stderr.flush()
        os._exit(status)


class MpiProcesses:
    """The ranks of an MPI launch. `mpi` is the mpi4py communicator, for collective file access."""

    def __init__(self) -> None:
        from mpi4py import MPI

        self.mpi = MPI.COMM_WORLD
        self.rank: int = self.mpi.rank
        self.size: int = self.mpi.size

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.mpi.barrier()

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Give every rank the value of `root`."""
        return self.mpi.bcast(value, root)

    def gather(self, value: Any) -> list[Any] | None:
        """Give rank 0 the values of all ranks, in their order."""
        return self.mpi.gather(value)

    def allgather(self, value: Any) -> list[Any]:
        """Give every rank the values of all ranks, in their order."""
        return self.mpi.allgather(value)

    def sum_to_root(self, values: Any) -> Any:
        """Give rank 0 the sum over ranks of a float64 array; the others keep theirs."""
        import numpy as np

        total = np.empty_like(values) if self.rank == 0 else None
        self.mpi.Reduce(values, total)
        return values if total is None else total

    def abort(self, status: int) -> None:
        """End all ranks."""
        sys.stderr.flush()
        self.mpi.Abort(status)


_world: Communicator | None = None


def world() -> Communicator:
    """Return the communicator of this launch; MPI is loaded only under an MPI launcher.

    Raises
    ------
    LaunchError
        If several ranks were launched and mpi4py is missing, or sees a different number of them:
        its MPI is then not the launcher's, and every rank would do the whole work alone.
    """
    global _world
    if _world is None:
        launch = detect_launch()
        if launch.size == 1:
            _world = SingleProcess()
        elif launch.launcher == "torchrun":
            raise LaunchError(
                "this command runs on MPI, not under torchrun", remedy="use mpiexec or srun"
            )
        else:
            try:
                processes = MpiProcesses()
            except (ImportError, RuntimeError) as error:
                raise LaunchError(
                    f"{launch.size} ranks were launched by {launch.launcher}, but MPI cannot be "
                    f"loaded ({error})",
                    remedy="install mpi4py against the MPI of the launcher",
                ) from error
            if processes.size != launch.size:
                raise LaunchError(
                    f"{launch.launcher} launched {launch.size} ranks, but MPI sees "
                    f"{processes.size}: mpi4py was built for another MPI than the launcher's",
                    remedy="use the mpiexec of the MPI in this environment, or srun --mpi=pmix",
                )
            _world = processes
    return _world


def share(total: int, rank: int, size: int, *, aside: int = 0) -> range:
    """Return the contiguous part of ``range(total)`` that `rank` of `size` owns, balanced to one.

    More ranks than items leave some with an empty range. Rank 0 gets fewer where it has other work
    `aside`, worth so many items, and none where that is more than the share of the others.
    """
    aside = min(aside, total // max(size - 1, 1))
    bounds = ((total + aside) * r // size - aside for r in (rank, rank + 1))
    return range(*(max(bound, 0) for bound in bounds))


Found = TypeVar("Found")


def together(ranks: Ranks, work: Callable[[], Found]) -> Found:
    """Do `work` on every rank; where it fails on one, all raise its error.

    For what comes before the long work: all ranks then end in good order, with one message.

    Raises
    ------
    MdganError
        The first rank's that has one; it says which rank, unless all have the same.
    """
    if ranks.size == 1:
        return work()
    mine: MdganError | None = None
    try:
        found = work()
    except MdganError as error:
        mine = error
    errors = ranks.allgather((mine, os.uname().nodename))
    if not any(error for error, _ in errors):
        return found
    rank, host, first = next((r, h, e) for r, (e, h) in enumerate(errors) if e)
    if all(str(error) == str(first) for error, _ in errors):
        raise first
    raise type(first)(f"{first} (rank {rank} of {ranks.size}, on {host})")


def require_same(ranks: Ranks, see: Callable[[], Mapping[str, str]]) -> None:
    """Compare what the ranks were told and what they see, before they work on it.

    Parameters
    ----------
    ranks : Ranks
    see : callable
        Returns texts by the names of what they tell of: digests of inputs, versions, options.

    Raises
    ------
    LaunchError
        On all ranks, naming what differs and where.
    MdganError
        On all ranks, if `see` raises it on one.
    """
    if ranks.size == 1:
        return
    everyone = ranks.allgather((os.uname().nodename, dict(together(ranks, see))))
    host, first = everyone[0]
    for rank, (other_host, other) in enumerate(everyone):
        for name in {**first, **other}:
            if other.get(name) != first.get(name):
                raise LaunchError(
                    f"rank {rank} (on {other_host}) has another {name} than rank 0 (on {host})",
                    remedy="start all ranks in one folder, with the same files, options and "
                    "installation",
                )


def run_together(work: Callable[[], None], *, debug: bool = False) -> None:
    """Run the body of a command so that a failure on one rank ends all of them.

    An `MdganError` becomes one line on standard error and its exit status. Rank 0 speaks at
    once; the others wait a moment before they end the run, so that a mistake seen by all ranks
    is told once. An exception that nobody foresaw becomes a line and exit status 70.
    """
    launch = Launch("single")
    try:
        launch = detect_launch()
        work()
    except StoppedError as error:
        # All ranks stop together, everything saved: nobody has to be ended.
        if launch.rank == 0:
            _tell(str(error))
        sys.exit(error.exit_status)
    except MdganError as error:
        if debug:
            import traceback

            traceback.print_exc()
        _end_all(launch, f"Error: {error}", error.exit_status)
    except KeyboardInterrupt as error:
        told = f"{error}" if isinstance(error, SignalledInterrupt) else "Interrupted"
        status = getattr(error, "exit_status", 130)
        _end_all(launch, f"{told}; start again to go on from what was saved before.", status)
    except BrokenPipeError:
        raise  # who reads what is printed has gone: click ends without a word
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        _end_all(launch, *_unexpected(error, launch))


def _unexpected(error: Exception, launch: Launch) -> tuple[str, int]:
    """Return the line and the exit status of an exception that no part of the package foresaw."""
    on = f" on rank {launch.rank} of {launch.size}" if launch.size > 1 else ""
    if isinstance(error, MemoryError):
        return (
            f"Error{on}: out of memory; use a machine with more, or a part of the data",
            EXIT_DATA,
        )
    told = " ".join(f"{error}".split())[:500]
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"Error{on}: {error.filename}: {error.strerror}", EXIT_DATA
    at = " < ".join(_places(error)[:4])
    return (
        f"Error{on}: unexpected {type(error).__name__} ({at}): {told or 'no message'}; please "
        "report it with the traceback that --debug shows",
        EXIT_SOFTWARE,
    )


def _places(error: Exception) -> list[str]:
    """Return files and lines that an exception came through, the innermost first.

    A job of hours is not soon run again with --debug.
    """
    places, trace = [], error.__traceback__
    while trace is not None:
        name = os.path.basename(trace.tb_frame.f_code.co_filename)
        places.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[::-1]


class Group(Protocol):
    """Ranks that met without MPI, and can end each other."""

    def fail(self, status: int) -> bool:
        """Let all ranks end with this status; true where this rank is the first, and tells why."""


_group: Group | None = None


def join_group(group: Group | None) -> None:
    """Let a failure of this rank, told by `run_together`, end those of `group`."""
    global _group
    _group = group


def _end_all(launch: Launch, line: str, status: int) -> None:
    if _group is not None:
        if _group.fail(status):
            _tell(line)
        time.sleep(1.5)  # the others see it meanwhile
        sys.stderr.flush()
        os._exit(status)
    if launch.rank != 0:
        time.sleep(1.0 + 0.01 * launch.rank)
    _tell(line)
    if _world is not None and _world.size > 1:
        # An abort can overtake the line on its way through the launcher.
        time.sleep(0.5)
        _world.abort(status)
    leave(launch, status)


def leave(launch: Launch, status: int) -> NoReturn:
    """End this rank before all have met, and with it those that would wait for it.

    MPICH's mpiexec does not end them by itself, but takes the word of its protocol (PMI-1) by
    which MPI_Abort asks for it. Open MPI's does; srun does with ``--kill-on-bad-exit``.
    """
    descriptor = os.environ.get("PMI_FD", "")
    if launch.launcher == "pmi" and launch.size > 1 and descriptor.isdigit():
        time.sleep(0.5)  # as above
        with contextlib.suppress(OSError):
            os.write(int(descriptor), f"cmd=abort exitcode={status}\n".encode())
    sys.exit(status)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
