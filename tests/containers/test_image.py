"""A built image, used as its users do: its own test, its commands, the whole pipeline, under Slurm.

The image is MDGAN_TEST_IMAGE; tests/containers/build_and_test.sh builds one and runs this.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import pytest
import torch

from tests.cluster.conftest import Slurm, cluster, slurm

__all__ = ["cluster", "slurm"]  # fixtures
ROOT = Path(__file__).resolve().parents[2]
IMAGE = Path(os.environ.get("MDGAN_TEST_IMAGE", "none"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not IMAGE.exists() or shutil.which("apptainer") is None,
        reason="no MDGAN_TEST_IMAGE, or no apptainer: tests/containers/build_and_test.sh",
    ),
]


def apptainer(
    *words: object, cwd: Path = ROOT, user: Sequence[str] = (), home: Path = Path("/root")
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*user, "apptainer", *(str(word) for word in words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_own_test_section_passes() -> None:
    out = apptainer("test", IMAGE).stdout
    assert "This site works." in out


def read_labels() -> dict[str, str]:
    shown = json.loads(apptainer("inspect", "--json", IMAGE).stdout)
    return shown["data"]["attributes"]["labels"]


def test_labels_name_versions_and_commit() -> None:
    labels = read_labels()
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.revision"]
    assert "h5py==" in labels["mdgan.pins"]
    assert "torch==" in labels["mdgan.pins"]
    assert "mdgan-train" in apptainer("run-help", IMAGE).stdout


def test_each_command_is_an_app_and_runs_from_the_runscript() -> None:
    for name in ("convert", "train", "generate", "msd", "report", "sites"):
        assert "Example" in apptainer("run", "--app", name, IMAGE, "--help").stdout
        assert "Example" in apptainer("run", IMAGE, f"mdgan-{name}", "--help").stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="mdgan-image-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_runs_as_an_ordinary_user_without_network(open_folder: Path) -> None:
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    image = IMAGE
    if image.is_file():  # to where an ordinary user may read it
        image = Path(shutil.copy(IMAGE, open_folder / "image.sif"))
    program = (
        "import os, socket, mdgan_hpc, torch, h5py; assert os.getuid() == 65534\n"
        "names = [n for _, n in socket.if_nameindex()]; assert names == ['lo'], names\n"
    )
    apptainer(
        *("exec", "--no-home", "--net", "--network=none", image),
        *("python", "-c", program),
        cwd=open_folder,
        user=user if os.geteuid() == 0 else (),
        home=open_folder,
    )


def test_whole_pipeline_inside(tmp_path: Path) -> None:
    inside = ("exec", "--bind", ROOT, "--bind", tmp_path, IMAGE)
    config = tmp_path / "small.toml"
    config.write_text(
        "[data]\nrecords = 16\n[generator]\nhidden = 8\n"
        "[[phase]]\nsteps = 30\n[phase.likelihood]\nwarm_up = 4\n"
        "[train]\nbatch = 8\nevaluate_every = 0\n"
    )
    md, model, generated = tmp_path / "md.h5", tmp_path / "model", tmp_path / "generated.h5"
    run = ROOT / "tests/data/long/run1"
    for words in (
        ("mdgan-convert", run, "-o", md, "--select", "Li", "--drift", "all"),
        ("mdgan-train", config, "--data", md, "--out", model),
        (
            *("mdgan-generate", model, "-o", generated, "--particles", 64, "--records", 2400),
            "--accept-poor-model",
        ),
        ("mdgan-msd", generated, "-o", tmp_path / "msd.json"),
        ("mdgan-report", "--md", md, "--generated", generated, "-o", tmp_path / "report"),
    ):
        apptainer(*inside, *words, cwd=tmp_path)
    assert json.loads((tmp_path / "msd.json").read_text())
    labels = apptainer("inspect", IMAGE).stdout
    commit = torch.load(model / "model.pt", weights_only=True)["provenance"]["git"]
    assert commit in labels, "the commit of the image is in its outputs"
    assert commit != ""
    assert list((tmp_path / "report").glob("*.html"))


@pytest.fixture
def in_the_image() -> dict[str, str]:
    """The environment in which the job scripts use the image."""
    # What Debian's Open MPI and MPICH speak with srun.
    speaks = {"openmpi": "pmix", "mpich": "pmi2"}[read_labels()["mdgan.mpi"]]
    return {
        "MDGAN_RUNTIME": "apptainer",
        "MDGAN_IMAGE": str(IMAGE),
        "MDGAN_MPI": speaks,
        "PYTHONPATH": "",  # the package of the image, not of the checkout
    }


def test_two_ranks_write_one_parallel_file_under_slurm(
    slurm: Slurm, in_the_image: dict[str, str], tmp_path: Path
) -> None:
    """The job scripts with MDGAN_IMAGE: convert, train and generate on two nodes."""
    config = tmp_path / "small.toml"
    config.write_text(
        "[data]\nrecords = 16\n[generator]\nhidden = 8\n"
        "[[phase]]\nsteps = 30\n[phase.likelihood]\nwarm_up = 4\n"
        "[train]\nbatch = 8\nevaluate_every = 0\n"
    )
    env = in_the_image | {
        "MDGAN_CONVERT": "--select Li --drift all",
        "MDGAN_CONFIG": str(config),
        "APPTAINER_BIND": f"{ROOT},{tmp_path}",
    }
    two = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1")
    slurm.done(slurm.submit("jobs/convert.slurm", ROOT / "tests/data/long/run1", env=env))
    slurm.done(slurm.submit("jobs/train.slurm", options=two, env=env))
    output = tmp_path / "generated.h5"
    words = [Path(slurm.environment["MDGAN_WORK"]) / "train", "-o", output]
    words += ["--particles", 512, "--records", 300, "--storage", "mpio", "--accept-poor-model"]
    log = slurm.done(slurm.submit("jobs/generate.slurm", *words, options=two, env=env))
    assert "apptainer exec" in log
    with h5py.File(output) as file:
        positions = file["particles/trajectory/position/value"]
        assert not positions.is_virtual, "one file, no parts"
        assert positions.shape[1] == 512
        assert positions[:].std() > 0


def test_smoke_test_in_the_image_on_two_nodes(slurm: Slurm, in_the_image: dict[str, str]) -> None:
    log = slurm.done(slurm.submit("jobs/smoke.slurm", env=in_the_image))
    assert "4 ranks by slurm on n1, n2" in log
    assert "This site works." in log
