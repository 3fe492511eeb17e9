"""Space groups from averaged frameworks, and runs put into one frame."""

from dataclasses import dataclass

import numpy as np
import pytest

from mdgan_hpc.crystal import (
    Crystal,
    NoCrystal,
    Symmetry,
    align_frameworks,
    find_crystal,
    framework_shift,
)
from mdgan_hpc.errors import DataError


@dataclass
class Framework:
    species: np.ndarray
    position: np.ndarray
    rms_displacement: np.ndarray


def rocksalt(copies: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, Framework]:
    """Return cell and framework of `copies`^3 cubic cells of NaCl."""
    edge = 4.0
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.concatenate([basis, basis + np.array([0.5, 0, 0])])
    cells = np.stack(np.meshgrid(*[np.arange(copies)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    positions = (cells + sites).reshape(-1, 3) * edge + np.array([0.3, 0.2, 0.1])
    positions += noise * np.random.default_rng(seed).normal(size=positions.shape)
    species = np.tile([11] * 4 + [17] * 4, copies**3)
    return copies * edge * np.eye(3), Framework(species, positions, np.full(len(species), 0.2))


def tilted(amplitude: float, noise: float = 0.0) -> tuple[np.ndarray, Framework]:
    """Return 2 x 2 x 2 cells of SrTiO3 whose octahedra turn about c, neighbours oppositely."""
    edge = 3.9
    atoms, species = [], []
    for cell in np.ndindex(2, 2, 2):
        turn = amplitude / edge * (-1) ** sum(cell)
        here = [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5 + turn, 0.5], [0.5 - turn, 0, 0.5]]
        here.append([0.5, 0.5, 0])
        atoms.append(np.array(here) + cell)
        species += [38, 22, 8, 8, 8]
    positions = np.concatenate(atoms) * edge
    positions += noise * np.random.default_rng(2).normal(size=positions.shape)
    return 2 * edge * np.eye(3), Framework(np.array(species), positions, np.full(40, 0.2))


def glass(seed: int) -> tuple[np.ndarray, Framework]:
    cell, framework = rocksalt(2)
    rng = np.random.default_rng(seed)
    moved = framework.position + 1.2 * rng.normal(size=framework.position.shape)
    return cell, Framework(framework.species, moved, framework.rms_displacement)


def operations_map_the_atoms(crystal: Crystal, atoms: np.ndarray) -> float:
    inverse = np.linalg.inv(crystal.primitive)
    worst = 0.0
    for rotation, translation in zip(crystal.rotations, crystal.translations, strict=True):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        image = atoms @ rotation.T + translation
        difference = (image[:, None] - atoms[None]) @ inverse
        difference -= np.round(difference)
        distance = np.linalg.norm(difference @ crystal.primitive, axis=-1)
        distance[crystal.species[:, None] != crystal.species[None]] = np.inf
        worst = max(worst, distance.min(1).max())
    return worst


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("noise", [0.0, 0.005, 0.05])
def test_rocksalt_has_the_primitive_cell_and_48_operations_whatever_the_noise(copies, noise):
    cell, framework = rocksalt(copies, noise)
    found = find_crystal(framework, cell)
    assert isinstance(found, Crystal)
    assert found.space_group == "Fm-3m"
    assert len(found.rotations) == 48
    assert np.linalg.det(found.primitive) == pytest.approx(4.0**3 / 4, rel=1e-6)
    assert found.noise == pytest.approx(noise, abs=0.02)
    assert operations_map_the_atoms(found, framework.position) < 0.01 + 8 * noise


def test_one_loose_atom_leaves_the_crystal():
    cell, framework = rocksalt(2, noise=0.02)
    framework.position[0] += [1.2, 0.7, -0.4]
    framework.rms_displacement[0] = 2.5
    found = find_crystal(framework, cell)
    assert isinstance(found, Crystal)
    assert (found.space_group, len(found.rotations)) == ("Fm-3m", 48)
    assert np.linalg.det(found.primitive) == pytest.approx(4.0**3 / 4, rel=1e-6)


@pytest.mark.parametrize(("amplitude", "noise", "atoms"), [(0.15, 0.01, 10), (0.0, 0.04, 5)])
def test_a_distortion_is_told_from_noise(amplitude, noise, atoms):
    """Turned octahedra double the cell (I4/mcm); noise as large as a small turn does not."""
    cell, framework = tilted(amplitude, noise)
    found = find_crystal(framework, cell)
    assert isinstance(found, Crystal)
    volume = abs(np.linalg.det(found.primitive) / np.linalg.det(cell)) * 40
    assert round(volume) == atoms
    assert len(found.rotations) == (16 if amplitude else 48)


def test_neither_glass_nor_liquid_is_a_crystal():
    cell, framework = glass(0)
    found = find_crystal(framework, cell)
    assert isinstance(found, NoCrystal)
    assert "glass" in found.reason
    cell, framework = rocksalt(2)
    framework.rms_displacement += 2.0
    found = find_crystal(framework, cell)
    assert isinstance(found, NoCrystal)
    assert "do not stay in place" in found.reason
    assert isinstance(find_crystal(None, cell), NoCrystal)
    assert isinstance(find_crystal(framework, None), NoCrystal)


def test_built_in_part_is_identity_and_inversion_or_everything():
    cell, framework = rocksalt(1)
    found = find_crystal(framework, cell)
    assert isinstance(found, Crystal)
    rotations, translations = found.symmetry().built_in()
    np.testing.assert_allclose(rotations, [np.eye(3), -np.eye(3)], atol=1e-9)
    # Twice the inversion is a lattice translation.
    doubled = (rotations[1] @ translations[1] + translations[1]) @ np.linalg.inv(found.primitive)
    np.testing.assert_allclose(doubled, np.round(doubled), atol=1e-3)
    turns = np.array([np.eye(3), np.diag([-1.0, -1, 1])])
    assert len(Symmetry(turns, np.zeros((2, 3))).built_in()[0]) == 2


def moved(framework: Framework, offset: np.ndarray, cell: np.ndarray, seed: int) -> Framework:
    rng = np.random.default_rng(seed)
    shape = framework.position.shape
    images = rng.integers(-1, 2, size=shape) @ cell
    position = framework.position + offset + images + 0.02 * rng.normal(size=shape)
    return Framework(framework.species, position, framework.rms_displacement)


def test_frameworks_are_aligned_across_the_cell_boundary():
    cell, framework = rocksalt(2)
    offset = np.array([0.4, -0.3, 1.1])
    other = moved(framework, -offset, cell, 1)
    alignment = align_frameworks([framework, other], [cell, cell])
    assert alignment.maps is None
    assert isinstance(alignment.crystal, Crystal)
    np.testing.assert_array_equal(alignment.shifts[0], 0)
    shift = (alignment.shifts[1] - offset) @ np.linalg.inv(cell)
    assert np.abs((shift - np.round(shift)) @ cell).max() < 0.02
    # Two atoms that are anywhere do not count.
    other.position[:2] += 2.0
    framework_shift(framework.position, other.position, cell)
    shuffled = np.random.default_rng(0).permutation(other.position)
    with pytest.raises(DataError, match="do not match"):
        framework_shift(framework.position, shuffled, cell)


def test_cells_of_npt_runs_are_mapped_to_their_mean():
    cell, framework = rocksalt(2, noise=0.01)
    cells, frameworks = [], []
    for scale in (0.999, 1.001):
        cells.append(scale * cell)
        frameworks.append(
            Framework(framework.species, scale * framework.position, framework.rms_displacement)
        )
    alignment = align_frameworks(frameworks, cells)
    assert isinstance(alignment.crystal, Crystal)
    assert len(alignment.crystal.rotations) == 48
    assert alignment.cell is not None
    np.testing.assert_allclose(alignment.cell, cell, rtol=1e-12)
    for i in range(2):
        np.testing.assert_allclose(
            alignment.apply(i, frameworks[i].position), framework.position, atol=1e-9
        )
    assert alignment.largest_strain == pytest.approx(0.001, rel=0.01)
    with pytest.raises(DataError, match="cells of the runs differ"):
        align_frameworks(frameworks, [cells[0], 1.02 * cells[1]])


def test_runs_of_a_glass_get_a_verdict_and_stay_where_they_are():
    runs = [glass(seed) for seed in (0, 1, 2)]
    alignment = align_frameworks([f for _, f in runs], [c for c, _ in runs])
    assert isinstance(alignment.crystal, NoCrystal)
    assert "of its own" in alignment.crystal.reason
    assert not alignment.shifts.any()
    assert alignment.maps is None


def test_runs_of_one_crystal_in_another_order_of_atoms_are_refused():
    cell, framework = rocksalt(2)
    order = np.random.default_rng(0).permutation(len(framework.species))
    same_kind = order[np.argsort(framework.species[order], kind="stable")]
    first = np.argsort(framework.species, kind="stable")
    a = Framework(*(v[first] for v in vars(framework).values()))
    b = Framework(*(v[same_kind] for v in vars(framework).values()))
    with pytest.raises(DataError, match="same order"):
        align_frameworks([a, b], [cell, cell])
