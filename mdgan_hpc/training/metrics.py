"""The numbers of a training as it goes: JSON lines, and TensorBoard where it is installed."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mdgan_hpc.outputs import written_whole

METRICS_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"


class MetricsLog:
    """Appends to ``metrics.jsonl`` and, if TensorBoard is installed, to ``tensorboard/``.

    What a killed run wrote after its last checkpoint is dropped, so that a continued training
    tells every step once.

    Parameters
    ----------
    folder : Path
        The run folder.
    step : int
        Step from which the training goes on.
    """

    def __init__(self, folder: Path, step: int) -> None:
        file = folder / METRICS_NAME
        _forget_after(file, step)
        self._lines = open(file, "a")  # noqa: SIM115, closed in __exit__
        self._board = _tensorboard(folder / TENSORBOARD_NAME, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Write the numbers of a step at once."""
        self._lines.write(json.dumps({"step": step, **numbers}) + "\n")
        self._lines.flush()
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(_tag(name), value, step)
            self._board.flush()


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # A board forgets the steps of an earlier process from here on.
    return SummaryWriter(str(folder), purge_step=step + 1)


def _tag(name: str) -> str:
    """Group losses and fidelity ratios on the board."""
    if name.endswith("_loss"):
        return f"loss/{name.removesuffix('_loss')}"
    group, _, rest = name.partition(" ")
    return f"{group}/{rest}" if rest else f"training/{name}"


def _forget_after(file: Path, step: int) -> None:
    if file.exists():
        kept = []
        for line in file.read_text().splitlines(keepends=True):
            # A killed run may leave half a line.
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        with written_whole(file) as partial:
            partial.write_text("".join(kept))
