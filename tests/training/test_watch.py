"""A training that is lost is seen, goes back, and never ends as a model without a word."""

import math

import numpy as np
import pytest
import torch

from mdgan_hpc.config import from_mapping
from mdgan_hpc.errors import DivergedError
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.settings import TrainingConfig
from mdgan_hpc.training.trainer import Trainer
from mdgan_hpc.training.watch import BLOCK, Watch


def feed(watch: Watch, losses: np.ndarray, norms: np.ndarray) -> list[str]:
    return [said for x, g in zip(losses, norms, strict=True) if (said := watch.see(x, g))]


def test_a_falling_and_noisy_loss_is_none_of_its_business():
    random = np.random.default_rng(1)
    step = np.arange(4000)
    losses = 2.5 + 2 * np.exp(-step / 100) + random.normal(scale=0.08, size=step.size)
    assert feed(Watch(), losses, np.exp(random.normal(-0.5, 0.7, step.size))) == []


def test_jumps_of_loss_and_of_gradient_are_told_within_two_blocks():
    random = np.random.default_rng(2)
    quiet = 2.9 + random.normal(scale=0.08, size=20 * BLOCK)
    ones, jump = np.ones(2 * BLOCK), np.full(2 * BLOCK, 6.0)
    for losses, norms, word in ((jump, ones, "loss rose"), (2.9 * ones, 300 * ones, "gradient")):
        watch = Watch()
        assert feed(watch, quiet, np.ones(quiet.size)) == []
        assert word in feed(watch, losses, norms)[0]


def test_state_goes_on_where_it_was():
    random = np.random.default_rng(3)
    losses = random.normal(3.0, 0.1, 60)
    whole, first, second = Watch(), Watch(), Watch()
    feed(whole, losses, np.ones(60))
    feed(first, losses[:40], np.ones(40))
    second.load_state(first.state())
    feed(second, losses[40:], np.ones(20))
    assert second.state() == whole.state()


def test_linear_gaussian_is_the_entropy_of_white_residuals():
    x = torch.distributions.Normal(0.0, 1.0)
    assert pytest.approx(3 * float(x.entropy()), rel=1e-6) == TransitionGenerator.linear_loss
    assert math.isclose(TransitionGenerator.linear_loss, 4.2568, abs_tol=1e-4)


def make(runs) -> Trainer:
    tree = {
        "data": {"step_skip": 1, "records": 32},
        "generator": {"hidden": 24},
        "phase": [{"steps": 2000, "likelihood": {"warm_up": 12}}],
        "train": {"batch": 4},
    }
    config = from_mapping(TrainingConfig, tree)
    return build_trainer(config, Dataset.read(runs), Processes(runs[0].parent))


def spoil(trainer: Trainer) -> None:
    """Weights that are lost: every Gaussian far off and narrow."""
    with torch.no_grad():
        trainer.generator.network.vectors_bias.fill_(30.0)
        trainer.generator.network.scalars_bias[:, 1] = -3.0


def go_on_for_ever(trainer: Trainer) -> None:
    while True:
        trainer.advance()


def test_a_jump_goes_back_and_the_fourth_ends_the_training(runs, caplog):
    trainer = make(runs)
    watch = trainer._current.watch
    for jump in range(1, 5):
        while trainer.step < 250 * jump:
            trainer.advance()
        good = {k: v.clone() for k, v in watch._kept[-2][1].items()}
        spoil(trainer)
        if jump == 4:
            with pytest.raises(DivergedError, match="3 times before"):
                go_on_for_ever(trainer)
        else:
            while watch.restarts < jump:
                trainer.advance()
            assert watch.rate_factor == 0.5**jump
            for name, value in trainer.generator.state_dict().items():
                assert torch.equal(value, good[name]), name
    assert len(caplog.records) == 3
    assert "back to the averaged weights of step" in caplog.text


def test_worse_than_a_linear_prediction_is_refused(runs):
    trainer = make(runs)
    for _ in range(60):
        trainer.advance()
    trainer._current.accept(trainer.generator)
    spoil(trainer)
    with pytest.raises(DivergedError, match="linear prediction"):
        trainer._current.accept(trainer.generator)
