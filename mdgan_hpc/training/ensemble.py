"""A model and its bootstrap replicas, trained as one thing.

The model of all data lies in the run folder, replica k in ``replicas/k`` below; each is a training
of its own that can be stopped and goes on. Replicas start from fresh weights: whether common ones
would narrow their spread has not been shown.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.config import as_toml
from mdgan_hpc.errors import EXIT_STOPPED, DataError, StoppedError
from mdgan_hpc.models.file import MODEL_NAME, load_model, replica_folder, write_replicas
from mdgan_hpc.orphans import kill_with_parent
from mdgan_hpc.outputs import written_whole
from mdgan_hpc.parallel import detect_launch
from mdgan_hpc.stopping import StopRequest
from mdgan_hpc.training.distributed import Processes
from mdgan_hpc.training.run import train
from mdgan_hpc.training.settings import ConfigLike, TrainingConfig, read_config
from mdgan_hpc.verdict import verdict_line

_log = logging.getLogger(__name__)
#: Seconds between two looks at the workers.
_LOOK = 0.2
#: Seconds that workers have to put things in order where they must end at once.
_IN_ORDER_S = 5.0


def train_ensemble(
    config: ConfigLike,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    replicas: int,
    wall_time_min: float | None = None,
    species: int | str | None = None,
    temperature_k: float | Sequence[float] = (),
) -> Path:
    """Train the model of all data and bootstrap replicas, or go on with them.

    Ranks of a launch share the trainings, several ranks one training where there are more of them.
    Without a launch, one process a core (or GPU) trains one at a time.

    Parameters
    ----------
    config : TrainingConfig, path, name, mapping or None
        Of all of them; see `train`.
    data : path or sequence of paths
        The runs to learn from.
    out : path
        Run folder.
    replicas : int
        More than before adds replicas.
    wall_time_min : float, optional
        Stop and save after so many minutes.
    species : int or str, optional
        The ions to learn, where files hold several species.
    temperature_k : float or sequence of float
        Where the files do not tell it: one for all runs, or one for each.

    Returns
    -------
    Path
        The run folder, which `mdgan_hpc.generate` takes.

    Raises
    ------
    StoppedError
        If asked to stop; everything is saved.
    DataError
        If a training failed.
    """
    settings, folder = read_config(config), Path(out)
    kelvin = np.atleast_1d(temperature_k).tolist()
    files = [Path(data)] if isinstance(data, str | Path) else [Path(path) for path in data]
    if detect_launch().size > 1:
        _over_ranks(settings, files, folder, replicas, wall_time_min, species, kelvin)
    else:
        _Workers(settings, files, folder, replicas, wall_time_min, species, kelvin).run()
    return folder


def _home(folder: Path, number: int) -> Path:
    """Return the run folder of a model: 0 is that of all data."""
    return replica_folder(folder, number) if number else folder


def _unfinished(folder: Path, replicas: int) -> list[int]:
    return [k for k in range(replicas + 1) if not (_home(folder, k) / MODEL_NAME).exists()]


def _over_ranks(
    settings: TrainingConfig,
    files: list[Path],
    folder: Path,
    replicas: int,
    wall_time_min: float | None,
    species: int | str | None,
    temperature_k: Sequence[float],
) -> None:
    """Share the trainings out over groups of ranks."""
    stopped = None
    with Processes(folder) as processes, StopRequest(wall_time_min) as stop:
        if processes.rank == 0:
            write_replicas(folder, replicas)
        todo = processes.broadcast(_unfinished(folder, replicas) or [0])
        group, number, n_groups = processes.split(len(todo))
        try:
            for k in todo[number::n_groups]:
                # Asked after the last step of one, that one is finished, and no other is begun.
                if group.broadcast(bool(stop)):
                    raise _stopped(folder, stop.reason)
                train(
                    settings,
                    files,
                    _home(folder, k),
                    replica=k,
                    species=species,
                    temperature_k=temperature_k,
                    ranks=group,
                    stop=stop,
                )
        except StoppedError as error:
            stopped = error
        if processes.end_of_groups(stopped is not None):
            raise stopped or _stopped(folder, "by another rank")


def _stopped(folder: Path, why: str) -> StoppedError:
    return StoppedError(
        f"stopped on request ({why}), saved",
        where=folder,
        remedy="run the same command again to go on",
    )


class _Workers:
    """Processes of this machine, each with one training at a time.

    Each computes on one thread, so that the bits do not depend on how many there are.
    """

    def __init__(
        self,
        settings: TrainingConfig,
        files: list[Path],
        folder: Path,
        replicas: int,
        wall_time_min: float | None,
        species: int | str | None,
        temperature_k: Sequence[float],
    ) -> None:
        self.folder, self.replicas, self.wall_time_min = folder, replicas, wall_time_min
        self.logs = replica_folder(folder, 1).parent
        self.config = self.logs / "config.toml"
        self.settings = settings
        self.words = [word for path in files for word in ("--data", str(path))]
        if species is not None:
            self.words += ["--species", str(species)]
        for kelvin in temperature_k:
            self.words += ["--temperature", repr(float(kelvin))]
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        self.gpus = gpus
        self.slots = list(range(gpus or len(os.sched_getaffinity(0))))

    def run(self) -> None:
        """Do all trainings that are not finished."""
        write_replicas(self.folder, self.replicas)
        with written_whole(self.config) as partial:
            partial.write_text("\n".join(as_toml(self.settings)) + "\n")
        waiting = _unfinished(self.folder, self.replicas)
        if not waiting:
            _log.info("%s: all models are trained already, nothing to do", self.folder)
            return
        total, free = len(waiting), list(self.slots)
        _log.info(
            "%d trainings, %d at a time; what they say is in %s",
            *(total, min(total, len(free)), self.logs / "*.log"),
        )
        going: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
        try:
            with StopRequest(self.wall_time_min) as stop:
                while waiting or going:
                    while waiting and free and not stop:
                        number, slot = waiting.pop(0), free.pop(0)
                        going[number] = self._start(number, slot), slot
                    for number, (process, slot) in list(going.items()):
                        if process.poll() is not None:
                            del going[number]
                            free.append(slot)
                            self._ended(number, process.returncode)
                    if stop:
                        self._stop(going, stop.reason)
                    time.sleep(_LOOK)
        finally:
            _end(process for process, _ in going.values())

    def _log_file(self, number: int) -> Path:
        return self.logs / f"{number}.log"

    def _start(self, number: int, slot: int) -> "subprocess.Popen[bytes]":
        """Start one training, as ``mdgan-train --replica`` does."""
        words = [sys.executable, "-m", "mdgan_hpc.cli.train", str(self.config), *self.words]
        words += ["--replica", str(number), "--out", str(_home(self.folder, number))]
        with open(self._log_file(number), "ab") as log:
            return subprocess.Popen(
                words, stdout=log, stderr=log, env=self._environment(slot), preexec_fn=_end_with_us
            )

    def _environment(self, slot: int) -> Mapping[str, str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MDGAN_LAUNCHER": "single"}
        if self.gpus > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot)
        return environment

    def _ended(self, number: int, status: int) -> None:
        """Tell how a training ended.

        Raises
        ------
        StoppedError, DataError
        """
        name = f"replica {number}" if number else "the model of all data"
        if status == EXIT_STOPPED:
            raise _stopped(self.folder, "a training was asked to")
        if status:
            said = self._log_file(number).read_text(errors="replace").strip().splitlines()
            raise DataError(
                f"{name} failed (status {status}): {said[-1] if said else 'it said nothing'}",
                where=self._log_file(number),
                remedy="the same command goes on from what is saved",
            )
        _log.info("%s: %s", name, verdict_line(load_model(_file(self.folder, number)).verdict))

    def _stop(self, going: "Mapping[int, tuple[subprocess.Popen[bytes], int]]", why: str) -> None:
        """Let the trainings save and end, then say so."""
        for process, _ in going.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process, _ in going.values():
            process.wait()
        raise _stopped(self.folder, why)


def _file(folder: Path, number: int) -> Path:
    return _home(folder, number) / MODEL_NAME


def _end(workers: "Iterable[subprocess.Popen[bytes]]") -> None:
    """End workers at once: by a signal upon which they put things in order, else by force."""
    workers = list(workers)
    for process in workers:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + _IN_ORDER_S
    for process in workers:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:  # under nohup they do not hear it
            process.kill()
            process.wait()


def _end_with_us() -> None:
    """What a worker does first."""
    kill_with_parent()
    # Ctrl-C goes to all; the parent asks the workers to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
