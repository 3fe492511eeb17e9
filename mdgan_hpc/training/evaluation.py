"""Free runs against MD: how a training goes, and which generator becomes the model.

The ranks share the free runs, noise calibration included; the first compares them.
"""

import logging
import warnings

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.analysis.fidelity.judge import judge
from mdgan_hpc.errors import DataError, DataWarning
from mdgan_hpc.models.base import FreeRun, Generator, rollout
from mdgan_hpc.parallel import share
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.verdict import Verdict

_log = logging.getLogger(__name__)
#: Ions in free runs: to show how a training goes, to choose the model, and to judge it.
_SHOWN_IONS, _SELECTING_IONS, _JUDGED_IONS = 256, 1024, 1024
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


class Evaluation:
    """Compares free runs of a generator with MD.

    Parameters
    ----------
    md : list of array, [T, N, 3]
        Runs, Angstrom.
    md_interval_ps, interval_ps : float
        Between two frames of MD and between two records of the generator.
    primitive : array [3, 3] or None
        Primitive cell (rows, Angstrom), where there is a lattice.
    processes : Processes
    """

    def __init__(
        self,
        md: list[np.ndarray],
        md_interval_ps: float,
        interval_ps: float,
        primitive: np.ndarray | None,
        processes: Processes,
    ) -> None:
        first = processes.rank == 0
        self._reference = Fidelity(md, md_interval_ps, primitive) if first else None
        self._interval_ps, self._processes = interval_ps, processes
        self._records = max(map(len, md)) // round(interval_ps / md_interval_ps)

    def __call__(
        self, generator: Generator, rng: torch.Generator, *, selecting: bool
    ) -> dict[str, float]:
        """Return the numbers of a comparison on all ranks; ``score``, lower is better, first.

        Parameters
        ----------
        generator : Generator
        rng : torch.Generator
        selecting : bool
            Whether the generator may become the model: more ions are then compared.
        """
        path = free_run(
            generator,
            _SELECTING_IONS if selecting else _SHOWN_IONS,
            self._records,
            self._interval_ps,
            shared_free_run(generator, self._processes, rng),
        )
        numbers = self._compare(path) if self._reference else {}
        return self._processes.broadcast(numbers)

    def judge(self, generator: Generator, rng: torch.Generator, *, against: str) -> Verdict | None:
        """Return the verdict on a model on all ranks; None where MD and model cannot be compared.

        Parameters
        ----------
        generator : Generator
        rng : torch.Generator
            Not that of the comparisons by which it was chosen: their noise helped to choose it.
        against : str
            Which MD it is, in words.
        """
        run = shared_free_run(generator, self._processes, rng)
        path = free_run(generator, _JUDGED_IONS, self._records, self._interval_ps, run)
        verdict = None
        if self._reference is not None:
            try:
                verdict, _ = judge(self._reference, path, self._interval_ps, against=against)
            except DataError as error:
                _log.warning("The model is not judged: %s", error.what)
        return self._processes.broadcast(verdict)

    def _compare(self, positions: np.ndarray) -> dict[str, float]:
        assert self._reference is not None
        result = self._reference.compare(positions, self._interval_ps)
        name, worst = result.worst
        _log.info(
            "free runs against MD (1: as far as another MD run): median %.2f, worst %.2f (%s), "
            "MSD at %.3g ps %.2f times that of MD, drift z %.1f",
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
