"""Configuration of a training: every key with its unit, its meaning and its default."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from mdgan_hpc.config import AUTO, as_mapping, from_mapping, key, load_config, require
from mdgan_hpc.errors import ConfigError
from mdgan_hpc.models import registry


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is trained on."""

    step_skip: int = key(
        AUTO, 'stored frames | from one record to the next; "auto": as --advise suggests', auto=True
    )
    records: int = key(
        AUTO, 'records | length of a training window; "auto": as --advise suggests', auto=True
    )
    symmetry: Literal["auto", "none", "isotropic", "crystal"] = key(
        "auto",
        "operations windows are moved by; auto: crystal where the framework is one, or else "
        "isotropic, and none for a generator that knows no symmetry",
    )
    validation: Literal["none", "run", "span", "temperature"] = key(
        "none",
        "kept out of training: nothing, the last run given, the last fifth of each run, or the "
        "middle one of three temperatures or more",
    )

    def __post_init__(self) -> None:
        if self.step_skip != AUTO:
            require(self.step_skip >= 1, "data.step_skip", self.step_skip, "at least 1 or 'auto'")
        if self.records != AUTO:
            require(self.records >= 8, "data.records", self.records, "at least 8 or 'auto'")


@dataclass(frozen=True)
class GeneratorSettings:
    """Which generator, and the keys of that kind alone.

    Attributes
    ----------
    kind : str
        Name under which the generator is registered.
    options : object
        Its own configuration, of the class ``Config`` of that kind.
    """

    kind: str
    options: Any

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], prefix: str = "generator.") -> Self:
        """Build from the keys of ``[generator]``.

        Raises
        ------
        ConfigError
            If the kind is not known, or a key is not one of this kind.
        """
        kind = tree.get("kind", "transition")
        if not isinstance(kind, str):
            raise ConfigError(f"{prefix}kind = {kind!r} must be of type str")
        options = {name: value for name, value in tree.items() if name != "kind"}
        return cls(kind, from_mapping(registry.get(kind).Config, options, prefix))

    def as_tree(self) -> dict[str, Any]:
        """Return the keys of ``[generator]``."""
        return {"kind": self.kind, **as_mapping(self.options)}

    def keys(self) -> list[tuple["dataclasses.Field[Any]", Any]]:
        """Return what ``--show-config`` prints."""
        kind: dataclasses.Field[Any] = key("transition", f"known: {', '.join(registry.kinds())}")
        kind.name = "kind"
        options = [(f, getattr(self.options, f.name)) for f in dataclasses.fields(self.options)]
        return [(kind, self.kind), *options]


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """Minimise the negative log likelihood of the data."""

    weight: float = key(1.0, "weight of this loss")
    weight_decay: float = key(
        0.1, "per step and learning rate | pull of the generator's weights to zero"
    )
    warm_up: int = key(32, "records | before the window, to fill the memory")

    def __post_init__(self) -> None:
        name = "phase.likelihood"
        require(self.weight > 0, f"{name}.weight", self.weight, "above 0")
        require(self.weight_decay >= 0, f"{name}.weight_decay", self.weight_decay, "at least 0")
        require(self.warm_up >= 0, f"{name}.warm_up", self.warm_up, "at least 0")


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings:
    """Let critics tell windows of free runs from windows of the data."""

    weight: float = key(1.0, "weight of this loss")
    loss: Literal["r3gan", "wgan-gp"] = key(
        "r3gan", "r3gan: relativistic, R1 + R2 (arXiv 2501.05441); wgan-gp (arXiv 1704.00028)"
    )
    penalty: float = key(8.0, "weight of the gradient penalty")
    critic: Literal["convolution", "wide", "components"] = key(
        "convolution",
        "convolution: strided, several time scales; wide: of the published MD-GAN; components: "
        "principal components of a window in units of their deviation",
    )
    width: int = key(64, "units | channels of a critic's first layer, or width of its dense ones")
    strides: list[int] = key(
        [1, 4, 16], "records | between two rows of the windows judged, one critic each"
    )
    records: int = key(0, "records | rows of a window judged; 0: data.records")
    batch: int = key(0, "windows | of free runs, and of data, per step; 0: train.batch")
    cuts: int = key(
        1, "windows | judged of each free run, which is as long as the window of the longest stride"
    )
    critic_steps: int = key(1, "critic steps | per generator step")
    critic_learning_rate: float = key(2e-4, "learning rate of the critics")

    def __post_init__(self) -> None:
        name = "phase.adversarial"
        for item in ("weight", "critic_learning_rate"):
            require(getattr(self, item) > 0, f"{name}.{item}", getattr(self, item), "above 0")
        for item in ("penalty", "records", "batch"):
            require(getattr(self, item) >= 0, f"{name}.{item}", getattr(self, item), "at least 0")
        for item in ("width", "cuts", "critic_steps"):
            require(getattr(self, item) >= 1, f"{name}.{item}", getattr(self, item), "at least 1")
        require(
            bool(self.strides) and min(self.strides) >= 1,
            f"{name}.strides",
            self.strides,
            "a list of numbers of at least 1",
        )


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """A part of the training: what is minimised, for how long, from where.

    A phase minimises what it has a table for, the sum of both if there are two, and the likelihood
    if there is none.
    """

    steps: int = key(
        AUTO,
        'generator steps | "auto": 2500, and 5000 where the runs are at several temperatures',
        auto=True,
    )
    learning_rate: float = key(6e-3, "learning rate of the generator")
    final_learning_rate: float = key(
        0.02, "share of all learning rates left at the last step of the phase (cosine)"
    )
    ema: float = key(
        0.999, "decay per step of the exponential moving average of the weights, the model"
    )
    init_from: str | None = key(
        None, "first phase only | model file or run folder whose weights the training begins with"
    )
    likelihood: LikelihoodSettings | None = key(
        None, "a table: minimise the negative log likelihood of the data"
    )
    adversarial: AdversarialSettings | None = key(
        None, "a table: critics tell windows of free runs from windows of the data"
    )

    def __post_init__(self) -> None:
        if self.likelihood is None and self.adversarial is None:
            object.__setattr__(self, "likelihood", LikelihoodSettings())
        if self.steps != AUTO:
            require(self.steps >= 1, "phase.steps", self.steps, "at least 1 or 'auto'")
        require(self.learning_rate > 0, "phase.learning_rate", self.learning_rate, "above 0")
        final = self.final_learning_rate
        require(0 < final <= 1, "phase.final_learning_rate", final, "in (0, 1]")
        require(0 <= self.ema < 1, "phase.ema", self.ema, "in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What all phases share."""

    seed: int = key(1, "seed of every random number")
    batch: int = key(32, "windows | per step over all ranks together")
    checkpoint_every: int = key(500, "steps | between two checkpoints")
    checkpoints_kept: int = key(3, "checkpoints | kept, the newest")
    evaluate_every: int = key(
        0,
        "steps | between two comparisons of free runs with MD, another after each phase, by which "
        "the model is chosen; 0: none, the model is that of the last step",
    )
    log_every: int = key(50, "steps | between two lines of metrics")

    def __post_init__(self) -> None:
        for name in ("batch", "checkpoint_every", "log_every"):
            require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "at least 1")
        require(
            self.checkpoints_kept >= 2,
            "train.checkpoints_kept",
            self.checkpoints_kept,
            "at least 2: the newest may be damaged",
        )
        require(self.seed >= 0, "train.seed", self.seed, "at least 0")
        require(self.evaluate_every >= 0, "train.evaluate_every", self.evaluate_every, ">= 0")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole training."""

    RENAMED: ClassVar[dict[str, str]] = {
        "train.steps": "phase.steps",
        "train.generator_rate": "phase.learning_rate",
        "train.final_rate": "phase.final_learning_rate",
        "train.average": "phase.ema",
        "train.weight_decay": "phase.likelihood.weight_decay",
        "train.critic_rate": "phase.adversarial.critic_learning_rate",
        "loss.kind": "phase.adversarial.loss",
        "loss.penalty": "phase.adversarial.penalty",
        "loss.likelihood": "phase.likelihood.weight",
        "loss.adversarial": "phase.adversarial.weight",
        "critic.kind": "phase.adversarial.critic",
        "critic.width": "phase.adversarial.width",
        "critic.skips": "phase.adversarial.strides",
        "critic.steps": "phase.adversarial.critic_steps",
        "data.warm_up": "phase.likelihood.warm_up",
        "data.particles_per_sample": "generator.particles_per_sample (of the kind latent)",
        "data.grouping": "generator.grouping (of the kind latent)",
    }

    data: DataSettings = field(default_factory=DataSettings)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings.from_tree({}))
    phase: tuple[PhaseSettings, ...] = field(default_factory=lambda: (PhaseSettings(),))
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        kind = registry.get(self.generator.kind)
        kind.check(self.generator.options, self.data)
        for number, phase in enumerate(self.phase, 1):
            if phase.likelihood is not None and not kind.capabilities.likelihood:
                raise ConfigError(
                    f"phase.{number} minimises a likelihood, which the {self.generator.kind} "
                    "generator does not have",
                    remedy="give the phase the table [phase.adversarial] alone",
                )
        for number, phase in enumerate(self.phase[1:], 2):
            require(
                phase.init_from is None,
                f"phase.{number}.init_from",
                phase.init_from,
                "left out: a phase goes on from the one before",
            )

    @property
    def steps(self) -> int:
        """Generator steps of all phases, once the data have decided those left to them."""
        return sum(phase.steps for phase in self.phase)


#: A configuration, a TOML file, the name of one that comes with the program, or keys as a mapping.
ConfigLike = TrainingConfig | str | Path | Mapping[str, Any] | Callable[[], TrainingConfig] | None
_NAMED = Path(__file__).resolve().parents[1] / "configs"


def read_config(config: ConfigLike, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Return the configuration that is meant.

    Parameters
    ----------
    config : TrainingConfig, path, name, mapping, function or None
        See `mdgan_hpc.training.run.train`.
    overrides : iterable of str
        ``section.key=value``, over a file or the defaults.

    Raises
    ------
    ConfigError
        If there is no such configuration, or a key or value of it is wrong.
    """
    if isinstance(config, TrainingConfig):
        return config
    if callable(config):
        return config()
    if isinstance(config, Mapping):
        return from_mapping(TrainingConfig, config)
    path = None if config is None else Path(config)
    # A folder may have the name of one.
    if path is None or path.suffix or (path.exists() and not path.is_dir()):
        return load_config(TrainingConfig, path, overrides)
    named = _NAMED / f"{path.name}.toml"
    if not named.exists():
        known = sorted(file.stem for file in _NAMED.glob("*.toml"))
        raise ConfigError(
            f"there is no configuration {str(config)!r}",
            remedy=f"give a TOML file, or one of {', '.join(known)}",
        )
    return load_config(TrainingConfig, named, overrides)
