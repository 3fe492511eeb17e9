"""Ions closer than any of the data are pushed apart, and others are left alone."""

import numpy as np
import pytest
import torch

from mdgan_hpc.models.neighbours import NeighbourDescriptor
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.models.transition.repulsion import Repulsion, measured_repulsion
from tests.support.neighbours import SHELLS, sighted

BOX = 12.0 * np.eye(3)
#: Two records a step: of one displacement, twice, and of residuals as a whitening mixes them.
MOTION = torch.tensor([[1.0, 0.2, 0.1], [1.0, -0.1, 0.3]])


def pairs(*places: float, species: tuple[int, ...] = ()):
    """Ions at places along x of one cell, Angstrom."""
    positions = torch.tensor([[x, 1.0, 2.0] for x in places])
    descriptor = NeighbourDescriptor.of_cell(BOX, **SHELLS).of_species(species)
    return descriptor.to(torch.device("cpu"), torch.float32).pairs((positions / 12).T[:, None])


def displaced(repulsion: Repulsion, near, scale: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Displacements [r, n] along x of a step, beside those without it."""
    return torch.einsum("mq,qn->mn", MOTION[:, 1:], repulsion.residual(near)[:, 0] * scale)


def test_the_push_is_that_of_the_potential_or_a_quarter_of_the_depth():
    found = {"distance": [[2.0]], "decay": [[0.5]]}
    repulsion = Repulsion.of(found, MOTION, 3 * 0.1**2, None)
    for apart, force in ((1.0, 0.1**2 / 0.5), (1.96, 0.25 * 0.04), (2.1, 0.0)):
        moved = displaced(repulsion, pairs(3.0, 3.0 + apart, 9.0))
        expected = force * torch.tensor([[-1.0, 1.0, 0.0], [-2.0, 2.0, 0.0]])
        torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-4)


def test_ions_of_two_species_exchange_momentum():
    """The heavy one, of four times the mass and half the thermal speed, moves a quarter as far."""
    found = {"distance": [[0.0, 2.0], [2.0, 1.5]], "decay": [[1.0, 0.5], [0.5, 0.3]]}
    scale = torch.tensor([1.0, 0.5, 0.5])
    repulsion = Repulsion.of(found, MOTION, 3 * (0.1 * scale) ** 2, scale)
    moved = displaced(repulsion, pairs(3.0, 4.0, 9.0, species=(0, 1, 1)), scale)
    torch.testing.assert_close(moved[0], torch.tensor([-0.02, 0.005, 0.0]), atol=1e-6, rtol=1e-4)
    moved = displaced(repulsion, pairs(9.0, 4.0, 5.2, species=(0, 1, 1)), scale)
    force = 0.05**2 / 0.3
    expected = torch.tensor([0.0, -force, force])
    torch.testing.assert_close(moved[0], expected, atol=1e-6, rtol=1e-4)


def test_distance_and_decay_are_measured():
    """Ions whose nearest distance falls off as an exponential, and far from each other beyond."""
    rng = np.random.default_rng(5)
    apart = np.minimum(3.0 + 0.2 * np.log(rng.random(30_000)), 4.0)
    run = np.zeros((len(apart), 2, 3)) + [4.0, 5.0, 6.0]
    run[:, 1, 2] += apart
    looked_at = apart[:: len(apart) * 2 // 12_000]
    for species, where in (((), (0, 0)), ([np.array([0, 1])], (0, 1))):
        found = measured_repulsion([run, run], BOX, species * 2)
        assert found["distance"][where[0]][where[1]] == pytest.approx(looked_at.min())
        assert found["decay"][where[0]][where[1]] == pytest.approx(0.2, rel=0.3)
        if species:
            assert [found["distance"][n][n] for n in (0, 1)] == [0.0, 0.0]
    assert measured_repulsion([run[:100]], BOX) is None


def free_run(generator: TransitionGenerator, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacements, and the distances of the first two ions, which start `apart`, at rest."""
    state = generator._zero_state(4)
    places = torch.tensor([[0.0, 0, 0], [apart, 0, 0], [0, 4, 4], [4, 4, 0]]) / 8
    state["place"] = places.to(state["place"])
    noise = torch.zeros(20, 1, generator.noise_size)
    with torch.no_grad():
        moved, _ = generator.advance(state, noise)
    way = moved[:, 0].cumsum(0)
    between = way[:, 1] - way[:, 0] + torch.tensor([apart, 0, 0])
    return moved, (between - 8 * (between / 8).round()).norm(dim=-1)


@pytest.mark.parametrize("ahead", [False, True], ids=["here", "ahead"])
def test_ions_that_lie_on_each_other_part_in_a_free_run(ahead):
    plain = sighted(2, ahead=ahead)[0]
    found = {"distance": [[1.5]], "decay": [[0.05]]}
    torch.manual_seed(0)
    pushed = TransitionGenerator.create(plain.config, **{**plain.arguments, "repulsion": found})
    pushed.load_state_dict(plain.state_dict())
    _, alone = free_run(plain, 0.1)
    _, apart = free_run(pushed, 0.1)
    assert alone.max() < 1.1
    assert apart[4:].min() > 1.2
    assert torch.equal(free_run(plain, 3.5)[0], free_run(pushed, 3.5)[0])
