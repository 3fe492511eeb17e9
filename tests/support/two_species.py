"""Small cells of ions of two species, and a training on them."""

import numpy as np

from mdgan_hpc.config import load_config
from mdgan_hpc.models.condition import IonSpecies
from mdgan_hpc.training.build import build_trainer
from mdgan_hpc.training.data.dataset import Dataset
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.settings import TrainingConfig
from tests.support.runs import underdamped

BOX = 12.0 * np.eye(3)
#: Atomic numbers of the ions of a cell, mixed as a file may have them.
IONS = np.array([17, 11, 11, 17, 11])
STARTS = np.array([[1.0, 1, 1], [7, 7, 1], [7, 1, 7], [1, 7, 7], [4, 4, 4]])
SPECIES = IonSpecies((11, 17), (1, 0, 0, 1, 0), (1.2, 0.75))
SMALL = (
    *("data.records=20", "data.step_skip=1", "phase.likelihood.warm_up=10", "generator.hidden=16"),
    *("generator.head=16", "train.batch=8", "generator.start_states=64", "phase.steps=99"),
)


def run(seed: int, frames: int = 700) -> np.ndarray:
    """Ions [T, 5, 3]: those of the second species move half as far."""
    moved = 0.2 * underdamped(frames, 5, seed)
    return STARTS + moved * np.where(IONS == 17, 0.5, 1.0)[:, None]


def dataset(seeds=(1, 2)) -> Dataset:
    runs = [run(seed) for seed in seeds]
    return Dataset(runs, 0.001, 11, BOX, ion_species=[IONS for _ in seeds])


def trainer(tmp_path, *more: str, data: Dataset | None = None):
    config = load_config(TrainingConfig, overrides=[*SMALL, *more])
    return build_trainer(config, data or dataset(), Processes(tmp_path))
