"""Unfolding, above all in a cell that changes: lattice and displacements both stay."""

from itertools import pairwise

import numpy as np
import pytest

from mdgan_hpc.convert.wrapping import Unwrapper, least_height
from mdgan_hpc.errors import UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import dump_frame, xdatcar_frame, xdatcar_header
from tests.support.siesta_runs import converted

SKEW = np.array([[8, 0, 0], [-4, 7, 0], [0.5, 1, 9.0]])


def relaxing(n, spread, tau, shape, rng):
    """Ornstein-Uhlenbeck noise [n, *shape]."""
    keep = np.exp(-1 / tau)
    noise = rng.normal(0, spread * np.sqrt(1 - keep**2), (n, *shape))
    for i in range(1, n):
        noise[i] += keep * noise[i - 1]
    return noise


def in_pieces(unwrapper, positions, cells, size=37):
    return np.concatenate(
        [
            unwrapper.apply(positions[a : a + size], cells[a : a + size], np.arange(a, a + size))
            for a in range(0, len(positions), size)
        ]
    )


def toroidal_view_preserving(folded, cells):
    """The sum of nearest-image displacements, each in the cell of its frame."""
    path = [folded[0]]
    for before, now, cell in zip(folded[:-1], folded[1:], cells[1:], strict=True):
        move = now - before
        path.append(path[-1] + move - np.rint(move @ np.linalg.inv(cell)) @ cell)
    return np.array(path)


def test_against_a_naive_loop_in_a_constant_cell():
    rng = np.random.default_rng(6)
    true = np.cumsum(rng.normal(scale=0.4, size=(400, 5, 3)), axis=0)
    folded = (true @ np.linalg.inv(SKEW)) % 1.0 @ SKEW
    expected = [folded[0]]
    for before, now in pairwise(folded):
        images = [
            now - before + np.array([a, b, c]) @ SKEW
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            for c in (-1, 0, 1)
        ]
        nearest = np.argmin([np.linalg.norm(image, axis=1) for image in images], axis=0)
        expected.append(expected[-1] + np.array(images)[nearest, np.arange(5)])
    unwrapper = Unwrapper(unwrap=True, where="here")
    cells = np.repeat(SKEW[None], 400, axis=0)
    np.testing.assert_allclose(in_pieces(unwrapper, folded, cells), expected, atol=1e-9)
    assert unwrapper.n_jumps > 100
    assert least_height(np.diag([3.0, 4.0, 5.0])) == pytest.approx(3.0)


def test_schemes_in_a_changing_cell():
    """Atoms that vibrate on the faces of a crystal, and ions that cross many images."""
    rng = np.random.default_rng(7)
    n = 4000
    cells = SKEW * (1 + relaxing(n, 0.006, 50, (1, 1), rng))
    mean = cells.mean(axis=0)
    sites = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5], [0.25, 0.3, 0.4]])
    fractions = sites + relaxing(n, 0.012, 3, (4, 3), rng)
    folded = np.einsum("tni,tij->tnj", fractions % 1.0, cells)
    ours = in_pieces(Unwrapper(unwrap=True, where="", mean_cell=mean), folded, cells)
    true = fractions @ mean

    def spread(x, lag=1500):
        return float(((x[lag:] - x[:-lag]) ** 2).sum(-1).mean())

    np.testing.assert_allclose(ours - ours[:1], true - true[:1], atol=1e-9)
    assert spread(ours) == pytest.approx(spread(true))
    assert spread(toroidal_view_preserving(folded, cells)) > 1.3 * spread(true)

    # Diffusion with a known D in the frame of the cell; 20 images and more.
    walk = np.cumsum(rng.normal(0, 0.05, (n, 12, 3)), axis=0) + 40.0
    folded = np.einsum("tni,tij->tnj", walk % 1.0, cells)
    ours = in_pieces(Unwrapper(unwrap=True, where="", mean_cell=mean), folded, cells)
    np.testing.assert_allclose(ours - ours[:1], (walk - walk[:1]) @ mean, atol=1e-9)
    steps = np.diff(ours, axis=0)
    lattice_view = np.diff(np.einsum("tni,tij->tnj", walk, cells), axis=0)
    exact = np.diff(walk @ mean, axis=0)
    assert (steps**2).mean() == pytest.approx((exact**2).mean())
    assert (lattice_view**2).mean() > 1.1 * (exact**2).mean()


@pytest.mark.parametrize("form", ["xdatcar", "lammps-dump"])
def test_a_crystal_at_constant_pressure_does_not_diffuse(tmp_path, form):
    """Through the command: folded, with a changing cell, against what was written."""
    rng = np.random.default_rng(8)
    n = 2000
    edges = 8.0 + relaxing(n, 0.05, 50, (3,), rng)
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0.25, 0.3, 0.4]])
    fractions = sites + relaxing(n, 0.0125, 3, (4, 3), rng)
    text = []
    for i in range(n):
        folded = fractions[i] % 1
        if form == "xdatcar":
            header = xdatcar_header(1.0, counts="2 2").replace("1.00000000", "%.8f")
            text.append(header % tuple(edges[i]) + xdatcar_frame(i + 1, folded))
        else:
            rows = [[k + 1, k // 2 + 1, *p] for k, p in enumerate(folded * edges[i])]
            bounds = [f"0 {edge:.10f}" for edge in edges[i]]
            text.append(dump_frame(i, rows, "id type x y z", bounds=bounds))
    (tmp_path / "a").write_text("".join(text))
    species = {} if form == "xdatcar" else {"species": "Li,O"}
    _, warned = converted(
        tmp_path / "a", tmp_path / "a.h5", format=form, time_step_fs=10.0, unwrap=True, **species
    )
    assert not warned
    with Trajectory(tmp_path / "a.h5") as t:
        x = t.positions().astype(float)
        mean = np.diag(edges.mean(axis=0))
        np.testing.assert_allclose(t.constant_cell, mean, atol=1e-7)
        true = fractions @ mean
        np.testing.assert_allclose(x - x[:1], true - true[:1], atol=1e-5)
        np.testing.assert_allclose(t.observable("volume"), edges.prod(axis=1), rtol=1e-6)
        assert "mean cell" in t.parameter("unwrapping")


def test_unwrapping_that_cannot_be_carried_out():
    x = np.zeros((3, 2, 3))
    steps = np.arange(5, 8)
    unwrapper = Unwrapper(unwrap=True, where="a.xyz")
    with pytest.raises(UsageError, match="needs a cell, and no file tells it"):
        unwrapper.apply(x, None, steps)
    flat = np.repeat(np.diag([1.0, 2.0, 0.0])[None], 3, axis=0)
    with pytest.raises(UsageError, match="step 5 has none, or a flat cell"):
        unwrapper.apply(x, flat, steps)
    missing = np.repeat(np.eye(3)[None], 3, axis=0)
    missing[1] = np.nan
    with pytest.raises(UsageError, match="step 6 has none"):
        unwrapper.apply(x, missing, steps)
