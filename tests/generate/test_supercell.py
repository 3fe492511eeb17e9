"""Generating supercells: the same bits however it is divided, and a file that says what it is."""

import numpy as np
import pytest

from mdgan_hpc.errors import DataError, DataWarning, OutputExistsError, UsageError
from mdgan_hpc.generate.run import generate
from mdgan_hpc.models.file import Model, save_model
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.replicas import require_replicas, require_same_system
from tests.generate.launch import generate as command
from tests.generate.launch import needs_mpi
from tests.support.neighbours import sighted

OPTIONS = {"block_records": 48, "seed": 5, "burn_in": 30}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    generator, box = sighted()
    path = tmp_path_factory.mktemp("model") / "model.pt"
    training = {"system": "Li4 O8"}
    model = Model(generator, 0.01, 3, box, training_span_ps=4.0, provenance=training)
    save_model(path, model)
    return path


@pytest.fixture(scope="module")
def reference(model, tmp_path_factory):
    """Three supercells of 16 ions, 120 records, at once in one process."""
    output = tmp_path_factory.mktemp("reference") / "g.h5"
    sizes = {"particles": 48, "records": 120, "supercell": "2,1,2", "block_particles": 16}
    return generate(model, output, workers=1, **sizes, **OPTIONS)


def positions(path):
    with Trajectory(path) as trajectory:
        return trajectory.positions()


def test_extended_and_on_other_processes_it_is_the_same(model, reference, tmp_path):
    output = tmp_path / "g.h5"
    first = {"particles": 32, "records": 60, "supercell": "2,1,2", "block_particles": 16}
    generate(model, output, workers=1, **first, **OPTIONS)
    # What is left out is as in the file.
    generate(model, output, workers=2, particles=48, records=120)
    np.testing.assert_array_equal(positions(output), positions(reference))
    assert np.isfinite(positions(output)).all()


@needs_mpi
def test_on_three_ranks_it_is_the_same(model, reference, tmp_path):
    sizes = ("--particles", 48, "--records", 120, "--supercell", "2,1,2", "--block-particles", 16)
    told = (f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items())
    command(model, "-o", tmp_path / "g.h5", *sizes, *told, ranks=3)
    np.testing.assert_array_equal(positions(tmp_path / "g.h5"), positions(reference))


def test_the_file_says_what_it_is(reference):
    with Trajectory(reference) as made:
        np.testing.assert_allclose(made.constant_cell, np.diag([16.0, 8.0, 16.0]))
        assert (made.ions_per_cell, made.n_particles) == (16, 48)
        assert made.parameter("supercell").tolist() == [2, 1, 2]


def test_particles_are_whole_supercells_and_auto_makes_one(model, tmp_path, caplog):
    caplog.set_level("INFO", "mdgan_hpc")
    output = generate(model, tmp_path / "g.h5", particles=30, records=8, supercell="auto", seed=1)
    assert "Supercell: 2 x 2 x 2 cells, 32 ions that see each other; 1 of them, 100 rec" in (
        caplog.text
    )
    for again in ({}, {"supercell": "auto"}, {"supercell": "auto", "particles": 30}):
        generate(model, output, records=8, **again)
    assert positions(output).shape == (8, 32, 3)
    for other in ("1,2,2", ""):
        with pytest.raises(OutputExistsError, match="supercell \\[2, 2, 2\\], not"):
            generate(model, output, records=8, supercell=other)
    with pytest.raises(UsageError, match="not three whole numbers"):
        generate(model, tmp_path / "h.h5", supercell="2x2x1")


def test_ions_are_removed_and_added(model, reference, tmp_path):
    """The same on other processes; the file says what it is, and is not taken for another."""
    for ions in (14, 19):
        sizes = {"particles": 2 * ions, "records": 60, "supercell": "2,1,2", "ions": ions}
        with pytest.warns(DataWarning, match=f"{ions} ions where the 2 x 1 x 2 cells .* held 16 "):
            made = generate(model, tmp_path / f"{ions}.h5", workers=1, **sizes, **OPTIONS)
        with pytest.warns(DataWarning, match="held 16"):
            again = generate(model, tmp_path / f"{ions}b.h5", workers=2, **sizes, **OPTIONS)
        np.testing.assert_array_equal(positions(made), positions(again))
        with pytest.warns(DataWarning, match="held 16"):
            generate(model, made, records=80)
        with Trajectory(made) as trajectory, Trajectory(reference) as whole:
            assert trajectory.ions_per_cell == ions
            assert (trajectory.n_records, trajectory.n_particles) == (80, 2 * ions)
            np.testing.assert_allclose(trajectory.constant_cell, np.diag([16.0, 8.0, 16.0]))
            with pytest.raises(DataError, match="holds 16 ions in 2 x 1 x 2 cells"):
                require_replicas([trajectory, whole])
    with pytest.raises(UsageError, match="not said in how many cells"):
        generate(model, tmp_path / "h.h5", ions=14)
    with pytest.raises(OutputExistsError, match="ions 14, not 7"):
        generate(model, tmp_path / "14.h5", records=80, ions=7)


def test_as_many_ions_as_the_cells_held_change_nothing(model, reference, tmp_path):
    output = tmp_path / "g.h5"
    sizes = {"particles": 48, "records": 120, "supercell": "2,1,2", "block_particles": 16}
    generate(model, output, workers=1, ions=16, **sizes, **OPTIONS)
    np.testing.assert_array_equal(positions(output), positions(reference))


def test_cells_of_different_size_are_no_replicas_but_one_system(model, reference, tmp_path):
    small = generate(model, tmp_path / "small.h5", particles=8, records=20, seed=1)
    with Trajectory(small) as one, Trajectory(reference) as large:
        require_same_system(one, large)
        with pytest.raises(DataError, match=r"is of one cell .* of 2 x 1 x 2 cells"):
            require_replicas([large, one])
