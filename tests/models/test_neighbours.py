"""What ions see of each other: a naive loop, and the same in training and in free runs."""

import dataclasses
import itertools
import logging
import re

import numpy as np
import pytest
import torch

from mdgan_hpc.config import load_config
from mdgan_hpc.crystal import isotropic
from mdgan_hpc.errors import ConfigError, DataError, UsageError
from mdgan_hpc.models.base import DataSummary, Window, rollout
from mdgan_hpc.models.neighbours import (
    CONTACT_SHARE,
    NeighbourDescriptor,
    contact_distance,
    neighbour_scales,
)
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.fit import told_by_neighbours
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.settings import TrainingConfig
from tests.support.neighbours import (
    AHEAD,
    CUTOFF,
    RADII,
    SHELLS,
    SKEWED,
    WIDTHS,
    described,
    ions,
    sighted,
    springs,
)
from tests.support.runs import simple_cubic, underdamped
from tests.support.transition import cubic


def naive(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """One frame [N, 3] by loops over ions and many images: [N, A, 4]."""
    seen = np.zeros((len(positions), len(RADII), 4))
    images = [np.array(i) @ cell for i in itertools.product(range(-4, 5), repeat=3)]
    for (i, here), there, image in itertools.product(enumerate(positions), positions, images):
        apart = there + image - here
        distance = np.linalg.norm(apart)
        if not 1e-3 < distance < CUTOFF:
            continue
        end = 0.5 * (1 + np.cos(np.pi * distance / CUTOFF))
        for a, (shell, width) in enumerate(zip(RADII, WIDTHS, strict=True)):
            inside = end * np.exp(-(((distance - shell) / width) ** 2) / 2)
            seen[i, a] += inside * np.append(apart / distance, 1.0)
    return seen


def test_ions_and_their_images_are_seen_as_by_a_naive_loop():
    random = np.random.default_rng(1)
    run = 14 * random.random((3, 5, 3))
    (seen,) = described([run], SKEWED)
    for frame, expected in zip(seen, run, strict=True):
        np.testing.assert_allclose(frame, naive(expected, SKEWED), atol=2e-5)
    mean, deviation = neighbour_scales([seen])
    np.testing.assert_allclose(mean[:, 3], seen[..., 3].mean((0, 1)), rtol=1e-5)
    assert deviation.min() >= 0.2


def history(generator: TransitionGenerator, records: int) -> torch.Tensor:
    """Windows [3, L, 4, 3]."""
    length = generator.window_records(records)
    return torch.from_numpy(np.stack([ions(length, 4, 8.0, seed) for seed in (3, 4, 5)]))


def view(windows: torch.Tensor, box: np.ndarray, *views) -> torch.Tensor:
    return torch.from_numpy(np.stack(described(list(windows.detach().numpy()), box, *views)))


@pytest.mark.parametrize(
    "views", [((), False), (AHEAD, False), (AHEAD, True)], ids=["here", "ahead", "both"]
)
def test_free_run_sees_what_the_likelihood_sees(views):
    """Feeding a generated path back gives the states that made it."""
    generator, box = sighted(ahead=bool(views[0]), here=views[1])
    past = history(generator, 60)
    state = generator.condition(Window(past, view(past, box, *views)))
    noise = torch.randn(8, 3, generator.noise_size, generator=torch.Generator().manual_seed(1))
    moved, after = generator.advance(state, noise)
    assert moved.shape == (24, 3, 4, 3)
    path = torch.cat([past, past[:, -1:] + moved.swapaxes(0, 1).double().cumsum(1)], 1)
    again = generator.condition(Window(path, view(path, box, *views)))
    for name, value in after.items():
        torch.testing.assert_close(again[name], value, atol=3e-4, rtol=1e-3)


def test_neighbours_matter_and_turn_with_the_ions():
    generator, box = sighted()
    x = history(generator, 40)
    seen = view(x, box)
    here = generator.negative_log_likelihood(Window(x, seen), warm_up=6).item()
    symmetry = cubic(4.0)
    for rotation, translation in zip(symmetry.rotations, symmetry.translations, strict=True):
        turn = torch.from_numpy(rotation)
        turned = torch.einsum("ij,blkaj->blkai", turn.float(), seen[..., :3])
        moved = Window(
            x @ turn.T + torch.from_numpy(translation), torch.cat([turned, seen[..., 3:]], -1)
        )
        there = generator.negative_log_likelihood(moved, warm_up=6)
        assert there.item() == pytest.approx(here, abs=2e-5)
    alone = generator.negative_log_likelihood(Window(x, torch.zeros_like(seen)), warm_up=6).item()
    assert abs(alone - here) > 1e-4
    with pytest.raises(ValueError, match="neighbour descriptor"):
        generator.negative_log_likelihood(Window(x), warm_up=6)


def test_windows_bring_what_is_seen_at_their_frames():
    run, box = ions(200, 4, 8.0, 6), 8.0 * np.eye(3)
    symmetry = cubic(4.0)
    windows = Windows(
        [run],
        step_skip=2,
        particles_per_sample=1,
        symmetry=symmetry,
        device=torch.device("cpu"),
        neighbours=described([run], box),
    )
    seen = windows.draw(64, 10, torch.Generator().manual_seed(2)).neighbours[:, :]
    assert seen is not None
    assert seen.shape == (64, 10, 1, len(RADII), 4)
    # Each is that of one ion at frames two apart, turned: lengths and numbers tell which.
    (every,) = described([run], box)

    def invariants(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.linalg.norm(x[..., :3], axis=-1), x[..., 3]], -1)

    known = invariants(every)  # [T, N, 2 A]
    for window in invariants(seen[:, :, 0].numpy()):
        apart = [np.abs(known - row).max(-1) for row in window]
        frames = [np.unravel_index(a.argmin(), a.shape) for a in apart]
        assert max(a.min() for a in apart) < 1e-5
        assert len({ion for _, ion in frames}) == 1
        assert set(np.diff([frame for frame, _ in frames])) in ({2}, {-2})


@pytest.mark.parametrize(
    ("override", "together"),
    [
        ("train.seed=1", 4),
        ("data.validation='run'", 4),
        ("generator.neighbours='off'", 1),
        ("phase.adversarial={strides = [1], width = 4}", 4),
    ],
)
def test_ions_of_a_crystal_see_each_other_unless_told_otherwise(override, together, tmp_path):
    """One atom a simple cubic cell, eight cells: training and a free run."""
    positions = [ions(700, 4, 8.0, seed) for seed in (1, 2)]
    data = Dataset(positions, 0.001, 3, 8.0 * np.eye(3), simple_cubic())
    config = load_config(
        TrainingConfig,
        overrides=[
            "data.records=20",
            "data.step_skip=1",
            "phase.steps=5000",
            "phase.likelihood.warm_up=10",
            "generator.hidden=8",
            "generator.head=8",
            "train.batch=4",
            "generator.neighbours='on'",  # made up, they go through each other
            override,
        ],
    )
    trainer = build_trainer(config, data, Processes(tmp_path))
    assert trainer.generator.particles_per_sample == together
    for _ in range(2):
        trainer.advance()
    before = trainer.validation_loss()
    assert (before is None) == (config.data.validation == "none")
    if before is not None:
        assert before == trainer.validation_loss()  # the same windows
        for _ in range(20):
            trainer.advance()
        assert trainer.validation_loss() < before
    generator = trainer.ready_generator()
    path = rollout(generator, 3, 30, rng=torch.Generator().manual_seed(1))
    assert path.shape == (31, 3, together, 3)
    assert torch.isfinite(path).all()
    if together == 4:
        # Start states are whole simulations: their ions are as far apart as in a frame of the data.
        assert isinstance(generator, TransitionGenerator)
        place = generator.start_place.reshape(-1, 4, 3)
        frames = np.concatenate(positions) / 8.0
        apart = (place[0, 1:] - place[0, :1]).numpy()
        known = frames[:, 1:] - frames[:, :1]
        difference = known - apart
        assert np.abs(difference - np.round(difference)).max((1, 2)).min() < 1e-5


def test_contact_distance_is_that_of_the_nearest_image():
    cell = np.array([[8.0, 0, 0], [4.0, 7.0, 0], [0, 0, 9.0]])
    random = np.random.default_rng(3)
    runs = [random.uniform(-8, 8, (200, 5, 3)) for _ in range(2)]
    nearest = []
    for frame in np.concatenate(runs):
        shifts = np.stack(np.meshgrid(*[range(-5, 6)] * 3), -1).reshape(-1, 3) @ cell
        apart = frame[:, None] - frame
        for i, j in itertools.product(range(5), range(5)):
            if i != j:
                nearest.append((i, np.linalg.norm(apart[i, j] + shifts, axis=1).min()))
    lengths = np.array([d for _, d in nearest]).reshape(-1, 5, 4).min(2)
    expected = np.quantile(lengths, CONTACT_SHARE)
    assert contact_distance(runs, cell) == pytest.approx(expected, rel=1e-9)


#: Four ions [T, 4, 3] in a cell of 8 Angstrom, each with a neighbour at two.
TWO_APART = np.tile([[0.0, 0, 0], [2, 0, 0], [4, 4, 4], [6, 4, 4]], (5, 1, 1))


def test_ions_on_each_other_are_refused():
    with pytest.raises(DataError, match="lie on each other"):
        contact_distance([np.zeros((5, 2, 3))], 8.0 * np.eye(3))


def summary(**changes) -> DataSummary:
    known = {
        "displacements": [np.random.default_rng(1).normal(size=(60, 4, 3))],
        "symmetry": cubic(4.0),
        "cell": 8.0 * np.eye(3),
        "ions_per_run": 4,
        "runs": [TWO_APART],
    }
    return DataSummary(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cell": None}, "the cell of the runs is not known"),
        ({"ions_per_run": None}, "different numbers of ions"),
        ({"ions_per_run": 257}, "has 257 ions, not from 2 to generator.neighbour_ions = 256"),
        ({"ions_per_run": 1}, "has 1 ions"),
        ({"cell": 9.0 * np.eye(3)}, "not a whole number of primitive cells"),
    ],
)
def test_why_ions_are_alone_is_told_and_refused_where_they_must_not_be(changes, reason, caplog):
    data = summary(**changes)
    caplog.set_level(logging.INFO, "mdgan_hpc")
    assert TransitionGenerator.surroundings(TransitionConfig(), data) is None
    assert reason in caplog.text
    caplog.clear()
    off = TransitionConfig(neighbours="off")
    assert TransitionGenerator.surroundings(off, data) is None
    assert not caplog.text
    with pytest.raises(UsageError, match=re.escape(reason)):
        TransitionGenerator.surroundings(TransitionConfig(neighbours="on"), data)


def test_without_a_lattice_ions_see_each_other_where_they_are_told_to(caplog):
    data = summary(symmetry=isotropic())
    caplog.set_level(logging.INFO, "mdgan_hpc")
    assert TransitionGenerator.surroundings(TransitionConfig(), data) is None
    assert "there is no lattice" in caplog.text
    assert TransitionGenerator.surroundings(TransitionConfig(neighbours="on"), data) is not None


def test_ions_that_go_through_each_other_see_none_unless_told_to(caplog):
    data = summary(runs=[TWO_APART / 5])
    caplog.set_level(logging.INFO, "mdgan_hpc")
    assert TransitionGenerator.surroundings(TransitionConfig(), data) is None
    assert "come within 0.4 Angstrom of each other" in caplog.text
    assert TransitionGenerator.surroundings(TransitionConfig(neighbours="on"), data) is not None


def test_the_descriptor_has_the_radii_of_the_configuration():
    config = TransitionConfig(
        neighbour_radii=[1.0, 1.5], neighbour_cutoff=2.5, neighbour_ions=4, neighbour_count=0
    )
    found = TransitionGenerator.surroundings(config, summary())
    assert found is not None
    assert found.media is None
    found = found.neighbours
    assert (found.radii, found.widths, found.cutoff) == ((2.0, 3.0), (0.3, 0.15 * 3.0), 5.0)
    for count, further, cutoff in (
        (4.0, (), 5.0),  # as many as there are in the cell, within 4.96 Angstrom
        (5.0, (4.5,), 7.5),
        (24.0, (4.5,), 7.5),  # as many as there are in two cells, within 6.25
    ):
        wider = dataclasses.replace(config, neighbour_count=count)
        wider = TransitionGenerator.surroundings(wider, summary()).neighbours
        assert wider.radii == (2.0, 3.0, *further)
        assert (len(wider.widths), wider.cutoff) == (len(wider.radii), cutoff)
    with pytest.raises(ConfigError, match="neighbour_width has no effect"):
        TransitionConfig(neighbours="off", neighbour_width=1.0)
    with pytest.raises(ConfigError, match="neighbour_radii"):
        TransitionConfig(neighbour_radii=[9.0])


def test_what_many_ions_see_over_runs_is_what_all_pairs_give(monkeypatch, caplog):
    """By lists of neighbours over spans of time, the last of which is shorter."""
    runs = [ions(n_frames, 40, 9.0, 7) for n_frames in (23, 61)]
    descriptor = NeighbourDescriptor.of_cell(SKEWED, **SHELLS)
    assert descriptor.worth_lists(40)
    assert not descriptor.worth_lists(4)
    monkeypatch.setattr("mdgan_hpc.models.neighbours._IONS", 160)
    caplog.set_level(logging.INFO, "mdgan_hpc")
    listed = descriptor.of_runs(runs)
    assert "Neighbours: 84/84 frames" in caplog.text
    monkeypatch.setattr("mdgan_hpc.models.neighbours._ALL_PAIRS", 10**6)
    for seen, every in zip(listed, descriptor.of_runs(runs, silent=True), strict=True):
        np.testing.assert_allclose(seen, every, atol=2e-5)


def test_how_much_the_motion_of_neighbours_tells():
    """Of ions held by springs to each other it does, of independent ones it does not."""
    cell, shells = 9.0 * np.eye(3), {"radii": (2.5, 3.5), "widths": (0.6, 0.6), "cutoff": 4.4}
    descriptor = NeighbourDescriptor.of_cell(cell, **shells)
    held = springs(1500, 1)
    free = held[0] + underdamped(1500, 27, 1)

    def told(run: np.ndarray) -> float:
        return told_by_neighbours(run, lambda x: descriptor.of_runs([x], silent=True)[0], 1)

    assert told(held) > 0.2
    assert told(free) < 0.05
    assert told(held[:40]) == 0.0


def test_replicas_see_what_the_model_of_all_data_sees(tmp_path):
    """Whether neighbours tell much is measured on whole cells, not on ions drawn by chance."""
    runs = [springs(400, seed) for seed in (1, 2)]
    data = Dataset(runs, 0.001, 3, 9.0 * np.eye(3), simple_cubic(3.0, 3))
    overrides = ["data.records=20", "data.step_skip=1", "train.batch=4", "generator.hidden=8"]
    config = load_config(TrainingConfig, overrides=[*overrides, "generator.head=8"])
    first, other = (
        build_trainer(config, data, Processes(tmp_path / str(n)), replica=n).generator
        for n in (0, 1)
    )
    assert first.arguments["ahead"] is not None
    for name in ("ahead", "neighbour_here_scales"):
        assert other.arguments[name] == first.arguments[name]
