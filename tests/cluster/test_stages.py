"""The job scripts, submitted for real."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.cluster.conftest import PATIENCE, ROOT, Slurm

pytestmark = pytest.mark.slow


def requeued(shown: dict[str, str], times: int) -> bool:
    return shown["Restarts"] == str(times) and shown["JobState"] == "RUNNING"


def train_arguments(config: Path, data: list[Path], out: Path, **settings: object) -> list[str]:
    words = [str(config), "--out", str(out)]
    for path in data:
        words += ["--data", str(path)]
    for name, value in settings.items():
        section = "phase" if name == "steps" else "train"
        words += ["--set", f"{section}.{name}={value}"]
    return words


def model_bytes(run: Path) -> dict[str, bytes]:
    """Return the bytes of all weights of a finished training."""
    content = torch.load(run / "model.pt", weights_only=True)
    return {name: weight.numpy().tobytes() for name, weight in content["weights"].items()}


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def wait_until(condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_script_is_accepted(slurm: Slurm) -> None:
    for script in sorted((ROOT / "jobs").glob("*.slurm")):
        done = slurm.run("sbatch", "--test-only", f"jobs/{script.name}")
        assert done.returncode == 0, f"{script.name}: {done.stderr}"
    refused = slurm.run("sbatch", "--test-only", "--gres=gpu:3", "jobs/train.slurm")
    assert refused.returncode != 0, "the nodes have two GPUs each"


@pytest.mark.parametrize("mpi", ["pmix", "pmi2"])
def test_smoke_test_of_the_site_passes_on_two_nodes(slurm: Slurm, mpi: str) -> None:
    """Open MPI and parallel HDF5 by PMIx; by PMI2 the MPICH and the HDF5 of the wheels."""
    env = {"MDGAN_MPI": mpi}
    if mpi == "pmi2":
        env["MDGAN_VENV"] = str(Path(sys.executable).parents[1])
    log = slurm.done(slurm.submit("jobs/smoke.slurm", env=env))
    assert "4 ranks by slurm on n1, n2" in log
    for part, state in (
        ("MPI", "(ok|note)"),  # a note where ranks that share a core are slow
        ("parallel HDF5", "ok" if mpi == "pmix" else "note"),
        ("PyTorch collectives", "ok"),
    ):
        assert re.search(rf"^{part} +{state} ", log, re.M), log
    assert "This site works." in log


def test_smoke_test_says_what_to_do_where_mpi_ends_the_ranks(slurm: Slurm) -> None:
    job = slurm.submit("jobs/smoke.slurm", env={"MDGAN_MPI": "none"})
    assert slurm.wait(job)["JobState"] == "FAILED"
    assert "choose by MDGAN_MPI" in slurm.log(job)


@pytest.mark.parametrize("made", ["by the site's MPI", "by make venv"])
def test_pipeline_from_run_folders_to_report(slurm: Slurm, small_config: Path, made: str) -> None:
    """With Open MPI by PMIx, and with the MPICH of the wheels, which does not speak it."""
    runs = [ROOT / "tests/data/long" / name for name in ("run1", "run2")]
    env = {"MDGAN_CONFIG": str(small_config), "MDGAN_CONVERT": "--select Li --drift all"}
    env |= {"MDGAN_PARTICLES": "64", "MDGAN_RECORDS": "2400", "MDGAN_ACCEPT_POOR_MODEL": "1"}
    if made == "by make venv":
        env["MDGAN_VENV"] = str(Path(sys.executable).parents[1])
    dry = slurm.run("jobs/pipeline.sh", "--dry-run", *runs, env=env)
    assert dry.stdout.count("sbatch --parsable") == 5
    assert dry.stdout.count("--dependency=afterok:") == 4
    assert slurm.run("squeue", "-h").stdout == "", "a dry run submits nothing"

    done = slurm.run("jobs/pipeline.sh", *runs, env=env)
    assert done.returncode == 0, done.stderr
    mpi = "openmpi: ranks are started by srun --mpi=pmix"
    if made == "by make venv":
        mpi = "mpich-wheel: ranks are started by srun --mpi=pmi2"
    assert mpi in done.stderr
    jobs = dict(line.split() for line in done.stdout.splitlines())
    assert list(jobs) == ["convert", "train", "generate", "msd", "report"]
    for stage, job in jobs.items():
        log = slurm.done(job)
        if stage in ("train", "generate"):  # the nodes have GPUs that are none
            assert "This job was given GPUs" in log
    work = Path(slurm.environment["MDGAN_WORK"])
    for name in ("msd.json", "msd-md.json"):
        assert json.loads((work / name).read_text())
    assert list((work / "report").glob("*.html"))

    shutil.rmtree(work / "report")
    done = slurm.run("jobs/pipeline.sh", "--from", "msd", env=env)
    later = dict(line.split() for line in done.stdout.splitlines())
    assert list(later) == ["msd", "report"]
    assert "nothing to do" in slurm.done(later["msd"])
    slurm.done(later["report"])
    assert list((work / "report").glob("*.html"))

    for stage in jobs:
        words = runs if stage == "convert" else []
        again = slurm.done(slurm.submit(f"jobs/{stage}.slurm", *words, env=env))
        assert "nothing to do" in again, again


def test_a_failed_stage_stops_the_chain(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = slurm.run("jobs/pipeline.sh", tmp_path / "empty")
    jobs = dict(line.split() for line in done.stdout.splitlines())
    failed = slurm.wait(jobs["convert"])
    assert failed["JobState"] == "FAILED"
    assert failed["ExitCode"] in ("1:0", "2:0")
    for stage in ("train", "generate", "msd", "report"):
        assert slurm.wait(jobs[stage])["JobState"] == "CANCELLED", stage


def test_a_stage_that_slurm_refuses_is_told_before_anything_is_submitted(
    slurm: Slurm, tmp_path: Path
) -> None:
    site = slurm.checkout / "jobs/sites/refused.sh"
    site.write_text((site.with_name("default.sh")).read_text() + "site_gpu=(--partition=nowhere)\n")
    (tmp_path / "run").mkdir()
    done = slurm.run("jobs/pipeline.sh", tmp_path / "run", env={"MDGAN_SITE": "refused"})
    site.unlink()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Slurm would refuse train" in done.stderr
    assert "nothing is submitted" in done.stderr


def test_two_nodes_train_the_same_model_by_any_launcher(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    models = {}
    for start in ("srun", "torchrun", "mpiexec"):
        words = train_arguments(small_config, md_files, tmp_path / start)
        options = ("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1")
        slurm.done(
            slurm.submit("jobs/train.slurm", *words, options=options, env={"MDGAN_START": start})
        )
        models[start] = model_bytes(tmp_path / start)
        assert json.loads((tmp_path / start / "config.json").read_text())
    assert models["srun"] == models["torchrun"] == models["mpiexec"]


def test_ensemble_trains_each_replica_apart(
    slurm: Slurm, small_config: Path, md_files: list[Path]
) -> None:
    words = [str(small_config)]
    for path in md_files:
        words += ["--data", str(path)]
    array = slurm.submit("jobs/train-ensemble.slurm", *words, options=("--array=1-3%2",))
    for replica in (1, 2, 3):
        slurm.done(f"{array}_{replica}")
    folder = Path(slurm.environment["MDGAN_WORK"]) / "ensemble"
    one, two, three = (model_bytes(folder / str(replica)) for replica in (1, 2, 3))
    assert one != two != three != one


def test_one_job_trains_a_model_and_its_replicas_and_goes_on_after_a_requeue(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    """Three trainings on two ranks of two nodes: one rank has two of them to do."""
    steps = {"steps": 400, "log_every": 2, "checkpoint_every": 5000}
    words = train_arguments(small_config, md_files, tmp_path / "run", **steps)
    words += ["--replicas", "2"]
    options = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--gres=none")
    job = slurm.submit("jobs/train.slurm", *words, options=options)
    wait_until(lambda: lines(tmp_path / "run/metrics.jsonl") > 0)
    slurm.run("scancel", "--batch", "--signal=USR2", job)
    wait_until(lambda: requeued(slurm.show(job), 1))
    assert "going on from step" in slurm.done(job)
    assert slurm.show(job)["Restarts"] == "1"
    run = tmp_path / "run"
    models = [model_bytes(folder) for folder in (run, run / "replicas/1", run / "replicas/2")]
    assert models[0] != models[1] != models[2] != models[0]
    again = slurm.done(slurm.submit("jobs/train.slurm", *words, options=options))
    assert "nothing to do" in again

    alone = train_arguments(small_config, md_files, tmp_path / "alone", **steps)
    slurm.done(slurm.submit("jobs/train.slurm", *alone, options=("--gres=none",)))
    assert model_bytes(tmp_path / "alone") == models[0]


def test_requeued_twice_gives_the_bits_of_an_uninterrupted_training(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    steps = {"steps": 800, "log_every": 2, "checkpoint_every": 5000}

    def submit(name: str, start: str) -> str:
        words = train_arguments(small_config, md_files, tmp_path / name, **steps)
        options = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1")
        return slurm.submit("jobs/train.slurm", *words, options=options, env={"MDGAN_START": start})

    whole = submit("whole", "srun")
    jobs = {start: submit(start, start) for start in ("srun", "torchrun")}
    for times in (1, 2):
        for start, job in jobs.items():
            metrics = tmp_path / start / "metrics.jsonl"
            before = lines(metrics)
            wait_until(lambda path=metrics, n=before: lines(path) > n)
            slurm.run("scancel", "--batch", "--signal=USR2", job)  # what --signal does at its time
        for job in jobs.values():
            wait_until(lambda job=job, n=times: requeued(slurm.show(job), n))
    slurm.done(whole)
    for start, job in jobs.items():
        log = slurm.done(job)
        assert slurm.show(job)["Restarts"] == "2"
        assert log.count("+ srun") == 3, "the log is appended to"
        assert "requeue 2 of at most 20" in log
        assert model_bytes(tmp_path / start) == model_bytes(tmp_path / "whole")


def test_the_time_limit_saves_and_requeues_only_so_often(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    """By Slurm's own signal, sent early, and without it by the wall time told to the command."""

    def submit(name: str, options: tuple[str, ...], **env: str) -> str:
        words = train_arguments(small_config, md_files, tmp_path / name, steps=1_000_000)
        return slurm.submit("jobs/train.slurm", *words, options=options, env=env)

    by_signal = submit("signal", ("--time=2", "--signal=B:USR2@110"), MDGAN_MAX_REQUEUE="1")
    by_wall_time = submit(
        "wall", ("--time=3", "--signal=B:USR2@1"), MDGAN_MAX_REQUEUE="0", MDGAN_SAVE_SECONDS="100"
    )
    for job, reason, times in ((by_signal, "SIGUSR2", 1), (by_wall_time, "wall-time limit", 0)):
        ended = slurm.wait(job)
        log = slurm.log(job)
        assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "75:0"), log
        assert ended["Restarts"] == str(times)
        assert f"stopped on request ({reason})" in log
        assert f"after {times} requeues (MDGAN_MAX_REQUEUE)" in log


def test_array_tasks_requeue_one_by_one(
    slurm: Slurm, small_config: Path, md_files: list[Path]
) -> None:
    words = [str(small_config), "--set", "phase.steps=800", "--set", "train.log_every=2"]
    for path in md_files:
        words += ["--data", str(path)]
    array = slurm.submit("jobs/train-ensemble.slurm", *words, options=("--array=1-2",))
    folder = Path(slurm.environment["MDGAN_WORK"]) / "ensemble"
    wait_until(lambda: (folder / "2/metrics.jsonl").exists())
    slurm.run(
        "scancel", "--batch", "--signal=USR2", f"{array}_2"
    )  # the last: its id is the array's
    for replica in (1, 2):
        slurm.done(f"{array}_{replica}")
    assert slurm.show(f"{array}_1")["Restarts"] == "0"
    assert slurm.show(f"{array}_2")["Restarts"] == "1"


@pytest.mark.parametrize("start", ["srun", "torchrun"])
def test_a_cancelled_job_saves_and_stays_ended(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path, start: str
) -> None:
    words = train_arguments(small_config, md_files, tmp_path / "run", steps=1_000_000, log_every=5)
    job = slurm.submit("jobs/train.slurm", *words, env={"MDGAN_START": start})
    wait_until((tmp_path / "run/metrics.jsonl").exists)
    slurm.run("scancel", job)
    assert slurm.wait(job)["JobState"] == "CANCELLED"
    assert list((tmp_path / "run").rglob("*.pt")), "no checkpoint"
    assert "stopped on request" in slurm.log(job)
    assert slurm.show(job)["Restarts"] == "0"


def test_a_preempted_job_saves_and_goes_on_afterwards(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    steps = {"steps": 800, "log_every": 2, "checkpoint_every": 5000}
    words = train_arguments(small_config, md_files, tmp_path / "run", **steps)
    job = slurm.submit("jobs/train.slurm", *words, options=("--exclusive", "--nodelist=n4"))
    wait_until((tmp_path / "run/metrics.jsonl").exists)
    urgent = slurm.submit("--partition=urgent", "--nodelist=n4", "--exclusive", "--wrap=true")
    assert slurm.wait(urgent)["JobState"] == "COMPLETED"
    log = slurm.done(job)
    assert slurm.show(job)["Restarts"] == "1"
    assert "requeue 1 of at most 20" in log
    assert "going on from step" in log


def test_a_dead_rank_ends_the_step(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    words = train_arguments(small_config, md_files, tmp_path / "run", steps=1_000_000, log_every=5)
    job = slurm.submit("jobs/train.slurm", *words, options=("--nodes=2", "--ntasks-per-node=2"))
    wait_until((tmp_path / "run/metrics.jsonl").exists)
    os.kill(pid_of_rank(job, 3), signal.SIGKILL)
    ended = slurm.wait(job)
    assert ended["JobState"] == "FAILED", slurm.log(job)
    assert ended["Restarts"] == "0", "a failure is not requeued"


def pid_of_rank(job: str, rank: int) -> int:
    wanted = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}"}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = set((folder / "environ").read_text(errors="replace").split("\0"))
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted <= environment and b"mdgan_hpc.cli.train" in words:
            return int(folder.name)
    raise AssertionError(f"no rank {rank} of job {job}")


def test_parallel_generation_gives_the_same_file_on_two_nodes(
    slurm: Slurm, small_config: Path, md_files: list[Path], tmp_path: Path
) -> None:
    train = train_arguments(small_config, md_files, tmp_path / "run")
    slurm.done(slurm.submit("jobs/train.slurm", *train))
    positions = []
    for nodes in (1, 2):
        output = tmp_path / f"generated-{nodes}.h5"
        words = [tmp_path / "run", "-o", output, "--particles", 512, "--records", 300]
        words += ["--accept-poor-model"]  # trained for seconds
        options = (f"--nodes={nodes}", "--ntasks-per-node=1")
        log = slurm.done(slurm.submit("jobs/generate.slurm", *words, options=options))
        assert "Error" not in log
        with h5py.File(output) as file:
            positions.append(file["particles/trajectory/position/value"][:])
    assert positions[0].std() > 0
    assert np.array_equal(positions[0], positions[1])


@pytest.mark.parametrize("mpi", ["pmix", "pmi2"])
def test_srun_gives_ranks_and_hosts(slurm: Slurm, mpi: str) -> None:
    program = (
        "import socket; from mdgan_hpc.parallel import detect_launch as d; l = d();"
        "print(l.launcher, l.rank, l.size, l.local_rank, socket.gethostname())"
    )
    python = slurm.environment["MDGAN_VENV"] + "/bin/python"
    done = slurm.run("srun", "-N2", "--ntasks-per-node=2", f"--mpi={mpi}", python, "-c", program)
    assert sorted(done.stdout.splitlines()) == [
        "slurm 0 4 0 n1",
        "slurm 1 4 1 n1",
        "slurm 2 4 0 n2",
        "slurm 3 4 1 n2",
    ], done.stderr


def test_sites_without_gpus_ask_for_none(slurm: Slurm) -> None:
    job = slurm.submit("jobs/train.slurm", options=("--hold",))
    assert "gpu:1" in slurm.show(job)["TresPerNode"]
    slurm.run("scancel", job)
    job = slurm.submit("jobs/train.slurm", options=("--hold", "--gres=none"))
    assert "gpu:1" not in slurm.show(job).get("TresPerNode", "")
    slurm.run("scancel", job)
