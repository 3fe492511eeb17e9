"""Generated trajectories of cells of different size: which are compared with the MD."""

from collections.abc import Sequence

import numpy as np

from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.replicas import repeats_of, require_same_system


def by_cell(paths: Sequence[str], md: str, species: str) -> dict[str, tuple[str, ...]]:
    """Return generated files by the cell that they are of; that nearest to the MD's comes first.

    Parameters
    ----------
    paths : sequence of path
    md : path
        The first MD run, of whose system all must be.
    species : str

    Raises
    ------
    DataError
        If a file is of another system.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    names: dict[tuple[int, ...], str] = {}
    away: dict[tuple[int, ...], float] = {}
    with Trajectory(md, species or None) as run:
        cell = run.constant_cell
        for path in paths:
            with Trajectory(path, species or None) as made:
                repeats = repeats_of(made)
                key = tuple(map(int, repeats))
                if made.species_names == run.species_names:
                    require_same_system(run, made)
                groups.setdefault(key, []).append(path)
                of_cells = f" in {' x '.join(map(str, key))} cells" if repeats.prod() > 1 else ""
                names[key] = f"{made.ions_per_cell} ions{of_cells}"
                own = made.constant_cell
                known = cell is not None and own is not None
                away[key] = _apart(cell, own) if known else float(repeats.prod())
    order = sorted(groups, key=lambda key: away[key])
    return {names[key]: tuple(groups[key]) for key in order}


def _apart(cell: np.ndarray | None, other: np.ndarray | None) -> float:
    """Return how far the volumes of two cells are apart, as a logarithm."""
    assert cell is not None
    assert other is not None
    volumes = np.abs([np.linalg.det(cell), np.linalg.det(other)])
    return float(abs(np.diff(np.log(volumes))[0])) if volumes.min() > 0 else 0.0
