"""Exact symmetry under a finite group.

Hidden units carry the regular representation of the group, so that turning the past turns the
predicted future (group convolutions, T. Cohen and M. Welling, ICML 2016, section 6). The place
enters through cosines and sines of reciprocal lattice vectors, which the group maps onto each
other, so that lattice translations are exact too.
"""

from typing import Any

import numpy as np
from torch import Tensor

from mdgan_hpc.crystal import Symmetry


def group_arguments(symmetry: Symmetry) -> dict[str, Any]:
    """Return the built-in part of a symmetry as arguments of `TransitionGenerator`."""
    primitive = symmetry.primitive
    rotations, translations = symmetry.built_in()
    return {
        "rotations": rotations.tolist(),
        "translations": translations.tolist(),
        "primitive": None if primitive is None else primitive.tolist(),
    }


def find_operation(group: np.ndarray, operation: np.ndarray) -> int:
    """Return the index of an operation [3, 3] in a group [n, 3, 3].

    Raises
    ------
    ValueError
        If it is not in it.
    """
    distance = np.abs(group - operation).max((1, 2))
    index = int(distance.argmin())
    if distance[index] > 1e-3:
        raise ValueError("the operations do not form a group")
    return index


def quotients(group: np.ndarray) -> np.ndarray:
    """Return the indices [n, n] of a^-1 b in a group of rotations [n, 3, 3]."""
    return np.array([[find_operation(group, a.T @ b) for b in group] for a in group])


def spread(weight: Tensor, quotient: Tensor) -> Tensor:
    """Spread weights [n, out, in] over the group: block (g, h) is the weight of g^-1 h."""
    n, out, inputs = weight.shape
    return weight[quotient].permute(0, 2, 1, 3).reshape(n * out, n * inputs)


def input_action(
    group: np.ndarray, n_vectors: int, lattice_action: np.ndarray, n_scalars: int
) -> np.ndarray:
    """Return the action [n, inputs, inputs] of inverse operations on vectors, waves and scalars.

    Parameters
    ----------
    group : array, [n, 3, 3]
    n_vectors, n_scalars : int
    lattice_action : array, [n, 2 m, 2 m]
        Of `action_on_waves`.
    """
    n, n_waves = len(group), lattice_action.shape[1]
    turned, moved = 3 * n_vectors, 3 * n_vectors + n_waves
    action = np.zeros((n, moved + n_scalars, moved + n_scalars))
    for g in range(n):
        action[g, :turned, :turned] = np.kron(np.eye(n_vectors), group[g])
        action[g, turned:moved, turned:moved] = lattice_action[g]
        action[g, moved:, moved:] = np.eye(n_scalars)
    return action[[find_operation(group, g.T) for g in group]]


def action_on_waves(
    cell: np.ndarray, waves: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Return matrices [n, 2m, 2m] with phi(R x + t) = M phi(x), phi the cosines, then the sines.

    Raises
    ------
    ValueError
        If an operation does not map the lattice onto itself.
    """
    inverse = np.linalg.inv(cell)

    def phi(x: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * x @ inverse @ waves.T
        return np.concatenate([np.cos(angle), np.sin(angle)], 1)

    points = np.random.default_rng(0).random((8 * len(waves), 3)) @ cell
    here = phi(points)
    matrices = []
    for rotation, translation in zip(rotations, translations, strict=True):
        there = phi(points @ rotation.T + translation)
        matrix = np.linalg.lstsq(here, there, rcond=None)[0]
        if np.abs(here @ matrix - there).max() > 1e-2:
            raise ValueError("an operation does not map the lattice onto itself")
        matrices.append(matrix.T)
    return np.array(matrices)
