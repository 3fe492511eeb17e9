"""ZnH5MD, and by it ASE, opens what is written. Runs where ZnH5MD is installed."""

import MDAnalysis
import numpy as np
import pytest

from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import converted

znh5md = pytest.importorskip("znh5md")


def test_znh5md_reads_the_same(data, tmp_path):
    converted(data / "short/npr_labels", tmp_path / "a.h5")
    frames = list(znh5md.IO(tmp_path / "a.h5", particles_group="trajectory")[:])
    with Trajectory(tmp_path / "a.h5") as ours:
        assert len(frames) == ours.n_records
        for i, atoms in enumerate(frames):
            np.testing.assert_array_equal(atoms.numbers, ours.species)
            np.testing.assert_allclose(atoms.positions, ours.positions()[i])
            np.testing.assert_allclose(atoms.cell.array, ours.cells()[i], atol=1e-6)
            np.testing.assert_allclose(atoms.get_masses(), ours.masses)
            assert atoms.pbc.all()
            if i < len(frames) - 1:
                # ZnH5MD hands the numbers on as they are: Angstrom/ps.
                np.testing.assert_allclose(atoms.get_velocities(), ours.velocities()[i], rtol=1e-5)


def test_forces_reach_ase(data, tmp_path):
    """In eV/Angstrom, with the energies left where MDAnalysis finds them."""
    converted(data / "short/nve_lih8", tmp_path / "a.h5")
    frames = list(znh5md.IO(tmp_path / "a.h5", particles_group="trajectory")[:])
    with Trajectory(tmp_path / "a.h5") as ours:
        for atoms, forces in zip(frames[:-1], ours.forces(), strict=False):
            np.testing.assert_allclose(atoms.get_forces(), forces)
    universe = MDAnalysis.Universe.empty(8, trajectory=True, velocities=True)
    universe.load_new(str(tmp_path / "a.h5"), format="H5MD")
    assert universe.trajectory.n_frames == 40
