"""Random numbers of a training depend on the seed and the step alone, so that resuming is exact.

The result does not depend on how many ranks there are: of the few numbers that choose windows every
rank draws those of the whole batch and takes its part; of the many that move free runs each sample
has a stream of its own.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor


def stream(seed: int, step: int, purpose: str) -> torch.Generator:
    """Return the random stream (on the CPU) of one purpose at one step."""
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(_digest(seed, step, purpose)[:8], "little") >> 1)
    return generator


def normals(seed: int, step: int, purpose: str, samples: range, shape: tuple[int, ...]) -> Tensor:
    """Return standard normal numbers [samples, *shape] of some samples of a batch, on the CPU.

    Philox 4x64, as in `mdgan_hpc.generate.rng`: the key is (seed, step, purpose), the upper half of
    the counter the sample, the lower half counts the numbers drawn.
    """
    key = int.from_bytes(_digest(seed, step, purpose)[:16], "little")
    drawn = np.empty((len(samples), *shape), np.float32)
    for row, sample in zip(drawn, samples, strict=True):
        philox = np.random.Philox(key=key, counter=sample * 2**128)
        np.random.Generator(philox).standard_normal(out=row, dtype=np.float32)
    return torch.from_numpy(drawn)


def _digest(seed: int, step: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
