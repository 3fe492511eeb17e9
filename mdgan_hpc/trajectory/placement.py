"""How large files lie on a parallel file system: alignment, stripes, hints for MPI-IO."""

import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdgan_hpc.errors import DataWarning


@dataclass(frozen=True)
class Placement:
    """How files lie on the file system.

    Attributes
    ----------
    alignment : int
        Bytes; storage chunks begin at multiples of it, best a divisor of the stripe size.
    stripe_count, stripe_bytes : int
        Stripes of a file on Lustre; 0 leaves what the folder has.
    hints : tuple of (str, str)
        For MPI-IO, such as ``romio_cb_write``.
    """

    alignment: int = 2**20
    stripe_count: int = 0
    stripe_bytes: int = 0
    hints: tuple[tuple[str, str], ...] = ()

    def file_options(self) -> dict[str, int]:
        """Return the options of h5py.File for a new file."""
        if not self.alignment:
            return {}
        return {"alignment_threshold": self.alignment, "alignment_interval": self.alignment}

    def reserve(self, path: Path) -> None:
        """Make `path` an empty file with the stripes asked for, which a writer then fills.

        Stripes are fixed when a file is made. Where ``lfs`` is missing or refuses, a warning says
        that they are the folder's.
        """
        if not (self.stripe_count or self.stripe_bytes):
            return
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["lfs", "setstripe"]
        if self.stripe_count:
            command += ["-c", str(self.stripe_count)]
        if self.stripe_bytes:
            command += ["-S", str(self.stripe_bytes)]
        reason = "there is no lfs command"
        if shutil.which("lfs"):
            done = subprocess.run(
                [*command, os.fspath(path)], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return
            reason = done.stderr.strip() or f"lfs ended with {done.returncode}"
        warnings.warn(
            f"{path.parent}: stripes cannot be set ({reason}), the folder's own hold",
            DataWarning,
            stacklevel=2,
        )

    def info(self) -> Any:
        """Return the hints as an MPI info object."""
        from mpi4py import MPI

        info = MPI.Info.Create()
        for key, value in self.hints:
            info.Set(key, value)
        return info
