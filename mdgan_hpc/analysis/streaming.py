"""Analysis of a trajectory while it is generated, by `observables.multitau`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.observables.multitau import MultiTau, MultiTauSums, State, all_lags
from mdgan_hpc.analysis.plan import VAN_HOVE_SHARES
from mdgan_hpc.analysis.results import MsdResult
from mdgan_hpc.verdict import Verdict

#: Levels beyond what the length needs, for a run that is extended.
_SPARE_LEVELS = 3


class MultiTauAnalysis:
    """What `mdgan_hpc.generate` needs to analyse while it generates.

    Parameters
    ----------
    accept_poor_model : bool
        Give D also of a model that does not move as the MD does.
    """

    def __init__(self, accept_poor_model: bool = False) -> None:
        self.accept_poor_model = accept_poor_model

    def plan(self, n_records: int) -> dict[str, Any]:
        """Choose levels and van Hove times for a run of `n_records` records."""
        levels = max(1, math.floor(math.log2(max(n_records / 64, 1))) + 1)
        lags = all_lags(levels)
        lags = lags[lags <= max(1, n_records // 2)]
        times = {int(lags[np.argmin(np.abs(lags - n_records * s))]) for s in VAN_HOVE_SHARES}
        return {"levels": levels + _SPARE_LEVELS, "histogram_lags": sorted(times)}

    def accumulator(self, plan: Mapping[str, Any], n_particles: int) -> MultiTau:
        """Return an empty accumulator of one block."""
        return MultiTau(n_particles, plan["levels"], plan["histogram_lags"])

    def result(
        self,
        plan: Mapping[str, Any],
        states: Iterable[State],
        interval_ps: float,
        ions_per_cell: int,
        label: str = "generated",
        verdict: Verdict | None = None,
    ) -> dict[str, Any]:
        """Add up the blocks, in their order, and fit D.

        Parameters
        ----------
        plan : mapping
            Of `plan`.
        states : iterable of dict
            `MultiTau.state` of the blocks.
        interval_ps : float
            Time between two records.
        ions_per_cell : int
            Ions that saw each other; a block holds whole cells.
        label : str
            What made the trajectory.
        verdict : Verdict, optional
            On the model that made it.

        Returns
        -------
        dict
            The tree of an `MsdResult`.
        """
        sums = MultiTauSums(plan["levels"], plan["histogram_lags"])
        for state in states:
            sums.add(state)
        dynamics = replace(
            sums.dynamics(interval_ps, ions_per_cell, label), generated=True, verdict=verdict
        )
        fitted = fit_diffusion(dynamics, accept_poor_model=self.accept_poor_model)
        return MsdResult(dynamics, fitted).to_tree()
