"""D, and the Haven ratio, over several models: the whole interval, and the shares of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import stdtrit

from mdgan_hpc.analysis.fit.coefficient import CONFIDENCE, fit_coefficient
from mdgan_hpc.analysis.fit.collective import fit_collective
from mdgan_hpc.analysis.fit.covariance import sampling_of
from mdgan_hpc.analysis.fit.results import (
    Coefficient,
    Collective,
    CollectiveEnsemble,
    Ensemble,
    Refused,
)
from mdgan_hpc.analysis.fit.window import NotDiffusiveError
from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.errors import UsageError

#: Of a normal distribution within one standard deviation.
_ONE_SIGMA = 0.6827


def ensemble(values: Sequence[float], errors: Sequence[float] = (), refused: int = 0) -> Ensemble:
    """Return mean, error and intervals of D over models trained on bootstrap replicas.

    The spread over the models is the error: what the data leave unknown, what a training of the
    same data leaves open, and the finite number of generated ions, all as in one model. The last is
    known from the fit of each model; the rest of the spread is the share of data and training. A
    spread that by chance is less than what is known counts as that.

    Parameters
    ----------
    values, errors : sequence of float
        D of each model, and its standard error by the number of generated ions, Angstrom^2/ps.
    refused : int
        Models whose motion gives no D.

    Raises
    ------
    UsageError
        With fewer than two models.
    """
    return Ensemble(**_of_spread(values, errors), refused=refused)


def _d_and_errors(models: Sequence[Coefficient]) -> tuple[list[float], list[float]]:
    """Return the D of each model, and its standard error."""
    values = [one.d_angstrom2_per_ps for one in models]
    return values, [one.error_angstrom2_per_ps for one in models]


def _of_spread(values: Sequence[float], errors: Sequence[float]) -> dict[str, Any]:
    """Return the fields of an `Ensemble`."""
    found = _Spread.of(values, errors)
    (low, high), (low68, high68) = found.interval(CONFIDENCE), found.interval(_ONE_SIGMA)
    return {
        "n_models": len(values),
        "d_angstrom2_per_ps": found.mean,
        "error_angstrom2_per_ps": found.error,
        "low_angstrom2_per_ps": low,
        "high_angstrom2_per_ps": high,
        "low68_angstrom2_per_ps": low68,
        "high68_angstrom2_per_ps": high68,
        "models_error_angstrom2_per_ps": float(np.sqrt(max(found.error**2 - found.known**2, 0.0))),
        "ions_error_angstrom2_per_ps": found.known,
        "d_of_models": np.asarray(values, float),
    }


class _Spread(NamedTuple):
    """A positive quantity over n models: mean, error, and what of it is known in each model."""

    n: int
    mean: float
    error: float
    known: float

    @classmethod
    def of(cls, values: Sequence[float], errors: Sequence[float]) -> Self:
        x = np.asarray(values, float)
        if len(x) < 2:
            raise UsageError("an ensemble needs the D of at least two models")
        known = float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else 0.0
        return cls(len(x), float(x.mean()), max(float(x.std(ddof=1)), known), known)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the bounds by Student's t."""
        half = float(stdtrit(self.n - 1, 0.5 + confidence / 2)) * self.error
        return max(0.0, self.mean - half), self.mean + half


def ensembles_of(
    dynamics: Dynamics, total: Coefficient
) -> tuple[Ensemble | None, CollectiveEnsemble | None]:
    """Return D over the models that made the trajectories, and that of all ions together.

    All over the fit window of all models as one. None where there is one model, or fewer than two
    give what is asked for.
    """
    if dynamics.models is None:
        return None, None
    sampling, found = sampling_of(dynamics), []
    numbers = np.unique(dynamics.models)
    for alone in map(dynamics.of_model, numbers):
        lag, msd = alone.curves.lag_ps, alone.curves.msd
        own = replace(sampling, n_particles=alone.n_particles, span_ps=alone.span_ps)
        try:
            found.append((alone, fit_coefficient(lag, msd, own, window_ps=total.window_ps)))
        except NotDiffusiveError:
            continue
    if len(found) < 2:
        return None, None
    of_ions = ensemble(*_d_and_errors([d for _, d in found]), refused=len(numbers) - len(found))
    of_cells = None
    if dynamics.cells is not None and dynamics.cells.in_solid and dynamics.cells.msd is not None:
        of_cells = _collective([fit_collective(alone, d) for alone, d in found])
    return of_ions, of_cells


def _collective(found: Sequence[Collective | Refused]) -> CollectiveEnsemble | None:
    """Return D of all ions together and the Haven ratio over the models that give them."""
    known = [one for one in found if isinstance(one, Collective)]
    if len(known) < 2:
        return None
    ratios = [one.haven_ratio for one in known]
    haven = _Spread.of(ratios, [one.haven_error for one in known])
    (low, high), (low68, high68) = haven.interval(CONFIDENCE), haven.interval(_ONE_SIGMA)
    return CollectiveEnsemble(
        **_of_spread(*_d_and_errors(known)),
        refused=len(found) - len(known),
        haven_ratio=haven.mean,
        haven_error=haven.error,
        haven_low=low,
        haven_high=high,
        haven_low68=low68,
        haven_high68=high68,
        haven_of_models=np.asarray(ratios),
    )
