"""The verdict on a model: its free runs against MD, in all observables."""

import numpy as np

from mdgan_hpc.analysis.fidelity.intervals import common_strides
from mdgan_hpc.analysis.fidelity.reference import Fidelity
from mdgan_hpc.analysis.fidelity.result import FidelityResult
from mdgan_hpc.verdict import MOST, Verdict

#: Levels at which the distributions of the displacement over one record are compared.
LEVELS = np.array([0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
#: Squared displacements that are sorted for that, at most.
_SORTED = 2_000_000


def judge(
    reference: Fidelity,
    positions: np.ndarray,
    interval_ps: float,
    *,
    against: str,
    ions_per_cell: int = 1,
    cell: np.ndarray | None = None,
) -> tuple[Verdict, FidelityResult | None]:
    """Return the verdict on the model that made free runs, and the comparison it rests on.

    Parameters
    ----------
    reference : Fidelity
        MD runs.
    positions : array, [T, N, 3]
        Free runs, Angstrom.
    interval_ps : float
        Between two records of them.
    against : str
        Which MD it is, in words.
    ions_per_cell, cell
        As of `Fidelity.compare`.

    Raises
    ------
    DataError
        If the free runs are too short, or the record intervals have no common multiple.
    """
    ions = positions.shape[1]
    if not np.isfinite(positions).all():
        return _diverged(ions, against), None
    result = reference.compare(positions, interval_ps, ions_per_cell=ions_per_cell, cell=cell)
    stride, own = common_strides(reference.interval_ps, interval_ps)
    md = np.concatenate([_squares(run, stride) for run in reference.runs])
    made = _squares(positions, own)
    name, worst = result.worst
    with np.errstate(divide="ignore", invalid="ignore"):
        quantiles = np.quantile(made, LEVELS) / np.quantile(md, LEVELS)
    verdict = Verdict(
        median=_bounded(result.median),
        worst=_bounded(worst),
        worst_observable=name,
        msd_fidelity=_bounded(result.ratios["MSD"]),
        lag_ps=result.lag_ps,
        msd_ratio=np.nan_to_num(result.msd_ratios, nan=1.0, posinf=MOST).clip(0.0, MOST),
        drift_z=float(np.abs(result.drift_z).max()),
        level=LEVELS,
        quantile_ratio=np.nan_to_num(quantiles, nan=1.0, posinf=MOST),
        alpha2=_alpha2(made),
        alpha2_md=_alpha2(md),
        ions=ions,
        against=against,
    )
    return verdict, result


def _bounded(ratio: float) -> float:
    return MOST if not np.isfinite(ratio) else min(float(ratio), MOST)


def _squares(positions: np.ndarray, stride: int) -> np.ndarray:
    """Return squared displacements over `stride` records [n], Angstrom^2, thinned where many."""
    wanted = max(1, (len(positions) - stride) * positions.shape[1] // _SORTED)
    first = positions[: len(positions) - stride : wanted].astype(np.float64)
    moved = positions[stride::wanted].astype(np.float64) - first
    return np.asarray((moved**2).sum(-1).ravel())


def _alpha2(squares: np.ndarray) -> float:
    second = float(squares.mean())
    return 3 * float((squares**2).mean()) / (5 * second**2) - 1 if second > 0 else 0.0


def _diverged(ions: int, against: str) -> Verdict:
    """The verdict on a model whose free runs leave all bounds."""
    return Verdict(
        median=MOST,
        worst=MOST,
        worst_observable="free runs diverge",
        msd_fidelity=MOST,
        lag_ps=np.zeros(1),
        msd_ratio=np.full(1, MOST),
        drift_z=0.0,
        level=LEVELS,
        quantile_ratio=np.full(len(LEVELS), MOST),
        alpha2=0.0,
        alpha2_md=0.0,
        ions=ions,
        against=against,
    )
