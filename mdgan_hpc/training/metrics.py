"""The numbers of a training as it goes: JSON lines, and TensorBoard where it is installed."""

import json
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.inputs import parse_json, read_bytes
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


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Return the numbers of the steps that a file tells; lines that are damaged are left out.

    A run that was killed may leave half a line, a disk that was full a tail of NUL bytes.
    """
    rows, damaged = [], 0
    *lines, last = read_bytes(file).decode(errors="replace").split("\n")
    for line in (*lines, last):
        try:
            row = parse_json(line, file)
            if type(row.get("step")) is not int or not all(map(_is_number, row.values())):
                raise DataError("is not a step and its numbers", where=file)
            rows.append(row)
        except DataError:
            damaged += bool(line.strip()) and line is not last
    if damaged:
        warnings.warn(f"{file}: {damaged} damaged lines are left out", DataWarning, stacklevel=2)
    return rows


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _forget_after(file: Path, step: int) -> None:
    if file.exists():
        kept = [json.dumps(row) + "\n" for row in read_metrics(file) if row["step"] <= step]
        with written_whole(file) as partial:
            partial.write_text("".join(kept))
