"""Space groups from averaged frameworks, and runs put into one frame."""

import numpy as np
import pytest

from mdgan_hpc.crystal import Symmetry, crystal, framework_shift
from mdgan_hpc.errors import DataError


def rocksalt(copies: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edge = 4.0
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.concatenate([basis, basis + np.array([0.5, 0, 0])])
    cells = np.array([[i, 0, 0] for i in range(copies)])
    positions = (cells[:, None] + sites[None]).reshape(-1, 3) * edge
    species = np.tile([11] * 4 + [17] * 4, copies)
    positions += noise * np.random.default_rng(0).normal(size=positions.shape)
    return np.diag([copies * edge, edge, edge]), species, positions


@pytest.mark.parametrize("copies", [1, 2])
def test_rocksalt_supercell_has_the_primitive_cell_and_48_operations(copies):
    cell, species, positions = rocksalt(copies, noise=0.005)
    found = crystal(cell, species, positions + np.array([0.3, 0.2, 0.1]))
    assert found.name == "Fm-3m"
    assert len(found.rotations) == 48
    assert np.linalg.det(found.primitive) == pytest.approx(4.0**3 / 4, rel=1e-6)
    inverse = np.linalg.inv(found.primitive)
    atoms = positions + np.array([0.3, 0.2, 0.1])
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        image = atoms @ rotation.T + translation
        difference = (image[:, None] - atoms[None]) @ inverse
        difference -= np.round(difference)
        distance = np.linalg.norm(difference @ found.primitive, axis=-1)
        distance[species[:, None] != species[None]] = np.inf
        assert distance.min(1).max() < 0.05


def test_built_in_part_is_identity_and_inversion_or_everything():
    cell, species, positions = rocksalt(1)
    found = crystal(cell, species, positions + 0.2)
    rotations, translations = found.built_in()
    np.testing.assert_allclose(rotations, [np.eye(3), -np.eye(3)], atol=1e-9)
    # Twice the inversion is a lattice translation.
    doubled = (rotations[1] @ translations[1] + translations[1]) @ np.linalg.inv(found.primitive)
    np.testing.assert_allclose(doubled, np.round(doubled), atol=1e-3)
    turns = np.array([np.eye(3), np.diag([-1.0, -1, 1])])
    assert len(Symmetry(turns, np.zeros((2, 3))).built_in()[0]) == 2


def test_frameworks_are_aligned_across_the_cell_boundary():
    cell, _, positions = rocksalt(2)
    random = np.random.default_rng(1)
    offset = np.array([0.4, -0.3, 1.1])
    images = random.integers(-1, 2, size=positions.shape) @ cell
    other = positions - offset + images + 0.02 * random.normal(size=positions.shape)
    shift = framework_shift(positions, other, cell) - offset
    shift = shift @ np.linalg.inv(cell)
    assert np.abs((shift - np.round(shift)) @ cell).max() < 0.02
    with pytest.raises(DataError, match="do not match"):
        framework_shift(positions, random.permutation(other), cell)
