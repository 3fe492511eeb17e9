"""Random numbers of a training depend on the seed and the step alone, so that resuming is exact.

Every rank draws the numbers of the whole batch and takes its part: the result does not depend on
how many ranks there are.
"""

import hashlib

import torch


def stream(seed: int, step: int, purpose: str) -> torch.Generator:
    """Return the random stream (on the CPU) of one purpose at one step."""
    digest = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return generator
