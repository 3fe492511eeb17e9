"""The work of one process: compute the pieces of its blocks while a thread writes them."""

import errno
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from mdgan_hpc.errors import DataError, MdganError
from mdgan_hpc.generate.pieces import Run, pieces
from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.trajectory.blocks.ledger import Progressed, read_progress
from mdgan_hpc.trajectory.blocks.writers import BlockWriter, Piece

#: Bytes written between two saves at most.
_SAVE_BYTES = 256 * 2**20
#: Pieces that wait to be written at most.
_QUEUE = 2
#: Particles whose blocks go through time side by side.
_SIDE_BY_SIDE = 4096


class WriterThread:
    """Writes pieces beside the computation, at most a few behind.

    A save waits for the disk in a thread of its own, so that writing goes on meanwhile.

    Parameters
    ----------
    writer : BlockWriter
    save_interval_s : float
    """

    def __init__(self, writer: BlockWriter, save_interval_s: float) -> None:
        self._writer, self._interval = writer, save_interval_s
        self._queue: queue.Queue[Piece | None] = queue.Queue(_QUEUE)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, piece: Piece | None) -> None:
        """Hand over a piece, or the end; waits while the disk is behind."""
        while self._failure is None:
            try:
                self._queue.put(piece, timeout=0.2)
                return
            except queue.Full:
                continue
        raise self._failure

    def finish(self) -> None:
        """Write and save the rest."""
        self.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(1, "save") as saver:
                self._write_all(saver)
            self._writer.close()
        except BaseException as error:
            self._failure = error

    def _write_all(self, saver: ThreadPoolExecutor) -> None:
        last, size = time.monotonic(), 0
        saving: Future[None] | None = None
        while (piece := self._queue.get()) is not None:
            self._writer.write(piece)
            size += sum(array.nbytes for array in piece.arrays)
            if size >= _SAVE_BYTES or time.monotonic() - last >= self._interval:
                if saving is not None:
                    saving.result()
                saving = saver.submit(self._writer.save())
                last, size = time.monotonic(), 0
        if saving is not None:
            saving.result()
        self._writer.save()()


def work(
    run: Run,
    rollout: Rollout,
    own: Sequence[int],
    make_writer: Callable[[Sequence[Progressed]], BlockWriter],
    *,
    stop: Callable[[], str],
    report: Callable[[int], None],
) -> str:
    """Compute and write the blocks `own`.

    Parameters
    ----------
    run : Run
    rollout : Rollout
    own : sequence of int
    make_writer : callable
        Given where the blocks stand.
    stop : callable
        Returns why to stop, or nothing.
    report : callable
        Told the stored records of each piece.

    Returns
    -------
    str
        Why it stopped early, or nothing.
    """
    reason = ""
    try:
        progress = read_progress(run.config.output, run.plan, own)
        thread = WriterThread(make_writer(progress), run.config.save_interval_s)
        for piece in _in_turn(run, rollout, own, progress):
            thread.put(piece)
            report(piece.n_records)
            reason = stop()
            if reason:
                break
        thread.finish()
    except OSError as error:
        raise _disk_error(error, run) from error
    return reason


def _in_turn(
    run: Run, rollout: Rollout, own: Sequence[int], progress: Sequence[Progressed]
) -> Iterator[Piece]:
    """Go through time with several blocks side by side: their data is then adjacent on the disk.

    Few at once, because the rollout states of all of them are in memory.
    """
    together = max(1, _SIDE_BY_SIDE // run.plan.block_particles)
    for first in range(0, len(own), together):
        going = [
            pieces(run, rollout, block, progress[block]) for block in own[first : first + together]
        ]
        while going:
            for block in list(going):
                piece = next(block, None)
                if piece is None:
                    going.remove(block)
                else:
                    yield piece


def _disk_error(error: OSError, run: Run) -> MdganError:
    output, remedy = run.config.output, "run the same command again to go on from what is saved"
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return DataError("the disk is full", where=output, remedy=f"free space, then {remedy}")
    return DataError(f"cannot be written ({error.strerror or error})", where=output, remedy=remedy)
