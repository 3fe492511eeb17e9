"""How long SIESTA ran, by the dates at the begin and the end of its standard output."""

import os
from collections.abc import Sequence
from datetime import datetime

from mdgan_hpc.convert.sources.siesta.out import Output, date_of
from mdgan_hpc.convert.streams import Files

#: Bytes at the end of an output in which the date stands.
_TAIL_BYTES = 65536
_END = b">> End of run:"


def wall_time_s(outputs: Sequence[Output], files: Files) -> float | None:
    """Return the wall time of all starts of a run in seconds.

    None where an output does not tell, as one that was killed or is compressed.
    """
    total = 0.0
    for output in outputs:
        start, end = output.head.started.split(" ")[0], _end(output, files)
        if not start or end is None:
            return None
        try:
            seconds = (end - datetime.fromisoformat(start)).total_seconds()
        except ValueError:
            return None
        total += max(seconds, 0.0)
    return total if outputs else None


def _end(output: Output, files: Files) -> datetime | None:
    # Not by opening it again: its steps are still being read.
    descriptor = files.descriptors([output.path])[str(output.path)]
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    _, found, rest = tail.rpartition(_END)
    return date_of(rest.splitlines()[0].decode("ascii", "replace")) if found and rest else None
