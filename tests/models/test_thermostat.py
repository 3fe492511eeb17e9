"""Free runs of a liquid: the kinetic energy of a cell goes back to its mean, its momentum stays."""

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import isotropic
from mdgan_hpc.errors import ConfigError, UsageError
from mdgan_hpc.models.base import DataSummary, rollout
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition.calibrate import Level
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.thermostat import Held, Thermostat, held_in
from tests.support.neighbours import SHELLS
from tests.support.two_species import BOX, IONS, dataset, run, trainer

MASSES = [35.45, 22.99, 22.99, 35.45, 22.99]


def thermostat(masses=MASSES, coupling=0.25) -> Thermostat:
    return Thermostat(Held(masses=list(masses)), coupling, [0.3, 0.1], [1, 0, 0, 1, 0])


def test_a_step_is_what_a_loop_over_the_ions_gives():
    """Three cells of five ions, two records a step, where speeds are 1.2 times the reference's."""
    rng = np.random.default_rng(1)
    held = thermostat()
    held.taken([Level(0.05, 0.0), Level(-0.1, 0.0)])
    moved, last = rng.normal(size=(2, 3, 15)), 0.4 * rng.normal(size=(3, 15))
    aim = np.array([0.3 * np.exp(0.05), 0.1 * np.exp(-0.1)]) * 1.2**2
    wanted = moved.copy()
    for cell in range(3):
        ions = np.arange(5 * cell, 5 * cell + 5)
        for which, species in ((0, ions[[1, 2, 4]]), (1, ions[[0, 3]])):
            energy = np.mean([(last[:, i] ** 2).sum() / aim[which] for i in species])
            wanted[:, :, species] *= np.clip(1 - 0.25 * (energy - 1), 0.5, 1.5)
        momentum = sum(m * wanted[:, :, i] for m, i in zip(MASSES, ions, strict=True))
        wanted[:, :, ions] -= (momentum / sum(MASSES))[:, :, None]
    got = held.at(1.2).applied(torch.tensor(moved).float(), torch.tensor(last).float())
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_energy_goes_back_in_the_time_that_is_stated():
    """Ions that fly on, 10 % too hot: E - 1 falls by the coupling twice over with each step."""
    held = thermostat(masses=(), coupling=0.02).at(1.0)
    last = torch.zeros(3, 5)
    last[0] = (1.1 * held.mean_square).sqrt()
    excess = []
    for _ in range(50):
        excess.append(float(last[0, 0] ** 2 / held.mean_square[0] - 1))
        last = held.applied(last[None], last)[0]
    rate = np.diff(np.log(excess))
    assert rate[-1] == pytest.approx(-0.04, rel=0.05)
    assert excess[-1] == pytest.approx(0.1 * np.exp(-0.04 * 49), rel=0.15)


@pytest.mark.parametrize("at_rest", [True, False])
def test_momentum_is_held_where_the_data_hold_it(at_rest):
    data = [np.diff(run(seed), axis=0) for seed in (1, 2)]
    if at_rest:
        masses = np.array(MASSES)[:, None]
        data = [d - (d * masses).sum(1, keepdims=True) / masses.sum() for d in data]
    summary = DataSummary(
        displacements=data,
        symmetry=isotropic(),
        cell=BOX,
        ions_per_run=5,
        species=(11, 17),
        run_species=[np.array([1, 0, 0, 1, 0])] * 2,
    )
    sees = Surroundings(NeighbourDescriptor.of_cell(BOX, **SHELLS))
    held = held_in(TransitionConfig(), summary, sees)
    assert held == {"masses": pytest.approx(MASSES, abs=0.05) if at_rest else []}
    assert held_in(TransitionConfig(), summary, None) is None
    assert held_in(TransitionConfig(thermostat_records=0.0), summary, sees) is None
    with pytest.raises(UsageError, match="thermostat_records has no effect"):
        held_in(TransitionConfig(thermostat_records=2.0), summary, None)
    with pytest.raises(ConfigError, match="thermostat_range has no effect"):
        TransitionConfig(neighbours="off", thermostat_range=0.1)


def test_free_runs_of_a_hot_model_do_not_heat_up(tmp_path):
    """Untrained, and what a step leaves open twice as large; two cells side by side too."""
    masses = np.array(MASSES)[:, None]
    data = dataset()
    total = masses.sum()
    data.runs[:] = [x - ((x - x[:1]) * masses).sum(1, keepdims=True) / total for x in data.runs]
    energy = {}
    for records in (4.0, 0.0):
        more = f"generator.thermostat_records={records}"
        generator = trainer(tmp_path, more, data=data).ready_generator()
        assert (generator.thermostat is None) == (records == 0)
        for cells in (1, 2):
            if cells > 1:
                generator = generator.in_supercell(Supercell((2, 1, 1)))
            generator.inverse_whitening *= 2.0
            path = rollout(generator, 4, 80, rng=torch.Generator().manual_seed(1)).double()
            moved = path[40:].diff(dim=0).numpy()
            moved = moved.reshape(len(moved), -1, 5 * cells, 3)
            data_square = np.mean([np.diff(x, axis=0)[:, IONS == 11] ** 2 for x in data.runs])
            sodium = np.tile(IONS == 11, cells)
            energy[records, cells] = float((moved[:, :, sodium] ** 2).mean() / data_square)
            momentum = (moved * np.tile(masses, (cells, 1))).sum(2)
            if records:
                assert np.abs(momentum).max() < 1e-3 * np.abs(moved * 30).max()
    assert abs(np.log(energy[4.0, 1])) < 0.5 * abs(np.log(energy[0.0, 1]))
    assert energy[4.0, 2] == pytest.approx(energy[4.0, 1], rel=0.2)
