"""What ions see of a framework without a lattice, against a naive sum; and the ions of a glass."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from mdgan_hpc.config import load_config
from mdgan_hpc.crystal import Symmetry, isotropic
from mdgan_hpc.errors import UsageError
from mdgan_hpc.models.base import Window, rollout
from mdgan_hpc.models.media import MediaDescriptor, Medium, Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor, neighbour_scales
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.models.transition.likelihood import Residuals
from mdgan_hpc.models.transition.surroundings import Neighbours, SeenFramework
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.settings import TrainingConfig
from tests.support.neighbours import AHEAD, SHELLS, SKEWED, ions
from tests.support.runs import simple_cubic, underdamped
from tests.support.transition import make

SETTINGS = {"radii": (0.9, 1.4, 2.0), "width": 0.2, "cutoff": 2.6}
BOX = 8.0 * np.eye(3)


def medium(seed: int, counts: tuple[int, int], cell: np.ndarray) -> Medium:
    """Atoms of two species anywhere, also outside the cell."""
    random = np.random.default_rng(seed)
    place = random.uniform(-1, 2, (sum(counts), 3)) @ cell
    return Medium(np.repeat([8, 14], counts), place)


def of(media: list[Medium], runs: list[np.ndarray], cell: np.ndarray) -> MediaDescriptor:
    return MediaDescriptor.of_media(media, list(enumerate(runs)), cell, **SETTINGS)


def naive(found: MediaDescriptor, media: Medium, place: np.ndarray, cell: np.ndarray):
    """Sum over the atoms and all images near, shell by shell; [shells, 4]."""
    rows = []
    for kind in found.species:
        shells = kind["shells"]
        for radius, width in zip(shells["radii"], shells["widths"], strict=True):
            total = np.zeros(4)
            atoms = media.position[media.species == kind["species"]]
            for atom, shift in itertools.product(atoms, itertools.product(range(-6, 7), repeat=3)):
                apart = atom - place + np.array(shift) @ cell
                distance = np.linalg.norm(apart)
                if distance < shells["cutoff"]:
                    end = 0.5 + 0.5 * np.cos(np.pi * distance / shells["cutoff"])
                    weight = np.exp(-((distance - radius) ** 2) / (2 * width**2)) * end
                    total += weight * np.append(apart / distance, 1.0)
            rows.append(total)
    return np.array(rows)


def test_an_ion_sees_the_atoms_of_its_own_medium():
    """Two media of different numbers of atoms in a skewed cell, after a naive sum over images."""
    media = [medium(1, (5, 3), SKEWED), medium(2, (4, 6), SKEWED)]
    runs = [np.random.default_rng(n).uniform(-3, 3, (40, 3, 3)) for n in (3, 4)]
    found = of(media, runs, SKEWED)
    assert [kind["species"] for kind in found.species] == [8, 14]
    neighbours = NeighbourDescriptor.of_cell(SKEWED, **SHELLS)
    both = Surroundings(neighbours, found, AHEAD, True, 2)
    seen = both.of_runs(runs, (0, 1), silent=True)
    ahead = neighbours.of_runs([both.led_to(run) for run in runs], silent=True)
    here = neighbours.of_runs(runs, silent=True)
    first, every = neighbours.n_shells, 2 * neighbours.n_shells
    for number, run in enumerate(runs):
        assert seen[number].shape == (40, 3, every + found.n_shells, 4)
        assert np.array_equal(seen[number][:, :, :first], ahead[number])
        assert np.array_equal(seen[number][:, :, first:every], here[number])
        for frame, ion in ((0, 0), (7, 2), (39, 1)):
            place = run[frame, ion].copy()
            for lag, weight in enumerate(AHEAD if frame > 6 else ()):
                place += weight * (run[frame - 2 * lag, ion] - run[frame - 2 * lag - 2, ion])
            wanted = naive(found, media[number], place, SKEWED)
            got = seen[number][frame, ion, every:]
            assert got == pytest.approx(wanted, abs=2e-5)


def test_what_is_seen_turns_with_everything():
    """Any rotation and the inversion, exactly: of the cell, its atoms and the ion together."""
    atoms = medium(5, (6, 4), SKEWED)
    run = np.random.default_rng(6).uniform(0, 6, (30, 2, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    for rotation in (turn, -turn):
        moved = Medium(atoms.species, atoms.position @ rotation.T)
        here, there = (
            Surroundings(NeighbourDescriptor.of_cell(c, **SHELLS), of([m], [x], c)).of_runs(
                [x], (0,), silent=True
            )[0]
            for m, x, c in (
                (atoms, run, SKEWED),
                (moved, run @ rotation.T, SKEWED @ rotation.T),
            )
        )
        assert there[..., 3] == pytest.approx(here[..., 3], abs=1e-4)
        assert there[..., :3] == pytest.approx(here[..., :3] @ rotation.T, abs=1e-4)


#: Far from each other.
STARTS = np.array([[1.0, 1, 1], [5, 5, 1], [5, 1, 5], [1, 5, 5]])


def run(seed: int) -> np.ndarray:
    return STARTS + underdamped(700, 4, seed)


def glass() -> tuple[TransitionGenerator, Surroundings, list[np.ndarray]]:
    """A generator of four ions in either of two media, and what they see."""
    runs = [ions(300, 4, 8.0, seed) for seed in (1, 2)]
    found = of([medium(n, (9, 5), BOX) for n in (8, 9)], runs, BOX)
    seen = Surroundings(NeighbourDescriptor.of_cell(BOX, **SHELLS), found, AHEAD, here=True)
    described = seen.of_runs(runs, (0, 1), silent=True)
    own = len(SHELLS["radii"])

    def scales(shells: slice):
        return neighbour_scales([d[:, :, shells] for d in described]).tolist()

    generator = make(
        isotropic(),
        2,
        particles=4,
        cell=BOX.tolist(),
        neighbour_shells=SHELLS,
        neighbour_scales=scales(slice(own)),
        neighbour_here_scales=scales(slice(own, 2 * own)),
        framework={"species": found.species, "scales": scales(slice(2 * own, None))},
        ahead=list(AHEAD),
    )
    return generator, seen, runs


def test_free_runs_see_what_data_show():
    generator, seen, runs = glass()
    described = torch.from_numpy(np.stack(seen.of_runs(runs, (0, 1), silent=True)))
    length = generator.window_records(200)
    data = Window(
        torch.from_numpy(np.stack(runs)[:, :length]),
        described[:, :length],
        medium=torch.tensor([0, 1]),
    )
    table = generator.features
    history = Residuals(generator.extrapolation, generator.whitening).history(
        data, table.fill_steps
    )
    known = table.along(history)
    assert table.fill_steps < history.ends.shape[1]
    rows = [row for row in table.rows.values() if isinstance(row, SeenFramework | Neighbours)]
    assert len(rows) == 3
    for row, step in itertools.product(rows, (0, 5)):
        columns = {n: v[:, step].movedim(0, -1).contiguous() for n, v in known.items()}
        wanted, got = row.inputs(columns), row.compiled(None).inputs(columns)
        assert torch.allclose(got.vectors[0], wanted.vectors[0], atol=2e-3)
        assert torch.allclose(got.scalars[0], wanted.scalars[0], atol=2e-3)
    with pytest.raises(ValueError, match="bring no framework"):
        table.along(
            Residuals(generator.extrapolation, generator.whitening).history(
                Window(data.positions, data.neighbours), table.fill_steps
            )
        )


def test_a_disordered_framework_has_no_supercell():
    generator, _, _ = glass()
    with pytest.raises(UsageError, match="ends at its border"):
        generator.in_supercell(Supercell((2, 1, 1)))


def trained(tmp_path, media: bool, *more: str):
    runs = [run(seed) for seed in (1, 2)]
    atoms = [medium(n, (9, 5), BOX) for n in (8, 9)] if media else []
    numbers = (0, 1) if media else ()
    data = Dataset(runs, 0.001, 3, BOX, media=atoms, run_medium=numbers)
    overrides = [
        *("data.records=20", "data.step_skip=1", "phase.likelihood.warm_up=10", "phase.steps=9"),
        *("generator.hidden=8", "generator.head=8", "train.batch=4", "generator.neighbours='on'"),
        *more,
    ]
    return build_trainer(
        load_config(TrainingConfig, overrides=overrides), data, Processes(tmp_path)
    )


@pytest.mark.parametrize(
    ("crystal", "neighbours", "told"),
    [
        (False, "on", "no atoms that stay in place are known"),
        (False, "auto", "each ion is generated alone: there is no lattice"),
        (True, "on", "the framework is a crystal"),
    ],
)
@pytest.mark.parametrize("key", ["framework_radii=[0.9, 1.4]", "framework_cutoff=4.5"])
def test_how_a_framework_is_seen_is_refused_where_none_is(crystal, neighbours, told, key, tmp_path):
    data = Dataset([run(1), run(2)], 0.001, 3, BOX, simple_cubic() if crystal else None)
    words = [f"generator.neighbours='{neighbours}'", f"generator.{key}"]
    words += ["data.records=20", "data.step_skip=1"]
    with pytest.raises(UsageError, match=f"{key.split('=')[0]} has no effect: {told}"):
        build_trainer(load_config(TrainingConfig, overrides=words), data, Processes(tmp_path))


def test_a_framework_that_is_seen_is_seen_as_told(tmp_path):
    radii = "generator.framework_radii=[0.9, 1.4]"
    framework = trained(tmp_path, True, radii).generator.arguments["framework"]
    assert max(len(one["shells"]["radii"]) for one in framework["species"]) == 2


@pytest.mark.parametrize("media", [False, True], ids=["liquid", "glass"])
@pytest.mark.parametrize(
    "more",
    [(), ("data.validation='run'",), ("phase.adversarial={strides = [1], width = 4}",)],
    ids=["likelihood", "validation", "critics"],
)
def test_ions_of_a_liquid_and_of_a_glass_see_their_surroundings(media, more, tmp_path):
    trainer = trained(tmp_path, media, *more)
    generator = trainer.generator
    assert (generator.ions_per_cell, generator.lattice_phases()) == (4, None)
    assert (generator.features.row(SeenFramework) is not None) == media
    for _ in range(2):
        trainer.advance()
    path = rollout(trainer.ready_generator(), 3, 30, rng=torch.Generator().manual_seed(1))
    assert path.shape == (31, 3, 4, 3)
    assert torch.isfinite(path).all()


def test_ions_of_a_glass_see_their_surroundings_without_being_asked_to(tmp_path):
    generator = trained(tmp_path, True, "generator.neighbours='auto'").generator
    assert generator.ions_per_cell == 4
    assert generator.features.row(SeenFramework) is not None


def test_start_states_are_ions_where_they_were_in_their_own_medium(tmp_path):
    trainer = trained(tmp_path, True)
    generator = trainer.ready_generator()
    place = generator.start_place.reshape(-1, 4, 3).numpy()
    numbers = generator.start_medium.reshape(-1, 4)
    assert set(numbers.flatten().tolist()) == {0.0, 1.0}
    for number in (0, 1):
        mine = place[(numbers == number).all(1).numpy()]
        assert len(mine)
        apart = run(number + 1) / 8.0 - mine[0]
        assert np.abs(apart - np.round(apart)).max((1, 2)).min() < 1e-5


def test_windows_look_ahead_in_their_own_time():
    """Also those that time reversal has turned: ahead is then where the ion came from."""
    runs = [6 * np.random.default_rng(n).normal(size=(40, 4, 3)).cumsum(0) / 10 for n in (1, 2)]
    neighbours = NeighbourDescriptor.of_cell(BOX, **SHELLS)
    frames = [Medium(np.full(6, 8), np.random.default_rng(9).uniform(0, 8, (6, 3)))]
    found = MediaDescriptor.of_media(frames, [(0, run) for run in runs], BOX, **SETTINGS)
    seen = Surroundings(neighbours, found, AHEAD, True, 2)
    data = Dataset(runs, 0.01, 3, BOX, media=frames, run_medium=(0, 0)).with_neighbours(seen)
    windows = data.windows(
        step_skip=2,
        symmetry=dataclasses.replace(Symmetry(), time_reversal=True),
        device=torch.device("cpu"),
        grouping=(4, "file"),
    )
    drawn = windows.draw(40, 6, torch.Generator().manual_seed(1))
    every = drawn.neighbours[:, :]
    apart = Surroundings(neighbours, found, AHEAD, True, 1)  # frames of a window are records
    for number in range(40):
        path = drawn.positions[number].numpy()
        (naive_of,) = apart.of_runs([path], (0,), silent=True)
        # Its last records have all the past that they look ahead by.
        np.testing.assert_allclose(every[number, 4:], naive_of[4:], atol=2e-5)
