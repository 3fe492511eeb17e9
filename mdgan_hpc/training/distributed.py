"""One process a device; gradients are averaged by one explicit all-reduce of a flat buffer.

Wrappers such as DistributedDataParallel have open faults with the double backward of a gradient
penalty; plain modules and one reduction have none, and give the same numbers on any number of
ranks.
"""

import copy
import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mdgan_hpc.errors import LaunchError, StoppedError
from mdgan_hpc.parallel import Launch, detect_launch, join_group, share, warn_of_unseen_gpus
from mdgan_hpc.training.meeting import PATIENCE, Meeting, launcher_process

Value = TypeVar("Value")
#: Groups that work apart wait for each other at the end.
_END_PATIENCE = timedelta(days=30)


class Processes:
    """The processes of one training and the device of this one; a context manager.

    A failure that leaves the context ends all ranks, as soon as `run_together` hears of it.

    Parameters
    ----------
    meeting_place : path
        The run folder: gives a port of its own to every run where MASTER_PORT is not set, and the
        launcher cannot be seen.

    Raises
    ------
    LaunchError
        If ranks on several hosts are not told where to meet, or do not meet.
    """

    def __init__(self, meeting_place: str | Path) -> None:
        launch = detect_launch()
        self.rank, self.size = launch.rank, launch.size
        #: Whether this rank speaks for the launch: the first of all groups.
        self.speaks = launch.rank == 0
        self._group: dist.ProcessGroup | None = None  # all ranks
        self._everyone: dist.ProcessGroup | None = None
        self._first = 0
        self.device = _device(launch)
        if self.size > 1:
            if "MASTER_ADDR" not in os.environ:
                if int(os.environ.get("SLURM_NNODES", "1")) > 1:
                    raise LaunchError(
                        "MASTER_ADDR is not set on several nodes",
                        remedy="export MASTER_ADDR=$(scontrol show hostnames | head -n 1)",
                    )
                os.environ["MASTER_ADDR"] = "127.0.0.1"
            if "MASTER_PORT" not in os.environ:
                place = launcher_process() or str(Path(meeting_place).absolute())
                digest = hashlib.sha256(place.encode()).digest()
                os.environ["MASTER_PORT"] = str(20_000 + int.from_bytes(digest[:4]) % 20_000)
            self._meeting = Meeting(launch)
            join_group(self._meeting)
            dist.init_process_group(
                _backend(self.device),
                store=self._meeting.store,
                rank=self.rank,
                world_size=self.size,
                timeout=PATIENCE,
            )

    def split(self, n_groups: int) -> tuple[Self, int, int]:
        """Share the ranks out to groups that work apart; all ranks call it.

        Parameters
        ----------
        n_groups : int
            At most so many.

        Returns
        -------
        group : Processes
            Of this rank's group.
        number, n_groups : int
            Of this group, and of the groups.
        """
        n_groups = min(n_groups, self.size)
        parts = [share(self.size, number, n_groups) for number in range(n_groups)]
        mine = next(number for number, part in enumerate(parts) if self.rank in part)
        group = copy.copy(self)
        if n_groups > 1:
            groups = [dist.new_group(list(part)) for part in parts]
            self._everyone = dist.new_group(timeout=_END_PATIENCE, backend="gloo")
            group._group, group._first = groups[mine], parts[mine].start
            group.rank, group.size = self.rank - parts[mine].start, len(parts[mine])
        return group, mine, n_groups

    def end_of_groups(self, flag: bool) -> bool:
        """Wait until all groups are done, which may take long; return whether any gives `flag`."""
        if self._everyone is None:
            return flag
        flags: list[Any] = [None] * self.size
        dist.all_gather_object(flags, flag, group=self._everyone)
        return any(flags)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the group together; after a failure stay in it, so that it can be told."""
        if self.size > 1 and (kind is None or issubclass(kind, StoppedError)):
            dist.barrier()
            join_group(None)
            self._meeting.leave()
            dist.destroy_process_group()

    def allgather(self, value: Any) -> list[Any]:
        """Give every rank the values of all ranks, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def average_gradients(self, parameters: Iterable[Tensor], flag: float = 0.0) -> float:
        """Average the gradients over all ranks, in place.

        Parameters
        ----------
        parameters : iterable of Tensor
            Parameters without a gradient count as zero.
        flag : float
            A number that travels along.

        Returns
        -------
        float
            The sum of `flag` over the ranks.
        """
        if self.size == 1:
            return flag
        parameters = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat(
            [g.reshape(-1) for g in gradients] + [gradients[0].new_full((1,), flag * self.size)]
        )
        dist.all_reduce(flat, group=self._group)
        flat /= self.size
        start = 0
        for parameter, gradient in zip(parameters, gradients, strict=True):
            stop = start + gradient.numel()
            parameter.grad = flat[start:stop].view_as(gradient)
            start = stop
        return float(flat[-1])

    def average_together(
        self,
        gradients: list[list[Tensor | None]],
        parameters: Sequence[Tensor],
        values: Tensor,
        flag: bool,
    ) -> bool:
        """Average gradients of several terms and some numbers in one reduction, in place.

        Parameters
        ----------
        gradients : list of list of Tensor or None
            One list a term, one gradient a parameter; None counts as zero.
        parameters : sequence of Tensor
        values : Tensor, [m]
        flag : bool

        Returns
        -------
        bool
            Whether `flag` is true on any rank.
        """
        if self.size == 1:
            return flag
        whole = [
            torch.zeros_like(p) if g is None else g
            for term in gradients
            for p, g in zip(parameters, term, strict=True)
        ]
        flags = values.new_full((1,), float(flag))
        flat = torch.cat([*(g.reshape(-1) for g in whole), values, flags])
        dist.all_reduce(flat, group=self._group)
        flat /= self.size
        sizes = [*(g.numel() for g in whole), len(values), 1]
        *parts, shared, flags = torch.split(flat, sizes)
        views = (part.view_as(g) for part, g in zip(parts, whole, strict=True))
        for term in gradients:
            term[:] = [next(views) for _ in parameters]
        values.copy_(shared)
        return bool(flags > 0)

    def average(self, value: Tensor) -> Tensor:
        """Return the average of `value` over the ranks."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value, group=self._group)
            value /= self.size
        return value

    def join(self, part: Tensor, sizes: Sequence[int], dim: int) -> Tensor:
        """Give all ranks the parts of all, in their order, on the CPU.

        Parameters
        ----------
        part : Tensor
            Of this rank.
        sizes : sequence of int
            Of the parts along `dim`, by rank; what a part has more is dropped.
        dim : int
        """
        if self.size == 1:
            return part
        mine = part.movedim(dim, 0)
        padded = mine.new_zeros(max(sizes), *mine.shape[1:]).to(self.device)
        padded[: sizes[self.rank]] = mine[: sizes[self.rank]]
        every = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(every, padded, group=self._group)
        joined = torch.cat([p[:n] for p, n in zip(every, sizes, strict=True)])
        return joined.movedim(0, dim).cpu()

    def broadcast(self, value: Value) -> Value:
        """Give all ranks the value of rank 0 (anything that can be serialised)."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, self._first, self._group, self.device)
        return box[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier(self._group)


def _backend(device: torch.device) -> str:
    """Return what sums over the ranks: NCCL of GPUs, which refuses two ranks on one, else gloo."""
    asked = os.environ.get("MDGAN_BACKEND", "")
    if asked not in ("", "gloo", "nccl"):
        raise LaunchError(f"MDGAN_BACKEND={asked} is not known", remedy="use gloo or nccl")
    return asked or ("nccl" if device.type == "cuda" else "gloo")


def _device(launch: Launch) -> torch.device:
    warn_of_unseen_gpus(torch.cuda.is_available())
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # With one GPU visible to each task, every task's own is device 0.
    device = torch.device("cuda", launch.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
