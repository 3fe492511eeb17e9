"""Free runs against MD: how a training goes, and which generator becomes the model.

The ranks share the free runs, noise calibration included; the first compares them.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.analysis.fidelity.judge import judge
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.models.base import FreeRun, Generator, rollout
from mdgan_hpc.models.condition import Temperatures
from mdgan_hpc.parallel import share
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.trajectory.species import symbol
from mdgan_hpc.verdict import Verdict, worst_of

_log = logging.getLogger(__name__)
#: Ions in free runs: to show how a training goes, to choose the model, and to judge it.
_SHOWN_IONS, _SELECTING_IONS, _JUDGED_IONS = 256, 1024, 1024
#: At most, for each ion of the MD, whose own noise is then four times as large.
_JUDGED_PER_ION = 16
_BURN_IN_PS = 1.0


def shared_free_run(generator: Generator, processes: Processes, rng: torch.Generator) -> FreeRun:
    """Return a `FreeRun` of a generator whose samples are shared by the ranks.

    Every rank draws all random numbers, so that the result does not depend on their number but for
    round-off.
    """

    def run(n_samples: int, n_records: int, burn_in_records: int) -> Tensor:
        shares = [share(n_samples, rank, processes.size) for rank in range(processes.size)]
        # A rank without samples makes one, which is dropped: networks need one at least.
        mine = shares[processes.rank] or range(1)
        path = rollout(
            generator,
            n_samples,
            n_records,
            rng=rng,
            burn_in_records=burn_in_records,
            part=slice(mine.start, mine.stop),
        )
        return processes.join(path, [len(s) for s in shares], dim=1)

    return run


def free_run(
    generator: Generator, n_ions: int, n_records: int, interval_ps: float, run: FreeRun
) -> np.ndarray:
    """Return positions [T, N, 3] of free runs after a burn-in, Angstrom."""
    samples = max(1, n_ions // generator.particles_per_sample)
    path = run(samples, n_records, round(_BURN_IN_PS / interval_ps))
    if not bool(torch.isfinite(path).all()):
        warnings.warn("the generator diverges in free runs", DataWarning, stacklevel=2)
    positions: np.ndarray = path.flatten(1, 2).numpy()
    return positions


@dataclass(frozen=True)
class _Level:
    """MD at one temperature, or of one species, and what it tells of free runs there.

    Attributes
    ----------
    temperature_k : float or None
        None where there is one alone.
    reference : Fidelity or None
        On the first rank.
    ions : array of int, or None
        Of a cell, those of one species; None where there is one alone.
    species : int
        Its atomic number.
    """

    temperature_k: float | None
    reference: Fidelity | None
    ions: np.ndarray | None = None
    species: int = 0

    @property
    def name(self) -> str:
        """The temperature or the species behind what is said of it."""
        if self.ions is not None:
            return f" of {symbol(self.species)}"
        return "" if self.temperature_k is None else f" at {self.temperature_k:.0f} K"

    def together(self, generator: Generator) -> int:
        """Return the ions of a cell that it tells of."""
        return generator.particles_per_sample if self.ions is None else len(self.ions)

    def among(self, positions: np.ndarray, particles: int) -> np.ndarray:
        """Return those of positions [T, N, 3] of free runs that it tells of, cell by cell."""
        if self.ions is None:
            return positions
        cells = positions.reshape(len(positions), -1, particles, 3)
        return cells[:, :, self.ions].reshape(len(positions), -1, 3)


class Evaluation:
    """Compares free runs of a generator with MD, at each temperature of the MD.

    Parameters
    ----------
    md : list of array, [T, N, 3]
        Runs, Angstrom; those of a crystal in the frame of the training data.
    md_interval_ps, interval_ps : float
        Between two frames of MD and between two records of the generator.
    primitive : array [3, 3] or None
        Primitive cell (rows, Angstrom) in that frame, where there is a lattice.
    cell : array [3, 3] or None
        Of the MD, Angstrom, where it is known.
    processes : Processes
    run_k : sequence of float, optional
        Temperature of each run, where a generator is told it.
    temperatures : Temperatures, optional
        Those that it was trained at.
    ion_species : array, [N], optional
        Atomic numbers of the ions of a run, where they are of several species.
    """

    def __init__(
        self,
        md: list[np.ndarray],
        md_interval_ps: float,
        interval_ps: float,
        primitive: np.ndarray | None,
        cell: np.ndarray | None,
        processes: Processes,
        *,
        run_k: Sequence[float] | None = None,
        temperatures: Temperatures | None = None,
        ion_species: np.ndarray | None = None,
    ) -> None:
        self._interval_ps, self._processes = interval_ps, processes
        self._records = max(map(len, md)) // round(interval_ps / md_interval_ps)
        self._judged = min(_JUDGED_IONS, _JUDGED_PER_ION * sum(run.shape[1] for run in md))
        self._levels: list[_Level] = []
        first = processes.rank == 0
        if ion_species is not None:
            for species in np.unique(ion_species).tolist():
                mine = np.flatnonzero(ion_species == species)
                runs = [run[:, mine] for run in md]
                reference = Fidelity(runs, md_interval_ps, primitive, cell=cell) if first else None
                self._levels.append(_Level(None, reference, mine, species))
            return
        told = None if temperatures is None else run_k
        for kelvin in [None] if told is None else sorted(set(told)):
            runs, lattice, vectors = md, primitive, cell
            if told is not None and temperatures is not None and kelvin is not None:
                runs = [run for run, k in zip(md, told, strict=True) if k == kelvin]
                strain = temperatures.strain(kelvin)
                if strain is not None:
                    runs = [run @ strain for run in runs]
                    lattice = None if primitive is None else primitive @ strain
                    vectors = None if cell is None else cell @ strain
            reference = Fidelity(runs, md_interval_ps, lattice, cell=vectors) if first else None
            self._levels.append(_Level(kelvin, reference))

    def __call__(
        self, generator: Generator, rng: torch.Generator, *, selecting: bool
    ) -> dict[str, float]:
        """Return the numbers of a comparison on all ranks; ``score``, lower is better, first.

        Of several temperatures or species the root mean square of their scores and the means of the
        other numbers, then the scores and the MSD of each.

        Parameters
        ----------
        generator : Generator
        rng : torch.Generator
        selecting : bool
            Whether the generator may become the model: more ions are then compared.
        """
        ions = _SELECTING_IONS if selecting else _SHOWN_IONS
        each = []
        for level, path in self._free_runs(generator, ions, rng):
            together = level.together(generator)
            numbers = {} if level.reference is None else self._compare(level, path, together)
            each.append(self._processes.broadcast(numbers))
        if len(each) == 1:
            return each[0]
        mean = {name: round(float(np.mean([n[name] for n in each])), 4) for name in each[0]}
        squares = [numbers["score"] ** 2 for numbers in each]
        mean["score"] = round(float(np.sqrt(np.mean(squares))), 4)
        for level, numbers in zip(self._levels, each, strict=True):
            mean |= {f"{name}{level.name}": numbers[name] for name in ("score", "msd_ratio")}
        return mean

    def judge(self, generator: Generator, rng: torch.Generator, *, against: str) -> Verdict | None:
        """Return the verdict on a model on all ranks; None where MD and model cannot be compared.

        Of several temperatures or species that of the worst.

        Parameters
        ----------
        generator : Generator
        rng : torch.Generator
            Not that of the comparisons by which it was chosen: their noise helped to choose it.
        against : str
            Which MD it is, in words.
        """
        verdicts = []
        if self._levels[0].reference is not None:
            length = self._records * self._interval_ps
            _log.info("Free runs for the verdict: %d ions over %.3g ps.", self._judged, length)
        for level, path in self._free_runs(generator, self._judged, rng):
            verdict = None
            if level.reference is not None:
                told = against + level.name
                try:
                    verdict, _ = judge(
                        level.reference,
                        path,
                        self._interval_ps,
                        against=told,
                        ions_per_cell=level.together(generator),
                    )
                except DataError as error:
                    _log.warning("The model is not judged%s: %s", level.name, error.what)
            verdicts.append(self._processes.broadcast(verdict))
        return worst_of(verdicts)

    def _free_runs(
        self, generator: Generator, n_ions: int, rng: torch.Generator
    ) -> Iterator[tuple[_Level, np.ndarray]]:
        """Make free runs at each temperature, which share the ions, or of all species together."""
        run = shared_free_run(generator, self._processes, rng)
        if self._levels[0].ions is not None:
            path = free_run(generator, n_ions, self._records, self._interval_ps, run)
            for level in self._levels:
                yield level, level.among(path, generator.particles_per_sample)
            return
        ions = max(_SHOWN_IONS, n_ions // len(self._levels))
        for level in self._levels:
            if level.temperature_k is not None:
                generator.set_temperature(level.temperature_k)
            yield level, free_run(generator, ions, self._records, self._interval_ps, run)

    def _compare(self, level: _Level, positions: np.ndarray, together: int) -> dict[str, float]:
        assert level.reference is not None
        result = level.reference.compare(positions, self._interval_ps, ions_per_cell=together)
        name, worst = result.worst
        _log.info(
            "free runs against MD%s (1: as far as another MD run): median %.2f, worst %.2f (%s), "
            "MSD at %.3g ps %.2f times that of MD, drift z %.1f",
            level.name,
            result.median,
            worst,
            name,
            result.msd_ps,
            result.msd_ratio,
            abs(result.drift_z).max(),
        )
        ratios = {f"fidelity {name}": round(value, 3) for name, value in result.ratios.items()}
        msd = {"msd_ratio": round(result.msd_ratio, 4)}
        return {"score": round(result.root_mean_square, 4), **msd, **ratios}
