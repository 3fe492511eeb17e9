"""What a training says of its model: does it move as the MD does? It travels with what is made.

A training writes the verdict into the model file, generation into the generated file, analysis puts
it beside the diffusion coefficient.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mdgan_hpc.errors import DataError
from mdgan_hpc.results import Result

#: Median of the fidelity ratios above which a model is doubtful, and above which it is poor. One
#: more MD run scores about 1. The median, because single observables scatter, and because a model
#: that does not move as MD does is far off in most of them.
DOUBTFUL, POOR = 1.5, 3.0
#: A single ratio above which the model is doubtful: of twenty the worst is large by chance, but
#: not taken for chance from here on.
WORST_DOUBTFUL = 5.0
#: The MSD alone also makes a model doubtful or poor, since D is read from it: where it is off by
#: these factors at any lag, and by more than those ratios of the scatter among MD runs.
MSD_DOUBTFUL, MSD_POOR = 1.25, 2.0
#: A mean displacement of so many standard errors is a drift.
DRIFT = 4.0
#: Ratios above this say no more.
MOST = 1000.0

OPTION = "--accept-poor-model"


@dataclass(frozen=True)
class Verdict(Result):
    """Free runs of a model against MD.

    Attributes
    ----------
    median, worst : float
        Of the fidelity ratios: distance to the MD over that of another MD run.
    worst_observable : str
    msd_fidelity : float
        The ratio of the MSD alone.
    lag_ps, msd_ratio : array, [L]
        MSD of the model over that of the MD, from one record to a quarter of a run.
    drift_z : float
        Largest mean displacement along an axis over its standard error.
    level, quantile_ratio : array, [Q]
        Levels, and the quantiles there of the squared displacement over one record: model over MD.
    alpha2, alpha2_md : float
        Non-Gaussian parameter of the displacement over one record.
    ions : int
        In the free runs.
    against : str
        Which MD: that of the training, or kept out of it, or another.
    """

    median: float
    worst: float
    worst_observable: str
    msd_fidelity: float
    lag_ps: np.ndarray
    msd_ratio: np.ndarray
    drift_z: float
    level: np.ndarray
    quantile_ratio: np.ndarray
    alpha2: float
    alpha2_md: float
    ions: int
    against: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `as_text` gave."""
        return cls.from_tree(json.loads(text))

    def as_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(self.to_plain(), sort_keys=True)

    def to_plain(self) -> dict[str, Any]:
        """Return the result tree with lists for arrays."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in self.to_tree().items()
        }

    @property
    def msd_range(self) -> tuple[float, float]:
        """Least and greatest ratio of the MSD."""
        return float(self.msd_ratio.min()), float(self.msd_ratio.max())

    def _msd_off(self, factor: float, ratio: float) -> bool:
        low, high = self.msd_range
        return self.msd_fidelity > ratio and (high > factor or low < 1 / factor)

    @property
    def is_poor(self) -> bool:
        """Whether the model does not move as MD does: nothing is to be concluded from it."""
        return self.median > POOR or self._msd_off(MSD_POOR, POOR)

    @property
    def doubts(self) -> list[str]:
        """What speaks against a model that is not poor."""
        low, high = self.msd_range
        told = []
        if self.median > DOUBTFUL:
            told.append(f"fidelity {self.median:.1f} is above {DOUBTFUL:g}")
        if self.worst > WORST_DOUBTFUL:
            told.append(
                f"one observable ({self.worst_observable}) is {_ratio(self.worst)} times as far "
                "from the MD as another MD run"
            )
        if self._msd_off(MSD_DOUBTFUL, DOUBTFUL):
            told.append(f"the MSD is {low:.2f} to {high:.2f} times that of the MD")
        if self.drift_z > DRIFT:
            told.append(f"the ions drift (z {self.drift_z:.1f})")
        return told

    @property
    def line(self) -> str:
        """The verdict in one line."""
        low, high = self.msd_range
        if self.is_poor:
            said = "The model does not move as the MD does"
        elif self.doubts:
            said = "The model moves roughly as the MD does"
        else:
            said = "The model moves as the MD does"
        return (
            f"{said}: fidelity {_ratio(self.median)} (1: as another MD run), worst "
            f"{_ratio(self.worst)} ({self.worst_observable}), MSD {_ratio(low)} to "
            f"{_ratio(high)} of the MD's, drift z {self.drift_z:.1f}, against {self.against}"
        )


def _ratio(value: float) -> str:
    return f"above {MOST:g}" if value >= MOST else f"{value:.2f}"


NOT_JUDGED = "The model was not judged: its file does not tell whether it moves as the MD does"


def verdict_line(verdict: Verdict | None) -> str:
    """Return the verdict of a model in one line, also where there is none."""
    return NOT_JUDGED if verdict is None else verdict.line


def worst_of(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """Return the verdict of the worst of several models; None if one was not judged."""
    every = list(verdicts)
    judged = [verdict for verdict in every if verdict is not None]
    poor = [verdict for verdict in judged if verdict.is_poor]
    if not judged or (len(judged) < len(every) and not poor):
        return None
    return max(poor or judged, key=lambda verdict: verdict.median)


def refuse_poor(verdict: Verdict | None, *, accepted: bool, where: object) -> None:
    """Refuse a model that does not move as the MD does, unless it is accepted.

    Raises
    ------
    DataError
    """
    if verdict is not None and verdict.is_poor and not accepted:
        raise DataError(
            verdict.line[0].lower() + verdict.line[1:],
            where=where,
            remedy=f"train longer or otherwise, or use it all the same with {OPTION}",
        )
