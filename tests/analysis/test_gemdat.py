"""Sites and jumps beside what GEMDAT finds in the same MD with the same sites.

N. J. J. de Klerk, E. van der Maas and M. Wagemaker, ACS Appl. Energy Mater. 1, 3230 (2018).
"""

import gemdat
import numpy as np
import pytest
from gemdat.metrics import TrajectoryMetrics
from pymatgen.core import Element, Lattice, Structure

import mdgan_hpc
from tests.support.lattices import FACTORS, PLACES, vacancy_jumps, write_poscar
from tests.support.motion import inertial_hops, write

LITHIUM = Element("Li")
CORE = 1.0  # Angstrom


def found_by_gemdat(x, interval_ps, cell, fractions):
    """Return its transitions between sites, and its metrics, of positions [T, N, 3]."""
    trajectory = gemdat.Trajectory(
        species=[LITHIUM] * x.shape[1],
        coords=(x @ np.linalg.inv(cell)) % 1,
        lattice=cell,
        time_step=interval_ps * 1e-12,
        constant_lattice=True,
        metadata={"temperature": 1000.0},
    )
    sites = Structure(Lattice(cell), [LITHIUM] * len(fractions), fractions)
    transitions = trajectory.transitions_between_sites(
        sites=sites, floating_specie="Li", site_radius=CORE
    )
    return transitions, TrajectoryMetrics(trajectory)


def found_by_us(tmp_path, x, interval_ps, cell, fractions, *, known):
    """Return what `mdgan-sites` finds; `known` ions share the cell, or 1: each is alone."""
    file = write(
        tmp_path / "md.h5",
        x.astype(np.float32),
        interval=interval_ps,
        cell=cell,
        parameters={"simulated_together": known},
    )
    sites = write_poscar(tmp_path / "POSCAR", fractions, cell)
    return mdgan_hpc.jumps(file, sites=str(sites), radius_angstrom=CORE)


def repeated(places, n):
    """Return sites of n cubic cells along each axis, as fractions of all of them."""
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return ((np.array(places)[None] + corners[:, None]) / n).reshape(-1, 3)


def test_occupancies_jumps_and_vibrations(tmp_path, rng):
    cell, interval, n_ions = np.eye(3) * 9.0, 0.02, 12
    sites = repeated([(0, 0, 0)], 3)
    x = inertial_hops(4000, n_ions, rng, hop=3.0, interval=interval)
    x += 3.0 * rng.integers(0, 3, (n_ions, 3))
    transitions, metrics = found_by_gemdat(x, interval, cell, sites)
    ours = found_by_us(tmp_path, x, interval, cell, sites, known=n_ions)
    theirs = [site.species.num_atoms for site in transitions.occupancy()]
    assert ours.sites.occupancy == pytest.approx(np.array(theirs), rel=0.01)
    jumps = transitions.jumps()
    assert ours.kinds.count.sum() == pytest.approx(jumps.n_jumps, rel=0.03)
    assert jumps.n_jumps > 300
    assert ours.vibration.attempt_frequency_per_ps == pytest.approx(
        float(metrics.attempt_frequency()[0]) * 1e-12, rel=0.05
    )
    assert ours.vibration.amplitude == pytest.approx(float(metrics.vibration_amplitude()), rel=0.05)
    assert ours.jump_diffusion == pytest.approx(
        float(jumps.jump_diffusivity(3)) * 1e8,  # m^2/s to Angstrom^2/ps
        rel=0.03,
    )


def test_correlation_factor(tmp_path, rng):
    a, n, n_ions, n_jumps = 4.0, 3, 1000, 20
    cell, sites = np.eye(3) * a * n, repeated(PLACES["simple cubic"], n)
    steps = vacancy_jumps("simple cubic", n_ions, n_jumps, rng) * a
    x = steps.cumsum(0) + rng.normal(0, 0.1, steps.shape)
    transitions, metrics = found_by_gemdat(x, 1.0, cell, sites)
    theirs = metrics.tracer_diffusivity(dimensions=3) / transitions.jumps().jump_diffusivity(3)
    ours = found_by_us(tmp_path, x, 1.0, cell, sites, known=1).correlation.value
    assert ours == pytest.approx(float(theirs), rel=0.05)
    assert ours == pytest.approx(FACTORS["simple cubic"], rel=0.05)
