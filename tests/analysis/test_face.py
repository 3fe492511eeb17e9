"""The analysis from Python: objects, their way through a file, and the conductivity."""

import json

import numpy as np
import pytest

from mdgan_hpc.analysis.diffusion import diffusion
from mdgan_hpc.analysis.dynamics import dynamics
from mdgan_hpc.analysis.fit.transport import nernst_einstein
from mdgan_hpc.analysis.results import Collective, Dynamics, MsdResult, Refused
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.results import load_results
from tests.support.commands import run
from tests.support.motion import brownian, dragging, write


def same(a, b, where=""):
    """Compare trees to the bit, but for numbers that are not finite in JSON."""
    assert a.keys() == b.keys(), where
    for name, value in a.items():
        if isinstance(value, dict):
            same(value, b[name], f"{where}/{name}")
        else:
            np.testing.assert_array_equal(value, b[name], err_msg=f"{where}/{name}")


@pytest.fixture
def cells(tmp_path, rng):
    return write(
        tmp_path / "cells.h5",
        dragging(1500, 24, 4, rng),
        cell=np.eye(3) * 20,
        parameters={"simulated_together": 4, "generator_label": "transition density"},
    )


@pytest.mark.parametrize("suffix", ["h5", "json"])
def test_a_result_file_comes_back_as_it_was(tmp_path, cells, suffix):
    found = dynamics(cells, per_particle=True)
    fitted = diffusion(found, charge=1, temperature_k=900.0)
    assert isinstance(fitted.collective, Collective)
    result = MsdResult(found, fitted, {"inputs": {str(cells): "0"}})
    result.save(tmp_path / f"msd.{suffix}")
    back = MsdResult.load(tmp_path / f"msd.{suffix}")
    same(result.to_tree(), back.to_tree())
    assert type(back.diffusion.collective) is Collective
    assert back.diffusion.total == fitted.total
    assert back.dynamics.blocks.msd.shape == found.blocks.msd.shape


def test_names_in_the_file_are_those_of_older_ones(tmp_path, cells):
    tree = MsdResult(dynamics(cells), diffusion(cells)).to_tree()
    assert {"curves", "replicas", "simulations", "bundles", "van_hove", "vacf"} <= tree.keys()
    assert {"total", "x", "y", "z", "choice", "collective"} <= tree["diffusion"].keys()
    assert {"d_cm2_per_s", "birge_ratio", "window_chosen"} <= tree["diffusion"]["total"].keys()
    without = {k: v for k, v in tree.items() if k not in ("species", "files", "bundles")}
    old = MsdResult.from_tree(without)
    assert old.dynamics.species == "X"
    assert old.dynamics.blocks is None
    with pytest.raises(DataError, match=r"holds no curves.*not a Dynamics"):
        Dynamics.from_tree({k: v for k, v in tree.items() if k != "curves"})


def test_curves_carry_the_name_of_what_made_them(tmp_path, cells, rng):
    assert dynamics(cells).label == "transition density"
    assert dynamics(write(tmp_path / "a.h5", brownian(100, 3, rng))).label == "MD"
    assert dynamics(cells, label="mine").label == "mine"


def test_options_are_fields_of_the_configuration(cells):
    a = dynamics(cells, DynamicsConfig(full=False, max_fraction=0.1))
    b = dynamics([cells], full=False, max_fraction=0.1)
    np.testing.assert_array_equal(a.curves.msd, b.curves.msd)
    assert b.van_hove is None
    with pytest.raises(UsageError, match="either"):
        dynamics(cells, DynamicsConfig(), full=False)


def test_diffusion_of_files_is_that_of_their_dynamics(cells):
    a, b = (
        diffusion(cells, window_ps=(1.0, 10.0)),
        diffusion(dynamics(cells), window_ps=(1.0, 10.0)),
    )
    assert a.total == b.total
    assert a.total.window_chosen == "given"
    assert a.nernst_einstein is None


def test_conductivity(cells):
    found = diffusion(cells, charge=1, temperature_k=1000.0)
    expected = nernst_einstein(
        found.total.d_angstrom2_per_ps, n_ions=4, volume_a3=8000, charge=1, temperature_k=1000
    )
    assert found.nernst_einstein.sigma_s_per_cm == pytest.approx(expected)
    ratio = found.conductivity.sigma_s_per_cm / found.nernst_einstein.sigma_s_per_cm
    assert ratio == pytest.approx(1 / found.collective.haven_ratio)
    with pytest.raises(UsageError, match="no temperature"):
        diffusion(cells, charge=1)


def test_what_is_refused_is_told(tmp_path, rng):
    still = np.broadcast_to(np.arange(12.0).reshape(4, 3), (200, 4, 3))
    found = diffusion(write(tmp_path / "a.h5", still))
    assert found.total is None
    assert "do not move" in found.refused
    one_way = brownian(2000, 12, rng)
    one_way[..., 2] = 0.0
    flat = diffusion(write(tmp_path / "b.h5", one_way))
    assert isinstance(flat.z, Refused)


def test_provenance_of_inputs_by_absolute_path_lies_in_its_place(tmp_path, rng):
    path = write(tmp_path / "a.h5", brownian(300, 6, rng)).resolve()
    for suffix in ("h5", "json"):
        out = tmp_path / f"msd.{suffix}"
        done = run("mdgan_hpc.cli.msd", path, "-o", out)
        assert done.returncode == 0, done.stderr
        tree = load_results(out)
        assert set(tree["provenance"]["inputs"]) == {str(path)}
        assert "tmp" not in tree
        assert tree["files"] == [str(path)]


def test_results_without_a_usable_d_are_refused_by_arrhenius(tmp_path):
    coefficient = {"d_angstrom2_per_ps": None, "error_angstrom2_per_ps": 0.1}
    path = tmp_path / "msd.json"
    path.write_text(json.dumps({"diffusion": {"total": coefficient}}))
    done = run("mdgan_hpc.cli.msd", "--arrhenius", f"900={path}", "-o", tmp_path / "a.json")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
