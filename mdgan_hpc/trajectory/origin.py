"""What a generated trajectory tells of the models that made it."""

import json

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.trajectory import layout
from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.verdict import Verdict

#: Among the settings of a generated file: the digest of its model or models.
_MODEL = "model"


def verdict_of(trajectory: Trajectory) -> Verdict | None:
    """Return the verdict on the model of a trajectory; None where the file tells none.

    Raises
    ------
    DataError
        If what it tells is damaged.
    """
    text = trajectory.parameter(layout.VERDICT)
    if not text:
        return None
    try:
        return Verdict.from_text(str(text))
    except (ValueError, TypeError, DataError) as error:
        raise DataError(f"parameters/{layout.VERDICT} is damaged", where=trajectory.path) from error


def models_of(trajectory: Trajectory) -> np.ndarray:
    """Return the number [N] of the model that made each particle; zeros where one made all."""
    stored = trajectory.parameter(layout.MODELS)
    every = np.zeros(len(trajectory.all_species), int) if stored is None else np.asarray(stored)
    if every.shape != trajectory.all_species.shape:
        raise DataError(
            f"parameters/{layout.MODELS} does not name the model of each particle",
            where=trajectory.path,
        )
    selection = trajectory._selection
    return every if selection is None else every[selection.index]


def model_name(trajectory: Trajectory) -> str:
    """Return what tells models apart: their digest, or the file where it tells none."""
    text = trajectory.parameter(f"{layout.LEDGER.removeprefix('parameters/')}/settings")
    known = json.loads(text) if isinstance(text, str) and text else {}
    return str(known.get(_MODEL) or trajectory.path)
