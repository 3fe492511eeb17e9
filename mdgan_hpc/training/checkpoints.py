"""Checkpoints: atomic, checked by a digest, several kept, never loaded with pickle."""

import io
import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from mdgan_hpc.digests import require_sealed, seal
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.inputs import read_bytes
from mdgan_hpc.outputs import written_whole

#: Folder of the checkpoints in a run folder.
CHECKPOINTS = "checkpoints"
_NAME = re.compile(r"step-(\d{9})\.pt")


class Checkpoints:
    """The checkpoints of a run folder.

    A file is what `torch.save` makes, sealed, so that damage anywhere is seen.

    Parameters
    ----------
    folder : path
    kept : int
        Number of newest checkpoints kept.
    """

    def __init__(self, folder: str | Path, kept: int) -> None:
        self.folder, self.kept = Path(folder), kept

    def steps(self) -> list[int]:
        """Return the steps with a checkpoint, oldest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"step-{step:09d}.pt"

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint and drop the oldest ones; return its path."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        with written_whole(self.path(step)) as partial, open(partial, "wb") as stream:
            stream.write(content)
            stream.write(seal(content))
        for old in self.steps()[: -self.kept]:
            self.path(old).unlink(missing_ok=True)
        return self.path(step)

    def load_newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return step and state of the newest intact checkpoint, or None if there is none at all.

        Raises
        ------
        DataError
            If there are checkpoints but all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            path = self.path(step)
            try:
                body = require_sealed(read_bytes(path), path)
                return step, torch.load(io.BytesIO(body), weights_only=True)
            except (DataError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError):
                pass
            warnings.warn(
                f"{path} is damaged, going back to the one before",
                DataWarning,
                stacklevel=2,
            )
        if steps:
            raise DataError(
                "all checkpoints are damaged",
                where=self.folder,
                remedy="remove the run folder and train again",
            )
        return None
