"""The configuration of a training: phases, overrides, what is refused, what is shown."""

import tomllib
from pathlib import Path

import pytest

from mdgan_hpc.config import as_mapping, as_toml, from_mapping, load_config
from mdgan_hpc.errors import ConfigError
from mdgan_hpc.training.settings import TrainingConfig, read_config
from tests.support.commands import run

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "mdgan_hpc.cli.train"


def configured(*overrides: str) -> TrainingConfig:
    return load_config(TrainingConfig, overrides=overrides)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.toml")), ids=lambda p: p.stem)
def test_configurations_load_and_are_shown_as_what_they_are(path):
    config = load_config(TrainingConfig, path)
    again = from_mapping(TrainingConfig, tomllib.loads("\n".join(as_toml(config))))
    assert again == config
    assert from_mapping(TrainingConfig, as_mapping(config)) == config
    assert read_config(path.stem) == read_config(path) == config


def test_a_phase_minimises_what_it_has_a_table_for():
    (plain,) = configured().phase
    assert plain.likelihood is not None
    assert plain.adversarial is None
    (game,) = configured("phase.adversarial={}").phase
    assert game.likelihood is None
    first, second = configured("phase.1.steps=30", "phase.2.adversarial.width=8").phase
    assert (first.steps, first.adversarial) == (30, None)
    assert second.adversarial is not None
    assert second.adversarial.width == 8
    assert configured("phase.steps=30", "phase.ema=0.5").phase[0].ema == 0.5


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.steps=5"], "unknown key train.steps; it is phase.steps now"),
        (["critic.skips=[1]"], "it is phase.adversarial.strides now"),
        (["loss.adversarial=1"], "it is phase.adversarial.weight now"),
        (["data.grouping=nearest"], "generator.grouping"),
        (["phase.2.steps=5", "phase.steps=5"], "say which: phase.1.steps"),
        (["phase.3.steps=5"], "there are 1 tables [[phase]]"),
        (["phase.likelihod.weight=1"], "did you mean phase.1.likelihood?"),
        (["generator.latent=4"], "unknown key generator.latent"),
        (["generator.kind=latent", "generator.head=4"], "unknown key generator.head"),
        (["generator.kind=latnt"], "did you mean latent?"),
        (["generator.kind=latent"], "minimises a likelihood, which the latent generator"),
        (
            ["generator.kind=latent", "phase.adversarial={}", "data.symmetry=crystal"],
            "uses no symmetry",
        ),
        (["phase.2.init_from=runs/a"], "phase.2.init_from"),
        (["phase.steps=-1"], "phase.steps = -1 must be at least 1 or 'auto'"),
        (["phase.steps=0"], "phase.1.steps = 0 must be above 0 or 'auto'"),
        (["data.step_skip=0"], "data.step_skip = 0 must be above 0 or 'auto'"),
        (["phase.likelihood.weight=0"], "must be above 0"),
    ],
)
def test_what_is_unknown_or_does_nothing_is_refused(overrides, told):
    with pytest.raises(ConfigError) as refused:
        configured(*overrides)
    assert told in str(refused.value)


def test_configurations_by_name_path_and_mapping(tmp_path):
    assert read_config(None) == TrainingConfig()
    assert read_config({"phase": [{"steps": 3}, {"steps": 4}]}).steps == 7
    assert read_config({"phase": {"steps": 3}}).steps == 3
    with pytest.raises(ConfigError, match="give a TOML file, or one of default, demo"):
        read_config("defalt")
    with pytest.raises(ConfigError, match="no such configuration"):
        read_config(tmp_path / "none.toml")


def test_show_config_needs_no_data():
    done = run(COMMAND, ROOT / "configs/mdgan-2018.toml", "--show-config", "--set", "phase.steps=7")
    assert done.returncode == 0, done.stderr
    shown = from_mapping(TrainingConfig, tomllib.loads(done.stdout))
    assert shown.steps == 7
    assert shown.generator.kind == "latent"


def test_advise_needs_no_run_folder(runs):
    done = run(COMMAND, "--advise", "--data", runs[0])
    assert done.returncode == 0, done.stderr
    assert "data.step_skip" in done.stdout
    done = run(COMMAND, "--advise")
    assert done.returncode == 2
    assert "--data is missing" in done.stderr
