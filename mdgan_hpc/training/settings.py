"""Configuration of a training: every key with its unit, its meaning and its default."""

from dataclasses import dataclass, field
from typing import Literal

from mdgan_hpc.config import key, require


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What a training sample is."""

    step_skip: int = key(2, "stored frames | from one record to the next")
    records: int = key(160, "records | length of the window that the critic judges")
    warm_up: int = key(32, "records | before the window, to fill the memory (transition only)")
    symmetry: Literal["auto", "none", "isotropic", "crystal"] = key(
        "auto",
        "operations windows are moved by; auto: crystal where the framework is one, or else "
        "isotropic; the latent generator uses none",
    )
    particles_per_sample: int = key(1, "particles | that form one sample (latent only)")
    grouping: Literal["file", "nearest"] = key(
        "file",
        "which ones: those that follow each other in the file (a molecule), or each with those "
        "nearest to it where the window begins (a neighbourhood)",
    )
    validation: Literal["none", "run", "span"] = key(
        "none", "kept out of training: nothing, the last run given, or the last fifth of each run"
    )

    def __post_init__(self) -> None:
        require(self.step_skip >= 1, "data.step_skip", self.step_skip, "at least 1")
        require(self.records >= 8, "data.records", self.records, "at least 8")
        require(self.warm_up >= 0, "data.warm_up", self.warm_up, "at least 0")
        require(
            self.particles_per_sample >= 1,
            "data.particles_per_sample",
            self.particles_per_sample,
            "at least 1",
        )


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The network that makes trajectories."""

    kind: Literal["transition", "latent"] = key(
        "transition", "transition: recurrent density; latent: MD-GAN of Endo et al. (2018)"
    )
    hidden: int = key(128, "units | transition: memory; latent: width of the layers")
    records_per_step: int = key(
        0,
        "records | transition only: made together by one step; 0: 5 where the last displacements "
        "tell more than half of the next one, else 1",
    )
    head: int = key(48, "units | transition only: between memory and mixture, for each mode")
    components: int = key(
        30, "Gaussians | transition only: in the mixtures of a step, shared by its modes"
    )
    neighbours: Literal["auto", "none"] = key(
        "auto",
        "transition only: auto: the ions of a simulation see each other, in a crystal and without "
        "critics; none: each ion is alone",
    )
    latent: int = key(32, "numbers | latent only: size of z")
    window: int = key(32, "records | latent only: records of one window")
    relaxation: int = key(10, "steps | latent only: transitions before the first window")

    def __post_init__(self) -> None:
        require(
            self.records_per_step >= 0, "generator.records_per_step", self.records_per_step, ">= 0"
        )
        for name in (
            "hidden",
            "head",
            "components",
            "latent",
            "window",
            "relaxation",
        ):
            value = getattr(self, name)
            require(value >= 1, f"generator.{name}", value, "at least 1")


@dataclass(frozen=True, kw_only=True)
class CriticSettings:
    """The network that judges windows."""

    kind: Literal["convolution", "wide"] = key(
        "convolution", "convolution: strided, several time scales; wide: of the published MD-GAN"
    )
    width: int = key(64, "units | channels of the first layer, or width of the dense ones")
    skips: list[int] = key([1, 4, 16], "records | spacings of the windows judged, one critic each")
    steps: int = key(1, "critic steps | per generator step")

    def __post_init__(self) -> None:
        require(self.width >= 1, "critic.width", self.width, "at least 1")
        require(self.steps >= 1, "critic.steps", self.steps, "at least 1")
        require(
            bool(self.skips) and min(self.skips) >= 1,
            "critic.skips",
            self.skips,
            "a list of numbers of at least 1",
        )


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What is minimised."""

    kind: Literal["r3gan", "wgan-gp"] = key(
        "r3gan", "r3gan: relativistic, R1 + R2 (arXiv 2501.05441); wgan-gp (arXiv 1704.00028)"
    )
    penalty: float = key(8.0, "weight of the gradient penalty")
    likelihood: float = key(1.0, "weight of the negative log likelihood (transition only)")
    adversarial: float = key(0.0, "weight of the adversarial loss")

    def __post_init__(self) -> None:
        for name in ("penalty", "likelihood", "adversarial"):
            value = getattr(self, name)
            require(value >= 0, f"loss.{name}", value, "at least 0")
        require(
            self.likelihood + self.adversarial > 0,
            "loss.likelihood + loss.adversarial",
            0.0,
            "above 0",
        )


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How it is minimised."""

    steps: int = key(8000, "generator steps")
    batch: int = key(32, "windows | per step over all ranks together")
    generator_rate: float = key(6e-3, "learning rate of the generator")
    critic_rate: float = key(2e-4, "learning rate of the critic")
    weight_decay: float = key(
        0.1, "per step and learning rate | pull of the generator's weights to zero, by likelihood"
    )
    final_rate: float = key(0.02, "share of both learning rates left at the last step (cosine)")
    average: float = key(0.999, "decay per step of the averaged generator, which is the model")
    seed: int = key(1, "seed of every random number")
    checkpoint_every: int = key(500, "steps | between two checkpoints")
    checkpoints_kept: int = key(3, "checkpoints | kept, the newest")
    evaluate_every: int = key(
        1000, "steps | between two comparisons with MD, another after the last step; 0: never"
    )
    log_every: int = key(50, "steps | between two lines of metrics")

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every", "log_every"):
            require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "at least 1")
        require(
            self.checkpoints_kept >= 2,
            "train.checkpoints_kept",
            self.checkpoints_kept,
            "at least 2: the newest may be damaged",
        )
        require(0 <= self.average < 1, "train.average", self.average, "in [0, 1)")
        require(0 < self.final_rate <= 1, "train.final_rate", self.final_rate, "in (0, 1]")
        for name in ("generator_rate", "critic_rate"):
            require(getattr(self, name) > 0, f"train.{name}", getattr(self, name), "above 0")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "at least 0")
        require(self.seed >= 0, "train.seed", self.seed, "at least 0")
        require(self.evaluate_every >= 0, "train.evaluate_every", self.evaluate_every, ">= 0")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole training."""

    data: DataSettings = field(default_factory=DataSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        data, generator = self.data, self.generator
        if generator.kind == "latent":
            require(
                data.records % generator.window == 0,
                "data.records",
                data.records,
                f"a multiple of generator.window ({generator.window})",
            )
            require(
                self.loss.adversarial > 0,
                "loss.adversarial",
                self.loss.adversarial,
                "above 0 for the latent generator, which has no likelihood",
            )
        else:
            require(
                data.particles_per_sample == 1,
                "data.particles_per_sample",
                data.particles_per_sample,
                "1 for the transition generator",
            )
