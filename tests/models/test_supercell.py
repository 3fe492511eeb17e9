"""Supercells: neighbour lists against all pairs, and cells that are images of each other."""

import itertools

import numpy as np
import pytest
import torch

from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.neighbour_list import BinnedSearch
from mdgan_hpc.models.neighbours import NeighbourDescriptor
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition.generator import TransitionGenerator
from tests.support.neighbours import CUTOFF, SHELLS, SKEWED, sighted
from tests.support.transition import cubic, make

LARGE = np.diag([3.0, 5.0, 2.0]) @ SKEWED


@pytest.mark.parametrize(
    ("cell", "batch", "ions"),
    [(SKEWED, 3, 5), (LARGE, 2, 60), (np.diag([4.0, 30.0, 30.0]), 1, 40)],
)
@pytest.mark.parametrize("far", [0.02, 0.3], ids=["lists that serve", "each step too far"])
def test_a_list_gives_what_all_pairs_give_while_ions_move(far, cell, batch, ions):
    descriptor = NeighbourDescriptor.of_cell(cell, **SHELLS)
    tracked, rng = descriptor.tracked(), torch.Generator().manual_seed(1)
    places = 3 * torch.rand(3, batch, ions, generator=rng, dtype=torch.float64) - 1
    inverse = torch.from_numpy(np.linalg.inv(cell))
    for step in range(12):
        there = places - places.floor() if step % 2 else places
        seen = descriptor.of_places(there, tracked)
        torch.testing.assert_close(seen, descriptor.of_places(there), atol=1e-11, rtol=0)
        moved = far * torch.randn(3, batch * ions, generator=rng, dtype=torch.float64)
        places = places + (inverse.T @ moved).view_as(places)


def test_every_pair_is_found_once():
    places = torch.rand(3, 1, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = BinnedSearch(SKEWED, CUTOFF, 30)(places)
    lengths = found.apart(torch.from_numpy(SKEWED).T @ places[:, 0]).norm(dim=0)
    images = np.array(list(itertools.product(range(-4, 5), repeat=3))) @ SKEWED
    here = places[:, 0].T.numpy() @ SKEWED
    expected = np.linalg.norm(here[:, None, None] - here[None, :, None] + images, axis=-1)
    expected = [np.sort(row[(row > 1e-9) & (row < CUTOFF)]) for row in expected.reshape(30, -1)]
    for row, known in zip(lengths, expected, strict=True):
        near = row[row < CUTOFF].sort().values
        np.testing.assert_allclose(near, known, atol=1e-9)


def scattered() -> TransitionGenerator:
    """A generator of four ions whose start states are anywhere."""
    generator, _ = sighted()
    rng = torch.Generator().manual_seed(4)
    for name, value in generator.named_buffers():
        if name.startswith("start_") and name != "start_ema_activity":
            value.copy_(torch.rand(value.shape, generator=rng))
    return generator


def test_cells_that_are_images_of_each_other_move_as_one():
    """The same start and the same noise in every cell: what the small cell does with itself."""
    small = scattered()
    supercell = Supercell((2, 1, 3))
    large = small.in_supercell(supercell)
    assert (large.ions_per_cell, large.start_size) == (24, 6)
    rng = torch.Generator().manual_seed(1)
    uniform, noise = torch.rand(2, 1, generator=rng), torch.randn(6, 2, 48, generator=rng)
    state, position = small.start(uniform)
    of_large, position_of_large = large.start(uniform.expand(2, 6))
    apart = position_of_large.view(2, 6, 4, 3) - position[:, None]
    edges = torch.tensor(8.0 * supercell.corners()[:, None], dtype=torch.float32)
    torch.testing.assert_close(apart, edges.expand_as(apart), atol=1e-5, rtol=0)
    for _ in range(2):
        moved, state = small.advance(state, noise)
        together, of_large = large.advance(of_large, noise.tile(1, 1, 6))
        each = together.view(len(moved), 2, 6, 4, 3)
        torch.testing.assert_close(each, moved[:, :, None].expand_as(each), atol=2e-4, rtol=0)


def test_ions_see_those_beyond_the_former_border_and_only_within_the_cutoff():
    """One cell gets other noise: its neighbours move otherwise, those far away do not."""
    small = scattered()
    large = small.in_supercell(Supercell((5, 1, 1)))
    rng = torch.Generator().manual_seed(1)
    uniform, noise = torch.rand(1, 5, generator=rng), torch.randn(2, 1, 5, 48, generator=rng)
    other = noise.clone()
    other[0, :, 0] = torch.randn(1, 48, generator=rng)
    moved, changed = (
        large.advance(large.start(uniform)[0], n.flatten(2))[0].view(-1, 5, 4, 3)
        for n in (noise, other)
    )
    # The first step differs in the first cell alone; in the second, its neighbours have seen it.
    differs = (moved - changed).abs().amax((0, 2, 3)) > 0
    assert differs.tolist() == [True, True, False, False, True]


def test_ions_that_are_removed_are_taken_by_chance_and_the_others_stay():
    small = scattered()
    every = small.in_supercell(Supercell((2, 1, 2)))
    fewer = small.in_supercell(Supercell((2, 1, 2), ions=13))
    assert (fewer.ions_per_cell, every.ions_per_cell) == (13, 16)
    uniform = torch.rand(3, fewer.start_size, generator=torch.Generator().manual_seed(3))
    _, all_places = every.start(uniform[:, :4])
    state, places = fewer.start(uniform)
    removed = []
    for left, there in zip(places, all_places, strict=True):
        same = (there[:, None] == left[None]).all(2)
        assert same.any(0).all()
        assert same.any(1).sum() == 13
        removed.append(tuple((~same.any(1)).nonzero().flatten().tolist()))
    assert len(set(removed)) == 3
    noise = torch.randn(4, 3, fewer.noise_size, generator=torch.Generator().manual_seed(1))
    moved, _ = fewer.advance(state, noise)
    assert moved.shape == (12, 3, 13, 3)
    assert moved.isfinite().all()


@pytest.mark.parametrize("repeats", [(3, 2, 1), (1, 1, 1)])
def test_an_ion_that_is_added_gets_the_emptiest_of_the_places_tried(repeats):
    """By all pairs and images: none of the others tried is farther from all that are there."""
    supercell, places = Supercell(repeats), np.random.default_rng(1).random((40, 3))
    n, windows = supercell.n_cells, torch.arange(40).view(10, 4)
    more = Supercell(repeats, ions=4 * n + 2)
    uniform = torch.rand(1, more.start_size(4), generator=torch.Generator().manual_seed(2))
    number, where = more.draw(uniform, windows, torch.from_numpy(places), SKEWED.tolist())
    before, there = supercell.draw(uniform[:, :n], windows, None, None)
    assert torch.equal(number[:-2], before)
    assert torch.equal(where[:-2], there)
    corners = supercell.corners()
    vectors = list((places[before] + corners[there]) @ SKEWED)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ supercell.of_cell(SKEWED)
    for row, got, cell in zip(uniform[0, n:].view(2, -1), number[-2:], where[-2:], strict=True):
        assert cell == int(row[0] * n)
        tried = (row[1:] * 40).long().numpy()
        ways = (places[tried] + corners[cell]) @ SKEWED
        apart = ways[:, None, None] - np.array(vectors)[None, :, None] + images
        nearest = np.linalg.norm(apart, axis=-1).min((1, 2))
        assert got == tried[nearest.argmax()]
        vectors.append((places[got] + corners[cell]) @ SKEWED)


def test_a_run_does_not_depend_on_those_before():
    large = sighted()[0].in_supercell(Supercell((2, 2, 1)))
    noise = torch.randn(4, 1, large.noise_size, generator=torch.Generator().manual_seed(1))
    state, _ = large.start(torch.rand(1, 4, generator=torch.Generator().manual_seed(2)))
    first, _ = large.advance(state, noise)
    large.advance(large.start(torch.rand(1, 4))[0], noise)
    assert torch.equal(first, large.advance(state, noise)[0])


def test_shapes_of_supercells():
    cell = np.diag([4.0, 8.0, 16.0])
    assert Supercell.compact(cell, 8).repeats == (4, 2, 1)
    assert Supercell.compact(cell, 1).repeats == (1, 1, 1)
    # 13 is a prime number: 14 cells are thicker.
    assert Supercell.compact(cell, 13).n_cells in (13, 14)
    assert Supercell.of_text(" 2,3, 1").repeats == (2, 3, 1)
    for text in ("2,2", "0,1,1", "a,b,c", "2,2,1,1", "-1,2,2"):
        with pytest.raises(UsageError, match="not three whole numbers"):
            Supercell.of_text(text)


def test_what_cannot_be_repeated_is_refused():
    alone: TransitionGenerator = make(cubic(4.0), 2)
    with pytest.raises(UsageError, match="do not see each other"):
        alone.in_supercell(Supercell((2, 1, 1)))
    with pytest.raises(UsageError, match="more than 1000000"):
        sighted()[0].in_supercell(Supercell((100, 100, 100)))
    with pytest.raises(UsageError, match="a single ion sees no others"):
        sighted()[0].in_supercell(Supercell(ions=1))
