"""What all processes of a run know, and the pieces of its blocks, computed one by one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.models.file import Model
from mdgan_hpc.trajectory.blocks.ledger import Progressed
from mdgan_hpc.trajectory.blocks.plan import BlockPlan
from mdgan_hpc.trajectory.blocks.writers import Piece
from mdgan_hpc.verdict import Verdict


class Accumulator(Protocol):
    """Accumulates one block while it is generated.

    Attributes
    ----------
    state : dict of arrays
        All it knows, in fixed shapes.
    """

    state: dict[str, np.ndarray]

    def accumulate(self, positions: np.ndarray) -> None:
        """Add the next stored records, [n, P, 3]."""


class Analysis(Protocol):
    """Makes accumulators and adds them up; can be pickled."""

    def plan(self, n_records: int) -> dict[str, Any]:
        """Choose what is measured in a run of `n_records`, as plain numbers."""

    def accumulator(self, plan: Mapping[str, Any], n_particles: int) -> Accumulator:
        """Return an empty accumulator."""

    def result(
        self,
        plan: Mapping[str, Any],
        states: Iterable[dict[str, np.ndarray]],
        interval_ps: float,
        ions_per_cell: int,
        label: str,
        verdict: Verdict | None,
        n_models: int,
    ) -> dict[str, Any]:
        """Add up the states of the blocks, in their order; `ions_per_cell` see each other.

        Of `n_models` each made every so many-th block.
        """


@dataclass(frozen=True)
class Run:
    """A run as all its processes see it.

    Attributes
    ----------
    config : GenerateConfig
    plan : BlockPlan
    settings : dict
        What decides every bit of the output, as the file has it.
    unfinished : list of int
        Blocks that lack records.
    done_records : int
        Stored records of all blocks so far.
    analysis : Analysis or None
    """

    config: GenerateConfig
    plan: BlockPlan
    settings: dict[str, Any]
    unfinished: list[int]
    done_records: int
    analysis: Analysis | None = None

    def rollout(self, model: Model, index: int = 0) -> Rollout:
        """Return the rollout on the device of process `index`."""
        return make_rollout(self.config, self.settings, model, self._device(index))

    def _device(self, index: int) -> str:
        if self.settings["device"] != "cuda":
            return "cpu"
        if ":" in self.config.device:
            return self.config.device
        return f"cuda:{index % torch.cuda.device_count()}"

    def accumulator(self, block: int) -> Accumulator | None:
        """Return the empty accumulator of a block, if the run is analysed."""
        if self.analysis is None:
            return None
        return self.analysis.accumulator(self.settings["analysis"], self.width(block))

    def width(self, block: int) -> int:
        """Particles of a block that count."""
        p = self.plan.block_particles
        return min(p, self.plan.n_particles - block * p)


def make_rollout(
    config: GenerateConfig, settings: Mapping[str, Any], model: Model, device: str = "cpu"
) -> Rollout:
    """Return the rollout of a run on a device."""
    return Rollout(
        model,
        seed=settings["seed"],
        block_particles=settings["block_particles"],
        segment_records=settings["block_records"],
        burn_in=settings["burn_in"],
        max_jump=config.max_jump,
        device=torch.device(device),
        bf16=settings["precision"] == "bf16",
    )


def pieces(run: Run, rollout: Rollout, block: int, progress: Progressed) -> Iterator[Piece]:
    """Compute what is left of a block, segment by segment.

    What a piece carries is the rollout state at the end of its last whole segment, followed by the
    accumulator's after its last record.
    """
    rows, r, every = run.plan.n_records, rollout.segment_records, run.config.every
    done, width = progress.completed, run.width(block)
    names = run.plan.datasets()
    accumulator = run.accumulator(block)
    if not progress.state:
        state = rollout.start(block)
    else:
        state = rollout.unpack(progress.state)
        if accumulator is not None:
            unpack_state(accumulator.state, progress.state[rollout.state_bytes :])
    if done >= rows:
        yield Piece(
            block, done, 0, [np.empty((0, width, 3), np.float32)] * len(names), progress.state
        )
    while done < rows:
        segment = state.segment
        end = (segment + 1) * r // every
        before = rollout.pack(state) if end > rows else b""
        positions, displacements = rollout.advance(block, state)
        # Stored record i is generated record (i + 1) * every, counted from 1.
        first = (done + 1) * every - 1 - segment * r
        n = max(0, min(end, rows) - done)
        kept = slice(first, first + n * every, every)
        stored = positions[kept].cpu().numpy()
        arrays = [stored] if run.plan.positions else []
        if run.plan.velocities:
            interval_ps = np.float32(run.settings["interval_ps"])
            arrays.append(displacements[kept].cpu().numpy() / interval_ps)
        text = before or rollout.pack(state)
        if accumulator is not None:
            accumulator.accumulate(stored[:, :width])
            text += pack_state(accumulator.state)
        yield Piece(block, done, n, arrays, text)
        done += n


def pack_state(state: Mapping[str, np.ndarray]) -> bytes:
    """Return the arrays of an accumulator as bytes."""
    return b"".join(np.ascontiguousarray(state[name]).tobytes() for name in sorted(state))


def unpack_state(state: Mapping[str, np.ndarray], text: bytes) -> None:
    """Put the bytes of `pack_state` back into arrays of the same shapes."""
    place = 0
    for name in sorted(state):
        array = state[name]
        raw = np.frombuffer(text, array.dtype, array.size, place)
        array[...] = raw.reshape(array.shape)
        place += array.nbytes
