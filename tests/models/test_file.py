"""Model files: what they hold, old ones, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import isotropic
from mdgan_hpc.errors import DataError
from mdgan_hpc.models.base import Generator, rollout
from mdgan_hpc.models.file import Model, load_model, save_model
from mdgan_hpc.models.latent import LatentConfig, LatentGenerator
from mdgan_hpc.models.transition.generator import TransitionGenerator
from tests.support.transition import cubic, make, windows

OLD = Path(__file__).parents[1] / "data/models-format-1"


def free_run(generator: Generator) -> np.ndarray:
    random = torch.Generator().manual_seed(7)
    return rollout(generator, 5, 40, rng=random, burn_in_records=6).numpy()


@pytest.mark.parametrize("name", ["latent", "liquid", "crystal", "neighbours"])
def test_files_of_the_first_format_move_ions_as_they_did(name):
    """Positions made by the code that wrote the files, with random weights."""
    model = load_model(OLD / f"{name}.pt")
    expected = np.load(OLD / "golden.npz")
    path = free_run(model.generator)
    np.testing.assert_allclose(path, expected[name], atol=2e-5)
    # To the bit where the processor does matrix products as the one that made them.
    a = torch.randn(72, 73, generator=torch.Generator().manual_seed(1))
    b = torch.randn(73, 96, generator=torch.Generator().manual_seed(2))
    if (torch.tanh(a @ b).numpy() == expected["probe"]).all():
        # Where its memory happens to lie changes a last bit now and then: not three times.
        paths = (free_run(load_model(OLD / f"{name}.pt").generator) for _ in range(3))
        assert any(path.tobytes() == expected[name].tobytes() for path in paths)
    assert model.generator.ions_per_cell == (4 if name == "neighbours" else 1)
    assert model.generator.kind == ("latent" if name == "latent" else "transition")
    assert model.provenance == {"made_by": "0.1"}


def test_old_files_hold_all_constants_when_written_again(tmp_path):
    model = load_model(OLD / "neighbours.pt")
    save_model(tmp_path / "model.pt", model)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content["arguments"]["neighbour_shells"]["radii"] == [2.5, 3.5, 4.5, 5.5, 6.5]
    assert content["configuration"]["vector_bound"] == 6.0
    again = load_model(tmp_path / "model.pt").generator
    assert free_run(again).tobytes() == free_run(model.generator).tobytes()


@pytest.fixture
def crystal() -> TransitionGenerator:
    generator = make(cubic(4.0), 3)
    generator.prepare(windows(generator, 96, 64))
    return generator


def test_a_model_survives_its_file(crystal, tmp_path):
    save_model(tmp_path / "model.pt", Model(crystal, 0.008, 3, 4 * np.eye(3), 40.0, {"a": 1}))
    model = load_model(tmp_path)
    assert free_run(model.generator).tobytes() == free_run(crystal).tobytes()
    assert (model.record_interval_ps, model.species, model.training_span_ps) == (0.008, 3, 40.0)
    assert model.label == "transition density"
    assert model.generator.config == crystal.config
    assert free_run(crystal.copy()).tobytes() == free_run(crystal).tobytes()


def test_constants_of_the_file_count_and_not_those_of_the_code(crystal, tmp_path):
    """A bound that is not the default is in the file and acts."""
    wide = free_run(crystal)
    arguments = crystal.arguments
    tight = TransitionGenerator.create(
        type(crystal.config)(hidden=48, components=6, head=64, start_states=64, vector_bound=0.5),
        **arguments,
    )
    tight.load_state_dict(crystal.state_dict())
    save_model(tmp_path / "model.pt", Model(tight, 0.008, 3))
    there = free_run(load_model(tmp_path).generator)
    assert there.tobytes() == free_run(tight).tobytes()
    assert np.abs(there - wide).max() > 1e-3


def written(folder: Path, **changes: object) -> Path:
    generator = LatentGenerator.create(LatentConfig(hidden=8, latent=4), scales=[0.1] * 3)
    path = folder / "model.pt"
    save_model(path, Model(generator, 0.008, 3))
    torch.save(torch.load(path, weights_only=True) | changes, path)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"behaviour": 2, "version": "9.1"}, r"mdgan_hpc 9\.1.*moves ions differently"),
        ({"behaviour": 0, "version": "0.0"}, r"behaviour 0, here 1"),
        ({"kind": "latentt"}, r"no generator 'latentt'"),
        ({"format": "mdgan_hpc model 3"}, "has the format"),
        ({"configuration": {"hidden": 8, "latent": 4, "colour": 1}}, "of another version"),
        ({"arguments": {}}, "of another version"),
    ],
)
def test_what_this_version_cannot_use_is_refused_in_one_line(changes, said, tmp_path):
    with pytest.raises(DataError, match=said) as refused:
        load_model(written(tmp_path, **changes))
    assert "\n" not in str(refused.value)
    assert refused.value.remedy


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"no")
    with pytest.raises(DataError, match="not a model file"):
        load_model(tmp_path)
    with pytest.raises(DataError, match="no model here"):
        load_model(tmp_path.parent)


def test_a_liquid_has_no_lattice():
    assert make(isotropic(), 1).lattice_phases() is None
    phases = make(cubic(4.0), 1).lattice_phases()
    assert phases is not None
    # Lattice vectors change no phase.
    turns = (4.0 * torch.eye(3) @ phases) / (2 * torch.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-5, rtol=0)
