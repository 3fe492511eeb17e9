"""How the ions around an ion move: beside naive loops, in both directions of time."""

import numpy as np
import torch

from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbour_motion import MotionDescriptor
from mdgan_hpc.models.neighbours import NeighbourDescriptor
from tests.support.runs import underdamped

EDGE, IONS, SKIP = 8.0, 5, 2
AHEAD = (1.1, 0.3, -0.2, 0.05)
SHELLS = {"radii": [2.5, 3.5, 4.5], "widths": [0.6] * 3, "cutoff": 5.5}


def descriptor() -> NeighbourDescriptor:
    return NeighbourDescriptor.of_cell(EDGE * np.eye(3), **SHELLS)


def run(seed: int, n_frames: int = 24) -> np.ndarray:
    start = EDGE * np.random.default_rng(seed).random((IONS, 3))
    return start + underdamped(n_frames, IONS, seed)


def naive(run: np.ndarray, moving: np.ndarray, frame: int) -> np.ndarray:
    """The rows [R, IONS, 4] at a frame, by loops over ions and images."""
    surroundings = Surroundings(descriptor(), ahead=AHEAD, step_skip=SKIP)
    places = surroundings.led_to(run)[frame]
    last = [moving[frame - n * SKIP] - moving[frame - (n + 1) * SKIP] for n in range(len(AHEAD))]
    told = [last[0], last[1], sum(last)]
    found = np.zeros((2 * 2 * 3 + 3, IONS, 4))
    for i in range(IONS):
        for j in range(IONS):
            for image in np.ndindex(5, 5, 5):
                apart = places[j] - places[i] + EDGE * (np.array(image) - 2)
                distance = np.linalg.norm(apart)
                if not 1e-3 < distance < SHELLS["cutoff"]:
                    continue
                end = 0.5 + 0.5 * np.cos(np.pi * distance / SHELLS["cutoff"])
                shells = [
                    end * np.exp(-0.5 * ((distance - radius) / width) ** 2)
                    for radius, width in zip(SHELLS["radii"], SHELLS["widths"], strict=True)
                ]
                unit = apart / distance
                for row, weight in enumerate((shells[0] + shells[1], shells[2])):
                    for number, moved in enumerate(told):
                        at = 3 * row + number
                        found[at, i, :3] += weight * moved[j]
                        found[at, i, 3] += weight * (unit @ moved[j])
                        found[6 + at, i, :3] += weight * (unit @ moved[j]) * unit
        for number, moved in enumerate(told):
            found[12 + number, i, :3] = moved.mean(0)
    return found


def test_rows_are_those_of_naive_loops_in_both_directions_of_time():
    """Displacements are those in the frame in which ions remember them, places are not."""
    here, inertial = run(1), run(1) + 0.3 * np.arange(24)[:, None, None]
    seen = Surroundings(descriptor(), ahead=AHEAD, here=True, step_skip=SKIP, moving=True)
    (forwards,) = described = seen.of_runs([here], (), [inertial], silent=True)
    (backwards,) = seen.of_runs_backwards([here], (), described, [inertial], silent=True)
    motion = slice(seen.n_views, seen.n_mobile)
    for frame in (10, 23):
        wanted = naive(here, inertial, frame).swapaxes(0, 1)
        assert np.allclose(forwards[frame, :, motion], wanted, atol=2e-5)
        wanted = naive(here[::-1], inertial[::-1], frame).swapaxes(0, 1)
        assert np.allclose(backwards[23 - frame, :, motion], wanted, atol=2e-5)
    # In front are the two views, as without it.
    plain = Surroundings(descriptor(), ahead=AHEAD, here=True, step_skip=SKIP)
    assert np.array_equal(forwards[:, :, : seen.n_views], plain.of_runs([here], silent=True)[0])


def test_cells_do_not_see_each_other():
    motion = MotionDescriptor(len(SHELLS["radii"]), len(AHEAD))
    rng = torch.Generator().manual_seed(1)
    places = torch.rand(3, 2, IONS, generator=rng, dtype=torch.float64)
    told = torch.randn(3, 3, 2 * IONS, generator=rng, dtype=torch.float64)
    both = motion.of_pairs(descriptor().pairs(places), told, IONS)
    for cell in range(2):
        ions = slice(cell * IONS, (cell + 1) * IONS)
        alone = descriptor().pairs(places[:, cell : cell + 1].contiguous())
        assert torch.allclose(both[..., ions], motion.of_pairs(alone, told[..., ions], IONS))
