"""The training data: runs of one system in one frame, and what is made of them.

A path is read here and nowhere else in a training; everything later asks the `Dataset`.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mdgan_hpc.analysis.dynamics import open_runs
from mdgan_hpc.crystal import (
    Crystal,
    NoCrystal,
    Symmetry,
    align_frameworks,
    isotropic,
)
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.models.base import DataSummary, Grouping
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.models.media import Medium, Surroundings
from mdgan_hpc.models.principal import autocovariance
from mdgan_hpc.provenance import file_sha256
from mdgan_hpc.training.data.runs import (
    common_recoil,
    inertial_runs,
    media_of,
    read_run,
    several_species,
)
from mdgan_hpc.training.data.temperatures import temperatures_of
from mdgan_hpc.training.data.windows import Windows
from mdgan_hpc.trajectory.replicas import system_of
from mdgan_hpc.trajectory.temperature import run_temperatures
from mdgan_hpc.units import record_interval_ps

_log = logging.getLogger(__name__)
#: Records that a run must have to be measured.
_LEAST_RECORDS = 32


@dataclass(frozen=True)
class Dataset:
    """Runs of one system; see `read`.

    Attributes
    ----------
    runs : list of array, [T, N, 3]
        Unwrapped positions, Angstrom, float64; those of a crystal in one frame of its lattice.
    interval_ps : float
        Time between two stored frames.
    species : int
        Atomic number of the ions; the least where they are of several species.
    cell : array [3, 3] or None
        Rows are the cell vectors, Angstrom.
    crystal : Crystal or NoCrystal
        Of the framework averaged over the runs.
    inputs : mapping of path to SHA-256
        The files.
    neighbours : list of array [T, N, A, 4], or None
        What ions see around them over the runs; see `with_neighbours`.
    neighbours_backwards : list of array [T, N, A, 4], or None
        The same where time runs backwards; None where it makes no difference.
    temperature_k : float or None
        Of the runs (`temperature_of`), K; None where they are at several.
    run_k : tuple of float, or None
        Of each run, where they are at several.
    temperatures : Temperatures or None
        Those, with their cells.
    system : str
        All atoms of a run (`system_of`); empty if the files do not tell.
    media : list of Medium
        The atoms that stay in place, of each file; empty where they do not in all.
    run_medium : tuple of int
        Then that of each run.
    ion_species : list of array, [N]
        Atomic numbers of the ions of each run, where they are of several species; else empty.
    recoil, inertial : array, [N], or None, and list of array, [T, N, 3]
        Where the framework recoils: `common_recoil`, and `inertial_runs`.
    """

    runs: list[np.ndarray]
    interval_ps: float
    species: int
    cell: np.ndarray | None = None
    crystal: Crystal | NoCrystal = field(default=NoCrystal("no framework is known"))
    inputs: Mapping[str, str] = field(default_factory=dict)
    neighbours: list[np.ndarray] | None = None
    neighbours_backwards: list[np.ndarray] | None = None
    temperature_k: float | None = None
    run_k: tuple[float, ...] | None = None
    temperatures: Temperatures | None = None
    system: str = ""
    media: list[Medium] = field(default_factory=list)
    run_medium: tuple[int, ...] = ()
    ion_species: list[np.ndarray] = field(default_factory=list)
    recoil: np.ndarray | None = None
    inertial: list[np.ndarray] = field(default_factory=list)

    # From files -------------------------------------------------------------------------------

    @classmethod
    def read(
        cls,
        paths: str | Path | Sequence[str | Path],
        species: int | str | None = None,
        temperature_k: float | Sequence[float] = (),
    ) -> Self:
        """Read the runs and put those of a crystal into one frame of its lattice.

        Parameters
        ----------
        paths : path or sequence of paths
            Trajectory files, one a run.
        species : int or str, optional
            Atomic number or symbol of the ions, or symbols of several (``Na,Cl``); needed where the
            files hold several species.
        temperature_k : float or sequence of float
            Where the files do not tell it: one for all runs, or one for each.

        Raises
        ------
        DataError
            If the runs do not belong together: intervals, numbers of ions, cells or frameworks
            differ, or some are at other temperatures and some do not tell theirs.
        UsageError
            If the files hold several species and none is named, or different ones, a run is given
            twice, or there is no file.
        """
        files = [paths] if isinstance(paths, str | Path) else list(paths)
        if not files:
            raise UsageError("no run is given", remedy="name the trajectory of one run at least")
        digests = {str(path): file_sha256(path) for path in files}
        with open_runs(
            files, species, several_temperatures=True, several_species=True
        ) as trajectories:
            read = [read_run(t) for t in trajectories]
            levels = run_temperatures(trajectories, temperature_k)
            systems = [name for name in map(system_of, trajectories) if name]
        several = len(set(levels)) > 1
        cells = [run.cell for run in read]
        alignment = align_frameworks(
            [run.framework for run in read], cells, levels if several else None
        )
        if alignment.maps is not None:
            _log.warning(
                "The cells of the runs differ by up to %.2g %%: all are mapped to the mean cell.",
                100 * alignment.largest_strain,
            )
        if isinstance(alignment.crystal, NoCrystal):
            _log.info("The runs are %s.", alignment.crystal)
        runs = [alignment.apply(number, run.positions) for number, run in enumerate(read)]
        return cls(
            runs=runs,
            interval_ps=read[0].interval_ps,
            species=int(read[0].species.min()),
            cell=alignment.cell,
            crystal=alignment.crystal,
            inputs=digests,
            temperature_k=None if several or not levels else levels[0],
            run_k=tuple(levels) if several else None,
            temperatures=temperatures_of(levels, cells, alignment) if several else None,
            system=systems[0] if systems else "",
            media=(media := media_of(read, alignment)),
            run_medium=tuple(range(len(media))),
            ion_species=several_species(read),
            recoil=(recoil := common_recoil(read)),
            inertial=inertial_runs(runs, recoil),
        )

    # What is known of them ----------------------------------------------------------------------

    @property
    def ions_per_run(self) -> int | None:
        """Ions of a run; None where the runs differ."""
        numbers = {run.shape[1] for run in self.runs}
        return numbers.pop() if len(numbers) == 1 else None

    @property
    def told_species(self) -> int | list[int]:
        """Atomic number of the ions, or those of all of them where they are of several species."""
        return self.ion_species[0].tolist() if self.ion_species else self.species

    @property
    def span_ps(self) -> float:
        """Length of the longest run."""
        return max(map(len, self.runs)) * self.interval_ps

    def record_interval_ps(self, step_skip: int) -> float:
        """Return the time between two records."""
        return record_interval_ps(self.interval_ps, step_skip)

    def symmetry(self, wanted: str = "auto") -> Symmetry:
        """Return the operations that leave the statistics of the motion unchanged.

        Parameters
        ----------
        wanted : str
            ``none``, ``isotropic``, ``crystal``, or ``auto``: crystal where the framework is one,
            or else isotropic.

        Raises
        ------
        DataError
            If a crystal is asked for and the data have none.
        """
        if wanted == "none":
            return Symmetry()
        if wanted != "isotropic" and isinstance(self.crystal, Crystal):
            return self.crystal.symmetry()
        if wanted == "crystal":
            raise DataError(
                f"data.symmetry = 'crystal', but the runs are {self.crystal}",
                remedy="convert with --select, or use data.symmetry = 'isotropic'",
            )
        return isotropic()

    def summary(self, step_skip: int, symmetry: Symmetry) -> DataSummary:
        """Return what a generator is built from.

        Raises
        ------
        DataError
            If the runs are too short.
        """
        used = [
            (number, slice(phase, None, step_skip))
            for number, run in enumerate(self.runs)
            for phase in range(step_skip)
            if len(run[phase::step_skip]) >= _LEAST_RECORDS
        ]
        displacements = [np.diff(self.runs[number][frames], axis=0) for number, frames in used]
        if not displacements:
            raise DataError(
                f"the longest run has {max(map(len, self.runs))} frames; "
                f"{(_LEAST_RECORDS - 1) * step_skip + 1} are needed to measure how ions move, "
                f"{_LEAST_RECORDS} records at data.step_skip = {step_skip}",
                remedy="give longer runs, or lower data.step_skip",
            )
        return DataSummary(
            displacements=displacements,
            symmetry=symmetry,
            cell=self.cell,
            ions_per_run=self.ions_per_run,
            runs=self.runs,
            neighbours=self.neighbours,
            temperatures=self.temperatures,
            temperature_k=None if self.run_k is None else [self.run_k[i] for i, _ in used],
            step_skip=step_skip,
            media=self.media if symmetry.primitive is None else [],
            run_medium=list(self.run_medium),
            species=tuple(np.unique(self.ion_species).tolist()),
            which_species=[self._which_species[number] for number, _ in used]
            if self.ion_species
            else [],
            run_species=self._which_species,
            recoil=self.recoil,
            inertial=[np.diff(self.inertial[n][t], axis=0) for n, t in used if self.inertial],
        )

    @property
    def _which_species(self) -> list[np.ndarray]:
        """Which of the species the ions of each run are, [N]; empty where there is one."""
        every = np.unique(self.ion_species)
        return [np.searchsorted(every, species) for species in self.ion_species]

    def displacement_covariance(self, lag: int, rows: int) -> np.ndarray:
        """Return the autocovariance [3, rows] of displacements over `lag` stored frames.

        Angstrom^2; from one row to the next that follow each other.

        Raises
        ------
        DataError
            If every run is shorter.
        """
        # Of every phase: displacements that follow each other are `lag` frames apart.
        moved = [
            np.diff(run[phase::lag], axis=0)
            for run in self.runs
            for phase in range(min(lag, len(run) - lag))
        ]
        if not moved:
            raise DataError(
                f"the runs have {max(map(len, self.runs))} frames, a displacement over {lag} "
                "is asked for",
                remedy="lower phase.adversarial.strides or data.step_skip",
            )
        return autocovariance(moved, rows)

    # What is made of them -----------------------------------------------------------------------

    def split(self, rule: str) -> tuple[Self, Self]:
        """Return training and validation data.

        Parameters
        ----------
        rule : str
            ``none``: all data are both; ``run``: the last run is kept out of training; ``span``:
            the last fifth of each run is; ``temperature``: the runs at the middle one of three
            temperatures or more are.

        Raises
        ------
        UsageError
            If a run is to be kept out and there is only one, or a temperature and there are fewer
            than three.
        """
        if rule == "none":
            return self, self
        if rule == "run":
            if len(self.runs) < 2:
                raise UsageError("data.validation = 'run' needs two runs or more")
            every = range(len(self.runs))
            return self._part(every[:-1]), self._part(every[-1:])
        if rule == "temperature":
            return self._split_by_temperature()
        cut = [len(run) * 4 // 5 for run in self.runs]
        return (
            self._with([run[:c] for run, c in zip(self.runs, cut, strict=True)]),
            self._with([run[c:] for run, c in zip(self.runs, cut, strict=True)]),
        )

    def _split_by_temperature(self) -> tuple[Self, Self]:
        if self.run_k is None or self.temperatures is None or len(self.temperatures.kelvin) < 3:
            raise UsageError(
                "data.validation = 'temperature' needs runs at three temperatures or more"
            )
        levels = self.temperatures.kelvin
        out = levels[(len(levels) - 1) // 2]
        inside = [i for i, k in enumerate(self.run_k) if k != out]
        return self._part(inside), self._part([i for i, k in enumerate(self.run_k) if k == out])

    def _with(self, runs: list[np.ndarray]) -> Self:
        return dataclasses.replace(
            self,
            runs=runs,
            inertial=inertial_runs(runs, self.recoil),
            neighbours=None,
            neighbours_backwards=None,
        )

    def _part(self, numbers: Sequence[int]) -> Self:
        """Return these data with some of the runs."""
        part = self._with([self.runs[i] for i in numbers])
        if self.run_medium:
            part = dataclasses.replace(part, run_medium=tuple(self.run_medium[i] for i in numbers))
        if self.ion_species:
            part = dataclasses.replace(part, ion_species=[self.ion_species[i] for i in numbers])
        if self.run_k is None or self.temperatures is None:
            return part
        kelvin = tuple(self.run_k[i] for i in numbers)
        return dataclasses.replace(
            part, run_k=kelvin, temperatures=self.temperatures.some(sorted(set(kelvin)))
        )

    def with_neighbours(self, surroundings: Surroundings | None, *, silent: bool = False) -> Self:
        """Return these data with what every ion sees around it at every frame."""
        described = backwards = None
        if surroundings is not None:
            of, frame = (self.runs, self.run_medium), self.inertial
            described = surroundings.of_runs(*of, frame, silent=silent)
            backwards = surroundings.of_runs_backwards(*of, described, frame, silent=silent)
        return dataclasses.replace(self, neighbours=described, neighbours_backwards=backwards)

    def bootstrap(self, replica: int, seed: int, grouping: tuple[int, Grouping]) -> Self:
        """Return a bootstrap: runs drawn with replacement, then ions in each.

        Replica 0 is the data themselves. The draw depends on seed and replica alone. Particles
        that form a sample are drawn together; where the nearest ones do, runs stay whole. Each
        temperature keeps its number of runs.

        Parameters
        ----------
        replica, seed : int
        grouping : int and str
            Of `Generator.grouping`.

        Raises
        ------
        UsageError
            If whole runs are to be drawn and there is only one.
        """
        if replica == 0:
            return self
        k, how = grouping
        whole = how == "nearest" and k > 1
        if whole and len(self.runs) < 2:
            raise UsageError("--replica with generator.grouping = 'nearest' needs two runs or more")
        rng = np.random.default_rng([seed, replica])
        runs, ion_species, drawn = [], [], self._drawn(rng)
        seen: dict[str, Any] = {}
        for number in drawn:
            run = self.runs[number]
            ions = np.arange(run.shape[1])
            if not whole:
                groups = len(ions) // k
                firsts = k * rng.integers(groups, size=groups)
                ions = (firsts[:, None] + np.arange(k)).ravel()
            runs.append(run[:, ions])
            if self.ion_species:
                ion_species.append(self.ion_species[number][ions])
            for name in ("neighbours", "neighbours_backwards", "inertial"):
                if getattr(self, name):
                    seen.setdefault(name, []).append(getattr(self, name)[number][:, ions])
        medium = tuple(self.run_medium[i] for i in drawn) if self.run_medium else ()
        drawn_runs = dataclasses.replace(self, runs=runs, run_medium=medium, **seen)
        return dataclasses.replace(drawn_runs, ion_species=ion_species)

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Return numbers of runs, drawn with replacement among those of one temperature."""
        if self.run_k is None:
            return rng.integers(len(self.runs), size=len(self.runs))
        drawn = np.empty(len(self.runs), int)
        for kelvin in sorted(set(self.run_k)):
            mine = np.flatnonzero(np.array(self.run_k) == kelvin)
            drawn[mine] = rng.choice(mine, len(mine))
        return drawn

    def windows(
        self,
        *,
        step_skip: int,
        symmetry: Symmetry,
        device: torch.device,
        grouping: tuple[int, Grouping] = (1, "file"),
    ) -> Windows:
        """Return the windows of these data on a device; see `Windows`."""
        return Windows(
            self.runs,
            step_skip=step_skip,
            particles_per_sample=grouping[0],
            symmetry=symmetry,
            device=device,
            grouping=grouping[1],
            cell=self.cell,
            neighbours=self.neighbours,
            neighbours_backwards=self.neighbours_backwards,
            temperature_k=self.run_k,
            medium=self.run_medium,
            species=self._which_species,
            inertial=self.inertial,
        )
