"""The recoil of the framework: against atoms whose centre of mass is at rest, and closed loops."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.models.base import DataSummary, Window
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor, neighbour_scales
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition.likelihood import Residuals
from mdgan_hpc.models.transition.recoil import Recoil, recoil_in
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.data.runs import Run, common_recoil, inertial_runs
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.recoil import recoil_of
from tests.support.motion import write
from tests.support.neighbours import SHELLS, described, ions
from tests.support.transition import cubic, make

#: Three ions and a framework of two atoms.
IONS, FRAMEWORK = np.array([19.0, 7.0, 23.0]), np.array([40.0, 16.0])
OVER = IONS / FRAMEWORK.sum()
#: Of the four ions of the generator below.
MASSES = [0.1, 0.4, 0.2, 0.3]


def atoms(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements of ions [n, 3, 3] while the centre of mass of all atoms is at rest.

    In its frame, and in that of the centre of mass of the framework.
    """
    masses = np.concatenate([IONS, FRAMEWORK])[:, None]
    moved = np.random.default_rng(seed).normal(size=(n, 5, 3)) / np.sqrt(masses)
    moved -= (masses * moved).sum(1, keepdims=True) / masses.sum()
    framework = (masses[3:] * moved[:, 3:]).sum(1, keepdims=True) / masses[3:].sum()
    return moved[:, :3], moved[:, :3] - framework


def run_of(moved: np.ndarray, recoil: np.ndarray | None = OVER) -> Run:
    return Run(moved.cumsum(0), 0.01, np.array([9, 3, 11]), None, None, recoil)


def test_there_and_back_as_the_masses_of_all_atoms_say():
    there, seen = atoms(50, 1)
    start = np.random.default_rng(2).normal(size=(1, 3, 3))
    (run,) = inertial_runs([start + seen.cumsum(0)], OVER)
    np.testing.assert_allclose(np.diff(run, axis=0), there[1:], atol=1e-12)
    assert inertial_runs([seen], None) == []
    recoil = Recoil(torch.from_numpy(OVER))
    np.testing.assert_allclose(recoil.inertial(torch.from_numpy(seen)), there, atol=1e-12)
    columns = torch.from_numpy(there).permute(2, 0, 1).flatten(1)[None]  # [1, 3, B k]
    back = recoil.seen(columns).view(3, -1, 3).permute(1, 2, 0)
    np.testing.assert_allclose(back, seen, atol=1e-12)


def test_it_is_there_where_the_motion_shows_it(caplog):
    caplog.set_level(logging.INFO, "mdgan_hpc")
    there, seen = atoms(20_000, 2)
    found = common_recoil([run_of(seen), run_of(seen[::-1])])
    np.testing.assert_array_equal(found, OVER)
    # One run that does not tell it, another framework, one that is heavy.
    assert common_recoil([run_of(seen), run_of(seen, None)]) is None
    assert common_recoil([run_of(seen), run_of(seen, 2 * OVER)]) is None
    assert common_recoil([run_of(seen, 0.01 * OVER)]) is None
    assert not caplog.text
    # A framework that is held fixed does not recoil, whatever it weighs; nor one that stands still.
    free = np.random.default_rng(3).normal(size=there.shape) / np.sqrt(IONS)[:, None]
    assert common_recoil([run_of(free)]) is None
    assert "does not recoil as its mass tells: momentum of all ions squared 1" in caplog.text
    assert common_recoil([run_of(0 * free)]) is None


def test_it_is_used_in_a_crystal_whose_ions_see_each_other():
    sees = Surroundings(NeighbourDescriptor.of_cell(8.0 * np.eye(3), **SHELLS))
    known = {"displacements": [], "cell": 8.0 * np.eye(3), "ions_per_run": 3, "recoil": OVER}
    crystal = DataSummary(symmetry=cubic(4.0), **known)
    assert recoil_in(crystal, sees) == OVER.tolist()
    assert recoil_in(crystal, None) is None
    assert recoil_in(DataSummary(symmetry=Symmetry(), **known), sees) is None
    assert recoil_in(dataclasses.replace(crystal, recoil=None), sees) is None


def test_windows_bootstraps_and_parts_bring_it():
    """Each with the framework of all ions of its run, also where a window holds one of them."""
    runs = [atoms(80, seed)[1].cumsum(0) for seed in (1, 2)]
    data = Dataset(runs, 0.01, 3, recoil=OVER, inertial=inertial_runs(runs, OVER))

    def check(data: Dataset) -> None:
        windows = data.windows(step_skip=2, symmetry=cubic(4.0), device=torch.device("cpu"))
        window = windows.draw(16, 10, torch.Generator().manual_seed(1))
        assert window.inertial is not None
        # What both frames differ by, over a record, is that of some run at some time.
        found = (window.positions - window.inertial).diff(dim=1).norm(dim=-1).flatten().numpy()
        apart = [x - y for x, y in zip(data.runs, data.inertial, strict=True)]
        known = np.concatenate([np.linalg.norm(x[2:] - x[:-2], axis=-1).ravel() for x in apart])
        assert np.abs(found[:, None] - known).min(1).max() < 1e-9
        for one in apart:  # the same for all ions
            np.testing.assert_allclose(np.diff(one - one[:, :1], axis=0), 0, atol=1e-12)

    check(data)
    check(data.bootstrap(3, 1, (1, "file")))
    kept, out = data.split("run")
    np.testing.assert_array_equal(out.inertial[0], data.inertial[1])
    early, late = data.split("span")
    for part in (kept, out, early, late):
        assert part.recoil is not None
    moved = np.diff(data.inertial[0][64:], axis=0)
    np.testing.assert_allclose(np.diff(late.inertial[0], axis=0), moved, atol=1e-12)
    summary = data.summary(2, Symmetry())
    assert len(summary.inertial) == len(summary.displacements) == 4
    np.testing.assert_allclose(summary.inertial[1], np.diff(data.inertial[0][1::2], axis=0))


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1)])
def test_what_a_free_run_drew_is_what_the_likelihood_finds(repeats):
    """Residuals of the last step of free runs, from positions alone."""
    box, supercell = 8.0 * np.eye(3), Supercell(repeats)
    moves = make(
        cubic(4.0),
        3,
        particles=4,
        cell=box.tolist(),
        neighbour_shells=SHELLS,
        neighbour_scales=neighbour_scales(described([ions(50, 4, 8.0, 2)], box)).tolist(),
        recoil=MASSES,
    )
    if supercell.n_cells > 1:
        moves = moves.in_supercell(supercell)
    rng = torch.Generator().manual_seed(5)
    state, position = moves.start(torch.rand(3, moves.start_size, generator=rng))
    noise = torch.randn(12, 3, moves.noise_size, generator=rng)
    with torch.no_grad():
        displacement, state = moves.advance(state, noise)
    path = torch.cat([position[None], displacement]).double().cumsum(0)
    masses = np.tile(MASSES, supercell.n_cells) / supercell.n_cells
    inertial = [
        torch.from_numpy(inertial_runs([x.numpy()], masses)[0]) for x in path.transpose(0, 1)
    ]
    records = moves.n_lags + 1 + 2 * moves.records_per_step
    window = Window(
        path.transpose(0, 1)[:, -records:], inertial=torch.stack(inertial)[:, -records:]
    )
    residuals = Residuals(moves.extrapolation, moves.whitening, None, inertial=True)
    found = residuals.history(window, 0)
    torch.testing.assert_close(found.residual[:, -1], state["residual"], atol=2e-3, rtol=0)
    torch.testing.assert_close(
        found.displacements[:, -1], state["displacements"], atol=1e-4, rtol=0
    )
    with pytest.raises(ValueError, match="do not bring"):
        residuals.history(Window(window.positions), 0)


def test_files_tell_how_heavy_ions_are_against_the_framework(tmp_path):
    positions = np.zeros((4, 2, 3))
    told = {"drift": "framework", "framework_masses": np.array([30.0, 20.0])}
    for number, (changes, expected) in enumerate(
        [
            ({}, [6.94 / 50, 18.998 / 50]),
            ({"drift": "all"}, None),
            ({"framework_masses": np.array([30.0, np.nan])}, None),
            ({"framework_masses": np.array([30, 20])}, None),
            ({"framework_masses": np.zeros(0)}, None),
        ]
    ):
        path = write(
            tmp_path / f"{number}.h5", positions, species=[3, 9], parameters={**told, **changes}
        )
        with Trajectory(path) as trajectory:
            found = recoil_of(trajectory)
        assert found is None if expected is None else found == pytest.approx(expected, rel=1e-3)
    # Of two species one is read alone, but the other pushes the framework, too.
    with Trajectory(tmp_path / "0.h5", "F") as trajectory:
        assert trajectory.n_particles == 1
        assert recoil_of(trajectory) is None
    heavy = write(tmp_path / "heavy.h5", positions, parameters=told, masses=np.array([7.0, 8.0]))
    with Trajectory(heavy) as trajectory:
        assert recoil_of(trajectory) == pytest.approx([0.14, 0.16])
