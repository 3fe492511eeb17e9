"""Random numbers of a block: counters keyed by what is computed, never by who computes it.

Philox 4x64 (J. K. Salmon et al., SC11, section 3) takes a key of 128 bits and a counter of 256:
the key is (seed, particle block), the upper half of the counter (record block, purpose), and the
lower half counts the numbers drawn. Those of different keys or record blocks never overlap.
"""

import numpy as np

START, BURN_IN, RECORDS = range(3)
_WORD = 2**64


def block_rng(
    seed: int, particle_block: int, record_block: int, purpose: int
) -> np.random.Generator:
    """Return the random numbers of one block.

    Parameters
    ----------
    seed : int
        In [0, 2^64).
    particle_block, record_block : int
    purpose : int
        `START`, `BURN_IN` or `RECORDS`.
    """
    key = (particle_block * _WORD + seed) % _WORD**2
    counter = (purpose * _WORD + record_block) * _WORD**2
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
