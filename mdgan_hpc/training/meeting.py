"""Where the ranks of a training meet, and learn that one of them has failed."""

import os
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from mdgan_hpc.errors import LaunchError
from mdgan_hpc.parallel import Launch

#: Ranks wait for each other no longer: the first writes files and compares free runs meanwhile.
PATIENCE = timedelta(hours=1)
#: Seconds in which all ranks must have come, unless MDGAN_MEETING_S says otherwise.
_MEETING_S = 120.0
_POLL_S = 0.25
_FAILED = "failed"
_START = (
    "start all ranks by srun, mpiexec or torchrun, or set MDGAN_LAUNCHER=single for one process "
    "where variables of a launcher are left from elsewhere"
)


_LAUNCHERS = ("hydra_pmi_proxy", "mpiexec", "mpirun", "orted", "prted", "prterun", "slurmstepd")


def launcher_process() -> str:
    """Return the process that started the ranks of this host, or nothing where it is not seen.

    It is one for all ranks of the host, wherever they look for files, and another for each launch.
    """
    process = os.getpid()
    while process > 1:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return ""
        name, after = stat.partition("(")[2].rpartition(")")[::2]
        if name in _LAUNCHERS:
            return f"{name} {process}"
        process = int(after.split()[1])
    return ""


class Meeting:
    """The store at MASTER_ADDR and MASTER_PORT, which rank 0 serves and all ranks watch.

    Parameters
    ----------
    launch : Launch

    Raises
    ------
    LaunchError
        If rank 0 cannot serve there, or not all ranks come.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._patience_s = float(os.environ.get("MDGAN_MEETING_S", _MEETING_S))
        begin = time.monotonic()
        self.store = self._connect(serves=launch.rank == 0)
        self.store.set(f"here/{launch.rank}", "yes")
        self._wait_for_all(begin + self._patience_s)
        self.store.set_timeout(PATIENCE)
        self._left = threading.Event()
        threading.Thread(target=self._watch, name="watch of ranks", daemon=True).start()

    def _connect(self, *, serves: bool) -> Any:
        host, port = self._place
        try:
            if not serves:
                self._wait_for_first()
            return dist.TCPStore(  # type: ignore[attr-defined]
                host,
                port,
                self._launch.size,
                # torchrun may have opened the store for us.
                serves and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
                timedelta(seconds=self._patience_s),
                wait_for_workers=False,
            )
        except (RuntimeError, ValueError, OSError) as error:
            what = "cannot be served (is it in use?)" if serves else "did not answer"
            raise LaunchError(
                f"the meeting place of the ranks, {host} port {port}, {what}: "
                f"{str(error).splitlines()[0][:100]}",
                remedy="set MASTER_PORT to a free port" if serves else _START,
            ) from None

    def _wait_for_first(self) -> None:
        """Wait until rank 0 answers; torch's own wait is told in pages of its log."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                socket.create_connection(self._place, timeout=self._patience_s).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _wait_for_all(self, deadline: float) -> None:
        missing = list(range(self._launch.size))
        while missing:
            if self._failed():
                time.sleep(4 * _POLL_S)  # the rank that failed tells why
                os._exit(self._status())
            missing = [rank for rank in missing if not self.store.check([f"here/{rank}"])]
            if missing and time.monotonic() > deadline:
                shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
                raise LaunchError(
                    f"rank {self._launch.rank} of {self._launch.size} waited "
                    f"{self._patience_s:g} s for rank {shown} ({self._launch.launcher})",
                    remedy=_START,
                )
            if missing:
                time.sleep(0.05)

    def _failed(self) -> bool:
        return bool(self.store.check([_FAILED]))

    def _status(self) -> int:
        return int(self.store.get(_FAILED).decode().partition(" ")[0])

    def fail(self, status: int) -> bool:
        """Let all ranks end with this status; true where this rank is the first, and tells why."""
        mine = f"{status} {self._launch.rank}"
        try:
            return bool(self.store.compare_set(_FAILED, "", mine).decode() == mine)
        except RuntimeError:
            return True  # rank 0 is gone, and nobody else can tell

    def leave(self) -> None:
        """Stop watching; every rank calls it, after a barrier."""
        self._left.set()

    def _watch(self) -> None:
        """End this process where another rank has failed: it may wait for that one for ever."""
        try:
            store = self._connect(serves=False)
            while not self._left.wait(_POLL_S):
                if store.check([_FAILED]):
                    status, rank = map(int, store.get(_FAILED).decode().split())
                    if rank != self._launch.rank:
                        # The rank that failed tells why before a launcher ends it.
                        time.sleep(4 * _POLL_S)
                        os._exit(status)
                    return
        except (RuntimeError, LaunchError):
            # Rank 0 ended: together with this one, or without a word.
            if not self._left.wait(2.0):
                os._exit(1)
