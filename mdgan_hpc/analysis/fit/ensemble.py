"""D over several models: its whole interval, and the shares of it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from mdgan_hpc.analysis.fit.coefficient import CONFIDENCE, fit_coefficient
from mdgan_hpc.analysis.fit.covariance import sampling_of
from mdgan_hpc.analysis.fit.results import Coefficient, Ensemble
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
    d = np.asarray(values, float)
    if len(d) < 2:
        raise UsageError("an ensemble needs the D of at least two models")
    mean = float(d.mean())
    of_ions = float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else 0.0
    spread = max(float(d.std(ddof=1)), of_ions)

    def half(confidence: float) -> float:
        return float(stdtrit(len(d) - 1, 0.5 + confidence / 2)) * spread

    return Ensemble(
        n_models=len(d),
        d_angstrom2_per_ps=mean,
        error_angstrom2_per_ps=spread,
        low_angstrom2_per_ps=max(0.0, mean - half(CONFIDENCE)),
        high_angstrom2_per_ps=mean + half(CONFIDENCE),
        low68_angstrom2_per_ps=max(0.0, mean - half(_ONE_SIGMA)),
        high68_angstrom2_per_ps=mean + half(_ONE_SIGMA),
        models_error_angstrom2_per_ps=float(np.sqrt(max(spread**2 - of_ions**2, 0.0))),
        ions_error_angstrom2_per_ps=of_ions,
        d_of_models=d,
        refused=refused,
    )


def ensemble_of(dynamics: Dynamics, total: Coefficient) -> Ensemble | None:
    """Return D over the models that made the trajectories, over the fit window of all together.

    None where there is one model, or fewer than two give a D.
    """
    if dynamics.models is None:
        return None
    sampling, lag = sampling_of(dynamics), dynamics.curves.lag_ps
    values, errors, refused = [], [], 0
    for number, msd in dynamics.msd_of_models().items():
        mine = np.asarray(dynamics.models) == number
        alone = replace(
            sampling, n_particles=sampling.n_particles[mine], span_ps=sampling.span_ps[mine]
        )
        try:
            one = fit_coefficient(lag, msd, alone, window_ps=total.window_ps)
        except NotDiffusiveError:
            refused += 1
            continue
        values.append(one.d_angstrom2_per_ps)
        errors.append(one.error_angstrom2_per_ps)
    return ensemble(values, errors, refused) if len(values) > 1 else None
