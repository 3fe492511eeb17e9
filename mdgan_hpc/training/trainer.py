"""The training loop: everything that changes from step to step, and how it is saved."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mdgan_hpc.config import as_mapping
from mdgan_hpc.errors import DivergedError, StoppedError, UsageError
from mdgan_hpc.models.base import Density, Generator, Window, rollout
from mdgan_hpc.progress import Progress
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.training.checkpoints import Checkpoints
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.metrics import MetricsLog
from mdgan_hpc.training.objectives.critics import CRITICS, Critic
from mdgan_hpc.training.objectives.gan_losses import LOSSES
from mdgan_hpc.training.randomness import stream
from mdgan_hpc.training.settings import TrainingConfig

_WARM_UP_STEPS = 100
_VALIDATION_BATCHES = 24
#: Most records that a generator runs freely, unseen, before the critic looks.
_FREE_RUN = 256
#: From this share of the steps on a generator may be chosen. Not only at the end: of few data a
#: long training learns too much by heart, and its free runs heat up.
_LATE = 0.5
#: Largest norm of the gradient of a term of weight one.
_CLIP = 1.0
_AFTER_DIVERGENCE = "lower train.generator_rate and train.critic_rate and train into a new folder"


class Trainer:
    """Generator, critics, optimisers, average and step of one training.

    Parameters
    ----------
    config : TrainingConfig
    generator : Generator
        With fresh weights, the same on all ranks.
    windows : Windows
        Training data.
    scales : dict of int to list of float
        Deviation of a displacement over so many records along x, y, z, for each critic.
    processes : Processes
    starts : Windows, optional
        Windows whose ends are start states: whole runs, unmoved, where ions see each other. The
        training data if not given.
    held_out : Windows, optional
        Data kept out of training.

    Raises
    ------
    UsageError
        If the batch cannot be shared evenly by the ranks.
    """

    def __init__(
        self,
        config: TrainingConfig,
        generator: Generator,
        windows: Windows,
        scales: dict[int, list[float]],
        processes: Processes,
        starts: Windows | None = None,
        held_out: Windows | None = None,
    ) -> None:
        batch, size = config.train.batch, processes.size
        if batch % size:
            raise UsageError(
                f"train.batch = {batch} cannot be shared by {size} ranks",
                remedy=f"use a multiple of {size}",
            )
        self.config, self.windows, self.processes = config, windows, processes
        self.starts, self.held_out = starts or windows, held_out
        self.step = 0
        self.seconds = 0.0
        #: Score (lower is better) and weights of the best averaged generator of the second half.
        self.best: dict[str, Any] = {}
        device = processes.device
        self.generator = generator.to(device)
        self.average = self.generator.copy().requires_grad_(False)
        share = batch // size
        self.part = slice(processes.rank * share, (processes.rank + 1) * share)
        self.adversarial = config.loss.adversarial > 0
        self.critics = nn.ModuleList()
        self._critics: list[Critic] = []
        if self.adversarial:
            self.loss = LOSSES[config.loss.kind](config.loss.penalty)
            for spacing in config.critic.skips:
                self._critics.append(
                    CRITICS[config.critic.kind](
                        records=config.data.records,
                        scales=scales[spacing],
                        particles=config.data.particles_per_sample,
                        width=config.critic.width,
                        spacing=spacing,
                        waves=generator.lattice_phases(),
                    )
                )
            self.critics.extend(self._critics).to(device)
            self.critic_optimiser = torch.optim.Adam(
                self.critics.parameters(), config.train.critic_rate, betas=(0.0, 0.99)
            )
        # Momentum serves a likelihood and unsettles a game.
        momentum = 0.9 if self._likelihood_weight else 0.0
        # Biases say where Gaussians lie and how wide they are: nothing pulls them to zero.
        named = dict(self.generator.named_parameters())
        decay = config.train.weight_decay if self._likelihood_weight else 0.0
        biases = [p for name, p in named.items() if name.endswith("bias")]
        weights = [p for name, p in named.items() if not name.endswith("bias")]
        self.generator_optimiser = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}],
            config.train.generator_rate,
            betas=(momentum, 0.99),
        )

    @property
    def _likelihood_weight(self) -> float:
        is_density = self.generator.capabilities.likelihood
        return self.config.loss.likelihood if is_density else 0.0

    # One step ---------------------------------------------------------------------------------

    def advance(self, stop_asked: bool = False) -> tuple[dict[str, float], bool]:
        """Do one step on all ranks.

        Returns
        -------
        metrics : dict
            Losses of this step, averaged over the ranks.
        stop : bool
            Whether any rank was asked to stop.

        Raises
        ------
        DivergedError
            If a loss or a gradient is not finite, before the weights are touched.
        """
        self._set_rates()
        metrics: dict[str, Tensor] = {}
        if self.adversarial:
            for turn in range(self.config.critic.steps):
                metrics["critic_loss"] = self._critic_step(turn)
        weights = self.config.loss
        terms: list[tuple[float, Tensor]] = []
        if self._likelihood_weight:
            metrics["likelihood_loss"] = self._likelihood()
            weighted = weights.likelihood * metrics["likelihood_loss"]
            terms.append((weights.likelihood, weighted))
        if self.adversarial:
            metrics["generator_loss"] = self._game(self._fake("generator"))
            terms.append((weights.adversarial, weights.adversarial * metrics["generator_loss"]))
        norm, stop = self._gradients(terms, stop_asked)
        values = torch.stack([value.detach() for value in metrics.values()])
        numbers = self.processes.average(values).tolist()
        result = dict(zip(metrics, numbers, strict=True), gradient_norm=float(norm))
        self._refuse_non_finite(result)
        self.generator_optimiser.step()
        self._update_average()
        self.step += 1
        return result, stop > 0

    def _gradients(
        self, terms: list[tuple[float, Tensor]], stop_asked: bool
    ) -> tuple[Tensor, float]:
        """Set the gradients of the generator to those of all terms, averaged over the ranks.

        Beside a likelihood, the gradient of each term is clipped alone, to its weight: through
        hundreds of records of a free run it can grow a thousandfold, and would silence the rest.

        Returns
        -------
        norm : Tensor
            Largest norm of a term before clipping.
        stop : float
            Above zero if any rank was asked to stop.
        """
        parameters = list(self.generator.parameters())
        total = [torch.zeros_like(p) for p in parameters]
        norms, stop = [], 0.0
        for weight, loss in terms:
            self.generator_optimiser.zero_grad()
            loss.backward()
            stop = self.processes.average_gradients(parameters, float(stop_asked))
            limit = _CLIP * weight if self._likelihood_weight else math.inf
            norms.append(nn.utils.clip_grad_norm_(parameters, limit))
            for part, parameter in zip(total, parameters, strict=True):
                if parameter.grad is not None:
                    part += parameter.grad
        for part, parameter in zip(total, parameters, strict=True):
            parameter.grad = part
        return torch.stack(norms).max(), stop

    def _set_rates(self) -> None:
        train = self.config.train
        done = self.step / train.steps
        cosine = train.final_rate + (1 - train.final_rate) * 0.5 * (1 + math.cos(math.pi * done))
        factor = cosine * min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        for group in self.generator_optimiser.param_groups:
            group["lr"] = train.generator_rate * factor
        if self.adversarial:
            for group in self.critic_optimiser.param_groups:
                group["lr"] = train.critic_rate * factor

    def _refuse_non_finite(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(f"{', '.join(bad)} not finite at step {self.step}")

    def _random(self, purpose: str) -> torch.Generator:
        return stream(self.config.train.seed, self.step, purpose)

    def _draw(self, records: int, purpose: str, spacing: int = 1) -> tuple[Tensor, Tensor | None]:
        return self.windows.draw(
            self.config.train.batch,
            records,
            self._random(purpose),
            spacing=spacing,
            part=self.part,
        )

    def _likelihood(self) -> Tensor:
        window, seen = self._draw(self._window_of_likelihood, "data")
        return self._loss_of(self.generator, window, seen)

    @property
    def _window_of_likelihood(self) -> int:
        generator = cast(Density, self.generator)
        return generator.window_records(self.config.data.records + self.config.data.warm_up)

    def _loss_of(self, generator: Generator, window: Tensor, seen: Tensor | None) -> Tensor:
        warm_up = self.config.data.warm_up
        return cast(Density, generator).negative_log_likelihood(
            Window(window, seen), warm_up=warm_up, weighted=True
        )

    def validation_loss(self) -> float | None:
        """Return the likelihood loss of the averaged generator on data kept out of training.

        Always on the same windows. None if no data were kept out, or none as long as a window, or
        if nothing is learned by likelihood.
        """
        held_out = self.held_out
        if held_out is None or not self._likelihood_weight:
            return None
        records = self._window_of_likelihood
        if not held_out.count(records):
            return None
        seed, batch = self.config.train.seed, self.config.train.batch
        with torch.no_grad():
            losses = [
                self._loss_of(
                    self.average, *held_out.draw(batch, records, stream(seed, turn, "validation"))
                )
                for turn in range(_VALIDATION_BATCHES)
            ]
        return float(torch.stack(losses).mean())

    def _fake(self, purpose: str) -> Tensor:
        """Return free-run positions [B, n + 1, k, 3]; the gradient flows through the last n."""
        generator, batch = self.generator, self.config.train.batch
        random = self._random(purpose)
        if generator.history_records:
            history, _ = self._draw(generator.history_records, purpose + " history")
            with torch.no_grad():
                state = generator.condition(Window(history))
            start = history[:, -1]
        else:
            uniform = torch.rand(batch, generator.start_size, generator=random)
            state, start = generator.start(uniform[self.part].to(self.processes.device))
        per_step = generator.records_per_step
        # As long as the longest window of a critic.
        wanted = self.config.data.records * max(self.config.critic.skips)

        def noise(steps: int) -> Tensor:
            drawn = torch.randn(steps, batch, generator.noise_size, generator=random)
            return drawn[:, self.part].to(self.processes.device)

        unseen = int(torch.randint(_FREE_RUN // per_step + 1, (1,), generator=random))
        if unseen and generator.history_records:
            with torch.no_grad():
                moved, state = generator.advance(state, noise(unseen))
                start = start + moved.sum(0)
        moved, _ = generator.advance(state, noise(-(-wanted // per_step)))
        path = torch.cat([start[None].double(), moved[:wanted].double()]).cumsum(0)
        return path.swapaxes(0, 1)

    def _pairs(self, purpose: str, fake: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the features of real and fake windows for each critic."""
        rows = self.config.data.records + 1
        pairs = []
        for critic in self._critics:
            spacing = critic.spacing
            real, _ = self._draw(rows, f"{purpose} real {spacing}", spacing)
            pairs.append((critic.features(real), critic.features(fake[:, ::spacing][:, :rows])))
        return pairs

    def _critic_step(self, turn: int) -> Tensor:
        self.critic_optimiser.zero_grad()
        purpose = f"critic {turn}"
        with torch.no_grad():
            fake = self._fake(purpose)
        loss = fake.new_zeros((), dtype=torch.float32)
        mix = torch.rand(self.config.train.batch, generator=self._random(purpose + " mix"))
        for critic, (real, made) in zip(self._critics, self._pairs(purpose, fake), strict=True):
            loss = loss + self.loss.critic(
                critic, real, made.detach(), mix[self.part].to(self.processes.device)
            )
        loss.backward()
        # All ranks see the same numbers, so that all of them stop or none.
        total = self.processes.average_gradients(self.critics.parameters(), float(loss.detach()))
        norm = nn.utils.get_total_norm(
            [p.grad for p in self.critics.parameters() if p.grad is not None]
        )
        self._refuse_non_finite({"critic_loss": total, "critic_gradient_norm": float(norm)})
        self.critic_optimiser.step()
        return loss.detach()

    def _game(self, fake: Tensor) -> Tensor:
        self.critics.requires_grad_(False)
        losses = [
            self.loss.generator(critic, real, made)
            for critic, (real, made) in zip(
                self._critics, self._pairs("generator", fake), strict=True
            )
        ]
        self.critics.requires_grad_(True)
        return torch.stack(losses).mean()

    def _update_average(self) -> None:
        # A short memory at first, so that the start is forgotten.
        decay = min(self.config.train.average, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            for mean, now in zip(
                self.average.parameters(), self.generator.parameters(), strict=True
            ):
                mean.lerp_(now, 1 - decay)

    # Saving -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that a continued training needs."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "config": as_mapping(self.config),
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimiser": self.generator_optimiser.state_dict(),
        }
        if self.adversarial:
            state["critics"] = self.critics.state_dict()
            state["critic_optimiser"] = self.critic_optimiser.state_dict()
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.best = state["best"]
        self.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self.generator_optimiser.load_state_dict(state["generator_optimiser"])
        if self.adversarial:
            self.critics.load_state_dict(state["critics"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])

    @property
    def choosing(self) -> bool:
        """Whether the generator of now may become the model: in the second half of the steps."""
        return self.step >= _LATE * self.config.train.steps

    def judge(self, score: float) -> None:
        """Keep the averaged generator, just made ready, if it is the best of the second half.

        Adversarial and likelihood losses do not tell which generator moves as the ions do; the
        comparison of its free runs with MD does.
        """
        if self.choosing and score < self.best.get("score", math.inf):
            weights = {k: v.detach().clone() for k, v in self.average.state_dict().items()}
            self.best = {"score": score, "step": self.step, "weights": weights}

    def best_generator(self) -> Generator:
        """Return the generator that was judged best, or the last one if none was judged."""
        if not self.best:
            return self.ready_generator()
        self.average.load_state_dict(self.best["weights"])
        return self.average

    def ready_generator(self) -> Generator:
        """Return the averaged generator of now, with start states from the data.

        In the second half, where it may become the model, it is made as hot as they are.
        """
        average = self.average
        if average.start_windows:
            history = self.starts.draw(
                average.start_windows,
                average.history_records,
                stream(self.config.train.seed, 0, "pool"),
            )
            average.prepare(Window(*history))
        if self.choosing:
            random = stream(self.config.train.seed, self.step, "temperature")
            average.calibrate(
                lambda samples, records, burn_in: rollout(
                    average, samples, records, random=random, burn_in_records=burn_in
                )
            )
        return average


def train(
    trainer: Trainer,
    folder: Path,
    stop: StopRequest,
    *,
    on_evaluation: Callable[[Trainer], dict[str, float]] | None = None,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run a training to its last step, saving as it goes.

    Parameters
    ----------
    trainer : Trainer
        At any step.
    folder : Path
        The run folder: checkpoints and metrics (`MetricsLog`) are written here by rank 0.
    stop : StopRequest
        Looked at before every step.
    on_evaluation : callable, optional
        Called on all ranks every `evaluate_every` steps and after the last; its numbers join the
        metrics. Not given if that is 0.
    watch : callable, optional
        Called by rank 0 after the numbers of an evaluation and those of the last step are written.

    Raises
    ------
    StoppedError
        After saving, if any rank was asked to stop.
    DivergedError
        If a loss is not finite; names the last good checkpoint.
    """
    settings, first = trainer.config.train, trainer.processes.rank == 0
    checkpoints = Checkpoints(folder / "checkpoints", settings.checkpoints_kept)

    def save() -> None:
        if first:
            checkpoints.save(trainer.step, trainer.state())
        trainer.processes.barrier()

    begin, first_step = time.monotonic(), trainer.step
    seconds_before = trainer.seconds
    with (
        Progress("training", settings.steps, start=trainer.step, silent=not first) as progress,
        MetricsLog(folder, trainer.step) if first else nullcontext() as log,
    ):
        while trainer.step < settings.steps:
            try:
                metrics, stopping = trainer.advance(bool(stop))
            except (DivergedError, torch.linalg.LinAlgError) as error:
                # Linear algebra refuses matrices of a network that has left all bounds.
                what = getattr(error, "what", f"a matrix is not finite at step {trainer.step}")
                steps = checkpoints.steps()
                last = checkpoints.path(steps[-1]) if steps else "none yet"
                raise DivergedError(
                    f"{what} (last good checkpoint: {last})", remedy=_AFTER_DIVERGENCE
                ) from None
            step = trainer.step
            trainer.seconds = seconds_before + time.monotonic() - begin
            due = step == settings.steps
            if on_evaluation and (due or step % settings.evaluate_every == 0):
                metrics |= on_evaluation(trainer)
                due = True
            if log is not None and (due or step % settings.log_every == 0):
                rate = (step - first_step) / (time.monotonic() - begin)
                log.write(step, {**metrics, "steps_per_second": round(rate, 3)})
                if due and watch is not None:
                    watch()
            progress.update(1, _summary(metrics))
            if due or stopping or step % settings.checkpoint_every == 0:
                save()
            if stopping and step < settings.steps:
                reason = f" ({stop.reason})" if stop.reason else ""
                raise StoppedError(
                    f"stopped on request{reason} at step {step} of {settings.steps}, saved",
                    where=folder,
                    remedy="run the same command again to go on",
                )


def _summary(metrics: dict[str, float]) -> str:
    shown = ("likelihood_loss", "critic_loss", "generator_loss")
    return ", ".join(f"{k.replace('_', ' ')} {metrics[k]:.3f}" for k in shown if k in metrics)
