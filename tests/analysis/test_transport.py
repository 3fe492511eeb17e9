"""Diffusion tensor, Green-Kubo, conductivity over temperatures, finite size: known answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mdgan_hpc.analysis.diffusion import diffusion
from mdgan_hpc.analysis.dynamics import summarise
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.green_kubo import cepstral, green_kubo
from mdgan_hpc.analysis.fit.transport import finite_size
from mdgan_hpc.analysis.observables.run import RunSums
from mdgan_hpc.analysis.plan import plan_lags
from mdgan_hpc.analysis.results import MsdResult
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import SingleProcess
from mdgan_hpc.report.text import diffusion_lines
from mdgan_hpc.units import BOLTZMANN_EV_PER_K
from tests.support.commands import run
from tests.support.motion import brownian, cage_and_hops, dragging, langevin, write

INTERVAL = 0.05
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
#: Angstrom^2/ps along its principal axes: 2, 1, 0.3.
TENSOR = TURN @ np.diag([2.0, 1.0, 0.3]) @ TURN.T


def measured(runs, ions_per_cell, interval=INTERVAL):
    """Measure positions [T, N, 3] of runs of cells."""
    plan = plan_lags(min(map(len, runs)), interval, DynamicsConfig())
    sums = []
    for x in runs:
        each = RunSums(len(x), plan, n_particles=x.shape[1], ions_per_cell=ions_per_cell)
        each.add(x)
        each.reduce(SingleProcess())
        sums.append(each)
    return summarise(sums, plan)


@pytest.fixture(scope="module")
def anisotropic():
    x = langevin(3000, 160, np.random.default_rng(1), tensor=TENSOR)
    return measured([x], 8)


def test_langevin_particles_to_three_percent(anisotropic):
    """D, its tensor, and D of all together, which is the same of particles that know nothing of
    each other, by Einstein and by Green and Kubo."""
    fitted = fit_diffusion(anisotropic)
    d, tensor = fitted.total.d_angstrom2_per_ps, fitted.tensor
    assert d == pytest.approx(1.1, rel=0.03)
    assert np.trace(tensor.d_angstrom2_per_ps) / 3 == pytest.approx(d, rel=1e-12)
    np.testing.assert_allclose(tensor.d_angstrom2_per_ps, TENSOR, atol=0.03 * 2.0)
    np.testing.assert_allclose(tensor.principal_angstrom2_per_ps, [2.0, 1.0, 0.3], rtol=0.03)
    assert fitted.green_kubo.d_angstrom2_per_ps == pytest.approx(1.1, rel=0.03)
    assert fitted.collective.d_angstrom2_per_ps == pytest.approx(1.1, rel=0.1)
    angles = np.degrees(np.arccos(np.minimum(np.abs((tensor.axes @ TURN).diagonal()), 1)))
    assert (angles < 3 * np.maximum(tensor.axes_error_degrees, 0.5)).all()
    assert tensor.isotropy_probability < 1e-10
    along = [found.d_angstrom2_per_ps for found in (fitted.x, fitted.y, fitted.z)]
    np.testing.assert_allclose(along, np.diag(TENSOR), rtol=0.05)
    lines = "\n".join(diffusion_lines(fitted))
    assert "principal axes of the diffusion tensor" in lines
    assert "Green-Kubo, cepstral" in lines


def test_spectrum_of_the_current_is_that_of_langevin_particles(anisotropic):
    """At every frequency, of velocities that are means over a record."""
    found, tau, h = anisotropic.current, 0.2, INTERVAL
    keep = np.exp(-h / tau)
    lags = np.arange(1, 200)
    zero = 2 * (h - tau * (1 - keep))  # of the displacements, over D
    later = tau * (1 - keep) ** 2 * keep ** (lags - 1)
    waves = np.cos(2 * np.pi * np.outer(found.frequency_thz, lags * h))
    expected = 1.1 * (zero + 2 * waves @ later) / h
    ratio = found.value / expected
    assert found.n_spectra == 60
    for some in np.array_split(ratio[1:], 10):
        assert some.mean() == pytest.approx(1.0, abs=5 / np.sqrt(60 * len(some)))
    # Each is the mean of 60 independent periodograms, of components that are not equal.
    share = np.array([2.0, 1.0, 0.3]) / 3.3
    assert ratio[1:-1].var() == pytest.approx(3 * (share**2).sum() / 60, rel=0.15)


def test_errors_of_the_tensor_are_its_scatter():
    pulls, alone = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = measured([langevin(600, 24, rng, tensor=TENSOR)], 8)
        found = fit_diffusion(found, window_ps=(1.0, 10.0)).tensor
        pulls.append((found.d_angstrom2_per_ps - TENSOR) / found.error_angstrom2_per_ps)
        isotropic = fit_diffusion(measured([brownian(400, 16, rng)], 8), window_ps=(0.05, 5))
        alone.append(isotropic.tensor.isotropy_probability)
    scatter = np.std(pulls, axis=0)
    assert ((scatter > 0.6) & (scatter < 1.5)).all()
    # Probabilities of chance are spread evenly.
    assert 0.3 < np.mean(alone) < 0.7
    assert min(alone) > 1e-3


def test_where_ions_stay_on_an_axis_their_coefficient_along_it_is_nought_within_its_error():
    """Layers: the slope of an MSD that grows no more is chance, above or below zero."""
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        layers = brownian(600, 24, rng)
        layers[..., 2] = rng.normal(0, 0.4, layers.shape[:2])
        found = fit_diffusion(measured([layers], 8), window_ps=(0.5, 8.0)).tensor
        assert np.isfinite(found.error_angstrom2_per_ps).all()
        pulls.append(
            found.principal_angstrom2_per_ps[2] / found.principal_error_angstrom2_per_ps[2]
        )
        across = found.d_angstrom2_per_ps[2, 2] / found.error_angstrom2_per_ps[2, 2]
        assert across == pytest.approx(pulls[-1], abs=0.5)
    assert min(pulls) < 0 < max(pulls)
    assert np.abs(pulls).max() < 3


@pytest.mark.parametrize(
    ("world", "true"),
    [
        (lambda rng: langevin(1500, 24, rng), 1.0),
        (lambda rng: cage_and_hops(2500, 24, rng), 2.5**2 / 6),
        (lambda rng: dragging(1500, 3, 8, rng), 1 + 7 / 2),
    ],
    ids=["langevin", "cage and hops", "dragging"],
)
def test_error_of_green_kubo_is_its_scatter(world, true):
    found = [
        green_kubo(measured([world(np.random.default_rng(seed))], 8).current) for seed in range(16)
    ]
    d = np.array([one.d_angstrom2_per_ps for one in found])
    error = np.array([one.error_angstrom2_per_ps for one in found])
    assert d.mean() == pytest.approx(true, rel=0.05)
    assert 0.5 < np.std((d - true) / error) < 1.6
    inside = [one.low_angstrom2_per_ps < true < one.high_angstrom2_per_ps for one in found]
    assert np.mean(inside) >= 0.75


def test_cepstral_analysis_of_noise_without_structure():
    """Its logarithm is zero, within errors that are its scatter."""
    rng = np.random.default_rng(2)
    for n_spectra in (1, 3, 30):
        series = rng.normal(size=(200, n_spectra, 512))
        spectra = (np.abs(np.fft.rfft(series)) ** 2).mean(1) / 512
        value, error = np.array([cepstral(one, n_spectra)[:2] for one in spectra]).T
        assert value.mean() == pytest.approx(0.0, abs=0.03)
        assert (value / error).std() == pytest.approx(1.0, abs=0.2)


def test_runs_of_other_lengths_join_one_spectrum():
    """A longer run is cut into pieces as long as the shortest."""
    rng = np.random.default_rng(4)
    found = measured([brownian(n, 8, rng) for n in (301, 640, 1000)], 8)
    assert found.current.n_spectra == 3 * (1 + 2 + 3)
    assert len(found.current.value) == 151
    assert green_kubo(found.current).d_angstrom2_per_ps == pytest.approx(1.0, rel=0.25)


def test_ions_that_do_not_move_have_no_green_kubo():
    x = brownian(300, 8, np.random.default_rng(5))
    x[:, 4:] = x[:1, 4:] - (x[:, :4] - x[:1, :4])  # their sum stands still
    found = measured([x], 8)
    assert found.current.value.max() < 1e-20
    none = green_kubo(found.current)
    assert none is None or none.d_angstrom2_per_ps < 1e-15
    still = replace(found.current, value=np.zeros_like(found.current.value))
    assert green_kubo(still) is None


def test_conductivities_of_the_command(tmp_path):
    rng = np.random.default_rng(6)
    results = []
    for kelvin, d in ((800, 0.5), (1000, 1.0)):
        path = write(
            tmp_path / f"{kelvin}.h5",
            np.sqrt(d) * dragging(2000, 12, 4, rng),
            cell=np.eye(3) * 20,
            parameters={"simulated_together": 4},
        )
        out = tmp_path / f"msd{kelvin}.json"
        options = ["--nernst-einstein", 1, "--temperature", kelvin]
        done = run("mdgan_hpc.cli.msd", path, "-o", out, *options)
        assert done.returncode == 0, done.stderr
        assert "by Green-Kubo, from the spectrum of the current" in done.stdout
        assert "diffusion tensor" in done.stdout
        found = MsdResult.load(out).diffusion
        spectral, einstein = found.conductivity_green_kubo, found.conductivity
        assert spectral.sigma_s_per_cm == pytest.approx(
            found.nernst_einstein.sigma_s_per_cm
            * found.green_kubo.d_angstrom2_per_ps
            / found.total.d_angstrom2_per_ps
        )
        away = spectral.sigma_s_per_cm - einstein.sigma_s_per_cm
        assert abs(away) < 3 * np.hypot(spectral.error_s_per_cm, einstein.error_s_per_cm)
        assert spectral.error_s_per_cm < 2 * einstein.error_s_per_cm
        results += ["--arrhenius", f"{kelvin}={out}"]
    done = run("mdgan_hpc.cli.msd", *results, "-o", tmp_path / "law.json")
    assert "Conductivity (all ions together): activation energy of sigma T" in done.stdout
    law = json.loads((tmp_path / "law.json").read_text())["arrhenius_conductivity"]
    assert law["of"] == "collective"
    # sigma T goes as D.
    expected = BOLTZMANN_EV_PER_K * np.log(2) / (1 / 800 - 1 / 1000)
    assert abs(law["activation_ev"] - expected) < 3 * law["activation_error_ev"]
    assert law["activation_error_ev"] < 0.2 * expected


def test_finite_size_of_water():
    """What Yeh and Hummer's formula adds for water at 298 K in a cell of 20 Angstrom.

    2.837297 x 1.380649e-23 x 298 / (6 pi x 0.896e-3 x 20e-10) m2/s.
    """

    class Measured:
        d_angstrom2_per_ps, error_angstrom2_per_ps = 0.2, 0.01

    found = finite_size(Measured(), edge_angstrom=20.0, viscosity_mpa_s=0.896, temperature_k=298.0)
    assert found.correction_angstrom2_per_ps == pytest.approx(0.034558, rel=1e-4)
    assert found.d_angstrom2_per_ps == pytest.approx(0.234558, rel=1e-4)
    assert found.error_angstrom2_per_ps == 0.01


def test_viscosity_of_the_command(tmp_path):
    rng = np.random.default_rng(7)
    x = brownian(800, 12, rng)
    path = write(tmp_path / "liquid.h5", x, cell=np.eye(3) * 20)
    options = ["--viscosity", 0.896, "--temperature", 298]
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "a.json", *options)
    assert done.returncode == 0, done.stderr
    assert "D of an infinite liquid" in done.stdout
    found = MsdResult.load(tmp_path / "a.json").diffusion
    assert found.finite_size.correction_angstrom2_per_ps == pytest.approx(0.034558, rel=1e-4)
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "b.json", "--viscosity", 1)
    assert "give --temperature" in done.stderr
    oblong = write(tmp_path / "oblong.h5", x, cell=np.diag([20.0, 20.0, 30.0]))
    with pytest.raises(UsageError, match="its cell is not cubic"):
        diffusion(oblong, viscosity_mpa_s=1.0, temperature_k=300.0)
    framework = {
        "species": np.full(27, 8),
        "position": 3.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3),
        "rms_displacement": np.full(27, 0.1),
    }
    crystal = write(
        tmp_path / "crystal.h5", x, cell=np.eye(3) * 9, parameters={"framework": framework}
    )
    with pytest.raises(UsageError, match="other atoms stay in place"):
        diffusion(crystal, viscosity_mpa_s=1.0, temperature_k=300.0)
