"""What the data can teach, before any training: samples, memory times, hops, and a suggestion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgan_hpc.analysis.dynamics import analyse
from mdgan_hpc.analysis.samples import windows_against_step_skip
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.analysis.transport import information_ceiling
from mdgan_hpc.errors import DataError
from mdgan_hpc.parallel import SingleProcess
from mdgan_hpc.units import FS_PER_PS

#: The velocity counts as forgotten once its autocorrelation stays below this.
_FORGOTTEN = 0.1
#: A record interval that follows the velocity: so many records while it is remembered.
_RECORDS_PER_MEMORY = 10
#: Relative error of D above which the data cannot answer.
_HOPELESS = 0.5
_HOP_ANGSTROM = 3.0


@dataclass(frozen=True)
class Advice:
    """What `advise` found; times in ps, lengths in Angstrom.

    Attributes
    ----------
    velocity_memory_ps : float
        Time after which the velocity autocorrelation stays below 0.1.
    cage_ps : float or None
        Lag of the least log-log slope of the MSD if it is below 0.8, else None (no cage).
    diffusive_ps : float or None
        First lag beyond the velocity's memory from which on the slope is within 0.2 of one, None
        if never.
    effective_hops, ceiling : float
        Hops in the data, and the relative error of D they allow at best (He et al. 2018).
    hop_angstrom : float
        Length of a hop used for that.
    step_skip, records : int
        Suggested.
    windows, independent : int
        Training windows at the suggestion, and how many do not overlap.
    """

    stored_interval_ps: float
    velocity_memory_ps: float
    cage_ps: float | None
    diffusive_ps: float | None
    effective_hops: float
    ceiling: float
    hop_angstrom: float
    step_skip: int
    records: int
    windows: int
    independent: int
    samples: dict[str, np.ndarray]

    @property
    def window_ps(self) -> float:
        """Time that the suggested window spans."""
        return self.step_skip * self.records * self.stored_interval_ps

    def lines(self) -> list[str]:
        """Return the advice as sentences."""
        interval_fs = self.stored_interval_ps * FS_PER_PS
        text = [
            f"time between stored frames   {interval_fs:g} fs",
            f"velocity forgotten after     {self.velocity_memory_ps:.3g} ps "
            "(autocorrelation stays below 0.1)",
            "cage                         "
            + (
                f"at {self.cage_ps:.3g} ps (least slope of log MSD)"
                if self.cage_ps
                else "none (slope of log MSD above 0.8)"
            ),
            "diffusive from               "
            + (
                f"{self.diffusive_ps:.3g} ps (slope of log MSD within 0.2 of 1)"
                if self.diffusive_ps
                else "not within the runs"
            ),
            f"effective hops in the data   {self.effective_hops:.0f} "
            f"(ions x largest MSD / ({self.hop_angstrom:.2g} A)^2)",
            f"best possible error of D     {100 * self.ceiling:.0f} % (He et al. 2018)",
            f"suggested                    data.step_skip = {self.step_skip} "
            f"({self.step_skip * interval_fs:g} fs), data.records = {self.records} "
            f"({self.window_ps:.3g} ps)",
            f"that window                  {self.window_ps / self.velocity_memory_ps:.2g} x the "
            "velocity's memory"
            + (f", {self.window_ps / self.cage_ps:.2g} x the cage time" if self.cage_ps else ""),
            f"samples                      {self.windows} from every start, {self.independent} "
            "that do not overlap in time",
        ]
        if self.diffusive_ps is None or self.ceiling > _HOPELESS:
            text.append(
                "WARNING: these runs cannot answer what D is: "
                + (
                    "the motion does not become diffusive within them"
                    if self.diffusive_ps is None
                    else f"they hold {self.effective_hops:.0f} effective hops"
                )
                + "; a model learns their motion, not more. Run MD longer or with more ions."
            )
        return text


def advise(paths: Sequence[str | Path], *, hop_angstrom: float = _HOP_ANGSTROM) -> Advice:
    """Look at training runs and suggest step skip and window.

    The step skip follows the velocity (ten records while it is remembered); the window spans the
    time to the diffusive regime at least, as far as independent windows remain.

    Parameters
    ----------
    paths : sequence of path
        Trajectory files of one system.
    hop_angstrom : float
        Length of a hop between sites.

    Raises
    ------
    DataError
        If the files do not fit together.
    """
    tree = analyse(paths, DynamicsConfig(full=True), SingleProcess(), label="training runs")
    if tree is None:
        raise DataError("no result")
    curves, interval = tree["curves"], float(tree["record_interval_ps"])
    lag, msd, slope = curves["lag_ps"], curves["msd"], curves["slope"]
    vacf = np.asarray(tree["vacf"]["value"]) / tree["vacf"]["value"][0]
    times = np.asarray(tree["vacf"]["time_ps"])
    above = np.flatnonzero(np.abs(vacf) >= _FORGOTTEN)
    memory = float(times[min(above[-1] + 1, len(times) - 1)])
    known = np.flatnonzero(np.isfinite(slope) & (lag <= lag[-1] / 2))
    # The first minimum of the slope is the cage; noise makes later ones.
    least = known[np.argmin(slope[known])]
    cage = float(lag[least]) if slope[least] < 0.8 else None
    other = known[(np.abs(slope[known] - 1) > 0.2) | (lag[known] < memory)]
    start = other[-1] + 1 if len(other) else known[0]
    diffusive = float(lag[start]) if start <= known[-1] else None
    n_particles, n_records = tree["n_particles"], tree["n_records"]
    hops, ceiling = information_ceiling(int(n_particles.sum()), float(msd[-1]), hop_angstrom)
    skip = max(1, round(memory / _RECORDS_PER_MEMORY / interval))
    wanted = max(4 * memory, diffusive or 0.0) / (skip * interval)
    longest = int(min(n_records) // (8 * skip))
    records = int(max(32, min(wanted, longest)))
    samples = windows_against_step_skip(list(n_records), list(n_particles), records)
    at = int(np.argmin(np.abs(samples["step_skip"] - skip)))
    return Advice(
        interval,
        memory,
        cage,
        diffusive,
        hops,
        ceiling,
        hop_angstrom,
        skip,
        records,
        int(samples["overlapping"][at]),
        int(samples["independent"][at]),
        samples,
    )
