"""What each site file changes: the commands of the chain and of a job, beside the golden texts.

``python -m tests.cluster.test_sites`` writes the golden texts anew.
"""

import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).resolve().parent / "golden"
SITES = sorted(path.stem for path in (ROOT / "jobs/sites").glob("*.sh"))
SCRIPTS = sorted((ROOT / "jobs").glob("*.slurm"))
SHELL = [*SCRIPTS, *sorted((ROOT / "jobs").rglob("*.sh"))]
#: What Slurm sets in a job of two nodes with two ranks each.
JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NTASKS": "4",
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_JOB_PARTITION": "standard-g",
}


def run(site: str, scratch: Path, *words: str, **env: str) -> str:
    """Run a script of a copied checkout with programs that only answer as Slurm's would."""
    if not (scratch / "jobs").exists():
        shutil.copytree(ROOT / "jobs", scratch / "jobs")
        (scratch / "bin").mkdir()
        for name in ("sbatch", "scontrol", "apptainer"):
            program = scratch / "bin" / name
            answer = "echo node1" if name == "scontrol" else "exit 9"
            program.write_text(f'#!/bin/sh\n[ "$2" = hostnames ] || exit 0\n{answer}\n')
            program.chmod(0o755)
        (scratch / "image.sif").touch()
        (scratch / "run").mkdir()
    base = {"PATH": f"{scratch}/bin:/usr/bin:/bin", "MDGAN_SITE": site, "MDGAN_IMAGE": "image.sif"}
    done = subprocess.run(
        ["bash", *words], cwd=scratch, env=base | env, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).replace(str(scratch), "ROOT")


def render(site: str) -> str:
    """Return everything a site decides, as text."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        chain = run(site, scratch, "jobs/pipeline.sh", "--dry-run", "run")
        job = JOB | {"SLURM_SUBMIT_DIR": str(scratch), "MDGAN_DRY_RUN": "1"}
        if site == "workstation":
            job = {"MDGAN_RANKS": "2", "MDGAN_DRY_RUN": "1"}
        train = [
            run(site, scratch, "jobs/train.slurm", "demo.toml", MDGAN_START=start, **job)
            for start in ("", "torchrun")
        ]
        variables = run(
            site,
            scratch,
            "-c",
            ". jobs/lib/job.sh; meeting_place; env | grep -E '^(MDGAN_M|MASTER_ADDR|NCCL|GLOO|FI_)'"
            " | grep -v IMAGE | sort",
            **job,
        )
    return f"# the chain\n{chain}\n# a job\n{''.join(train)}\n# the environment\n{variables}"


@pytest.mark.parametrize("site", SITES)
def test_site_changes_what_it_did(site: str) -> None:
    golden, rendered = (GOLDEN / f"{site}.txt").read_text(), render(site)
    changes = difflib.unified_diff(golden.splitlines(), rendered.splitlines(), lineterm="")
    assert rendered == golden, "\n".join(changes)


def test_sites_are_tiny_sourced_and_differ() -> None:
    texts = {site: (ROOT / f"jobs/sites/{site}.sh").read_text() for site in SITES}
    for site, text in texts.items():
        if site != "default":
            assert len(text.splitlines()) < 15, site
            assert "# Source: http" in text or "Source: the manual" in text, site
    assert len({render(site) for site in SITES}) == len(SITES)
    assert len(SITES) >= 6


@pytest.mark.parametrize("path", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_parse_and_pass_shellcheck(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    shellcheck = shutil.which("shellcheck", path=os.path.dirname(os.sys.executable))
    if shellcheck is None:
        pytest.skip("no shellcheck in this environment")
    done = subprocess.run([shellcheck, "-x", path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_request_to_slurm_is_explained(path: Path) -> None:
    lines = path.read_text().splitlines()
    requests = [line for line in lines if line.startswith("#SBATCH")]
    assert requests
    for line in requests:
        assert "# " in line.removeprefix("#"), line
    assert any("--open-mode=append" in line for line in requests)
    assert any("jobs/logs/" in line for line in requests)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MDGAN_SITE": "nowhere"}, "no file jobs/sites/nowhere.sh; known: archer2 default"),
        ({"MDGAN_IMAGE": "lost.sif"}, "'lost.sif' is no image"),
        ({"MDGAN_RUNTIME": "docker"}, "use apptainer, venv or module"),
        ({"MDGAN_RUNTIME": "venv"}, "no Python environment in .venv"),
        ({"MDGAN_RUNTIME": "module"}, "mdgan-train is not found"),
        ({"MDGAN_START": "rsh"}, "use srun, torchrun, mpiexec or plain"),
        ({"MDGAN_START": "plain", "MDGAN_RANKS": "2"}, "plain starts 1 rank, not 2"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    site = variables.pop("MDGAN_SITE", "workstation")
    text = run(site, tmp_path, "jobs/train.slurm", "demo.toml", **variables)
    assert text.startswith("Error: "), text
    assert words in text
    assert text.count("\n") == 1, text


WHEEL = Path(sys.executable).parents[1]


@pytest.mark.skipif(
    not (WHEEL / "bin/mpiexec").exists(), reason="this environment has no MPI of its own"
)
def test_an_mpi_that_cannot_work_is_told_before_anything_is_submitted(tmp_path: Path) -> None:
    chosen = {"MDGAN_RUNTIME": "venv", "MDGAN_VENV": str(WHEEL), "MDGAN_MPI": "pmix"}
    text = run("default", tmp_path, "jobs/pipeline.sh", "run", **chosen)
    assert text.startswith("Error: MDGAN_MPI=pmix, but the environment holds MPICH's wheel")
    assert text.count("\n") == 1


def test_run_folders_of_one_name_are_told_before_anything_is_submitted(tmp_path: Path) -> None:
    for folder in ("a/run", "b/run"):
        (tmp_path / folder).mkdir(parents=True)
    text = run("default", tmp_path, "jobs/pipeline.sh", "a/run", "b/run")
    assert text.startswith("Error: two run folders are called run")
    assert text.count("\n") == 1


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in SITES:
        (GOLDEN / f"{name}.txt").write_text(render(name))
