"""Computing one block: start states, segments of records, and the carry between them.

A segment is P particles by R records; it is always computed with the same shapes, also where only
a part of it is stored. The network runs in single precision on displacements; positions are
summed here in double precision, so that they stay exact over any length.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.errors import DivergedError
from mdgan_hpc.gan.generator import State
from mdgan_hpc.gan.model import Model
from mdgan_hpc.generate import streams

_HEAD = struct.Struct("<Q")


@dataclass
class Carry:
    """What a block needs to go on: the next segment, the state of the network, the positions.

    Attributes
    ----------
    segment : int
        The next one to compute.
    state : dict of Tensor
        On the device.
    position : array, [P, 3] float64
        At the end of the segment before, Angstrom.
    """

    segment: int
    state: State
    position: np.ndarray


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
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        block_particles: int,
        segment_records: int,
        burn_in: int = 0,
        max_jump: float = math.inf,
        device: torch.device | None = None,
        bf16: bool = False,
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
        self._codec: list[tuple[str, torch.Size, torch.dtype]] | None = None

    @torch.inference_mode()
    def start(self, block: int) -> Carry:
        """Draw the start of a block and let the burn-in pass."""
        random = streams.stream(self.seed, block, 0, streams.START)
        uniform = random.random((self._samples, self.generator.start_size), dtype=np.float32)
        state, position = self.generator.start(torch.from_numpy(uniform).to(self.device))
        start = position.detach().cpu().double().numpy().reshape(self.block_particles, 3)
        carry = Carry(0, state, np.array(start))
        left, piece = self.burn_in, 0
        while left > 0:
            records = min(left, self.segment_records)
            random = streams.stream(self.seed, block, piece, streams.BURN_IN)
            displacement = self._advance(carry, random, records)
            self._check(displacement, block, piece * self.segment_records - self.burn_in)
            carry.position = carry.position + displacement.sum(0, dtype=np.float64)
            left, piece = left - records, piece + 1
        return carry

    @torch.inference_mode()
    def advance(self, block: int, carry: Carry) -> tuple[np.ndarray, np.ndarray]:
        """Compute the next segment of a block; the carry moves on.

        Returns
        -------
        positions : array, [R, P, 3] float32
            Unwrapped, Angstrom.
        displacements : array, [R, P, 3] float32
            Each from the record before, Angstrom.

        Raises
        ------
        DivergedError
            If a displacement is not finite or larger than `max_jump`.
        """
        random = streams.stream(self.seed, block, carry.segment, streams.RECORDS)
        displacement = self._advance(carry, random, self.segment_records)
        self._check(displacement, block, carry.segment * self.segment_records)
        path = displacement.astype(np.float64)
        path[0] += carry.position
        np.cumsum(path, axis=0, out=path)
        carry.position = path[-1].copy()
        carry.segment += 1
        return path.astype(np.float32), displacement

    def _advance(self, carry: Carry, random: np.random.Generator, records: int) -> np.ndarray:
        """Return displacements [records, P, 3] float32 and move the state on.

        `records` is rounded up to whole steps of the generator, the rest is dropped.
        """
        steps = -(-records // self.generator.records_per_step)
        noise = torch.from_numpy(
            random.standard_normal((steps, self._samples, self.generator.noise_size), np.float32)
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            displacement, state = self.generator.advance(carry.state, noise.to(self.device))
        # Types as in the stored carry, so that going on from a file is going on from memory.
        carry.state = {name: state[name].to(dtype) for name, _, dtype in self._fields()}
        values = displacement.to(torch.float32).cpu().numpy()
        return values.reshape(len(values), self.block_particles, 3)

    def _check(self, displacement: np.ndarray, block: int, first_record: int) -> None:
        largest = max(displacement.max(), -displacement.min())
        if largest <= self.max_jump and math.isfinite(largest):
            return
        bad = ~(np.abs(displacement) <= self.max_jump) | ~np.isfinite(displacement)
        record, particle, axis = (int(i[0]) for i in np.nonzero(bad))
        value = displacement[record, particle, axis]
        raise DivergedError(
            f"the model diverged: a displacement of {value:g} Angstrom along {'xyz'[axis]} "
            f"(bound: {self.max_jump:g})",
            where=f"particle {block * self.block_particles + particle}, "
            f"record {first_record + record} (particle block {block}, "
            f"record block {first_record // self.segment_records})",
            remedy="train longer or take another model; a larger --max-jump lets more pass",
        )

    # The carry as bytes ----------------------------------------------------------------------

    def _fields(self) -> list[tuple[str, torch.Size, torch.dtype]]:
        """Names, shapes and types of the state, the same for all blocks."""
        if self._codec is None:
            with torch.inference_mode():
                uniform = torch.zeros(self._samples, self.generator.start_size, device=self.device)
                state, _ = self.generator.start(uniform)
            self._codec = [(name, state[name].shape, state[name].dtype) for name in sorted(state)]
        return self._codec

    @property
    def carry_bytes(self) -> int:
        """Length of a carry as bytes."""
        state = sum(shape.numel() * dtype.itemsize for _, shape, dtype in self._fields())
        return _HEAD.size + self.block_particles * 24 + state

    def pack(self, carry: Carry) -> bytes:
        """Return the carry as bytes."""
        texts = [_HEAD.pack(carry.segment), carry.position.astype("<f8").tobytes()]
        texts += [_tensor_bytes(carry.state[name], dtype) for name, _, dtype in self._fields()]
        return b"".join(texts)

    def unpack(self, text: bytes) -> Carry:
        """Return the carry of `pack`."""
        (segment,) = _HEAD.unpack_from(text)
        place = _HEAD.size
        n = self.block_particles * 24
        position = np.frombuffer(text[place : place + n], "<f8").reshape(-1, 3).copy()
        place += n
        state = {}
        for name, shape, dtype in self._fields():
            n = shape.numel() * dtype.itemsize
            raw = torch.frombuffer(bytearray(text[place : place + n]), dtype=torch.uint8)
            state[name] = raw.view(dtype).reshape(shape).clone().to(self.device)
            place += n
        return Carry(segment, state, position)


def _tensor_bytes(tensor: Tensor, dtype: torch.dtype) -> bytes:
    flat = tensor.detach().to("cpu", dtype).contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
