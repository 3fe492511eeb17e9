"""The training loop: step after step, with what is written and saved on the way."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from mdgan_hpc.errors import DivergedError, StoppedError
from mdgan_hpc.progress import Progress
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.training.checkpoints import CHECKPOINTS, Checkpoints
from mdgan_hpc.training.figure import draw_training
from mdgan_hpc.training.metrics import METRICS_NAME, MetricsLog
from mdgan_hpc.training.trainer import Trainer

FIGURE_NAME = "training.png"
_AFTER_DIVERGENCE = "lower phase.learning_rate and train into a new folder"
_SHOWN = ("likelihood_loss", "critic_loss", "generator_loss")


def run_loop(
    trainer: Trainer,
    folder: Path,
    stop: StopRequest,
    evaluate: Callable[[], dict[str, float]] | None,
) -> None:
    """Run a training to its last step, saving as it goes.

    Parameters
    ----------
    trainer : Trainer
        At any step.
    folder : Path
        The run folder: checkpoints, metrics (`MetricsLog`) and a figure of them, by rank 0.
    stop : StopRequest
        Looked at before every step.
    evaluate : callable or None
        Called on all ranks every ``train.evaluate_every`` steps and after each phase; its numbers
        join the metrics.

    Raises
    ------
    StoppedError
        After saving, if any rank was asked to stop.
    DivergedError
        If a loss is not finite; names the last good checkpoint.
    """
    settings, last = trainer.config.train, trainer.config.steps
    first = trainer.processes.rank == 0
    checkpoints = Checkpoints(folder / CHECKPOINTS, settings.checkpoints_kept)
    begin, first_step, seconds_before = time.monotonic(), trainer.step, trainer.seconds
    silent = not (first and trainer.processes.speaks)
    with (
        Progress("training", last, start=trainer.step, silent=silent) as progress,
        MetricsLog(folder, trainer.step) if first else nullcontext() as log,
    ):
        while trainer.step < last:
            metrics, stopping = _advance(trainer, bool(stop), checkpoints)
            step = trainer.step
            trainer.seconds = seconds_before + time.monotonic() - begin
            due = trainer.ends_phase
            if evaluate is not None and (due or step % settings.evaluate_every == 0):
                metrics |= evaluate()
                due = True
            if log is not None and (due or step % settings.log_every == 0):
                rate = (step - first_step) / (time.monotonic() - begin)
                log.write(step, {**metrics, "steps_per_second": round(rate, 3)})
                if due:
                    draw_training(folder / METRICS_NAME, folder / FIGURE_NAME)
            progress.update(1, _summary(metrics))
            if due or stopping or step % settings.checkpoint_every == 0:
                if first:
                    checkpoints.save(step, trainer.state_dict())
                trainer.processes.barrier()
            if stopping and step < last:
                reason = f" ({stop.reason})" if stop.reason else ""
                raise StoppedError(
                    f"stopped on request{reason} at step {step} of {last}, saved",
                    where=folder,
                    remedy="run the same command again to go on",
                )


def _advance(
    trainer: Trainer, stop_asked: bool, checkpoints: Checkpoints
) -> tuple[dict[str, float], bool]:
    try:
        return trainer.advance(stop_asked)
    except (DivergedError, LinAlgError) as error:
        # Linear algebra refuses matrices of a network that has left all bounds.
        what = getattr(error, "what", f"a matrix is not finite at step {trainer.step}")
        steps = checkpoints.steps()
        last = checkpoints.path(steps[-1]) if steps else "none yet"
        raise DivergedError(
            f"{what} (last good checkpoint: {last})", remedy=_AFTER_DIVERGENCE
        ) from None


def _summary(metrics: dict[str, float]) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {metrics[k]:.3f}" for k in _SHOWN if k in metrics)
