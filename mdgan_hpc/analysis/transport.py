"""Old place of `fit.transport`."""

from collections.abc import Sequence
from typing import Any

from mdgan_hpc.analysis.fit import transport
from mdgan_hpc.analysis.fit.transport import information_ceiling

__all__ = ["ensemble", "information_ceiling"]


def ensemble(values: Sequence[float]) -> dict[str, Any]:
    """Return the tree of `fit.transport.ensemble`."""
    return transport.ensemble(values).to_tree()
