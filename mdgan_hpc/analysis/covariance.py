"""Old place of `fit.covariance`."""

from collections.abc import Mapping
from typing import Any

from mdgan_hpc.analysis.fit.covariance import Sampling, sampling_of
from mdgan_hpc.analysis.results import Dynamics

__all__ = ["runs_of"]


def runs_of(tree: Mapping[str, Any]) -> Sampling:
    """Return `sampling_of` the tree of a `Dynamics`."""
    return sampling_of(Dynamics.from_tree(tree))
