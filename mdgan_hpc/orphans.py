"""Processes of our own that end with their parent, whatever ended it and whenever.

Light on purpose: it is what a new process loads first, before torch takes its seconds.
"""

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from typing import Any

_PR_SET_PDEATHSIG = 1


def run_under(parent: int, call: bytes, *arguments: Any) -> None:
    """Call a function in a process that ends with its parent.

    Parameters
    ----------
    parent : int
        Process id of the parent.
    call : bytes
        Pickled function and its first arguments, loaded after the parent is watched.
    *arguments
        What only the start of a process can hand over: events, shared arrays, connections.
    """
    end_with(parent)
    function, first = pickle.loads(call)
    function(*first, *arguments)


def end_with(parent: int) -> None:
    """End this process as soon as process `parent` ends."""
    kill_with_parent()
    threading.Thread(target=_watch, args=(parent,), name="parent watch", daemon=True).start()


def kill_with_parent() -> None:
    """Let the kernel kill this process, and what it becomes by exec, when its parent ends (Linux).

    Not where the parent ended before this call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
