"""What the data can teach, before any training: samples, memory times, hops, and a suggestion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.dynamics import dynamics, open_runs
from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.results import Curves
from mdgan_hpc.analysis.suggestion import (
    STEPS,
    Suggestion,
    for_critics,
    for_likelihood,
    require_frames,
    velocity_memory_ps,
)
from mdgan_hpc.config import AUTO
from mdgan_hpc.errors import DataError
from mdgan_hpc.report.ceiling import ceiling_of
from mdgan_hpc.report.results import Ceiling, Samples
from mdgan_hpc.report.samples import windows_against_step_skip
from mdgan_hpc.trajectory.temperature import run_temperatures
from mdgan_hpc.units import FS_PER_PS

#: Relative error of D above which the data tell little.
_LARGE_ERROR = 0.5


@dataclass(frozen=True)
class Advice:
    """What `advise` found; times in ps, lengths in Angstrom.

    Attributes
    ----------
    stored_interval_ps : float
        Between two stored frames.
    velocity_memory_ps : float
        Time after which the velocity autocorrelation stays below 0.1.
    cage_ps : float or None
        Lag of the least log-log slope of the MSD if it is below 0.8, else None (no cage).
    diffusive_ps : float or None
        Where the fit window of ``mdgan-msd`` starts, None if it gives no D.
    refused : str or None
        Why it gives none.
    ceiling : Ceiling
        Hops in the data, and the relative error of D they allow at best (He et al. 2018); as in
        the report.
    suggested, critics : Suggestion
        For a likelihood, and where critics alone judge whole windows.
    windows, independent : int
        Training windows at `suggested`, and how many do not overlap.
    samples : Samples
    """

    stored_interval_ps: float
    velocity_memory_ps: float
    cage_ps: float | None
    diffusive_ps: float | None
    refused: str | None
    ceiling: Ceiling
    suggested: Suggestion
    critics: Suggestion
    windows: int
    independent: int
    samples: Samples

    def lines(self, step_skip: int | None = None, records: int | None = None) -> list[str]:
        """Return the advice as sentences.

        Parameters
        ----------
        step_skip, records : int, optional
            Of the configuration that would train, `AUTO` where it leaves them to the advice: one
            line says how they go with the suggestion.
        """
        window_ps = self.suggested.records * self._interval_ps(self.suggested.step_skip)
        text = [
            *self._times(),
            f"effective hops in the data   {self.ceiling.n_effective:.0f} "
            f"(ions x MSD over a run / ({self.ceiling.hop_length:.2g} A)^2)",
            f"error of D, rule of thumb    {100 * self.ceiling.relative_error:.0f} % "
            "(He et al. 2018)",
            f"suggested                    {self._window(self.suggested)}",
            f"that window                  {window_ps / self.velocity_memory_ps:.2g} x the "
            "velocity's memory"
            + (f", {window_ps / self.cage_ps:.2g} x the cage time" if self.cage_ps else ""),
            f"samples                      {self.windows} from every start, {self.independent} "
            "that do not overlap in time",
            f"suggested for critics alone  {self._window(self.critics)}",
            f"steps of a phase             phase.steps = {STEPS}",
        ]
        if step_skip is not None and records is not None:
            text.append(f"the configuration uses       {self._configured(step_skip, records)}")
        return text + self._warnings()

    def _interval_ps(self, step_skip: int) -> float:
        return step_skip * self.stored_interval_ps

    def _window(self, window: Suggestion) -> str:
        interval_ps = self._interval_ps(window.step_skip)
        return (
            f"data.step_skip = {window.step_skip} ({interval_ps * FS_PER_PS:g} fs), "
            f"data.records = {window.records} ({window.records * interval_ps:.3g} ps)"
        )

    def _times(self) -> list[str]:
        cage = "none (slope of log MSD above 0.8)"
        if self.cage_ps:
            cage = f"at {self.cage_ps:.3g} ps (least slope of log MSD)"
        diffusive = "not within the runs"
        if self.diffusive_ps:
            diffusive = f"{self.diffusive_ps:.3g} ps (as mdgan-msd fits D)"
        return [
            f"time between stored frames   {self.stored_interval_ps * FS_PER_PS:g} fs",
            f"velocity forgotten after     {self.velocity_memory_ps:.3g} ps "
            "(autocorrelation stays below 0.1)",
            f"cage                         {cage}",
            f"diffusive from               {diffusive}",
        ]

    def _configured(self, step_skip: int, records: int) -> str:
        """Return how a configuration goes with the suggestion, in one line."""
        if AUTO in (step_skip, records):
            return 'the suggestion, where it says "auto"'
        window = self._window(Suggestion(step_skip, records))
        followed = self.velocity_memory_ps / self._interval_ps(step_skip)
        if step_skip > self.suggested.step_skip:
            return (
                f"{window}: {followed:.2g} records while the velocity is remembered; better "
                f"data.step_skip = {self.suggested.step_skip}"
            )
        if step_skip < self.suggested.step_skip:
            return (
                f"{window}: {followed:.2g} records while the velocity is remembered, more than "
                f"are learned well; better data.step_skip = {self.suggested.step_skip}"
            )
        return f"{window}: as suggested" if records == self.suggested.records else window

    def _warnings(self) -> list[str]:
        if self.refused is not None:
            return [
                f"WARNING: these runs cannot answer what D is: {self.refused}; a model learns "
                "their motion, not more. Run MD longer or with more ions."
            ]
        if self.ceiling.relative_error > _LARGE_ERROR:
            return [
                f"WARNING: {self.ceiling.n_effective:.0f} effective hops tell D to about "
                f"{100 * self.ceiling.relative_error:.0f} % only, however many ions a model "
                "generates. Run MD longer or with more ions."
            ]
        return []


def advise_each(
    paths: Sequence[str | Path], *, species: str = "", temperature_k: Sequence[float] = ()
) -> dict[float | None, Advice]:
    """Look at the runs of each temperature by themselves (`advise`), the lowest first.

    Runs at one temperature are under None.

    Parameters
    ----------
    paths : sequence of path
    species : str
    temperature_k : sequence of float
        For files that do not tell it: one for all runs, or one for each.

    Raises
    ------
    DataError, UsageError
        As `advise` and `run_temperatures`.
    """
    with open_runs(paths, species, several_temperatures=True) as trajectories:
        levels = run_temperatures(trajectories, temperature_k)
    if len(set(levels)) < 2:
        return {None: advise(paths, species=species)}
    each = {k: [p for p, at in zip(paths, levels, strict=True) if at == k] for k in levels}
    return {k: advise(each[k], species=species) for k in sorted(each)}


def advise(paths: Sequence[str | Path], *, species: str = "") -> Advice:
    """Look at training runs and suggest step skip and window (`analysis.suggestion`).

    Parameters
    ----------
    paths : sequence of path
        Trajectory files of one system.
    species : str
        Of the ions; needed where files hold several.

    Raises
    ------
    DataError
        If the files do not fit together, or hold too little to look at.
    UsageError
        If they hold several species and none is named.
    """
    found = dynamics(paths, species=species)
    require_frames(int(np.min(found.n_records)))
    curves, interval = found.curves, found.record_interval_ps
    if found.vacf is None or not (curves.msd > 0).any():
        raise DataError("the ions do not move: there is nothing to learn")
    fitted = fit_diffusion(found)
    memory = velocity_memory_ps(found)
    diffusive = None if fitted.total is None else fitted.total.window_ps[0]
    suggested = for_likelihood(found)
    samples = windows_against_step_skip(
        found.n_records, found.n_particles, suggested.records, suggested.step_skip
    )
    at = int(np.argmin(np.abs(samples.step_skip - suggested.step_skip)))
    return Advice(
        stored_interval_ps=interval,
        velocity_memory_ps=memory,
        cage_ps=_cage(curves),
        diffusive_ps=diffusive,
        refused=fitted.refused,
        ceiling=ceiling_of(found, fitted, Fidelity(paths, species=species).hop_angstrom),
        suggested=suggested,
        critics=for_critics(found, diffusive),
        windows=int(samples.overlapping[at]),
        independent=int(samples.independent[at]),
        samples=samples,
    )


def _cage(curves: Curves) -> float | None:
    """Return the lag of the least log-log slope of the MSD in ps, if there is a cage.

    The first half of the lags is looked at: noise makes minima at later ones.
    """
    known = np.isfinite(curves.slope) & (curves.lag_ps <= curves.lag_ps[-1] / 2)
    slope = np.where(known, curves.slope, np.inf)
    least = int(slope.argmin())
    return float(curves.lag_ps[least]) if slope[least] < 0.8 else None
