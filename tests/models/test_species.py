"""Ions of several species in one model: each is told which it is, and sees which the others are."""

import itertools

import numpy as np
import pytest
import torch

import mdgan_hpc
from mdgan_hpc.crystal import isotropic
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.models.base import Window, rollout
from mdgan_hpc.models.file import as_named_today, load_model
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition.likelihood import Residuals
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.trajectory import Trajectory
from tests.support.motion import write
from tests.support.neighbours import SHELLS
from tests.support.transition import squared_noise
from tests.support.two_species import BOX, IONS, SPECIES, dataset, run, trainer


def test_ions_see_which_species_the_others_are():
    """Species by species, what a naive sum over ions and images gives; with lists too."""
    which = (1, 0, 0, 1, 0)
    descriptor = NeighbourDescriptor.of_cell(BOX, **SHELLS).of_species(which)
    places = torch.from_numpy(run(3, 40) / 12.0).permute(2, 0, 1)
    seen = descriptor.of_places(places)
    listed = descriptor.of_places(places, descriptor.tracked())
    assert torch.allclose(seen, listed, atol=1e-6)
    assert len(seen) == descriptor.n_shells == 2 * len(SHELLS["radii"])
    every = descriptor.of_species(()).of_places(places)
    assert torch.allclose(seen[: len(every)] + seen[len(every) :], every, atol=1e-9)
    frame, ion, shell = 17, 2, 3
    total = np.zeros((2, 4))
    at = run(3, 40)[frame]
    for other, shift in itertools.product(range(5), itertools.product((-1, 0, 1), repeat=3)):
        apart = at[other] - at[ion] + 12.0 * np.array(shift)
        distance = np.linalg.norm(apart)
        if 0 < distance < SHELLS["cutoff"]:
            end = 0.5 + 0.5 * np.cos(np.pi * distance / SHELLS["cutoff"])
            radius, width = SHELLS["radii"][shell], SHELLS["widths"][shell]
            weight = np.exp(-((distance - radius) ** 2) / (2 * width**2)) * end
            total[which[other]] += weight * np.append(apart / distance, 1.0)
    got = torch.stack([seen[shell, :, frame, ion], seen[shell + len(every), :, frame, ion]])
    assert got.numpy() == pytest.approx(total, abs=1e-9)


def test_scales_are_those_of_the_species(tmp_path):
    generator = trainer(tmp_path).generator
    assert generator.ion_species.species == (11, 17)
    assert generator.ion_species.of_ion == (1, 0, 0, 1, 0)
    first, second = generator.ion_species.scales
    assert first / second == pytest.approx(2.0, rel=0.1)
    assert first**2 + second**2 == pytest.approx(2.0)
    levels = generator.arguments["levels"]
    assert levels[0][0] / levels[1][0] == pytest.approx(first / second)
    slow, fast = generator.arguments["ema_levels"][1], generator.arguments["ema_levels"][0]
    assert np.divide(fast, slow) == pytest.approx(2.0, rel=0.35)


def seen_by(generator) -> Surroundings:
    descriptor = generator.neighbour_view().descriptor
    ahead = tuple(generator.arguments.get("ahead", ()))
    return Surroundings(
        descriptor, ahead=ahead, here="neighbour_here_scales" in generator.arguments
    )


@pytest.mark.parametrize("supercell", [False, True])
def test_free_runs_are_what_the_likelihood_sees(supercell, tmp_path):
    """Row by row, for ions of both species side by side; in a supercell the pattern repeats."""
    generator = trainer(tmp_path).generator
    frames = generator.window_records(40)
    runs = np.stack([run(5, frames), run(6, frames)])
    described = torch.from_numpy(np.stack(seen_by(generator).of_runs(list(runs), silent=True)))
    which = torch.tensor(SPECIES.of_ion).expand(2, -1)
    data = Window(torch.from_numpy(runs), described, species=which)
    residuals = Residuals(generator.extrapolation, generator.whitening, generator.ion_species)
    table = generator.features
    known = table.along(residuals.history(data, table.fill_steps))
    columns = {n: v[:, 4].movedim(0, -1).contiguous() for n, v in known.items()}
    told = torch.tensor(SPECIES.of_ion)
    for name, row in table.rows.items():
        wanted, got = row.inputs(columns), row.compiled(told).inputs(columns)
        for part in ("vectors", "waves", "scalars"):
            for mine, theirs in zip(getattr(got, part), getattr(wanted, part), strict=True):
                assert torch.allclose(mine, theirs, atol=5e-4, rtol=1e-3), (name, part)
    if supercell:
        generator = generator.in_supercell(Supercell((2, 1, 1)))
        assert generator.particles_per_sample == 10
    path = rollout(generator, 3, 20, rng=torch.Generator().manual_seed(1))
    assert torch.isfinite(path).all()


def test_noise_drawn_is_the_residual_that_the_likelihood_finds(tmp_path):
    """With one Gaussian, at noise levels that differ between the species."""
    one = ("generator.components=1", "generator.records_per_step=1", "data.symmetry='none'")
    one += ("generator.thermostat_records=0",)  # which is beside the density
    generator = trainer(tmp_path, *one).ready_generator()
    generator.noise_levels.copy_(torch.tensor([[0.02, 0.01, 0.0], [-0.03, 0.02, 0.0]]))
    generator.network.coupling.zero_()
    generator.network.everyone.zero_()
    frames = generator.window_records(60)
    runs = np.stack([run(5, frames), run(6, frames)])
    seen = seen_by(generator)
    which = torch.tensor(SPECIES.of_ion).expand(2, -1)

    def window(positions: torch.Tensor) -> Window:
        described = seen.of_runs([p.numpy() for p in positions], silent=True)
        return Window(positions, torch.from_numpy(np.stack(described)), species=which)

    history = window(torch.from_numpy(runs))
    noise = torch.randn(3, 2, generator.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        moved, _ = generator.advance(generator.condition(history), noise)
        path = history.positions[:, -1:] + moved.swapaxes(0, 1).double().cumsum(1)
        whole = window(torch.cat([history.positions, path], 1))
        found = squared_noise(generator, whole, 3)
    drawn = noise.view(3, 10, 4)[..., 1:].square().sum(2).T
    torch.testing.assert_close(found, drawn, rtol=3e-3, atol=3e-3)


def test_windows_tell_the_species_of_their_ion():
    data = dataset().bootstrap(1, 5, (1, "file"))
    windows = data.windows(step_skip=1, symmetry=isotropic(), device=torch.device("cpu"))
    window = windows.draw(200, 30, torch.Generator().manual_seed(1))
    moved = window.positions.diff(dim=1).square().sum(-1).mean((1, 2))
    mean = [float(moved[window.species[:, 0] == number].mean()) for number in (0, 1)]
    assert mean[0] / mean[1] == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("generator.neighbours='off'",), "ions of several species are generated together"),
        (("generator.neighbour_ions=4",), "several species, but a run has 5 ions"),
        (("phase.adversarial={strides = [1], width = 4}",), "critics are not told"),
    ],
)
def test_what_cannot_be_told_the_species_is_refused(more, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        trainer(tmp_path, *more)


def test_from_files_to_generated_ions_of_both_species(tmp_path):
    """Calibrated to both; the file holds both in the order of the cell, for any one to be read."""
    files = [
        write(tmp_path / f"{n}.h5", run(n), interval=0.001, cell=BOX, species=IONS) for n in (1, 2)
    ]
    keys = {
        "data": {"records": 20, "step_skip": 1},
        "generator": {"hidden": 16, "head": 16, "start_states": 64, "calibration_ions": 40}
        | {"calibration_records": 60, "calibration_burn_in": 10, "neighbours": "on"},
        "train": {"batch": 8, "evaluate_every": 0},
        "phase": [{"steps": 4, "likelihood": {"warm_up": 10}}],
    }
    with pytest.raises(UsageError, match="holds 2 species"):
        mdgan_hpc.train(keys, files, tmp_path / "none")
    mdgan_hpc.train(keys, files, tmp_path / "model", species="Cl,Na")
    model = load_model(tmp_path / "model")
    assert model.generator.ion_species.species == (11, 17)
    assert model.generator.noise_levels.abs().max() > 0
    made = tmp_path / "made.h5"
    more = {"accept_poor_model": True, "max_jump": 1e6}
    mdgan_hpc.generate(tmp_path / "model", made, particles=20, records=40, **more)
    with Trajectory(made) as trajectory:
        assert trajectory.species.tolist() == np.tile(IONS, 4).tolist()
    with Trajectory(made, "Na") as trajectory:
        assert (trajectory.n_particles, trajectory.ions_per_cell) == (12, 3)
    with pytest.raises(UsageError, match="--species"):
        mdgan_hpc.train(keys, files, tmp_path / "model", species="Na")
    with pytest.raises(UsageError, match="twice"):
        mdgan_hpc.train(keys, files, tmp_path / "other", species="Na,Na")
    with pytest.raises(UsageError, match="holds no Li"):
        mdgan_hpc.train(keys, files, tmp_path / "other", species="Na,Li")


def test_ions_in_another_order_are_refused(tmp_path):
    first = write(tmp_path / "a.h5", run(1), cell=BOX, species=IONS)
    other = write(tmp_path / "b.h5", run(2), cell=BOX, species=IONS[::-1])
    with pytest.raises(DataError, match="another order"):
        Dataset.read([first, other], "Na,Cl")


def test_arguments_of_earlier_model_files_have_the_names_of_today():
    told = {"species": [11, 17], "of_ion": [0, 1], "scales": [1.0, 1.0]}
    arguments = {"kinds": told, "framework": {"kinds": [], "scales": [0.5]}}
    named = {"ion_species": told, "framework": {"species": [], "scales": [0.5]}}
    assert as_named_today(arguments) == named
    assert as_named_today(named) == named
