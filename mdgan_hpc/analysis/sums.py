"""Old place of `observables.arrays`."""

from mdgan_hpc.analysis.observables.arrays import series

__all__ = ["series"]
