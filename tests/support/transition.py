"""Small transition generators with random weights, for tests."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.models.base import Window
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.equivariance import group_arguments
from mdgan_hpc.models.transition.fit import fit_averages, fit_extrapolation
from mdgan_hpc.models.transition.generator import TransitionGenerator
from tests.support.runs import underdamped


def cubic(edge: float) -> Symmetry:
    """T (no inversion, so all 12 are built in) about a point off the origin, simple cubic."""
    signs = [np.diag(s) for s in [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]]
    cycle = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    rotations = np.array([s @ c for c in (np.eye(3), cycle, cycle @ cycle) for s in signs])
    origin = np.array([0.3, 0.1, -0.2])
    return Symmetry(rotations, origin - rotations @ origin, edge * np.eye(3), time_reversal=True)


def make(
    symmetry: Symmetry, records_per_step: int, components: int = 6, **arguments: Any
) -> TransitionGenerator:
    """Make a generator of `underdamped` motion."""
    torch.manual_seed(3)
    displacements = [np.diff(underdamped(400, 4, 1), axis=0)]
    fitted = fit_extrapolation(displacements, records_per_step)
    averages = fit_averages(displacements, records_per_step, [6.0, 18.0], 12)
    config = TransitionConfig(hidden=48, components=components, head=64, start_states=64)
    known = {**fitted, **averages, **group_arguments(symmetry), **arguments}
    return TransitionGenerator.create(config, **known)


def squared_noise(generator: TransitionGenerator, whole: Window, steps: int) -> Tensor:
    """Return the squared noise [ions, steps] that the likelihood finds in the last steps.

    For one record a step and one Gaussian, of which its density is that of the noise.
    """
    residual, mixture, _ = generator.predicted(whole, 0)
    spread = 3 * mixture.log_widths[0, :, 0] + 1.5 * math.log(2 * math.pi)
    for direction in mixture.directions[0, :, :, :, 0].unbind(1):
        spread = spread + (1 + direction.square().sum(1)).log()
    ions = whole.positions.shape[0] * whole.positions.shape[2]
    return -2 * (mixture.log_density(residual)[0] + spread).view(ions, -1)[:, -steps:]


def windows(generator: TransitionGenerator, records: int, n: int) -> Window:
    """Return windows of `underdamped` motion, [n, L, 1, 3]."""
    path = underdamped(generator.window_records(records), n, 5).swapaxes(0, 1)
    return Window(torch.from_numpy(path[:, :, None].copy()))
