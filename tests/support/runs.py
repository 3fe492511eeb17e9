"""Runs made by small processes, for tests that need only something to train on."""

import itertools
from dataclasses import dataclass

import numpy as np

from mdgan_hpc.crystal import Crystal, find_crystal


@dataclass(frozen=True)
class Averaged:
    """An averaged framework."""

    species: np.ndarray
    position: np.ndarray
    rms_displacement: np.ndarray


def cubic_framework(edge: float = 4.0, cells: int = 2) -> Averaged:
    """One atom a simple cubic cell, `cells`^3 of them."""
    corners = np.array(list(itertools.product(range(cells), repeat=3)), float)
    n = len(corners)
    return Averaged(np.full(n, 8), edge * corners, np.full(n, 0.1))


def simple_cubic(edge: float = 4.0, cells: int = 2) -> Crystal:
    """The crystal of `cubic_framework`."""
    found = find_crystal(cubic_framework(edge, cells), edge * cells * np.eye(3))
    assert isinstance(found, Crystal)
    return found


def underdamped(n_frames: int, n_particles: int, seed: int) -> np.ndarray:
    """Velocities with exponential memory, positions their sums: [T, N, 3], Angstrom."""
    random = np.random.default_rng(seed)
    velocity = random.normal(size=(n_particles, 3))
    path = np.empty((n_frames, n_particles, 3))
    position = np.zeros((n_particles, 3))
    for frame in range(n_frames):
        velocity = 0.9 * velocity + np.sqrt(1 - 0.81) * random.normal(size=velocity.shape)
        position = position + 0.05 * velocity
        path[frame] = position
    return path
