"""Computing one block: start states, segments of records, and the rollout state between them.

A segment is P particles by R records; it is always computed with the same shapes, also where only
a part of it is stored. The network runs in single precision on displacements; positions are
summed here in double precision, so that they stay exact over any length.
"""

import os
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import DivergedError
from mdgan_hpc.generate.rng import BURN_IN, RECORDS, START, block_rng
from mdgan_hpc.models.base import State
from mdgan_hpc.models.file import Model

_HEAD = struct.Struct("<Q")


@dataclass
class RolloutState:
    """What a block needs to go on: the next segment, the state of the network, the positions.

    Attributes
    ----------
    segment : int
        The next one to compute.
    state : dict of Tensor
        On the device.
    position : Tensor, [P, 3] float64
        At the end of the segment before, Angstrom; on the device.
    """

    segment: int
    state: State
    position: Tensor


class Rollout:
    """Computes segments of blocks with one model on one device.

    Parameters
    ----------
    model : Model
    seed : int
    block_particles : int
        P, a multiple of the generator's particles per sample.
    segment_records : int
        R, a multiple of the generator's records per step.
    burn_in : int
        Records dropped before the first.
    max_jump : float
        Largest displacement along an axis from record to record, Angstrom, that is believed.
    device : torch.device
    bf16 : bool
        Run the network in bfloat16 where torch's autocast allows.
    noise_ahead : int, optional
        Segments whose random numbers are drawn beforehand, in as many threads: a GPU uses them up
        faster than one core draws them. None, or 8 on a GPU, unless told.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        block_particles: int,
        segment_records: int,
        burn_in: int = 0,
        max_jump: float = 10.0,
        device: torch.device | None = None,
        bf16: bool = False,
        noise_ahead: int | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.generator = model.generator.to(self.device)
        self.seed = seed
        self.block_particles = block_particles
        self.segment_records = segment_records
        self.burn_in = burn_in
        self.max_jump = max_jump
        self.bf16 = bf16
        self._samples = block_particles // self.generator.particles_per_sample
        if noise_ahead is None:
            noise_ahead = min(8, os.cpu_count() or 1) if self.device.type == "cuda" else 0
        self._ahead = noise_ahead
        self._threads = ThreadPoolExecutor(noise_ahead, "noise") if noise_ahead else None
        self._drawn: dict[tuple[int, int], Future[Tensor]] = {}
        self._codec: list[tuple[str, torch.Size, torch.dtype]] | None = None

    @torch.inference_mode()
    def start(self, block: int) -> RolloutState:
        """Draw the start of a block and let the burn-in pass."""
        rng = block_rng(self.seed, block, 0, START)
        uniform = rng.random((self._samples, self.generator.start_size), dtype=np.float32)
        state, position = self.generator.start(torch.from_numpy(uniform).to(self.device))
        current = RolloutState(0, state, position.double().reshape(self.block_particles, 3))
        left, piece = self.burn_in, 0
        while left > 0:
            records = min(left, self.segment_records)
            noise = self._draw(block, piece, BURN_IN, records)
            displacement = self._advance(current, noise)
            self._check(displacement, block, piece * self.segment_records - self.burn_in)
            current.position = current.position + displacement.sum(0, dtype=torch.float64)
            left, piece = left - records, piece + 1
        return current

    @torch.inference_mode()
    def advance(self, block: int, current: RolloutState) -> tuple[Tensor, Tensor]:
        """Compute the next segment of a block; the rollout state moves on.

        Returns
        -------
        positions : Tensor, [R, P, 3] float32
            Unwrapped, Angstrom; on the device.
        displacements : Tensor, [R, P, 3] float32
            Each from the record before, Angstrom; on the device.

        Raises
        ------
        DivergedError
            If a displacement is not finite or larger than `max_jump`.
        """
        displacement = self._advance(current, self._noise(block, current.segment))
        self._check(displacement, block, current.segment * self.segment_records)
        path = displacement.double()
        path[0] += current.position
        torch.cumsum(path, 0, out=path)
        current.position = path[-1].clone()
        current.segment += 1
        return path.float(), displacement

    def _draw(self, block: int, segment: int, purpose: int, records: int) -> Tensor:
        """Return the normal numbers [steps, samples, noise_size] of a segment."""
        rng = block_rng(self.seed, block, segment, purpose)
        steps = -(-records // self.generator.records_per_step)
        shape = steps, self._samples, self.generator.noise_size
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    def _noise(self, block: int, segment: int) -> Tensor:
        """Return the numbers of a segment, and begin to draw those of the following ones."""
        if self._threads is None:
            return self._draw(block, segment, RECORDS, self.segment_records)
        wanted = [(block, segment + i) for i in range(self._ahead + 1)]
        self._drawn = {
            key: self._drawn.get(key)
            or self._threads.submit(self._draw, *key, RECORDS, self.segment_records)
            for key in wanted
        }
        return self._drawn.pop(wanted[0]).result()

    def _advance(self, current: RolloutState, noise: Tensor) -> Tensor:
        """Return displacements [records, P, 3] float32 and move the state on."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            displacement, state = self.generator.advance(current.state, noise.to(self.device))
        # Types as in the stored state, so that going on from a file is going on from memory.
        current.state = {name: state[name].to(dtype) for name, _, dtype in self._fields()}
        return displacement.float().reshape(len(displacement), self.block_particles, 3)

    def _check(self, displacement: Tensor, block: int, first_record: int) -> None:
        if displacement.abs().amax().item() <= self.max_jump:
            return  # false where anything is not a number
        values = displacement.cpu().numpy()
        bad = ~(np.abs(values) <= self.max_jump)
        record, particle, axis = (int(i[0]) for i in np.nonzero(bad))
        value = values[record, particle, axis]
        raise DivergedError(
            f"the model diverged: a displacement of {value:g} Angstrom along {'xyz'[axis]} "
            f"(bound: {self.max_jump:g})",
            where=f"particle {block * self.block_particles + particle}, "
            f"record {first_record + record} (particle block {block}, "
            f"record block {first_record // self.segment_records})",
            remedy="train longer or take another model; a larger --max-jump lets more pass",
        )

    # As bytes ---------------------------------------------------------------------------------

    def _fields(self) -> list[tuple[str, torch.Size, torch.dtype]]:
        """Names, shapes and types of the state, the same for all blocks."""
        if self._codec is None:
            with torch.inference_mode():
                uniform = torch.zeros(self._samples, self.generator.start_size, device=self.device)
                state, _ = self.generator.start(uniform)
            self._codec = [(name, state[name].shape, state[name].dtype) for name in sorted(state)]
        return self._codec

    @property
    def state_bytes(self) -> int:
        """Length of a rollout state as bytes."""
        state = sum(shape.numel() * dtype.itemsize for _, shape, dtype in self._fields())
        return _HEAD.size + self.block_particles * 24 + state

    def pack(self, current: RolloutState) -> bytes:
        """Return the rollout state as bytes."""
        texts = [
            _HEAD.pack(current.segment),
            current.position.cpu().numpy().astype("<f8").tobytes(),
        ]
        texts += [_tensor_bytes(current.state[name], dtype) for name, _, dtype in self._fields()]
        return b"".join(texts)

    def unpack(self, text: bytes) -> RolloutState:
        """Return the rollout state of `pack`."""
        (segment,) = _HEAD.unpack_from(text)
        place = _HEAD.size
        n = self.block_particles * 24
        values = np.frombuffer(text[place : place + n], "<f8").astype(float).reshape(-1, 3)
        position = torch.from_numpy(values).to(self.device)
        place += n
        state = {}
        for name, shape, dtype in self._fields():
            n = shape.numel() * dtype.itemsize
            value = torch.empty(shape, dtype=dtype)
            if n:  # a model without moving averages has a part of no bytes
                raw = torch.frombuffer(bytearray(text[place : place + n]), dtype=torch.uint8)
                value = raw.view(dtype).reshape(shape)
            state[name] = value.to(self.device)
            place += n
        return RolloutState(segment, state, position)


def _tensor_bytes(tensor: Tensor, dtype: torch.dtype) -> bytes:
    flat = tensor.detach().to("cpu", dtype).contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
