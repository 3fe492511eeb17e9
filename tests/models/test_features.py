"""The feature table: likelihood and free runs see the same, row by row."""

import numpy as np
import pytest
import torch

from mdgan_hpc.crystal import isotropic
from mdgan_hpc.models.base import Window
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourDescriptor, neighbour_scales
from mdgan_hpc.models.transition.features import Step
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.models.transition.likelihood import Residuals
from tests.support.neighbours import AHEAD
from tests.support.runs import underdamped
from tests.support.transition import cubic, make

EDGE = 8.0


SHELLS = {"radii": [2.5, 3.5, 4.5, 5.5, 6.5], "widths": [0.6] * 5, "cutoff": 7.5}


def descriptor() -> NeighbourDescriptor:
    return NeighbourDescriptor.of_cell(EDGE * np.eye(3), **SHELLS)


def run(n_frames: int, seed: int) -> np.ndarray:
    """Four ions [T, 4, 3] that start anywhere in the cell."""
    start = EDGE * np.random.default_rng(seed).random((4, 3))
    return start + underdamped(n_frames, 4, seed)


def seeing(ahead: bool = False, here: bool = False, moving: bool = False) -> TransitionGenerator:
    scales = neighbour_scales(descriptor().of_runs([run(50, 1)])).tolist()
    motion = Surroundings(descriptor(), ahead=AHEAD, moving=moving)
    moves = motion.of_runs([run(50, 1)])[0][10:, :, motion.n_views :]
    return make(
        cubic(4.0),
        3,
        particles=4,
        cell=(EDGE * np.eye(3)).tolist(),
        neighbour_shells=SHELLS,
        neighbour_scales=scales,
        neighbour_here_scales=scales if here else None,
        neighbour_motion_scales=neighbour_scales([moves]).tolist() if moving else None,
        ahead=list(AHEAD) if ahead else None,
    )


def window(generator: TransitionGenerator, records: int) -> Window:
    runs = [run(generator.window_records(records), seed) for seed in (2, 3)]
    if generator.ions_per_cell == 1:
        return Window(torch.from_numpy(np.concatenate(runs, 1).swapaxes(0, 1)[:, :, None].copy()))
    told = generator.arguments
    views = {
        "ahead": tuple(told.get("ahead") or ()),
        "here": bool(told.get("neighbour_here_scales")),
        "moving": bool(told.get("neighbour_motion_scales")),
    }
    seen = Surroundings(descriptor(), **views)
    described = torch.from_numpy(np.stack(seen.of_runs(runs)))
    return Window(torch.from_numpy(np.stack(runs)), described)


@pytest.mark.parametrize(
    "build",
    [
        lambda: make(isotropic(), 1),
        lambda: make(isotropic(), 3),
        lambda: make(cubic(4.0), 3),
        seeing,
        lambda: seeing(ahead=True),
        lambda: seeing(ahead=True, here=True),
        lambda: seeing(ahead=True, here=True, moving=True),
        lambda: seeing(ahead=True, moving=True),
    ],
    ids=[
        "liquid, one record",
        "liquid",
        "crystal",
        "neighbours",
        "neighbours from ahead",
        "both",
        "moves",
        "moves, one view",
    ],
)
def test_every_row_gives_both_the_same_along_a_trajectory(build):
    """Carried by the steps of the data instead of the network's, rows stay those of the data."""
    generator = build()
    table = generator.features
    residuals = Residuals(generator.extrapolation, generator.whitening)
    data = window(generator, 90)
    history = residuals.history(data, table.fill_steps)
    known = table.along(history)
    columns = {n: v.permute(*range(2, v.ndim), 0, 1) for n, v in known.items()}  # [..., B, n]
    n_steps = history.residual.shape[1]
    carried = {name: columns[name][..., 0].contiguous() for name in table.carried()}
    r = generator.records_per_step
    rows = [(name, row, row.compiled(None)) for name, row in table.rows.items()]
    for number in range(n_steps):
        for name, row, compiled in rows:
            wanted = row.inputs({n: v[..., number] for n, v in columns.items()})
            got = compiled.inputs(carried)
            for kind in ("vectors", "waves", "scalars"):
                pairs = zip(getattr(got, kind), getattr(wanted, kind), strict=True)
                for mine, theirs in pairs:
                    assert torch.allclose(mine, theirs, atol=5e-4, rtol=1e-3), (name, kind)
        if number + 1 == n_steps:
            break
        moved = columns["displacements"][:r, ..., number + 1].flip(0)  # oldest first
        step = Step(moved, moved.sum(0), columns["residual"][..., number + 1])
        carried = {n: v for _, _, c in rows for n, v in c.after(carried, step).items()}
    counts = (table.n_vectors, table.n_waves, table.n_scalars)
    assert table.n_inputs == 3 * counts[0] + counts[1] + counts[2]
    assert table.inputs_along(known).shape == (8, n_steps, table.n_inputs)


@pytest.mark.parametrize("moving", [False, True])
def test_rows_count_what_they_give(moving):
    generator = seeing(ahead=True, moving=moving)
    history = Residuals(generator.extrapolation, generator.whitening).history(
        window(generator, 30), generator.features.fill_steps
    )
    known = generator.features.along(history)
    columns = {n: v.permute(*range(2, v.ndim), 0, 1) for n, v in known.items()}
    for row in generator.features.rows.values():
        given = row.inputs(columns)
        assert sum(len(v) for v in given.vectors) == row.n_vectors
        assert sum(len(w) for w in given.waves) == row.n_waves
        assert sum(len(s) for s in given.scalars) == row.n_scalars
