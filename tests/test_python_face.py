"""Wrong calls from Python: each ends in one sentence that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

import mdgan_hpc
from mdgan_hpc.errors import MdganError
from tests.support.motion import brownian, write

STILL = np.zeros((50, 4, 3))


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run.h5", brownian(200, 4, np.random.default_rng(1)))


def closed(path):
    with mdgan_hpc.Trajectory(path) as trajectory:
        pass
    return trajectory.positions()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: mdgan_hpc.convert(r, "a.h5", drift="al"), "drift = 'al' .*did you mean all"),
        (lambda r: mdgan_hpc.generate(r, "a.h5", particles="5"), "'5' must be a whole number"),
        (lambda r: mdgan_hpc.generate(r, "a.h5", particle=5), "did you mean particles"),
        (lambda r: mdgan_hpc.generate(object(), "a.h5"), "model = .* must be a path"),
        (lambda r: mdgan_hpc.dynamics(r, specie="Li"), "did you mean species"),
        (lambda r: mdgan_hpc.dynamics(r, van_hove_ps=0.1), "van_hove_ps = 0.1 must be a list"),
        (lambda r: mdgan_hpc.jumps(r, core="x"), "core = 'x' must be a number"),
        (lambda r: mdgan_hpc.onsager(r, "Na,Cl", strid=2), "did you mean stride"),
        (lambda r: mdgan_hpc.diffusion(r, window_ps=1.0), "window_ps = 1.0 must be two lags"),
        (lambda r: mdgan_hpc.diffusion(r, charge="+1"), "charge = '.1' must be a number"),
        (lambda r: mdgan_hpc.train("demo", None, "out"), "no data are given"),
        (lambda r: mdgan_hpc.train("demo", r, "out", wall_time_min=-1), "wall time of -1"),
        (lambda r: mdgan_hpc.Trajectory(r).positions(7), "are ranges"),
        (closed, "run.h5: is closed"),
        (lambda r: mdgan_hpc.Fidelity([STILL * np.nan], 0.1), "not finite"),
        (lambda r: mdgan_hpc.Fidelity([STILL], -0.1), "interval_ps = -0.1 must be above 0"),
        (lambda r: mdgan_hpc.Fidelity([STILL[:, 0]], 0.1), r"must be \[records, ions, 3\]"),
        (lambda r: mdgan_hpc.Fidelity(r).compare(STILL), "need interval_ps"),
    ],
)
def test_a_wrong_call_is_told(run, tmp_path, monkeypatch, call, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MdganError, match=told) as error:
        call(run)
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_paths_and_tuples_are_values(run, tmp_path):
    found = mdgan_hpc.dynamics(run, stride=np.int64(2), max_fraction=np.float32(0.25))
    assert found.stride == 2
    assert mdgan_hpc.dynamics(run, van_hove_ps=[0.1]).van_hove is not None
    lags = mdgan_hpc.diffusion(run, window_ps=np.array([1, 4])).total.window_ps
    assert tuple(lags) == pytest.approx((1, 4), abs=0.06)
    folder = Path(__file__).parent / "data/short/nve_lih8"
    assert mdgan_hpc.convert(folder, tmp_path / "a.h5", every=np.int32(1), silent=True).exists()


def test_critics_refuse_ions_that_fly_as_a_result():
    runs = [brownian(400, 24, np.random.default_rng(seed)) for seed in range(3)]
    told = mdgan_hpc.Fidelity(runs, 0.05).critic(runs[0] * np.nan, 0.05)
    assert "diverge" in told.refused


def test_a_second_file_behind_an_option_is_told():
    from click.testing import CliRunner

    from mdgan_hpc.cli.train import main

    said = CliRunner().invoke(main, ["demo", "--data", "a.h5", "b.h5"])
    assert said.exit_code == 2
    assert "argument (b.h5); give --data before each file" in said.output


def test_a_wrong_override_is_not_blamed_on_the_file():
    from mdgan_hpc.training.settings import read_config

    with pytest.raises(MdganError, match=r"^--set: phase.1.steps = 'many' must be .*'auto'"):
        read_config("demo", ["phase.steps=many"])
