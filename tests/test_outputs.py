"""Outputs are claimed and replaced whole, wherever a signal comes."""

import dis
import gc
import itertools
import os
import shutil
import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from mdgan_hpc import outputs


class _Interrupt:
    """Raises KeyboardInterrupt, once, at the n-th place in a file where a signal may be heard.

    CPython looks for signals as a function begins and after each call.
    """

    def __init__(self, file: str, n: int) -> None:
        self._file, self._left, self.raised = file, n, False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != self._file or self.raised:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in _heard(frame.f_code):
            self._left -= 1
            if not self._left:
                self.raised = True
                raise KeyboardInterrupt
        return self


@lru_cache
def _heard(code: CodeType) -> frozenset[int]:
    """Offsets of the instructions before which a signal may be heard."""
    listed = list(dis.get_instructions(code))
    pairs = itertools.pairwise(listed)
    return frozenset(b.offset for a, b in pairs if a.opname.startswith(("RESUME", "CALL")))


def test_a_signal_at_any_moment_leaves_no_claim(tmp_path):
    output, n, raised = tmp_path / "made" / "out.json", 0, True
    gc.freeze()  # what other tests loaded need not be searched a hundred times
    while raised:
        n += 1
        interrupt = _Interrupt(outputs.__file__, n)
        sys.settrace(interrupt)
        try:
            with outputs.written_whole(output) as partial:
                partial.write_text("whole")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        raised = interrupt.raised
        gc.collect()
        names = os.listdir(output.parent) if output.parent.exists() else []
        assert names in ([], ["out.json"]), f"place {n}: {names}"
        assert not names or output.read_text() == "whole"
        shutil.rmtree(output.parent, ignore_errors=True)
    gc.unfreeze()
    assert n > 100
