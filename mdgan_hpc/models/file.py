"""The trained model as a file: weights and all that defines it, loaded without pickle."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc import __version__
from mdgan_hpc.config import as_mapping, from_mapping
from mdgan_hpc.errors import ConfigError, DataError
from mdgan_hpc.models import registry
from mdgan_hpc.models.base import Generator
from mdgan_hpc.outputs import written_whole

FORMAT = "mdgan_hpc model 2"
FORMAT_1 = "mdgan_hpc model 1"
MODEL_NAME = "model.pt"
_OTHER_VERSION = "use the version of mdgan_hpc that trained it, or train again"


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
    label : str
        Name of the generator in files, tables and figures; its own if not given.
    """

    generator: Generator
    record_interval_ps: float
    species: int
    cell: np.ndarray | None = None
    training_span_ps: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        self.label = self.label or self.generator.label


def save_model(path: str | Path, model: Model) -> None:
    """Write a model file; it appears whole or not at all.

    Parameters
    ----------
    path : path
    model : Model
        Whose generator was made by `Generator.create`.
    """
    generator = model.generator
    content = {
        "format": FORMAT,
        "kind": generator.kind,
        "label": model.label,
        "behaviour": generator.behaviour,
        "version": __version__,
        "configuration": as_mapping(generator.config),
        "arguments": generator.arguments,
        "weights": {k: v.detach().cpu() for k, v in generator.state_dict().items()},
        "record_interval_ps": model.record_interval_ps,
        "species": model.species,
        "cell": None if model.cell is None else torch.from_numpy(np.array(model.cell)),
        "training_span_ps": model.training_span_ps,
        "provenance": model.provenance,
    }
    # Through memory: torch makes no OSError of a full disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with written_whole(path) as partial:
        partial.write_bytes(buffer.getvalue())


def load_model(path: str | Path) -> Model:
    """Read a model file, or the model in a run folder, onto the CPU.

    Raises
    ------
    DataError
        If there is none, it is not a model of this package, or this version would move its ions
        differently.
    """
    path = Path(path)
    file = path / MODEL_NAME if path.is_dir() else path
    content = _read(path, file)
    generator = _generator(content, file)
    generator.eval().requires_grad_(False)
    cell = content["cell"]
    return Model(
        generator,
        content["record_interval_ps"],
        content["species"],
        None if cell is None else cell.numpy(),
        content["training_span_ps"],
        content["provenance"],
        content.get("label", ""),
    )


def _read(path: Path, file: Path) -> dict[str, Any]:
    remedy = "give the run folder or the model file of mdgan-train"
    if not file.exists():
        what = "no model here" if path.is_dir() else "no such file"
        raise DataError(what, where=path, remedy=remedy)
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        form = content["format"]
    except Exception as error:
        raise DataError("is not a model file, or is damaged", where=file, remedy=remedy) from error
    if form not in (FORMAT, FORMAT_1):
        raise DataError(
            f"has the format {form!r}, not {FORMAT!r}", where=file, remedy=_OTHER_VERSION
        )
    return content


def _generator(content: dict[str, Any], file: Path) -> Generator:
    """Build the generator of a file.

    Raises
    ------
    DataError
        If its kind is not known here, or the code has changed.
    """
    old = content["format"] == FORMAT_1
    kind = content["generator"]["kind"] if old else content["kind"]
    try:
        cls = registry.get(kind)
    except ConfigError as error:
        raise DataError(
            f"holds a generator of the kind {kind!r}: {error.what}",
            where=file,
            remedy="install the package that brings it",
        ) from error
    behaviour = 1 if old else content["behaviour"]
    if behaviour != cls.behaviour:
        version = content.get("version", "0.1")
        raise DataError(
            f"was trained with mdgan_hpc {version}, whose {kind} generator moves ions differently "
            f"(behaviour {behaviour}, here {cls.behaviour})",
            where=file,
            remedy=_OTHER_VERSION,
        )
    try:
        config, arguments, weights = _defined(cls, content)
        generator = cls.create(config, **arguments)
        generator.load_state_dict(weights)
    except (RuntimeError, TypeError, KeyError, ValueError, ConfigError) as error:
        raise DataError(
            "holds a network of another version", where=file, remedy=_OTHER_VERSION
        ) from error
    return generator


def _defined(
    cls: type[Generator], content: dict[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
    """Return configuration, arguments and weights."""
    if content["format"] == FORMAT_1:
        return cls.from_format_1(content["generator"]["arguments"], content["weights"])
    config: Any = from_mapping(cls.Config, content["configuration"])
    return config, content["arguments"], content["weights"]
