"""Results of several temperatures in a report."""

import json

import numpy as np
import pytest

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.report.temperatures import read_arrhenius
from tests.support.commands import run
from tests.support.motion import brownian, write

MADE = {"generator_label": "a model", "simulated_together": 12}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """MD and generated ions at one temperature, and the fit to D at two."""
    folder, rng, fits = tmp_path_factory.mktemp("material"), np.random.default_rng(2), []
    cell = 20 * np.eye(3)
    for kelvin, d in ((800, 0.5), (1000, 1.0)):
        for name, told in (("md", {}), ("made", MADE)):
            told = {**told, "temperature_target": float(kelvin)}
            file = write(
                folder / f"{name}{kelvin}.h5",
                brownian(600, 12, rng, d=d),
                cell=cell,
                parameters=told,
            )
            result = folder / f"{name}{kelvin}.json"
            done = run("mdgan_hpc.cli.msd", file, "-o", result, "--nernst-einstein", 1)
            assert done.returncode == 0, done.stderr
            fits += ["--arrhenius", f"{kelvin}={result}"]
    done = run("mdgan_hpc.cli.msd", *fits, "--at", 600, "-o", folder / "arrhenius.json")
    assert done.returncode == 0, done.stderr
    assert "Activation energy of generated ions alone" in done.stdout
    return folder


def test_a_report_shows_what_is_known_of_other_temperatures(material, tmp_path):
    given = ["--md", material / "md800.h5", "--generated", material / "made800.h5", "--no-critic"]
    fit = material / "arrhenius.json"
    done = run("mdgan_hpc.cli.report", *given, "--arrhenius", fit, "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<h2>Against the temperature</h2>" in page
    for row in ("1000 K, generated", "600 K, predicted", "D of MD alone", "conductivity times T"):
        assert row in page, row
    assert (tmp_path / "report" / "arrhenius.png").stat().st_size > 10_000
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    whole = json.loads(fit.read_text())
    assert numbers["arrhenius"]["points"] == whole["points"]
    # The same inputs again only draw; another fit is another input.
    again = run("mdgan_hpc.cli.report", *given, "--arrhenius", fit, "-o", tmp_path / "report")
    assert again.returncode == 0, again.stderr
    other = run("mdgan_hpc.cli.report", *given, "-o", tmp_path / "report")
    assert other.returncode == 2
    assert "other inputs" in other.stderr


def test_what_is_no_fit_is_refused(material, tmp_path):
    with pytest.raises(DataError, match="holds no fit against the temperature"):
        read_arrhenius([material / "md800.json"])
    fit = material / "arrhenius.json"
    with pytest.raises(UsageError, match="second result of its kind"):
        read_arrhenius([fit, fit])
    half = tmp_path / "half.json"
    half.write_text('{"arrhenius": {"activation_ev": 1.0}}')
    with pytest.raises(DataError, match=r"half\.json"):
        read_arrhenius([half])
