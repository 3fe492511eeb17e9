"""A trajectory restricted to one species: equal to picking its particles from whole arrays."""

import h5py
import numpy as np
import pytest

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory, TrajectoryWriter
from mdgan_hpc.trajectory import species as species_module

MIXED = np.array([3, 8, 8, 3, 15, 3, 3, 8])
TOGETHER = np.array([8, 8, 3, 3, 3, 15, 15, 15])


def write(path, species, positions, **options):
    n_records = len(positions)
    with TrajectoryWriter(path, species=species, cell=np.eye(3) * 9, **options) as writer:
        writer.append(
            positions,
            np.arange(n_records),
            0.1 * np.arange(n_records),
            velocities=-positions,
            forces=2 * positions,
        )
    return path


@pytest.fixture
def positions():
    return np.random.default_rng(1).normal(size=(40, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("species", [MIXED, TOGETHER])
@pytest.mark.parametrize("name", ["Li", "li", 3, "3"])
def test_equal_to_picking_from_the_whole(tmp_path, positions, species, name):
    path = write(tmp_path / "a.h5", species, positions, masses=np.arange(8.0))
    chosen = positions[:, species == 3]
    with Trajectory(path, name) as t:
        assert t.n_particles == t.ions_per_cell == chosen.shape[1]
        assert t.species.tolist() == [3] * t.n_particles
        assert t.require_one_species() == "Li"
        assert t.masses.tolist() == np.arange(8.0)[species == 3].tolist()
        assert t.chunk[1] <= t.n_particles
        assert (t.positions() == chosen).all()
        assert (t.velocities() == -chosen).all()
        assert (t.forces() == 2 * chosen).all()


def test_pieces_of_records_and_particles(tmp_path, positions, monkeypatch):
    monkeypatch.setattr(species_module, "_PICK_BYTES", 500)  # a few records at once
    path = write(tmp_path / "a.h5", MIXED, positions)
    chosen = positions[:, MIXED == 3]
    with Trajectory(path, "Li") as t:
        for records in (slice(None), slice(3, 29), slice(2, 30, 3)):
            for particles in (slice(None), slice(0, 2), slice(2, 4), slice(1, 2), slice(0, 4, 2)):
                expected = chosen[records, particles]
                assert (t.positions(records, particles) == expected).all()
        out = np.empty((26, 3, 3), np.float32)
        assert t.positions(slice(3, 29), slice(1, 4), out=out) is out
        assert (out == chosen[3:29, 1:4]).all()


def test_several_species_and_none_named_is_refused_with_the_list(tmp_path, positions):
    path = write(tmp_path / "a.h5", MIXED, positions)
    with Trajectory(path) as t:
        assert t.species_names == ["Li", "O", "P"]
        with pytest.raises(UsageError, match=r"a\.h5: holds 3 species \(Li4 O3 P1\).*--species Li"):
            t.require_one_species()


def test_a_species_that_is_not_there_is_refused_with_what_is(tmp_path, positions):
    path = write(tmp_path / "a.h5", MIXED, positions)
    with pytest.raises(UsageError, match="holds no Na; it holds Li4 O3 P1"):
        Trajectory(path, "Na")
    with pytest.raises(UsageError, match="'Lj' is no chemical element"):
        Trajectory(path, "Lj")
    with h5py.File(path, "a") as file:
        del file["particles/trajectory/species"]
    with pytest.raises(UsageError, match="does not tell the species"):
        Trajectory(path, "Li")
    with Trajectory(path) as t:
        assert t.require_one_species() == "X"


def test_ions_per_cell_of_one_species(tmp_path, positions):
    cell = [3, 8, 8, 3]
    path = write(tmp_path / "a.h5", cell * 2, positions, parameters={"simulated_together": 4})
    for name, expected in ((None, 4), ("Li", 2), ("O", 2)):
        with Trajectory(path, name) as t:
            assert t.ions_per_cell == expected
    other = write(tmp_path / "b.h5", MIXED, positions, parameters={"simulated_together": 4})
    with Trajectory(other, "O") as t, pytest.raises(DataError, match="equal numbers"):
        _ = t.ions_per_cell
    for wrong in (0, 2.5):
        bad = write(tmp_path / f"{wrong}.h5", cell, positions[:, :4], parameters={
            "simulated_together": wrong})  # fmt: skip
        with Trajectory(bad) as t, pytest.raises(DataError, match="simulated_together"):
            _ = t.ions_per_cell


def test_the_other_species_of_md_are_the_framework(tmp_path, positions):
    still = np.linspace(0, 8, 24).reshape(8, 3) + 0.1 * positions
    path = write(tmp_path / "a.h5", MIXED, still.astype(np.float32))
    others = still.astype(np.float32)[:, MIXED != 3].astype(float)
    with Trajectory(path) as t:
        assert t.framework is None
    with Trajectory(path, "Li") as t:
        np.testing.assert_allclose(t.framework.position, others.mean(0), rtol=1e-12)
        rms = np.sqrt(((others - others.mean(0)) ** 2).sum(-1).mean(0))
        np.testing.assert_allclose(t.framework.rms_displacement, rms, rtol=1e-6)
        assert t.framework.species.tolist() == [8, 8, 15, 8]


def test_images_unwrap_the_particles_of_a_species(tmp_path, positions):
    path = write(tmp_path / "a.h5", MIXED, positions)
    image = np.random.default_rng(2).integers(-2, 3, positions.shape)
    with h5py.File(path, "a") as file:
        file["particles/trajectory/image/value"] = image
    with Trajectory(path, "O") as t:
        expected = (positions + 9.0 * image)[:, MIXED == 8]
        np.testing.assert_allclose(t.positions(slice(5, 9)), expected[5:9], rtol=1e-6)


def test_what_made_it(tmp_path, positions):
    for parameters, expected in (
        ({}, "MD"),
        ({"simulated_together": 1}, "generated"),
        ({"simulated_together": 1, "generator_label": "transition density"}, "transition density"),
    ):
        path = write(tmp_path / f"{expected}.h5", MIXED, positions, parameters=parameters)
        with Trajectory(path) as t:
            assert t.label == expected
            assert t.generated == (expected != "MD")
