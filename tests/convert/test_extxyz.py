"""Extended XYZ and formats of ASE: what a frame has not is missing there, never zero."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import write as ase_write
from ase.units import fs

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import walk, write_extxyz
from tests.support.siesta_runs import converted

OPTIONS = {"format": "extxyz", "time_step_fs": 10.0}
LATTICE = 'Lattice="10 0 0 0 10 0 0 0 10"'
PROPERTIES = "Properties=species:S:1:pos:R:3"


def check(path, x, *, unwrap=True, **options):
    """Convert and compare displacements; return the warnings."""
    output = path.with_suffix(".h5")
    summary, warned = converted(path, output, unwrap=unwrap, **{**OPTIONS, **options})
    assert summary.n_records == len(x)
    with Trajectory(output) as t:
        moved = t.positions().astype(float)
        np.testing.assert_allclose(moved - moved[:1], x - x[:1], atol=2e-5)
    return warned


def test_lines_that_come_twice(tmp_path):
    """Three frames' worth of lines come twice: one frame ends with atoms from three before."""
    x = walk(20)
    write_extxyz(
        tmp_path / "whole.xyz", x, comment=lambda i: f"{LATTICE} {PROPERTIES} step={i + 1}"
    )
    lines = (tmp_path / "whole.xyz").read_text().split("\n")
    begin = 8 * 4 + 5
    lines = lines[: begin + 24] + lines[begin:]
    # The frame of step 8, where that happens, comes once more, whole; there a number is damaged.
    at = 8 * 10 + 7
    assert lines[at - 6].endswith("=8")
    lines[at] = lines[at][:-1] + "#"
    (tmp_path / "a.xyz").write_text("\n".join(lines))
    _, warned = converted(tmp_path / "a.xyz", tmp_path / "a.h5", unwrap=True, **OPTIONS)
    assert any("left out" in warning for warning in warned)
    with Trajectory(tmp_path / "a.h5") as t:
        rows = t.steps - 1
        assert rows.tolist() == [i for i in range(20) if i != 7]
        moved = t.positions().astype(float)
        np.testing.assert_allclose(moved - moved[:1], x[rows] - x[:1], atol=1e-4)


def test_folded_walk(tmp_path):
    x = walk(100, pace=0.4)
    write_extxyz(tmp_path / "a.xyz", x)
    assert not check(tmp_path / "a.xyz", x)
    assert not check(tmp_path / "a.xyz", x, format="auto")


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        (lambda i: f"i = {i}, time = {i * 0.5}", "it has none"),
        (lambda i: f"{LATTICE} {PROPERTIES}" if i == 0 else f"frame {i}", "some frames have none"),
        (lambda i: f"{LATTICE} {PROPERTIES}" if i else "frame 0", "some frames have none"),
        (
            lambda i: f"{LATTICE if i != 7 else ''} {PROPERTIES}",
            "some frames have none",
        ),
        (
            lambda i: f'Lattice="10 0 0 0 10 0 0 0 0" {PROPERTIES}',
            "step 0 has none, or a flat cell",
        ),
        (lambda i: f'{LATTICE} {PROPERTIES} pbc="F F F"', "no direction of it is periodic"),
    ],
)
def test_unwrapping_without_a_cell_is_refused(tmp_path, comment, says):
    x = walk(20, pace=0.4)
    write_extxyz(tmp_path / "a.xyz", x, comment=comment)
    with pytest.raises(UsageError, match=f"--unwrap needs .*{says}"):
        check(tmp_path / "a.xyz", x)


def test_two_cell_vectors(tmp_path):
    atoms = [Atoms("Li2", positions=[[0, 0, i], [1, 1, 1]], cell=[5, 5, 0]) for i in range(3)]
    ase_write(tmp_path / "a.traj", atoms)
    for pbc in ([True, True, False], True):
        for frame in atoms:
            frame.pbc = pbc
        ase_write(tmp_path / "a.traj", atoms)
        with pytest.raises(UsageError, match="--unwrap needs three cell vectors"):
            check(tmp_path / "a.traj", np.zeros((3, 2, 3)), format="traj")


def test_directions_that_are_not_periodic(tmp_path):
    """A slab: z is not folded back."""
    x = walk(20, pace=0.0) % 10
    x[:, 0, 2] = np.where(np.arange(20) < 9, 0.2, 9.8)
    write_extxyz(tmp_path / "a.xyz", x, comment=lambda i: f'{LATTICE} {PROPERTIES} pbc="T T F"')
    check(tmp_path / "a.xyz", x)


def test_fields_missing_in_some_frames(tmp_path):
    x = walk(12, pace=0.1, length=2.0) + 3
    frames = []
    for i, p in enumerate(x):
        velocities = p / 100 if i % 3 else None
        cell = np.eye(3) * 10 if i != 5 else None
        frames.append(Atoms("LiOLiOLiO", positions=p, cell=cell, pbc=True, velocities=velocities))
    ase_write(tmp_path / "a.extxyz", frames)
    warned = check(tmp_path / "a.extxyz", x, unwrap=False)
    assert "1 frames have no cell" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        without = np.arange(12) % 3 == 0
        assert np.isnan(t.velocities()[without]).all()
        expected = (x / 100 * fs * 1000)[~without]
        np.testing.assert_allclose(t.velocities()[~without], expected, rtol=1e-3, atol=1e-6)
        assert np.isnan(t.cells()[5]).all()
        np.testing.assert_allclose(t.cells()[4], np.eye(3) * 10)


@pytest.mark.parametrize("name", ["Time", "step", "i"])
def test_numbers_that_frames_state(tmp_path, name):
    """A gap and a repeat are seen in them; the unit of time is asked for."""
    x = walk(40, pace=0.2)
    rows = [*range(10), *range(13, 30), *range(25, 40)]
    factor = 0.5 if name == "Time" else 20
    write_extxyz(
        tmp_path / "a.xyz",
        x[rows],
        comment=lambda k: f"{LATTICE} {PROPERTIES} {name}={rows[k] * factor}",
    )
    kept = np.delete(np.arange(40), [10, 11, 12])
    warned = check(tmp_path / "a.xyz", x[kept])
    assert "records 27 to 31 repeat earlier steps" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.times_ps, kept * 0.01, atol=1e-9)
    with pytest.raises(UsageError, match="does not state the time between two frames"):
        check(tmp_path / "a.xyz", x[kept], time_step_fs=0.0)


def test_torn_frames(tmp_path):
    x = walk(20, pace=0.2)
    path = write_extxyz(tmp_path / "a.xyz", x)
    lines = path.read_text().splitlines(keepends=True)
    frames = ["".join(lines[i : i + 8]) for i in range(0, len(lines), 8)]

    def left(pieces, missing):
        path.write_text("".join(pieces))
        warned = check(path, np.delete(x, missing, axis=0))
        assert f"the first is frame {missing[0]} " in warned[0]
        with Trajectory(tmp_path / "a.h5") as t:
            np.testing.assert_allclose(t.times_ps[-1], 0.01 * (18 if 19 in missing else 19))

    left([*frames[:19], frames[19][:-4]], [19])
    left([*frames[:19], frames[19][:-1]], [19])
    left([*frames[:7], frames[7].replace("O ", "O x", 1), *frames[8:]], [7])
    left([*frames[:7], frames[7].replace("\nO ", "\nO 1.0 ", 1), *frames[8:]], [7])
    left([*frames[:7], frames[7].replace("pos:R:3", "pos:R:", 1), *frames[8:]], [7])
    # Two atoms come twice: as many lines as stated could be read, of the wrong atoms.
    rows = frames[7].splitlines(keepends=True)
    left([*frames[:7], *rows[:4], *rows[2:], *frames[8:]], [7])


def test_what_is_no_xyz(tmp_path):
    for text in ("", "text\n" * 20, "4\nProperties=species:S:1:pos:R:3\nLi 0 0\n"):
        (tmp_path / "a.xyz").write_text(text)
        with pytest.raises(DataError, match="holds no whole frame"):
            check(tmp_path / "a.xyz", walk(2))
    x = walk(4)
    other = tmp_path / "b.xyz"
    write_extxyz(other, x[:, ::-1])
    swapped = other.read_text().replace("O ", "Q ").replace("Li ", "O ").replace("Q ", "Li ")
    (tmp_path / "a.xyz").write_text(write_extxyz(other, x).read_text() + swapped)
    with pytest.raises(DataError, match="frame 4 holds other atoms than the first"):
        check(tmp_path / "a.xyz", x)
    with pytest.raises(UsageError, match="--species names the types"):
        check(tmp_path / "a.xyz", x, species="Li")
