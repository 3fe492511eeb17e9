"""What a critic found."""

from dataclasses import dataclass, field

import numpy as np

from mdgan_hpc.results import Result


@dataclass(frozen=True)
class Examples(Result):
    """Windows that are drawn.

    Attributes
    ----------
    time_ps : array, [t]
    generated : array, [n, t, 3]
        Displacements from the first record, Angstrom, of generated windows that looked least like
        MD.
    md : array, [n, t, 3]
        The same of MD windows in the middle of what the critic said of MD.
    """

    time_ps: np.ndarray
    generated: np.ndarray
    md: np.ndarray


@dataclass(frozen=True)
class CriticResult(Result):
    """How well a classifier tells generated windows from those of MD runs that it never saw.

    Attributes
    ----------
    span_ps : array, [S]
        Lengths of the windows.
    auc, error : array, [S]
        Area under the ROC curve, mean over the runs kept out, of windows of one ion, and its
        standard error: 0.5 where the critic cannot tell, 1 where it always can.
    cell_auc, cell_error : array, [S], optional
        The same of all ions of a cell together over the same time, where they saw each other.
    md_auc, md_error : array, [S], optional
        Of one MD run against the others, judged on stretches of time kept out, where there are
        several.
    windows : array, [S]
        MD windows that do not overlap.
    refused : str
        Why there is no critic, if there is none.
    examples : dict of str to Examples
        Under the length of the windows in ps.
    """

    span_ps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    auc: np.ndarray = field(default_factory=lambda: np.zeros(0))
    error: np.ndarray = field(default_factory=lambda: np.zeros(0))
    windows: np.ndarray = field(default_factory=lambda: np.zeros(0))
    cell_auc: np.ndarray | None = None
    cell_error: np.ndarray | None = None
    md_auc: np.ndarray | None = None
    md_error: np.ndarray | None = None
    refused: str = ""
    examples: dict[str, Examples] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The number of the length at which the critic tells best."""
        return int(np.argmax(self.auc))
