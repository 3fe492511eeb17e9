"""Trajectories of other programs: images, other units, scalar increments of time."""

import h5py
import numpy as np
import pytest

from mdgan_hpc.results import load_results
from tests.support.commands import run
from tests.support.motion import brownian, dynamics


@pytest.fixture
def unwrapped(rng):
    return brownian(500, 6, rng) + 3.0


def foreign(path, positions, cell, *, image):
    """An H5MD file in nm, times as an increment, positions wrapped into an orthorhombic cell."""
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        group = file.create_group("particles/atoms")
        box = group.create_group("box")
        box.attrs["dimension"] = 3
        box["edges"] = cell / 10
        box["edges"].attrs["unit"] = np.bytes_("nm")
        position = group.create_group("position")
        position["value"] = (positions % cell) / 10
        position["value"].attrs["unit"] = np.bytes_("nm")
        position["step"] = 1
        position["time"] = 50.0
        position["time"].attrs["unit"] = np.bytes_("fs")
        if image:
            element = group.create_group("image")
            element["value"] = np.floor(positions / cell).astype(int)
            element["step"], element["time"] = position["step"], position["time"]
    return path


def test_image_unwraps(tmp_path, unwrapped):
    path = foreign(tmp_path / "a.h5", unwrapped, np.array([6.0, 7.0, 8.0]), image=True)
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.h5")
    assert done.returncode == 0, done.stderr
    curves = load_results(tmp_path / "msd.h5")["curves"]
    expected = dynamics([unwrapped]).curves
    np.testing.assert_allclose(curves["lag_ps"], expected.lag_ps)
    np.testing.assert_allclose(curves["msd"], expected.msd, rtol=1e-9)


def test_without_image_it_is_refused_with_the_remedy(tmp_path, unwrapped):
    path = foreign(tmp_path / "a.h5", unwrapped, np.array([6.0, 7.0, 8.0]), image=False)
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.h5")
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "wrapped" in done.stderr
    assert "image" in done.stderr
    assert not (tmp_path / "msd.h5").exists()
