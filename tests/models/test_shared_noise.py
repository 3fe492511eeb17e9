"""Noise that ions share: against dense matrices, and found again in what it made."""

import numpy as np
import pytest
import torch

from mdgan_hpc.models.neighbours import NeighbourDescriptor, Pairs
from mdgan_hpc.models.transition.mixture import Mixture
from mdgan_hpc.models.transition.shared_noise import SharedNoise
from mdgan_hpc.models.transition.shared_noise_fit import fit_shared_noise
from tests.support.neighbours import SKEWED, sighted

IONS = 6
SHELLS = {"radii": (1.5, 2.75, 4.0), "widths": (0.3, 0.35, 0.4), "cutoff": 6.0}


def near(cells: int, seed: int, cell: np.ndarray = SKEWED) -> tuple[NeighbourDescriptor, Pairs]:
    descriptor = NeighbourDescriptor.of_cell(cell, **SHELLS).to(torch.device("cpu"), torch.float32)
    rng = torch.Generator().manual_seed(seed)
    return descriptor, descriptor.pairs(torch.rand(3, cells, IONS, generator=rng))


def shared(records_per_step: int, size: float, seed: int = 3) -> SharedNoise:
    rng = torch.Generator().manual_seed(seed)
    r = records_per_step
    coupling = size * torch.randn(2, r, r, 3, generator=rng)
    everyone = 5 * size * torch.randn(r, r, generator=rng)
    coupling, everyone = coupling + coupling.swapaxes(1, 2), everyone + everyone.T
    return SharedNoise(coupling, everyone, IONS)


def dense(noise: SharedNoise, pairs: Pairs) -> torch.Tensor:
    """Return what all ions [n, r, 3] get of all, pair by pair, before each is made as alone."""
    n, r = len(pairs.inside), len(noise.everyone)
    matrix = torch.zeros(n, r, 3, n, r, 3, dtype=torch.float64)
    one = torch.eye(3, dtype=torch.float64)
    for i in range(n):
        for inside, unit, j in zip(
            pairs.inside[i].T, pairs.unit[i, :3].T, pairs.other[i].tolist(), strict=True
        ):
            along, across = noise.coupling.double() @ inside.double()
            line = torch.outer(unit, unit).double()
            block = along[:, None, :, None] * line[:, None]
            matrix[i, :, :, j] += block + across[:, None, :, None] * (one - line)[:, None]
    for i in range(n):
        first = i // IONS * IONS
        for j in range(first, first + IONS):
            matrix[i, :, :, j] += (noise.everyone / IONS)[:, None, :, None] * one[:, None]
    return matrix.reshape(3 * r * n, 3 * r * n) + torch.eye(3 * r * n)


@pytest.mark.parametrize("records_per_step", [1, 2, 3])
def test_shared_noise_is_that_of_dense_matrices_and_each_ion_has_what_it_had(records_per_step):
    r, noise = records_per_step, shared(records_per_step, 0.04)
    _, pairs = near(2, 1)
    matrix, n = dense(noise, pairs), 2 * IONS
    torch.testing.assert_close(matrix, matrix.T)
    # What each ion has of all, made of variance one.
    own = (matrix @ matrix.T).view(n, 3 * r, n, 3 * r)[range(n), :, range(n)]
    values, vectors = torch.linalg.eigh(own)
    roots = vectors @ torch.diag_embed(values.rsqrt()) @ vectors.mT
    expected = torch.block_diag(*roots) @ matrix
    independent = torch.eye(3 * r * n).view(-1, n, r, 3)
    made = torch.stack([noise.share(x.permute(1, 2, 0).contiguous(), pairs) for x in independent])
    made = made.permute(3, 1, 2, 0).reshape(3 * r * n, -1).double()
    assert (expected - torch.eye(3 * r * n)).abs().max() > 0.05
    torch.testing.assert_close(made, expected, atol=2e-3, rtol=0)
    variance = (made @ made.T).view(n, 3 * r, n, 3 * r)[range(n), :, range(n)]
    each = torch.eye(3 * r, dtype=torch.float64).expand_as(variance)
    torch.testing.assert_close(variance, each, atol=5e-3, rtol=0)


@pytest.mark.parametrize("listed", [False, True], ids=["all pairs", "lists"])
def test_in_a_small_cell_two_ions_share_noise_once(listed):
    """At the nearest image; as often as they see images of each other, noise would grow."""
    cell = 4.0 * np.eye(3)
    descriptor, _ = near(1, 1, cell)
    places = torch.rand(3, 400, IONS, generator=torch.Generator().manual_seed(4))
    pairs = descriptor.pairs(places, descriptor.tracked() if listed else None)
    once = descriptor.once(pairs, places)
    for i in range(40):
        seen = once.inside[i].sum(0) > 0
        cell_of_i = places[:, i // IONS].T
        apart = cell_of_i - cell_of_i[i % IONS]
        nearest = (4 * (apart - apart.round())).norm(dim=1)
        others = (once.other[i][seen] % IONS).tolist()
        assert len(set(others)) == len(others)
        assert i % IONS not in others
        torch.testing.assert_close(once.distance[i][seen], nearest[others], atol=1e-4, rtol=0)
    noise = SharedNoise(torch.full((2, 1, 1, 3), 0.15), torch.zeros(1, 1), IONS)
    drawn = torch.randn(1, 3, 400 * IONS, generator=torch.Generator().manual_seed(5))
    alone = drawn.square().mean()
    assert (noise.share(drawn, once).square().mean() / alone).item() == pytest.approx(1, abs=0.02)
    assert (noise.share(drawn, pairs).square().mean() / alone).item() > 1.05


def test_lists_of_neighbours_share_as_all_pairs_do():
    descriptor, pairs = near(3, 2)
    rng = torch.Generator().manual_seed(2)
    listed = descriptor.pairs(torch.rand(3, 3, IONS, generator=rng), descriptor.tracked())
    noise, drawn = shared(2, 0.05), torch.randn(2, 3, 3 * IONS, generator=rng)
    torch.testing.assert_close(noise.share(drawn, listed), noise.share(drawn, pairs))


def test_each_of_few_ions_keeps_its_variance_however_much_all_share():
    """Of three ions that swing against a light framework, r = 1: the variance is 1 exactly."""
    descriptor = NeighbourDescriptor.of_cell(SKEWED, **SHELLS).to(
        torch.device("cpu"), torch.float32
    )
    pairs = descriptor.pairs(torch.rand(3, 1, 3, generator=torch.Generator().manual_seed(1)))
    noise = SharedNoise(torch.zeros(2, 1, 1, 3), torch.tensor([[2.0]]), 3)
    made = torch.stack([noise.share(x.view(1, 3, 3), pairs).flatten() for x in torch.eye(9)])
    covariance = made.mT @ made
    torch.testing.assert_close(covariance.diagonal(), torch.ones(9), atol=1e-5, rtol=0)
    assert float(covariance[0, 1]) > 0.5


def test_free_runs_that_share_noise_have_gradients_also_after_generating():
    """Critics differentiate free runs, after runs that nothing was kept of."""
    generator, _ = sighted(records_per_step=2)
    rng = torch.Generator().manual_seed(1)
    generator.network.coupling += 0.02
    generator.network.noise_slope.fill_(0.01)
    noise = torch.randn(3, 2, generator.noise_size, generator=rng)
    state = generator.start(torch.rand(2, 1, generator=rng))[0]
    with torch.inference_mode():
        quiet, _ = generator.advance({n: v.clone() for n, v in state.items()}, noise)
    moved, _ = generator.advance(state, noise)
    torch.testing.assert_close(moved.detach(), quiet.clone())
    moved.square().sum().backward()
    gradient = generator.network.embed.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


def test_nothing_is_shared_where_nothing_is_coupled():
    _, pairs = near(2, 1)
    nothing = SharedNoise(torch.zeros(2, 2, 2, 3), torch.zeros(2, 2), IONS)
    drawn = torch.randn(2, 3, 2 * IONS, generator=torch.Generator().manual_seed(1))
    assert torch.equal(nothing.share(drawn, pairs), drawn)


@pytest.mark.parametrize("records_per_step", [1, 2])
def test_the_fit_finds_what_ions_share(records_per_step):
    """Correlations of two ions at a distance are as in the data, and so are all of a cell."""
    r, known = records_per_step, shared(records_per_step, 0.03)
    rng = torch.Generator().manual_seed(5)
    pairs = [near(700, seed)[1] for seed in range(12)]
    data = [known.share(torch.randn(r, 3, 700 * IONS, generator=rng), p) for p in pairs]
    found = fit_shared_noise(data, pairs, IONS, rng)
    torch.testing.assert_close(found.everyone, known.everyone, atol=0.12, rtol=0)
    middle = found.coupling[..., 1:] - known.coupling[..., 1:]
    assert middle.abs().max() < 0.04
    assert known.coupling[..., 1:].abs().max() > 0.05
    alone = fit_shared_noise([torch.randn_like(x) for x in data], pairs, IONS, rng)
    assert alone.coupling.abs().max() < 0.04


def test_what_gaussians_leave_open_is_the_noise_that_spread_them():
    rng = torch.Generator().manual_seed(1)
    one = Mixture(
        torch.zeros(5, 1),
        torch.randn(5, 1, generator=rng),
        torch.randn(5, 3, 1, generator=rng),
        torch.randn(5, 2, 3, 1, generator=rng),
    )
    noise = torch.randn(5, 3, generator=rng)
    x = noise
    for direction in one.directions[..., 0].unbind(1):
        x = x + direction * (direction * x).sum(-1, keepdim=True)
    x = one.means[..., 0] + one.log_widths.exp() * x
    torch.testing.assert_close(one.standardised(x), noise, atol=1e-4, rtol=1e-4)
