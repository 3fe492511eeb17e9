"""Old place of `fit.window`."""

from mdgan_hpc.analysis.fit.window import NotDiffusiveError

__all__ = ["NotDiffusiveError"]
