"""Random numbers of a training: of a sample, whoever draws them."""

import numpy as np
import torch
from scipy import stats

from mdgan_hpc.training.randomness import normals


def test_a_sample_has_its_numbers_on_every_rank():
    whole = normals(3, 7, "critic", range(6), (50, 4))
    parts = [normals(3, 7, "critic", part, (50, 4)) for part in (range(2), range(2, 6))]
    assert torch.equal(whole, torch.cat(parts))
    # Longer runs begin with the same numbers.
    assert torch.equal(normals(3, 7, "critic", range(6), (80, 4))[:, :50], whole)


def test_nothing_else_shares_them_and_they_are_normal():
    found = [
        normals(seed, step, purpose, range(40), (500,)).double().flatten().numpy()
        for seed, step, purpose in ((1, 0, "a"), (2, 0, "a"), (1, 1, "a"), (1, 0, "b"))
    ]
    correlation = np.corrcoef(found) - np.eye(4)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)
    assert min(stats.kstest(numbers, "norm").pvalue for numbers in found) > 1e-4
