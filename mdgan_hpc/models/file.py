"""The trained model as a file: weights and all that defines it, loaded without pickle, sealed."""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mdgan_hpc import __version__
from mdgan_hpc.config import as_mapping, from_mapping
from mdgan_hpc.digests import seal, unsealed
from mdgan_hpc.errors import ConfigError, DataError, UsageError
from mdgan_hpc.inputs import read_bytes
from mdgan_hpc.models import registry
from mdgan_hpc.models.base import Generator
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.trajectory.temperature import Temperature
from mdgan_hpc.verdict import Verdict, worst_of

FORMAT = "mdgan_hpc model 2"
FORMAT_1 = "mdgan_hpc model 1"
MODEL_NAME = "model.pt"
#: Folder of the replicas in that of an ensemble, and the file there that tells their number.
REPLICAS, _COUNT = "replicas", "number"
#: What a generator raises for a configuration, arguments or weights that are not its own.
_UNFIT = (
    *(RuntimeError, TypeError, KeyError, ValueError, AttributeError, IndexError),
    *(ArithmeticError, MemoryError, AssertionError),
)
#: Numbers that a generator being built makes at most, for each byte of weights (eight times their
#: number), and besides.
_NUMBERS_PER_BYTE = 2
_FREE_NUMBERS = 2**22
_MAKERS = (torch.rand, torch.randn, torch.zeros, torch.ones, torch.empty, torch.full)
#: No MD lasts a second.
_MOST_PS = 1e12
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
        Atomic number of the particles; the least where they are of several species.
    cell : array [3, 3] or None
        Cell of the training trajectories, Angstrom.
    training_span_ps : float
        Length of the longest training run.
    provenance : dict
        Of the training.
    label : str
        Name of the generator in files, tables and figures; its own if not given.
    verdict : Verdict, optional
        Whether it moves as the MD does, of several the worst; None where it was not judged.
    replicas : tuple of Generator
        Those of the bootstrap replicas, where there are.
    """

    generator: Generator
    record_interval_ps: float
    species: int
    cell: np.ndarray | None = None
    training_span_ps: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    verdict: Verdict | None = None
    replicas: tuple[Generator, ...] = ()

    def __post_init__(self) -> None:
        self.label = self.label or self.generator.label

    def species_of(self, n_particles: int) -> np.ndarray:
        """Return the atomic numbers of particles that are generated, [N]."""
        several = self.generator.ion_species
        each = self.species if several is None else several.numbers
        return np.resize(each, n_particles).astype(np.int32)

    @property
    def generators(self) -> tuple[Generator, ...]:
        """The generator of all data and those of the replicas."""
        return (self.generator, *self.replicas)

    @property
    def temperature_k(self) -> float | None:
        """At which the ions move: as set by `at`, or that of the training; None if not known."""
        told: float | None = self.provenance.get("temperature_k")
        return told if self.generator.temperatures is None else self.generator.temperature_k

    def at(self, kelvin: float | None) -> "Model":
        """Return this model for free runs at a temperature, in the cell that belongs to it.

        Raises
        ------
        UsageError
            If it was trained at others, or at several and none is given.
        """
        temperatures = self.generator.temperatures
        if temperatures is None:
            own = Temperature(self.temperature_k)
            if kelvin is not None and (own.k is None or own.differs(Temperature(kelvin))):
                trained = "one temperature" if own.k is None else f"{own.k:.0f} K"
                raise UsageError(
                    f"the model was trained at {trained} alone",
                    remedy="leave --temperature out, or train on runs at several temperatures",
                )
            return self
        kelvin = temperatures.require(kelvin)
        for generator in self.generators:
            generator.set_temperature(kelvin)
        cell = temperatures.cell(kelvin)
        return self if cell is None else replace(self, cell=cell)

    def in_supercell(self, supercell: Supercell) -> "Model":
        """Return this model for a cell as many times as large (`Generator.in_supercell`)."""
        first, *replicas = (g.in_supercell(supercell) for g in self.generators)
        cell = None if self.cell is None else supercell.of_cell(self.cell)
        return replace(self, generator=first, replicas=tuple(replicas), cell=cell)


def replica_folder(folder: str | Path, number: int) -> Path:
    """Return the run folder of a bootstrap replica, from 1 on, below that of its ensemble."""
    return Path(folder) / REPLICAS / str(number)


def write_replicas(folder: Path, number: int) -> None:
    """Write down that a run folder holds so many replicas, or more if it did before."""
    file = folder / REPLICAS / _COUNT
    number = max(number, _n_replicas(folder))
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as partial:
        partial.write_text(f"{number}\n")


def _n_replicas(folder: Path) -> int:
    file = folder / REPLICAS / _COUNT
    if not file.exists():
        return 0
    text = file.read_text().strip()
    if not text.isdigit():
        raise DataError("does not hold a number of replicas", where=file)
    return int(text)


def model_files(path: str | Path) -> list[Path]:
    """Return the model file that is meant; of a run folder with replicas also theirs."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    replicas = range(1, _n_replicas(path) + 1)
    return [path / MODEL_NAME, *(replica_folder(path, k) / MODEL_NAME for k in replicas)]


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
        "verdict": None if model.verdict is None else model.verdict.to_plain(),
    }
    # Through memory: torch makes no OSError of a full disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    with written_whole(path) as partial:
        partial.write_bytes(body + seal(body))


def load_model(path: str | Path) -> Model:
    """Read a model file, or the model in a run folder with its replicas, onto the CPU.

    Raises
    ------
    DataError
        If there is none, it is not a model of this package, is damaged, this version would move its
        ions differently, or a replica is not trained yet.
    """
    path = Path(path)
    file, *others = model_files(path)
    model = _load_one(path, file)
    replicas = []
    for other in others:
        if not other.exists():
            raise DataError(
                "this replica is not trained yet",
                where=other.parent,
                remedy="go on with mdgan-train --replicas, or give the model file of all data",
            )
        replicas.append(_load_one(other, other))
    for other, replica in zip(others, replicas, strict=True):
        mine, theirs = _form(model), _form(replica)
        if mine != theirs:
            raise DataError(f"is of another form than {file} ({theirs}, {mine})", where=other)
    return replace(
        model,
        replicas=tuple(replica.generator for replica in replicas),
        verdict=worst_of([model.verdict, *(replica.verdict for replica in replicas)]),
    )


def _form(model: Model) -> tuple[Any, ...]:
    """Return what models must share to generate into one file."""
    g = model.generator
    sizes = g.particles_per_sample, g.records_per_step, g.start_size, g.noise_size
    several = g.ion_species
    species = model.species if several is None else (several.species, several.of_ion)
    return g.kind, species, model.record_interval_ps, g.ions_per_cell, *sizes


def _load_one(path: Path, file: Path) -> Model:
    content = _read(path, file)
    _require_meaning(content, file)
    generator = _generator(content, file)
    generator.eval().requires_grad_(False)
    cell, verdict = content["cell"], content.get("verdict")
    return Model(
        generator,
        content["record_interval_ps"],
        content["species"],
        None if cell is None else cell.numpy(),
        content["training_span_ps"],
        content["provenance"],
        content.get("label", ""),
        None if verdict is None else Verdict.from_tree(verdict),
    )


def _read(path: Path, file: Path) -> dict[str, Any]:
    remedy = "give the run folder or the model file of mdgan-train"
    if not file.exists():
        what = "no model here" if path.is_dir() else "no such file"
        raise DataError(what, where=path, remedy=remedy)
    body = unsealed(read_bytes(file, remedy=remedy), file, remedy=remedy)
    try:
        _require_plain(body)
        content: dict[str, Any] = torch.load(io.BytesIO(body), "cpu", weights_only=True)
        form = content["format"]
    except Exception as error:
        raise DataError("is not a model file, or is damaged", where=file, remedy=remedy) from error
    if form not in (FORMAT, FORMAT_1):
        raise DataError(
            f"has the format {form!r}, not {FORMAT!r}", where=file, remedy=_OTHER_VERSION
        )
    return content


def _require_plain(body: bytes) -> None:
    """Raise `ValueError` where unpacking would give more bytes than there are."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = archive.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > len(body):
        raise ValueError("claims more than it holds")


def _require_meaning(content: dict[str, Any], file: Path) -> None:
    """Raise `DataError` for a value that cannot be."""
    interval: Any = content.get("record_interval_ps")
    span: Any = content.get("training_span_ps")
    species, cell = content.get("species"), content.get("cell")
    rules = {
        "record_interval_ps": _is_number(interval) and 0 < interval <= _MOST_PS,
        "training_span_ps": _is_number(span) and 0 <= span <= _MOST_PS,
        "species": type(species) is int and 0 <= species <= 118,
        "cell": cell is None
        or (
            isinstance(cell, Tensor)
            and cell.shape == (3, 3)
            and cell.is_floating_point()
            and bool(cell.isfinite().all())
        ),
        "label": isinstance(content.get("label", ""), str),
        "provenance": isinstance(content.get("provenance"), Mapping),
        "weights": isinstance(content.get("weights"), Mapping)
        and all(isinstance(weight, Tensor) for weight in content["weights"].values()),
    }
    if content["format"] == FORMAT:
        rules["kind"] = isinstance(content.get("kind"), str)
        rules["behaviour"] = type(content.get("behaviour")) is int
        rules["version"] = isinstance(content.get("version"), str)
    for name, possible in rules.items():
        if not possible or (name not in content and name != "label"):
            told = content.get(name)
            shown = (
                f"{told!r}" if isinstance(told, int | float | str) else f"a {type(told).__name__}"
            )
            raise DataError(
                f"{name} is {shown}, which cannot be" if name in content else f"holds no {name}",
                where=file,
                remedy="train again, or bring back a whole copy of the model",
            )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _generator(content: dict[str, Any], file: Path) -> Generator:
    """Build the generator of a file.

    Raises
    ------
    DataError
        If its kind is not known here, or the code has changed.
    """
    old = content["format"] == FORMAT_1
    try:
        kind = str(content["generator"]["kind"]) if old else content["kind"]
        cls = registry.get(kind)
        # Files of the first format are translated by the class itself.
        behaviour = cls.behaviour if old else content["behaviour"]
    except (KeyError, TypeError) as error:
        raise DataError("tells no generator", where=file, remedy=_OTHER_VERSION) from error
    except ConfigError as error:
        raise DataError(
            f"holds a generator of the kind {kind!r}: {error.what}",
            where=file,
            remedy="install the package that brings it",
        ) from error
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
        # A damaged configuration may ask for more than the memory; the file holds all its weights.
        held_bytes = sum(weight.untyped_storage().nbytes() for weight in weights.values())
        with _Limit(_NUMBERS_PER_BYTE * held_bytes + _FREE_NUMBERS):
            generator = cls.create(config, **arguments)
        generator.load_state_dict(weights)
    except (*_UNFIT, ConfigError) as error:
        raise DataError(
            "holds a network of another version", where=file, remedy=_OTHER_VERSION
        ) from error
    return generator


class _Limit(TorchFunctionMode):
    """While it acts, tensors are made until they have so many numbers together.

    Raises
    ------
    ValueError
        Before more of them are made.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self._left = numbers

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, if it makes no more than what is left."""
        named = kwargs or {}
        if function in _MAKERS:
            size = named.get("size", args[:1] if function is torch.full else args)
            self._left -= math.prod(size[0] if isinstance(size[0], list | tuple) else size)
            if self._left < 0:
                raise ValueError("more numbers than the file holds")
        return function(*args, **named)


def _defined(
    cls: type[Generator], content: dict[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
    """Return configuration, arguments and weights."""
    if content["format"] == FORMAT_1:
        return cls.from_format_1(content["generator"]["arguments"], content["weights"])
    config: Any = from_mapping(cls.Config, content["configuration"])
    return config, as_named_today(content["arguments"]), content["weights"]


def as_named_today(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a generator under the names that they have here."""
    named = dict(arguments)
    if "kinds" in named:
        named["ion_species"] = named.pop("kinds")
    if isinstance(framework := named.get("framework"), dict) and "kinds" in framework:
        named["framework"] = {"species": framework["kinds"], "scales": framework["scales"]}
    return named
