"""The trained model as a file: weights and what is needed to use them, loaded without pickle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgan_hpc.errors import DataError
from mdgan_hpc.models.base import Generator
from mdgan_hpc.outputs import written_whole

FORMAT = "mdgan_hpc model 1"
MODEL_NAME = "model.pt"


@dataclass
class Model:
    """A generator and the physical meaning of what it emits.

    Attributes
    ----------
    generator : Generator
    record_interval_ps : float
        Time between two emitted records.
    species : int
        Atomic number of the particles.
    cell : array [3, 3] or None
        Cell of the training trajectories, Angstrom.
    training_span_ps : float
        Length of the longest training run.
    provenance : dict
        Of the training.
    """

    generator: Generator
    record_interval_ps: float
    species: int
    cell: np.ndarray | None = None
    training_span_ps: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)


def save_model(path: str | Path, model: Model) -> None:
    """Write a model file; it appears whole or not at all."""
    from mdgan_hpc.models.registry import describe

    content = {
        "format": FORMAT,
        "generator": describe(model.generator),
        "weights": {k: v.detach().cpu() for k, v in model.generator.state_dict().items()},
        "record_interval_ps": model.record_interval_ps,
        "species": model.species,
        "cell": None if model.cell is None else torch.from_numpy(np.array(model.cell)),
        "training_span_ps": model.training_span_ps,
        "provenance": model.provenance,
    }
    with written_whole(path) as partial:
        torch.save(content, partial)


def load_model(path: str | Path) -> Model:
    """Read a model file, or the model in a run folder, onto the CPU.

    Raises
    ------
    DataError
        If there is none, or it is not a model of this package and version.
    """
    from mdgan_hpc.models.registry import build

    path = Path(path)
    file = path / MODEL_NAME if path.is_dir() else path
    if not file.exists():
        raise DataError(
            "no model here" if path.is_dir() else "no such file",
            where=path,
            remedy="give the run folder or the model file of mdgan-train",
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        recognised = content["format"] == FORMAT
    except Exception as error:
        raise DataError(
            "is not a model file, or is damaged",
            where=file,
            remedy="give the run folder or the model file of mdgan-train",
        ) from error
    if not recognised:
        raise DataError(f"has the format {content['format']!r}, not {FORMAT!r}", where=file)
    try:
        generator = build(content["generator"])
        generator.load_state_dict(content["weights"])
    except (RuntimeError, TypeError) as error:
        raise DataError(
            "holds a network of another version",
            where=file,
            remedy="use the version of mdgan_hpc that trained it, or train again",
        ) from error
    generator.eval().requires_grad_(False)
    cell = content["cell"]
    return Model(
        generator,
        content["record_interval_ps"],
        content["species"],
        None if cell is None else cell.numpy(),
        content["training_span_ps"],
        content["provenance"],
    )
