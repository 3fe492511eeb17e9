"""The report command, end to end on small synthetic files."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.parallel import SingleProcess
from mdgan_hpc.plotting import figure
from mdgan_hpc.report.advice import advise
from mdgan_hpc.report.cells import by_cell
from mdgan_hpc.report.comparison import compare
from mdgan_hpc.report.figures.curves import band_of_models
from mdgan_hpc.report.figures.motion import msd
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.sentences import sentences
from mdgan_hpc.report.settings import ReportConfig
from mdgan_hpc.results import load_results
from tests.support.commands import run
from tests.support.motion import brownian, cage_and_hops, write

MPIEXEC = Path(sys.executable).with_name("mpiexec")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(5)
    md = [write(folder / f"md{k}.h5", brownian(800, 6, rng), interval=0.05) for k in (1, 2, 3)]
    generated = write(
        folder / "gen.h5",
        brownian(900, 64, rng, interval=0.1),
        interval=0.1,
        parameters={"generator_label": "transition density", "simulated_together": 1},
    )
    return [*(x for m in md for x in ("--md", m)), "--generated", generated]


@pytest.fixture(scope="module")
def reported(inputs, tmp_path_factory):
    """The folder of a report, and what the command said."""
    folder = tmp_path_factory.mktemp("reported") / "report"
    done = run("mdgan_hpc.cli.report", *inputs, "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_report_holds_figures_numbers_and_a_page(reported):
    folder, done = reported
    numbers = json.loads((folder / "report.json").read_text())
    ratio = numbers["msd_ratio"]
    assert f"{ratio['worst']:.3f}" in done.stdout
    assert 0.6 < ratio["worst"] < 1.6
    assert ratio["lag_ps"][0] == pytest.approx(0.1)
    assert ratio["lag_ps"][-1] <= 0.25 * 799 * 0.05
    for part in ("md", "generated"):
        total = numbers[part]["diffusion"]["total"]
        assert total["low_angstrom2_per_ps"] < 1.0 < total["high_angstrom2_per_ps"]
    page = (folder / "report.html").read_text()
    assert re.search(r"<h2>(.*?)</h2>", page)[1] == "Verdict"
    pictures = re.findall(r'<img[^>]*src="([^"]*)"', page)
    assert len(pictures) == len(list(folder.glob("*.png"))) == len(list(folder.glob("*.pdf"))) >= 8
    assert set(numbers["fidelity"]) == {"transition density", "block bootstrap", "Gaussian process"}
    assert numbers["fidelity"]["transition density"]["median"] < 2
    assert all(p.startswith("data:image/png;base64,") for p in pictures)
    critic = numbers["critic"]
    assert 0.3 < critic["auc"][0] < 0.7
    assert f"AUC (0.5: it cannot tell; 1: it always can) of {critic['auc'][0]:.2f}" in done.stdout
    assert (folder / "critic.png").exists()
    assert (folder / "critic_windows.png").exists()
    assert "D of transition density =" in done.stdout
    assert "MD-GAN" not in done.stdout + page
    assert "http" not in re.sub(r"data:[^\"]*", "", page)


def test_fidelity_is_that_of_all_models_mixed(tmp_path):
    rng = np.random.default_rng(7)
    md = [write(tmp_path / f"md{k}.h5", brownian(400, 12, rng)) for k in (1, 2, 3)]
    fast, slow = (
        write(tmp_path / f"{name}.h5", scale * brownian(400, 300, rng))
        for name, scale in (("fast", 1.5**0.5), ("slow", 0.5**0.5))
    )
    ratio = {}
    for name, made in {"slow": [slow], "both": [fast, slow]}.items():
        config = ReportConfig(tuple(map(str, md)), tuple(map(str, made)), critic=False)
        found = compare(config, SingleProcess())
        assert found is not None
        ratio[name] = found.fidelity["generated"].msd_ratio
    assert ratio["both"] == pytest.approx(2 * ratio["slow"], rel=0.15)


def test_models_of_an_ensemble_are_a_band(tmp_path):
    rng = np.random.default_rng(8)
    md = [write(tmp_path / f"md{k}.h5", brownian(400, 12, rng)) for k in (1, 2)]
    scales = [1.4**0.5, 0.6**0.5]
    made = [
        write(tmp_path / f"{k}.h5", scale * brownian(400, 300, rng))
        for k, scale in enumerate(scales)
    ]
    config = ReportConfig(tuple(map(str, md)), tuple(map(str, made)), critic=False)
    found = compare(config, SingleProcess())
    assert found is not None
    assert not found.generated.dynamics.msd_of_models()
    assert "models" not in msd(found, tmp_path).caption
    dynamics = replace(found.generated.dynamics, models=np.array([0, 1]))
    found = replace(found, generated=replace(found.generated, dynamics=dynamics))
    each = dynamics.msd_of_models()
    np.testing.assert_allclose(each[0] / each[1], 1.4 / 0.6, rtol=0.3)
    np.testing.assert_allclose((each[0] + each[1]) / 2, dynamics.curves.msd, rtol=1e-6)
    assert "lowest to the highest of the 2 models" in msd(found, tmp_path).caption
    with figure() as (_, ax):
        band_of_models(ax, found)
        (shaded,) = ax.collections
        low, high = shaded.get_datalim(ax.transData).intervaly
        assert low == pytest.approx(each[1].min())
        assert high == pytest.approx(each[0].max())
    with figure() as (_, ax):
        band_of_models(ax, found, over_md=True)
        (shaded,) = ax.collections
        bounds = shaded.get_datalim(ax.transData)
        assert bounds.intervalx[1] == pytest.approx(found.msd_ratio.lag_ps[-1])
        low, high = bounds.intervaly
        assert low < found.msd_ratio.ratio.min() < found.msd_ratio.ratio.max() < high


def test_a_crystal_adds_sites_and_density(tmp_path):
    rng = np.random.default_rng(6)
    cell = np.diag([10.0, 10.0, 10.0])
    corners = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.5
    framework = {
        "species": np.full(64, 8),
        "position": corners + 1.25,
        "rms_displacement": np.full(64, 0.1),
    }
    md = [
        write(
            tmp_path / f"md{k}.h5",
            cage_and_hops(800, 12, rng),
            cell=cell,
            parameters={"framework": framework},
        )
        for k in (1, 2)
    ]
    generated = write(tmp_path / "gen.h5", cage_and_hops(800, 48, rng), cell=cell)
    folder = tmp_path / "report"
    options = [*(x for m in md for x in ("--md", m)), "--generated", generated]
    done = run("mdgan_hpc.cli.report", *options, "--no-critic", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert "critic" not in done.stdout + done.stderr
    assert not (folder / "critic.png").exists()
    sites = json.loads((folder / "report.json").read_text())["sites"]
    for part in ("md", "generated"):
        found = sites[part]
        assert len(found["sites"]["fraction"]) == 1
        np.testing.assert_allclose(np.abs(np.linalg.det(found["lattice"])), 2.5**3, rtol=1e-6)
        assert found["jump_length"] == pytest.approx(2.5, rel=0.02)
        assert found["jump_rate_per_ps"] == pytest.approx(1.0, rel=0.1)
        # Six directions, so one hop in six leads back; hops come at random times.
        assert found["back"] == pytest.approx(1 / 6, abs=0.05)
    for picture in ("density", "site_network", "jump_rates", "correlation_factor"):
        assert (folder / f"{picture}.png").exists()
    assert "How the ions jump" in (folder / "report.html").read_text()


def test_a_second_run_uses_what_is_there_and_other_inputs_are_refused(reported, inputs):
    folder, first = reported
    before = (folder / "analysis.h5").stat().st_mtime_ns
    page = (folder / "report.html").read_bytes()
    # Two ranks share the figures, where there is an MPI.
    launch = [MPIEXEC, "-n", "2"] if MPIEXEC.exists() else []
    words = [*launch, sys.executable, "-m", "mdgan_hpc.cli.report", *inputs, "-o", folder]
    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert (folder / "report.html").read_bytes() == page
    assert (folder / "analysis.h5").stat().st_mtime_ns == before
    other = run("mdgan_hpc.cli.report", *inputs[2:], "-o", folder)
    assert other.returncode == 2
    assert "other inputs" in other.stderr


def test_a_comparison_goes_to_a_file_and_comes_back(reported):
    folder, _ = reported
    tree = load_results(folder / "analysis.h5")
    found = Comparison.from_tree(tree)
    again = Comparison.from_tree(found.to_tree())
    np.testing.assert_array_equal(again.md.dynamics.curves.msd, tree["md"]["curves"]["msd"])
    assert again.fidelity.keys() == found.fidelity.keys()
    name = found.generated.label
    assert again.fidelity[name].median == tree["fidelity"][name]["median"]
    assert found.generated.diffusion.require().d_angstrom2_per_ps > 0


def test_several_species_are_refused_until_one_is_named(tmp_path):
    rng = np.random.default_rng(9)
    species = np.repeat([3, 8], 6)
    md = [write(tmp_path / f"md{k}.h5", brownian(400, 12, rng), species=species) for k in (1, 2)]
    generated = write(tmp_path / "gen.h5", brownian(400, 24, rng), species=np.full(24, 3))
    paths = tuple(map(str, md)), (str(generated),)
    with pytest.raises(UsageError, match="Li6 O6"):
        compare(ReportConfig(*paths), SingleProcess())
    found = compare(ReportConfig(*paths, species="Li"), SingleProcess())
    assert found is not None
    assert found.md.dynamics.species == "Li"
    assert (found.md.dynamics.n_particles == 6).all()
    with pytest.raises(UsageError, match="holds no O"):
        compare(ReportConfig(*paths, species="O"), SingleProcess())


def test_advice_and_report_count_hops_by_one_rule(tmp_path):
    rng = np.random.default_rng(4)
    md = [str(write(tmp_path / f"md{k}.h5", cage_and_hops(800, 12, rng))) for k in (1, 2)]
    generated = write(tmp_path / "gen.h5", cage_and_hops(800, 48, rng))
    found = compare(ReportConfig(tuple(md), (str(generated),)), SingleProcess())
    assert found is not None
    assert advise(md).ceiling == found.ceiling


@pytest.mark.parametrize(
    ("frames", "speed", "message"), [(4, 1.0, "4 records is too short"), (400, 0.0, "do not move")]
)
def test_md_that_tells_nothing_is_refused_in_one_line(tmp_path, frames, speed, message):
    positions = speed * np.random.default_rng(0).normal(size=(frames, 4, 3)).cumsum(0)
    file = str(write(tmp_path / "md.h5", positions))
    generated = str(write(tmp_path / "gen.h5", -positions))
    with pytest.raises(DataError, match=message):
        compare(ReportConfig((file,), (generated,)), SingleProcess())


def test_a_model_that_stands_still_gets_its_report(tmp_path):
    moving = write(tmp_path / "md.h5", brownian(200, 6, np.random.default_rng(0)))
    still = write(tmp_path / "gen.h5", np.ones((200, 6, 3)))
    folder = tmp_path / "report"
    files = ["--md", moving, "--generated", still]
    done = run("mdgan_hpc.cli.report", *files, "--no-critic", "-o", folder)
    assert done.returncode == 0, done.stderr
    assert "The model does not move as the MD does" in done.stdout


def test_generated_cells_of_different_size_stand_beside_each_other(tmp_path):
    rng, edge = np.random.default_rng(8), 9.0 * np.eye(3)
    md = [write(tmp_path / f"md{k}.h5", brownian(400, 6, rng), cell=edge) for k in (1, 2)]
    told = {"generator_label": "transition density"}
    small, large = (
        write(
            tmp_path / f"{name}.h5",
            brownian(400, 48, rng, d=d),
            cell=np.diag(repeats) @ edge,
            parameters=told | {"simulated_together": 6 * int(np.prod(repeats))} | more,
        )
        for name, d, repeats, more in (
            ("small", 1.0, (1, 1, 1), {}),
            ("large", 1.5, (2, 2, 1), {"supercell": np.array([2, 2, 1], np.int32)}),
        )
    )
    config = ReportConfig(tuple(map(str, md)), (str(large), str(small)), critic=False)
    found = compare(config, SingleProcess())
    assert found is not None
    (ions, other), *_ = found.other_cells.items()
    assert (found.ions_seen, ions) == ("6 ions", "24 ions in 2 x 2 x 1 cells")
    assert found.generated.diffusion.total.d_angstrom2_per_ps == pytest.approx(1.0, rel=0.15)
    assert other.diffusion.total.d_angstrom2_per_ps == pytest.approx(1.5, rel=0.15)
    told = " ".join(sentences(found))
    assert "against the size of the cell: 6 ions: " in told
    assert "; 24 ions in 2 x 2 x 1 cells: 1." in told
    # Against MD of the large cell, the large one is compared.
    of_large = write(tmp_path / "md3.h5", brownian(400, 24, rng), cell=np.diag([18.0, 18.0, 9.0]))
    nearest = by_cell((str(large),), str(of_large), "")
    assert nearest == {"24 ions in 2 x 2 x 1 cells": (str(large),)}
    with pytest.raises(DataError, match="cell that differs"):
        by_cell((str(small),), str(of_large), "")
