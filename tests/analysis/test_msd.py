"""The mean squared displacement: against a double loop, closed forms and other programs."""

import json

import numpy as np
import pytest

from mdgan_hpc.analysis.command import measure
from mdgan_hpc.analysis.dynamics import dynamics as dynamics_of_files
from mdgan_hpc.analysis.observables.run import RunSums
from mdgan_hpc.analysis.plan import plan_lags
from mdgan_hpc.analysis.settings import DynamicsConfig, MsdConfig
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory import TrajectoryWriter
from tests.support.commands import run
from tests.support.motion import brownian, dynamics, write


def naive(runs, lag):
    """Mean over runs, particles and origins of the squared displacement along each axis."""
    total, count = np.zeros(3), 0
    for positions in runs:
        for t in range(len(positions) - lag):
            for p in range(positions.shape[1]):
                total += (positions[t + lag, p] - positions[t, p]) ** 2
                count += 1
    return total / count


def test_equals_a_naive_double_loop_over_replicas_of_unequal_length(rng):
    runs = [brownian(150, 3, rng) + 100.0, brownian(120, 2, rng) - 40.0]
    curves = dynamics(runs, every_lag=True).curves
    for index, lag in enumerate(np.round(curves.lag_ps / 0.05).astype(int)):
        expected = naive(runs, lag)
        np.testing.assert_allclose(curves.msd_axis[index], expected, rtol=1e-12)
        np.testing.assert_allclose(curves.msd[index], expected.sum(), rtol=1e-12)


def test_constant_velocity_gives_v_squared_t_squared():
    velocity = np.array([1.0, -2.0, 0.5])
    positions = (np.arange(400)[:, None] * 0.05 * velocity)[:, None, :]
    curves = dynamics([positions]).curves
    np.testing.assert_allclose(
        curves.msd_axis, velocity**2 * curves.lag_ps[:, None] ** 2, rtol=1e-12
    )
    np.testing.assert_allclose(curves.slope, 2, atol=1e-9)


def test_each_particle_alone_adds_up_to_the_whole(rng):
    found = dynamics([brownian(200, 5, rng)], per_particle=True)
    assert found.particles.msd.shape == (5, len(found.curves.lag_ps))
    np.testing.assert_allclose(found.particles.msd.mean(0), found.curves.msd, rtol=1e-11)


def test_torch_gives_the_same_numbers(rng):
    runs = [brownian(400, 5, rng) + 30.0, brownian(300, 2, rng)]
    ours = dynamics(runs, per_particle=True)
    other = dynamics(runs, per_particle=True, device="cpu")
    for name, values in vars(ours.curves).items():
        found = getattr(other.curves, name)
        np.testing.assert_allclose(found, values, rtol=1e-11, err_msg=name)
    for a, b in (
        (ours.particles.msd, other.particles.msd),
        (ours.vacf.value, other.vacf.value),
        (ours.van_hove.axis_density, other.van_hove.axis_density),
        (ours.van_hove.density, other.van_hove.density),
    ):
        np.testing.assert_allclose(b, a, atol=1e-11 * np.abs(a).max())
    np.testing.assert_allclose(other.curves.msd, ours.curves.msd, rtol=1e-12)


def test_a_device_that_is_not_there_is_refused(tmp_path, rng):
    path = write(tmp_path / "a.h5", brownian(50, 2, rng))
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.json", "--device", "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere" in done.stderr


def test_a_number_that_is_missing_is_named(tmp_path, rng):
    positions = brownian(60, 20, rng)
    positions[17, 13, 1] = np.nan
    path = write(tmp_path / "a.h5", positions)
    with pytest.raises(DataError, match="particle 13 in record 17"):
        dynamics_of_files([path])


def test_a_replica_counts_once(tmp_path, rng):
    path = write(tmp_path / "a.h5", brownian(60, 2, rng))
    with pytest.raises(UsageError, match="twice"):
        dynamics_of_files([path, tmp_path / "." / "a.h5"])


def test_a_fit_window_without_lags_is_refused_before_the_work(tmp_path, rng, capsys):
    config = MsdConfig(
        files=(str(write(tmp_path / "a.h5", brownian(60, 2, rng))),),
        output=str(tmp_path / "msd.json"),
        window_ps=(100.0, 200.0),
    )
    with pytest.raises(UsageError, match=r"holds 0 lags.*0\.05 to"):
        measure(config)
    assert "analysis" not in capsys.readouterr().err


def test_the_msd_alone_comes_without_d(tmp_path, rng):
    path = write(tmp_path / "a.h5", brownian(600, 8, rng))
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.json", "--msd-only")
    assert done.returncode == 0, done.stderr
    assert "diffusion" not in load_results(tmp_path / "msd.json")
    for option in (("--fit", "1:10"), ("--nernst-einstein", 1)):
        done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "b.json", "--msd-only", *option)
        assert done.returncode == 2
        assert "--msd-only gives no D" in done.stderr


def test_stride_picks_lags_of_the_whole_series(rng):
    runs = [brownian(300, 4, rng)]
    whole = dynamics(runs, every_lag=True).curves
    strided = dynamics(runs, every_lag=True, stride=3).curves
    at = np.searchsorted(whole.lag_ps, strided.lag_ps - 1e-9)
    np.testing.assert_allclose(strided.lag_ps[:3], [0.15, 0.3, 0.45])
    np.testing.assert_allclose(strided.msd, whole.msd[at], rtol=1e-12)


def test_wrapped_positions_are_refused(rng):
    cell = np.diag([6.0, 7.0, 8.0])
    wrapped = brownian(2000, 2, rng) % np.diag(cell)
    plan = plan_lags(2000, 0.05, DynamicsConfig())
    sums = RunSums(2000, plan, n_particles=2, inverse_cell=np.linalg.inv(cell), where="a.h5")
    with pytest.raises(DataError, match=r"a\.h5: .* wrapped .* unwrapped"):
        sums.add(wrapped)


def test_command_writes_the_three_forms(tmp_path, rng):
    files = [write(tmp_path / f"{k}.h5", brownian(600, 8, rng)) for k in (1, 2)]
    for suffix in ("json", "h5", "csv"):
        done = run("mdgan_hpc.cli.msd", *files, "-o", tmp_path / f"msd.{suffix}")
        assert done.returncode == 0, done.stderr
        assert "cm2/s" in done.stdout
    a, b = (load_results(tmp_path / f"msd.{suffix}") for suffix in ("json", "h5"))
    np.testing.assert_allclose(a["curves"]["msd"], b["curves"]["msd"], rtol=1e-15)
    rows = [x for x in (tmp_path / "msd.csv").read_text().splitlines() if not x.startswith("#")]
    assert rows[0].startswith("lag_ps,msd,msd_x,msd_y,msd_z")
    np.testing.assert_allclose(float(rows[1].split(",")[1]), a["curves"]["msd"][0], rtol=1e-15)
    again = run("mdgan_hpc.cli.msd", *files, "-o", tmp_path / "msd.json")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "exists already" in again.stderr
    json.loads((tmp_path / "msd.json").read_text())


def test_species_are_never_pooled_without_being_named(tmp_path, rng):
    """Diffusing Li and resting O: the MSD is that of the one that is named."""
    lithium, oxygen = (
        brownian(600, 4, rng),
        np.broadcast_to(np.arange(18.0).reshape(6, 3), (600, 6, 3)),
    )
    positions = np.concatenate([oxygen[:, :3], lithium, oxygen[:, 3:]], 1)
    path = tmp_path / "all.h5"
    with TrajectoryWriter(path, species=[8] * 3 + [3] * 4 + [8] * 3) as writer:
        writer.append(positions, np.arange(600), np.arange(600) * 0.05)
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.h5")
    assert done.returncode == 2
    assert "2 species (Li4 O6)" in done.stderr
    assert "--species Li" in done.stderr
    done = run("mdgan_hpc.cli.msd", path, "-o", tmp_path / "msd.h5", "--species", "Li")
    assert done.returncode == 0, done.stderr
    alone = write(tmp_path / "li.h5", lithium)
    expected = dynamics_of_files([alone])
    found = load_results(tmp_path / "msd.h5")
    for name, values in expected.curves.to_tree().items():
        np.testing.assert_array_equal(found["curves"][name], values, err_msg=name)
    assert found["species"] == expected.species == "Li"
    named = dynamics_of_files(path, species="Li")
    np.testing.assert_array_equal(named.curves.msd, expected.curves.msd)
    with pytest.raises(UsageError, match="species"):
        dynamics_of_files([path])
    other = tmp_path / "na.h5"
    with TrajectoryWriter(other, species=[11] * 4) as writer:
        writer.append(lithium, np.arange(600), np.arange(600) * 0.05)
    with pytest.raises(UsageError, match="holds Na"):
        dynamics_of_files([alone, other])
