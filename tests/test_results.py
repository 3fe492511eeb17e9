"""Result trees survive the way to a file and back."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.results import Result, load_results, save_results

TREE = {
    "curves": {"lag_ps": np.array([0.1, 0.2]), "msd_axis": np.arange(6.0).reshape(2, 3)},
    "label": "Li",
    "count": 3,
    "missing": None,
    "table": [["D", "1.0"], ["E", "2.0"]],
    "empty": [],
}


@pytest.mark.parametrize("suffix", ["h5", "json"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    save_results(path, TREE)
    back = load_results(path)
    np.testing.assert_array_equal(back["curves"]["msd_axis"], TREE["curves"]["msd_axis"])
    assert back["label"] == "Li"
    assert back["count"] == 3
    assert back["missing"] is None
    assert back["table"] == TREE["table"]
    assert len(back["empty"]) == 0


def test_csv_holds_the_columns_of_one_group_and_the_facts_above(tmp_path):
    save_results(tmp_path / "a.csv", TREE, table="curves")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert "# label = Li" in lines
    assert "lag_ps,msd_x,msd_y,msd_z" in lines
    assert lines[-1] == "0.20000000000000001,3,4,5"


def test_numbers_that_are_not_finite_are_null_in_json(tmp_path):
    save_results(tmp_path / "a.json", {"value": float("nan"), "array": np.array([1.0, np.inf])})
    assert "NaN" not in (tmp_path / "a.json").read_text()
    np.testing.assert_array_equal(load_results(tmp_path / "a.json")["array"], [1.0, np.nan])


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(UsageError, match="suffix"):
        save_results(tmp_path / "a.txt", TREE)
    with pytest.raises(DataError, match="no such file"):
        load_results(tmp_path / "no.h5")
    (tmp_path / "bad.h5").write_text("text")
    with pytest.raises(DataError, match="not an HDF5 file"):
        load_results(tmp_path / "bad.h5")


@pytest.mark.parametrize("suffix", ["h5", "json"])
def test_names_with_slashes_stay_in_their_place(tmp_path, suffix):
    """Fingerprints of inputs by absolute path; a percent sign is as good as any letter."""
    tree = {"provenance": {"inputs": {"/tmp/a%2Fb.h5": "12", "../c.h5": "34"}}, "count": 1}
    save_results(tmp_path / f"a.{suffix}", tree)
    assert load_results(tmp_path / f"a.{suffix}") == tree


@dataclass(frozen=True)
class Inner(Result):
    value: np.ndarray


@dataclass(frozen=True)
class Other(Result):
    refused: str


@dataclass(frozen=True)
class Outer(Result):
    label: str
    count: int
    inner: Inner | Other
    pair: tuple[float, float] = (0.0, 1.0)
    renamed: Inner | None = field(default=None, metadata={"stored": "old_name"})


@pytest.mark.parametrize("suffix", ["h5", "json"])
def test_objects_survive_the_way_to_a_file_and_back(tmp_path, suffix):
    for inner in (Inner(np.arange(3.0)), Other("no reason")):
        whole = Outer("a", 3, inner, (1.5, 2.0), Inner(np.zeros(2)))
        save_results(tmp_path / f"a.{suffix}", whole.to_tree())
        tree = load_results(tmp_path / f"a.{suffix}")
        assert set(tree) == {"label", "count", "inner", "pair", "old_name"}
        back = Outer.from_tree(tree)
        assert (back.label, back.count, back.pair) == ("a", 3, (1.5, 2.0))
        assert type(back.inner) is type(inner)
        assert isinstance(back.renamed, Inner)
    with pytest.raises(DataError, match="holds no count, inner: not a Outer result"):
        Outer.from_tree({"label": "a"})
    save_results(tmp_path / "b.json", {"label": "a"})
    with pytest.raises(DataError, match=r"b\.json: holds no count, inner: not a Outer result"):
        Outer.load(tmp_path / "b.json")
