"""The outcome of a comparison with MD."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mdgan_hpc.results import Result


@dataclass(frozen=True)
class FidelityResult(Result):
    """A generated trajectory against MD.

    Attributes
    ----------
    ratios : dict of str to float
        Distance generated to MD over distance among MD runs, by observable.
    run_ratios : dict of str to float
        The same for generated ions in groups the size of an MD run (root mean square).
    distances, references : dict of str to float
        The two distances.
    units : dict of str to str
        What the distances are.
    msd_ratio : float
        MSD of all generated ions over that of the MD at the longest lag, a quarter of an MD run.
    msd_ps : float
        That lag.
    closest_angstrom : float, optional
        The least distance of an MD ion to the nearest other one, where ions see each other.
    too_close : float, optional
        Share of the generated ions at a time that are closer.
    lag_ps, msd_ratios : array, [L]
        Lags up to that one, and the same ratio at each.
    drift_z : array, [3]
        Mean displacement from first to last record over its standard error, each axis; where
        there are many groups the size of an MD run, from those: ions of one cell move together.
    """

    ratios: dict[str, float]
    run_ratios: dict[str, float]
    distances: dict[str, float]
    references: dict[str, float]
    units: dict[str, str]
    msd_ratio: float
    msd_ps: float
    drift_z: np.ndarray
    closest_angstrom: float | None = None
    too_close: float | None = None
    lag_ps: np.ndarray = field(default_factory=lambda: np.ones(0))
    msd_ratios: np.ndarray = field(default_factory=lambda: np.ones(0))

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return float(np.median(list(self.ratios.values())))

    @property
    def run_median(self) -> float:
        """Median of the ratios of groups the size of an MD run."""
        return float(np.median(list(self.run_ratios.values())))

    @property
    def root_mean_square(self) -> float:
        """Root mean square of the ratios: low only if none is far off."""
        return float(np.sqrt(np.mean(np.square(list(self.ratios.values())))))

    @property
    def worst(self) -> tuple[str, float]:
        """Name and ratio of the observable that is farthest off."""
        name = max(self.ratios, key=lambda key: self.ratios[key])
        return name, self.ratios[name]

    def table(self) -> list[list[str]]:
        """Return rows of text: observable, distance, among MD runs, ratio, that of one run."""
        rows = [["observable", "generated to MD", "among MD runs", "ratio", "one run"]]
        for name, ratio in self.ratios.items():
            unit = self.units[name]
            rows.append(
                [
                    name,
                    f"{self.distances[name]:.3g} {unit}".strip(),
                    f"{self.references[name]:.3g} {unit}".strip(),
                    f"{ratio:.2f}",
                    f"{self.run_ratios[name]:.2f}",
                ]
            )
        return rows

    def __str__(self) -> str:
        return "\n".join("  ".join(f"{cell:20}" for cell in row).rstrip() for row in self.table())

    def to_tree(self) -> dict[str, Any]:
        """Return the result tree, with median, worst and table."""
        name, worst = self.worst
        return super().to_tree() | {
            "median": self.median,
            "run_median": self.run_median,
            "worst": worst,
            "worst_observable": name,
            "table": self.table(),
        }
