"""Runs made by small processes, for tests that need only something to train on."""

import numpy as np


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
