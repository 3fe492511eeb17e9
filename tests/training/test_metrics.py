"""JSON lines and TensorBoard tell every step once, also after a kill."""

import json
import time

import pytest

from mdgan_hpc.errors import DataWarning
from mdgan_hpc.training.figure import draw_training
from mdgan_hpc.training.metrics import (
    METRICS_NAME,
    TENSORBOARD_NAME,
    MetricsLog,
    read_metrics,
)


def write(folder, step, steps, base):
    with MetricsLog(folder, step) as log:
        for n in steps:
            log.write(n, {"critic_loss": base + n, "fidelity MSD": 1.5, "score": 1.0})


def test_steps_after_the_last_checkpoint_are_forgotten(tmp_path):
    write(tmp_path, 0, range(1, 7), 0.0)
    with open(tmp_path / METRICS_NAME, "a") as lines:
        lines.write('{"step": 7, "cri')  # killed in the middle of a line
    time.sleep(1)  # TensorBoard orders its files by the second in their names
    write(tmp_path, 4, range(5, 9), 100.0)
    rows = [json.loads(line) for line in (tmp_path / METRICS_NAME).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    expected = [1.0, 2, 3, 4, 105, 106, 107, 108]
    assert [row["critic_loss"] for row in rows] == expected

    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = board.EventAccumulator(str(tmp_path / TENSORBOARD_NAME)).Reload()
    assert set(found.Tags()["scalars"]) == {"loss/critic", "fidelity/MSD", "training/score"}
    events = found.Scalars("loss/critic")
    assert [(event.step, event.value) for event in events] == list(enumerate(expected, 1))


@pytest.mark.parametrize("value", ['"text"', "null", "[1]", "true", "9" * 400])
def test_what_is_no_number_is_damage(tmp_path, value):
    write(tmp_path, 0, range(1, 7), 0.0)
    metrics = tmp_path / METRICS_NAME
    with open(metrics, "a") as lines:
        lines.write(f'{{"step": 7, "critic_loss": {value}}}\n')
    with pytest.warns(DataWarning, match="1 damaged lines"):
        assert [row["step"] for row in read_metrics(metrics)] == list(range(1, 7))


def test_rows_without_some_numbers_are_drawn(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write(1, {"critic_loss": 1.0, "score": 2.0})
        log.write(2, {"critic_loss": 1.0, "score": 1.0, "fidelity MSD": 1.5})
        log.write(3, {"score": float("inf")})
    draw_training(tmp_path / METRICS_NAME, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
