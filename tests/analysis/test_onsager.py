"""Several species: Onsager coefficients against naive sums and known answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mdgan_hpc
from mdgan_hpc.analysis.mixture import measure_mixture
from mdgan_hpc.analysis.results import MixtureResult, Refused
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import SingleProcess
from mdgan_hpc.units import BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C
from tests.support.commands import run
from tests.support.motion import brownian, langevin, write

MPIEXEC = Path(sys.executable).with_name("mpiexec")
SODIUM, CHLORINE, IODINE = 11, 17, 53
#: Of 4 Na and 6 Cl in a cell: each in turn where the file has them.
SPECIES = np.array([SODIUM, CHLORINE, CHLORINE, SODIUM, CHLORINE] * 2)
CELL = np.diag([9.0, 9.0, 9.0])
DRAG = 0.3


def against_each_other(n_records, rng, species=SPECIES, process="brownian"):
    """Ions that the cell drags along, sodium one way and all others the other way.

    D is 1, of it 1 - DRAG of each alone and DRAG with the cell.
    """
    if process == "langevin":
        own = langevin(n_records, len(species), rng, tensor=(1 - DRAG) * np.eye(3))
        cell = langevin(n_records, 1, rng, tensor=DRAG * np.eye(3))
    else:
        own = brownian(n_records, len(species), rng, d=1 - DRAG)
        cell = brownian(n_records, 1, rng, d=DRAG)
    return own + np.where(species == SODIUM, 1.0, -1.0)[:, None] * cell


def expected(sodium=4, chlorine=6):
    """D_ij of these."""
    root = np.sqrt([sodium, chlorine])
    sign = np.array([[1, -1], [-1, 1]])
    return (1 - DRAG) * np.eye(2) + DRAG * sign * np.outer(root, root)


def files(folder, lengths, seed=1, **options):
    rng = np.random.default_rng(seed)
    return [
        write(folder / f"{i}.h5", against_each_other(n, rng, **options), species=SPECIES, cell=CELL)
        for i, n in enumerate(lengths)
    ]


def of_cells(folder, n_records, n_cells, **options):
    """A file of many cells, as a model makes it."""
    rng = np.random.default_rng(6)
    x = np.concatenate([against_each_other(n_records, rng, **options) for _ in range(n_cells)], 1)
    cells = {"simulated_together": len(SPECIES)}
    species = np.tile(SPECIES, n_cells)
    return write(folder / "g.h5", x, species=species, cell=CELL, parameters=cells)


def test_products_are_those_of_a_naive_sum(tmp_path):
    species = np.array([SODIUM, IODINE, CHLORINE, SODIUM, CHLORINE, CHLORINE])
    rng = np.random.default_rng(2)
    runs = [against_each_other(n, rng, species).astype(np.float32) for n in (60, 47)]
    paths = [write(tmp_path / f"{i}.h5", x, species=species) for i, x in enumerate(runs)]
    names = ("Cl", "Na", "I")
    _, found = measure_mixture(paths, names, DynamicsConfig(every_lag=True), SingleProcess())
    numbers = (CHLORINE, SODIUM, IODINE)
    assert found.n_ions.tolist() == [3, 2, 1]
    assert len(found.lag_ps) == 23
    naive = np.zeros((len(found.lag_ps), 3, 3))
    for lag in range(1, len(naive) + 1):
        origins = 0
        for x in runs:
            moved = x[lag:].astype(float) - x[:-lag].astype(float)
            sums = np.stack([moved[:, species == z].sum(1) for z in numbers])
            naive[lag - 1] += np.einsum("iod,jod->ij", sums, sums)
            origins += len(moved)
        naive[lag - 1] /= origins * np.sqrt(np.outer(found.n_ions, found.n_ions))
    largest = np.abs(naive).max()
    np.testing.assert_allclose(found.product_angstrom2, naive, rtol=0, atol=1e-10 * largest)
    turned = found.product_angstrom2.swapaxes(1, 2)
    assert np.array_equal(found.product_angstrom2, turned)


@pytest.mark.parametrize("process", ["brownian", "langevin"])
def test_coefficients_of_ions_that_drag_each_other_to_three_percent(tmp_path, process):
    paths = [of_cells(tmp_path, 4000, 40, process=process)]
    found = mdgan_hpc.onsager(paths, "Na,Cl", charges=(1, -1), temperature_k=1100.0).onsager
    true, d = expected(), found.d_angstrom2_per_ps
    np.testing.assert_allclose(d, true, atol=0.03 * true.max())
    assert np.array_equal(d, d.T)
    assert (np.abs(d - true) < 4 * found.error_angstrom2_per_ps).all()
    # L_ij and what follows from it, by their definitions.
    thermal = BOLTZMANN_J_PER_K * 1100 * 729e-30
    l_ij = d * 1e-8 * np.sqrt(np.outer([4, 6], [4, 6])) / thermal
    np.testing.assert_allclose(found.l_per_joule_metre_second, l_ij, rtol=1e-12)
    charges, carried = np.array([1, -1]), found.conductivity
    parts = charges * (l_ij @ charges) * ELEMENTARY_CHARGE_C**2 / 100
    assert carried.sigma_s_per_cm == pytest.approx(parts.sum(), rel=1e-12)
    np.testing.assert_allclose(carried.transference, parts / parts.sum(), rtol=1e-12)
    truth = charges * np.sqrt([4, 6]) @ true @ (charges * np.sqrt([4, 6]))
    assert carried.haven_ratio == pytest.approx(10 / truth, rel=0.04)


def test_errors_are_the_scatter(tmp_path):
    pulls, shares = [], []
    true = expected()
    carried = np.array([1, -1]) * np.sqrt([4, 6])
    share = carried * (true @ carried) / (carried @ true @ carried)
    for seed in range(24):
        folder = tmp_path / str(seed)
        folder.mkdir()
        paths = files(folder, [500, 600], seed)
        found = mdgan_hpc.onsager(
            paths, "Na,Cl", charges=(1, -1), temperature_k=900.0, window_ps=(0.05, 4)
        ).onsager
        pulls.append((found.d_angstrom2_per_ps - true) / found.error_angstrom2_per_ps)
        shares.append(
            (found.conductivity.transference - share) / found.conductivity.transference_error
        )
    scatter = np.std([*np.moveaxis(pulls, 0, -1).reshape(4, -1), *np.array(shares).T], axis=1)
    assert ((scatter > 0.6) & (scatter < 1.5)).all(), scatter
    assert (np.abs(np.mean(pulls, 0)) < 0.7).all()


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no MPI in this environment")
@pytest.mark.parametrize("made", ["simulated", "generated"])
def test_command_on_any_number_of_ranks(tmp_path, made):
    paths = files(tmp_path, [400, 500])
    if made == "generated":
        paths = [of_cells(tmp_path, 400, 5)]
    asked = ["--species", "Cl,Na", "--nernst-einstein", "-1,1", "--temperature", "1000"]
    told = []
    for ranks in (1, 2, 4):
        out = tmp_path / f"{ranks}.json"
        launch = [MPIEXEC, "-n", ranks, sys.executable, "-m", "mdgan_hpc.cli.msd"]
        words = [str(word) for word in [*launch, *paths, *asked, "-o", out]]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for line in ("D of Cl = ", "D of Na = ", "Cl-Na -", "transference numbers Cl 0."):
            assert line in done.stdout
        assert ("these errors are those of the number" in done.stdout) == (made == "generated")
        told.append(MixtureResult.load(out))
    one = told[0]
    assert one.onsager.species == ("Cl", "Na")
    assert one.products.n_cells.tolist() == ([1, 1] if made == "simulated" else [5])
    for other in told[1:]:
        np.testing.assert_allclose(
            other.onsager.d_angstrom2_per_ps, one.onsager.d_angstrom2_per_ps, rtol=1e-9
        )
    d = mdgan_hpc.diffusion(paths, species="Na").total.d_angstrom2_per_ps
    assert one.species["Na"].diffusion.total.d_angstrom2_per_ps == pytest.approx(d, rel=1e-12)
    again = tmp_path / "again.h5"
    one.save(again)
    assert MixtureResult.load(again).onsager.species == ("Cl", "Na")


def test_what_cannot_be_told_is_refused(tmp_path):
    paths = files(tmp_path, [200])
    cases = [
        (["--species", "Na,Cl", "--nernst-einstein", "1"], "1 charges are given for 2 species"),
        (["--species", "Na,Cl", "--nernst-einstein", "1,-1"], "no temperature"),
        (["--species", "Na,K"], "holds no K"),
        (["--species", "Na,Cl", "--msd-only"], "leave out --msd-only"),
        (["--species", "Na", "--nernst-einstein", "1,-1"], "name the species"),
        (["--species", "Na", "--nernst-einstein", "one"], "as in 1, or 1,-1"),
    ]
    for options, message in cases:
        done = run("mdgan_hpc.cli.msd", *paths, *options, "-o", tmp_path / "o.json")
        assert done.returncode == 2, (options, done.stdout, done.stderr)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    done = run("mdgan_hpc.cli.msd", *paths, "--species", "Na,Cl", "-o", tmp_path / "o.csv")
    assert ".json or .h5" in done.stderr
    with pytest.raises(UsageError, match="names one species"):
        mdgan_hpc.onsager(paths, "Na")


def test_ions_generated_one_by_one_have_none(tmp_path):
    """Each is a cell of its own: nothing tells how they move together."""
    x = brownian(300, 20, np.random.default_rng(5))
    path = write(
        tmp_path / "one.h5",
        x,
        species=[SODIUM, CHLORINE] * 10,
        parameters={"simulated_together": 1},
    )
    found = mdgan_hpc.onsager(path, "Na,Cl")
    assert isinstance(found.onsager, Refused)
    assert found.products is None
    assert found.species["Na"].diffusion.total is not None
