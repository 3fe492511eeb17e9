"""Shells, a skewed cell and a generator whose ions see each other."""

import numpy as np

from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor, neighbour_scales
from mdgan_hpc.models.transition.generator import TransitionGenerator
from tests.support.runs import underdamped
from tests.support.transition import cubic, make

RADII, WIDTHS, CUTOFF = (2.5, 3.5, 4.5, 5.5, 6.5), (0.4, 0.5, 0.6, 0.7, 0.8), 7.5
#: Weights of the last displacements in what ions look ahead by.
AHEAD = (1.5, -0.25, 0.5)
SHELLS = {"radii": RADII, "widths": WIDTHS, "cutoff": CUTOFF}
SKEWED = np.array([[9.0, 0.0, 0.0], [-2.5, 6.0, 0.0], [0.4, -0.3, 11.0]])


def ions(n_frames: int, n_ions: int, edge: float, seed: int) -> np.ndarray:
    """Ions [T, N, 3] that start anywhere in a cube."""
    start = edge * np.random.default_rng(seed).random((n_ions, 3))
    return start + underdamped(n_frames, n_ions, seed)


def described(
    runs: list[np.ndarray], cell: np.ndarray, ahead: tuple[float, ...] = (), here: bool = False
) -> list[np.ndarray]:
    return Surroundings(
        NeighbourDescriptor.of_cell(cell, **SHELLS), ahead=ahead, here=here
    ).of_runs(runs)


def sighted(
    records_per_step: int = 3, *, ahead: bool = False, here: bool = False
) -> tuple[TransitionGenerator, np.ndarray]:
    """A generator of four ions in eight cells of 4 Angstrom, and their box."""
    box = 8.0 * np.eye(3)
    seen = described([ions(50, 4, 8.0, 2)], box)
    scales = neighbour_scales(seen).tolist()
    return (
        make(
            cubic(4.0),
            records_per_step,
            particles=4,
            cell=box.tolist(),
            neighbour_shells=SHELLS,
            neighbour_scales=scales,
            neighbour_here_scales=scales if here else None,
            ahead=list(AHEAD) if ahead else None,
        ),
        box,
    )


def springs(n_records: int, seed: int) -> np.ndarray:
    """Ions [T, 27, 3] at the points of a cubic lattice of 3 Angstrom, held by springs to the next.

    Langevin dynamics by the splitting BAOAB of B. Leimkuhler and C. Matthews (2013), ten steps a
    record; an ion alone swings in three records.
    """
    rng, side = np.random.default_rng(seed), 3
    lattice = 3.0 * np.array(np.meshgrid(*[range(side)] * 3, indexing="ij")).reshape(3, -1).T
    x, v = np.zeros((side, side, side, 3)), 0.1 * rng.normal(size=(side, side, side, 3))
    step, keep, stiff = 0.1, np.exp(-0.1 * 0.1), (2 * np.pi / 3) ** 2 / 6

    def force() -> np.ndarray:
        return stiff * sum(np.roll(x, n, axis) - x for axis in range(3) for n in (1, -1))

    path = []
    for _ in range(n_records):
        for _ in range(10):
            v += 0.5 * step * force()
            x += 0.5 * step * v
            v = keep * v + 0.1 * np.sqrt(1 - keep**2) * rng.normal(size=v.shape)
            x += 0.5 * step * v
            v += 0.5 * step * force()
        path.append((x - x.mean((0, 1, 2))).reshape(-1, 3))
    return lattice + np.array(path)
