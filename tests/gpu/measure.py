"""Rates, operations and bytes of a piece of work, beside what the device can do at most."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Traffic(TorchDispatchMode):
    """Counts floating point operations of products, and the bytes that operations read and write.

    Each operation counts as if nothing stayed in a cache, so bytes are an upper bound of what the
    memory delivers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function.overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        if not function.is_view:
            tensors = [x for x in tree_leaves((args, result)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


def synchronised(device: torch.device) -> float:
    """Return the time, when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rate(work: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Return how often a second `work` can be done, after one call that warms up."""
    work()
    begin, done = synchronised(device), 0
    while done < 3 or time.perf_counter() - begin < seconds:
        work()
        done += 1
    return done / (synchronised(device) - begin)


def peaks(device: torch.device, seconds: float) -> dict[str, float]:
    """Return operations a second of products and bytes a second of a copy.

    Of square matrices in single precision, with TF32 and in bfloat16 on a GPU.
    """
    size = 8192 if device.type == "cuda" else 1024
    found = {}
    kinds = {"float32": (torch.float32, False)}
    if device.type == "cuda":
        kinds |= {"tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}
    for name, (kind, allowed) in kinds.items():
        a, b = torch.randn(2, size, size, device=device, dtype=kind)
        torch.backends.cuda.matmul.allow_tf32 = allowed
        found[f"{name} FLOP/s"] = 2 * size**3 * rate(lambda a=a, b=b: a @ b, device, seconds)
    torch.backends.cuda.matmul.allow_tf32 = False
    x = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    found["bytes/s"] = 2 * len(x) * rate(lambda: y.copy_(x), device, seconds)
    return found


def memory_mb(device: torch.device) -> float:
    """Return the most memory of the device that was in use; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0
