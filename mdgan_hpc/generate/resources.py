"""What the machine offers: processes, devices, parallel HDF5, space on the disk."""

import os
import shutil
from pathlib import Path

import torch

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.parallel import warn_of_unseen_gpus


def worker_count(config: GenerateConfig, n_blocks: int, ranks: int, device: str) -> int:
    """Return how many processes compute: the ranks, or without MPI one a core or GPU."""
    if ranks > 1:
        return ranks
    if config.workers:
        wanted = config.workers
    elif device == "cuda":
        wanted = torch.cuda.device_count() if ":" not in config.device else 1
    else:
        wanted = len(os.sched_getaffinity(0))
    return max(1, min(wanted, n_blocks))


def choose_storage(storage: str, ranks: int) -> str:
    """Return ``mpio`` or ``shards``.

    Raises
    ------
    UsageError
        If ``mpio`` was asked for and cannot be had.
    """
    import h5py

    parallel_hdf5 = bool(h5py.get_config().mpi)
    if storage == "auto":
        return "mpio" if parallel_hdf5 and ranks > 1 else "shards"
    if storage == "mpio" and not parallel_hdf5:
        raise UsageError(
            "--storage mpio needs an h5py that was built with MPI, this one is not",
            remedy="use --storage shards, or the parallel h5py of the centre",
        )
    return storage


def device_kind(device: str) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises
    ------
    UsageError
        If a GPU was asked for and there is none.
    """
    kind = device.partition(":")[0]
    if kind == "auto":
        warn_of_unseen_gpus(torch.cuda.is_available())
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device {device} is not known", remedy="use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU", remedy="use --device cpu")
    return kind


def require_space(output: Path, needed: int, *, freed: int = 0) -> None:
    """Raise unless the disk can hold `needed` more bytes, where `freed` will go.

    Raises
    ------
    DataError
        Saying how much is there.
    """
    free = shutil.disk_usage(output.absolute().parent).free + freed
    if needed > free:
        raise DataError(
            f"needs {needed / 1e9:.3g} GB, the disk has {free / 1e9:.3g} GB free",
            where=output,
            remedy="use fewer --records, a larger --every, or another disk",
        )
