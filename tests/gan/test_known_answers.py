"""Models trained on processes with a known diffusion coefficient and non-Gaussian parameter."""

import numpy as np
import pytest

from mdgan_hpc.analysis.dynamics import alpha2
from mdgan_hpc.config import load_config
from mdgan_hpc.gan.model import load_model
from mdgan_hpc.gan.settings import TrainingConfig
from mdgan_hpc.gan.training import free_run, run_training
from tests.analysis.conftest import brownian, cage_and_hops, write

INTERVAL, D = 0.05, {"brownian": 1.0, "cage and hops": 2.5**2 / 6}


def moments(path: np.ndarray, lag: int) -> tuple[float, float]:
    """Second moment and alpha2 of displacements over a lag, all origins."""
    squared = ((path[lag:] - path[:-lag]) ** 2).sum(-1)
    return squared.mean(), float(alpha2(squared.mean(), (squared**2).mean()))


@pytest.mark.slow
@pytest.mark.parametrize("process", D)
def test_diffusion_coefficient_and_alpha2(process, tmp_path):
    make = {"brownian": brownian, "cage and hops": cage_and_hops}[process]
    random = np.random.default_rng(4)
    data = write(tmp_path / "run.h5", make(5000, 128, random), interval=INTERVAL)
    config = load_config(
        TrainingConfig,
        overrides=[
            "data.step_skip=1",
            "data.records=100",
            "train.steps=1500",
            "train.evaluate_every=0",
        ],
    )
    run_training(config, [data], tmp_path / "model")
    generator = load_model(tmp_path / "model").generator
    made = np.concatenate([free_run(generator, INTERVAL, 2000, 0, s) for s in range(4)], axis=1)
    truth = make(20_000, 256, random)
    late = 400
    slope = (moments(made, late)[0] - moments(made, late // 2)[0]) / (late / 2 * INTERVAL)
    assert slope / 6 == pytest.approx(D[process], rel=0.05)
    for lag in (1, 3, 10, 30, 100):
        assert moments(made, lag)[0] == pytest.approx(moments(truth, lag)[0], rel=0.05), lag
        assert moments(made, lag)[1] == pytest.approx(moments(truth, lag)[1], abs=0.1), lag
