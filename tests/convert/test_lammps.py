"""LAMMPS dumps: what they state is used, what they do not is asked for; ASE is the oracle."""

import gzip

import numpy as np
import pytest
from ase.io import read as ase_read

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import dump_frame, walk, write_dump
from tests.support.siesta_runs import converted

ORIGIN = np.array([-1.5, 0.25, 1.0])
OPTIONS = {"format": "lammps-dump", "species": "Li,O", "time_step_fs": 10.0}


def positions(path):
    with Trajectory(path) as t:
        return t.positions().astype(float)


def moved(x):
    return x - x[:1]


def test_same_as_ase(tmp_path):
    """Orthogonal and triclinic boxes with an origin, x and xs, atoms in any order."""
    generator = np.random.default_rng(3)
    x = walk(20, 6, pace=0.05)
    boxes = {
        "pp pp pp": ["-1.5 8.5", "0.25 9.0", "1 11"],
        "xy xz yz pp pp pp": ["-2.5 10.5 2.0", "0.25 10.5 -1.0", "1 11 0.5"],
    }
    for flags, bounds in boxes.items():
        for columns, scale in (("id type x y z", 1.0), ("id type xs ys zs", 0.1)):
            frames = []
            for i, frame in enumerate(x):
                rows = [[k + 1, k % 2 + 1, *(frame[k] * scale)] for k in generator.permutation(6)]
                frames.append(dump_frame(10 * i, rows, columns, bounds=bounds, flags=flags))
            path = tmp_path / "a.dump"
            path.write_text("".join(frames))
            converted(path, tmp_path / "a.h5", **OPTIONS)
            # ASE puts fractions into the cell without its origin.
            origin = 0.0 if scale == 1.0 else ORIGIN
            theirs = ase_read(path, index=":", format="lammps-dump-text", specorder=["Li", "O"])
            with Trajectory(tmp_path / "a.h5") as t:
                np.testing.assert_allclose(
                    t.positions(), [atoms.positions + origin for atoms in theirs], atol=2e-5
                )
                np.testing.assert_allclose(
                    t.cells(), [atoms.cell.array for atoms in theirs], atol=1e-10
                )
                np.testing.assert_array_equal(t.species, theirs[0].numbers)


def test_general_triclinic(tmp_path):
    """`abc origin`: three vectors and the origin by rows."""
    cell, origin = np.array([[8.0, 1, 0], [-2, 9, 0.5], [0.3, 0, 10]]), np.array([1.0, -2, 3])
    fractions = np.random.default_rng(1).random((5, 6, 3))
    bounds = [f"{a} {b} {c} {o}" for (a, b, c), o in zip(cell, origin, strict=True)]
    write_dump(
        tmp_path / "a.dump",
        fractions,
        columns="id type xsu ysu zsu",
        bounds=bounds,
        flags="abc origin pp pp pp",
    )
    converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    np.testing.assert_allclose(positions(tmp_path / "a.h5"), origin + fractions @ cell, atol=1e-5)
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.cells()[2], cell)


@pytest.mark.parametrize("unwrap", [False, True])
def test_unwrapped_path_is_taken_and_not_doubted(tmp_path, unwrap):
    """Images and unwrapped coordinates, with moves of more than half the cell."""
    length = 8.0
    x = walk(100, pace=2.5, length=length)
    columns = {
        "id type x y z ix iy iz": lambda i, p: [*(p % length), *np.floor(p / length)],
        "id type xs ys zs ix iy iz": lambda i, p: [*(p % length / length), *np.floor(p / length)],
        "id type x y z xu yu zu": lambda i, p: [*(p % length), *p],
        "id type xsu ysu zsu": lambda i, p: p / length,
    }
    for names, values in columns.items():
        write_dump(
            tmp_path / "a.dump",
            x,
            columns=names,
            row=lambda i, p, values=values: [i + 1, i % 2 + 1, *values(i, p)],
            length=length,
        )
        summary, warned = converted(
            tmp_path / "a.dump", tmp_path / "a.h5", unwrap=unwrap, **OPTIONS
        )
        assert (summary.n_records, warned) == (100, [])
        np.testing.assert_allclose(moved(positions(tmp_path / "a.h5")), moved(x), atol=2e-5)
        assert any("nothing to do" in note for note in summary.notes) == unwrap


def test_folded_path_is_unwrapped_and_else_told(tmp_path):
    x = walk(100, pace=0.4)
    write_dump(
        tmp_path / "a.dump",
        x,
        columns="id type x y z",
        row=lambda i, p: [i + 1, i % 2 + 1, *(p % 10)],
    )
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert "use --unwrap" in warned[0]
    converted(tmp_path / "a.dump", tmp_path / "a.h5", unwrap=True, **OPTIONS)
    np.testing.assert_allclose(moved(positions(tmp_path / "a.h5")), moved(x), atol=2e-5)


def test_directions_that_are_not_periodic(tmp_path):
    """A jump by the height of the box along z is a jump there."""
    x = walk(10, pace=0.0)
    x[5:, 0, 2] += 9.9
    write_dump(tmp_path / "a.dump", x, columns="id type x y z", flags="pp pp ff")
    converted(tmp_path / "a.dump", tmp_path / "a.h5", unwrap=True, **OPTIONS)
    np.testing.assert_allclose(moved(positions(tmp_path / "a.h5")), moved(x), atol=1e-5)


def test_atoms_without_ids(tmp_path):
    x = walk(10)
    write_dump(tmp_path / "a.dump", x, columns="type xu yu zu", row=lambda i, p: [i % 2 + 1, *p])
    with pytest.raises(UsageError, match=r"has no ids.*--fixed-order"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    converted(tmp_path / "a.dump", tmp_path / "a.h5", fixed_order=True, **OPTIONS)
    np.testing.assert_allclose(positions(tmp_path / "a.h5"), x, atol=1e-5)


@pytest.mark.parametrize("came", [3, 99])
def test_another_set_of_ids(tmp_path, came):
    """Grand canonical: one atom leaves and another comes; or an id changes its type."""
    x = walk(20)
    text = "".join(
        dump_frame(
            100 * k,
            [
                [came if i == 2 and k >= 12 else i + 1, (i + (k >= 12 and came == 3)) % 2 + 1, *p]
                for i, p in enumerate(frame)
            ],
            "id type xu yu zu",
        )
        for k, frame in enumerate(x)
    )
    (tmp_path / "a.dump").write_text(text)
    what = "atoms of other types" if came == 3 else "other atoms than the first: id 3 left; id 99"
    with pytest.raises(DataError, match=rf"frame 12 \(step 1200\).*{what}"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)


STEPS = {
    "minimisation before": ([0, 37, *range(137, 6000, 100)], 100, "37 before step 37"),
    "other interval later": (
        [*range(0, 3000, 100), *range(3900, 32900, 1000)],
        100,
        "1000 before step 3900",
    ),
    "gap": ([*range(0, 2000, 100), *range(3000, 6900, 100)], 100, "1100 before step 3000"),
    "even": (list(range(500, 6500, 100)), 100, ""),
    "single steps": (list(range(60)), 1, ""),
}


@pytest.mark.parametrize("case", STEPS)
def test_times_follow_the_steps(tmp_path, case):
    steps, usual, told = STEPS[case]
    x = walk(len(steps))
    write_dump(tmp_path / "a.dump", x, steps=steps)
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert [told in text for text in warned] == ([True] if told else [])
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, steps)
        np.testing.assert_allclose(t.times_ps, np.array(steps) / usual * 0.01, rtol=1e-12)
        np.testing.assert_allclose(t.positions(), x, atol=1e-5)


@pytest.mark.parametrize(
    ("repeat", "size"), [(range(29, 30), 59), (range(20, 30), 50), (range(0, 30), 30)]
)
def test_steps_that_a_restart_repeats(tmp_path, repeat, size):
    x = walk(60)[:size]
    rows = [*range(30), *repeat, *range(30, size)]
    write_dump(tmp_path / "a.dump", x[rows], steps=[100 * row for row in rows])
    summary, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert summary.n_records == size
    told = "record 30 repeats" if len(repeat) == 1 else f"records 30 to {29 + len(repeat)} repeat"
    assert [told in text for text in warned] == [True]
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, np.arange(size) * 100)
        np.testing.assert_allclose(t.positions(), x, atol=1e-5)


def test_a_step_with_the_atoms_of_another_is_left_out(tmp_path):
    """Lines of some frames come twice, from within a header on."""
    x = walk(60)
    rows = [*range(30), 25, 26, 27, *range(28, 60)]
    write_dump(tmp_path / "a.dump", x[rows], steps=[100 * r for r in (*range(31), *rows[31:])])
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert "records 31 to 34 repeat" in warned[0]
    assert "the first is frame 30 (its atoms may be those of another frame)" in warned[1]
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.steps.tolist() == [100 * i for i in range(60)]
        np.testing.assert_allclose(t.positions(), x, atol=1e-5)


def test_a_step_with_the_positions_of_another_is_told(tmp_path):
    """The same, where the last atom is frozen, so that its line does not tell."""
    x = walk(60)
    x[:, -1] = x[0, -1]
    rows = [*range(30), 25, 26, 27, *range(28, 60)]
    write_dump(tmp_path / "a.dump", x[rows], steps=[100 * r for r in (*range(31), *rows[31:])])
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert "record 31 begins another trajectory" in warned[0]
    assert "step 3000 has the positions of step 2500" in warned[1]


def test_steps_that_begin_anew(tmp_path):
    x = walk(60)
    write_dump(tmp_path / "a.dump", x, steps=[*range(0, 3000, 100)] * 2)
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert "record 30 is numbered 0 after 2900, and its positions go on" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_array_equal(t.steps, np.arange(60) * 100)
        np.testing.assert_allclose(t.times_ps, np.arange(60) * 0.01)


def test_another_run_appended(tmp_path):
    x, other = walk(30), walk(30, seed=8, length=40.0)
    write_dump(tmp_path / "a.dump", np.concatenate([x, other]), steps=[*range(0, 3000, 100)] * 2)
    summary, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert summary.n_records == 30
    assert "record 30 begins another trajectory" in warned[0]
    summary, _ = converted(tmp_path / "a.dump", tmp_path / "b.h5", records="30:", **OPTIONS)
    np.testing.assert_allclose(positions(tmp_path / "b.h5"), other, atol=1e-5)


@pytest.mark.parametrize(
    ("style", "length", "time_ps", "velocity"),
    [
        ("metal", 1.0, 1.0, 1.0),
        ("real", 1.0, 1e-3, 1e3),
        ("si", 1e10, 1e12, 1e-2),
        ("nano", 10.0, 1e3, 1e-2),
        ("electron", 0.529177249, 1e-3, 512.396),
    ],
)
def test_units(tmp_path, style, length, time_ps, velocity):
    """Stated by the dump or by --units; TIME makes --time-step needless."""
    x = walk(12)
    columns = "id type xu yu zu vx vy vz"
    for header in (f"ITEM: UNITS\n{style}\n", ""):
        write_dump(
            tmp_path / "a.dump",
            x / length,
            columns=columns,
            row=lambda i, p: [i + 1, i % 2 + 1, *(f"{v:.12g}" for v in p), 1.0, i, -2.0],
            header=header,
        )
        units = "" if header else style
        if not header:
            with pytest.raises(UsageError, match=r"does not state their units.*--units"):
                converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
        converted(tmp_path / "a.dump", tmp_path / "a.h5", units=units, **OPTIONS)
        with Trajectory(tmp_path / "a.h5") as t:
            np.testing.assert_allclose(t.positions(), x, atol=1e-4)
            np.testing.assert_allclose(t.velocities()[0, 2], np.array([1, 2, -2]) * velocity, 1e-5)
    text = "".join(
        dump_frame(
            50 * k,
            [[i + 1, i % 2 + 1, *(f"{v:.12g}" for v in p / length)] for i, p in enumerate(frame)],
            "id type xu yu zu",
            header=("ITEM: UNITS\n" + style + "\n" if k == 0 else "")
            + f"ITEM: TIME\n{0.02 * k / time_ps:.16g}\n",
        )
        for k, frame in enumerate(x)
    )
    (tmp_path / "b.dump").write_text(text)
    options = {**OPTIONS, "time_step_fs": 0.0}
    converted(tmp_path / "b.dump", tmp_path / "b.h5", **options)
    with Trajectory(tmp_path / "b.h5") as t:
        np.testing.assert_allclose(t.times_ps, 0.02 * np.arange(12), rtol=1e-9)
    with pytest.raises(UsageError, match="--time-step 30 fs contradicts the file"):
        converted(tmp_path / "b.dump", tmp_path / "b.h5", **{**OPTIONS, "time_step_fs": 30.0})
    with pytest.raises(UsageError, match="states"):
        converted(tmp_path / "b.dump", tmp_path / "b.h5", units="cgs", **options)


def test_velocities_that_contradict_the_motion_are_told(tmp_path):
    """A wrong style of units, or a wrong time step, shows in the velocities."""
    v = np.random.default_rng(3).normal(0, 0.01, (6, 3))  # Angstrom/fs
    x = walk(1)[0] + np.arange(30)[:, None, None] * v
    rows = [[[i + 1, i % 2 + 1, *p, *v[i]] for i, p in enumerate(frame)] for frame in x]
    columns = "id type xu yu zu vx vy vz"
    text = "".join(dump_frame(k, row, columns) for k, row in enumerate(rows))
    (tmp_path / "a.dump").write_text(text)

    def told(**changes):
        options = {**OPTIONS, "time_step_fs": 1.0, "units": "real", **changes}
        return converted(tmp_path / "a.dump", tmp_path / "a.h5", **options)[1]

    assert told() == []
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.velocities()[0], 1000 * v, rtol=1e-5)
    # Records far apart: atoms turn round in between, and come less far than they are fast.
    assert told(time_step_fs=20.0) == []
    (metal,) = told(units="metal")
    assert "atoms move 1e+03 times as far from record to record as their velocities" in metal
    (step,) = told(time_step_fs=0.05)
    assert "atoms move 20 times as far" in step
    fast = [[[*row[:5], *(1e3 * u for u in row[5:])] for row in frame] for frame in rows]
    text = "".join(dump_frame(k, row, columns) for k, row in enumerate(fast))
    (tmp_path / "a.dump").write_text(text)
    (speed,) = told()
    assert "faster than any of a solid or a liquid" in speed


def test_units_without_lengths_are_refused(tmp_path):
    write_dump(tmp_path / "a.dump", walk(3), header="ITEM: UNITS\nlj\n")
    with pytest.raises(UsageError, match="'lj' have no lengths in Angstrom"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    write_dump(tmp_path / "a.dump", walk(3))
    with pytest.raises(UsageError, match="--time-step"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **{**OPTIONS, "time_step_fs": 0.0})


def test_species_by_element_mass_or_name(tmp_path):
    x = walk(5)
    masses = {"Li": 6.94, "O": 15.999}

    def row(i, p, names=("Li", "O"), mass=None):
        name = names[i % 2]
        return [i + 1, i % 2 + 1, name, mass or masses.get(name, 1.0), *p]

    def write(**options):
        return write_dump(
            tmp_path / "a.dump",
            x,
            columns="id type element mass xu yu zu",
            row=lambda i, p: row(i, p, **options),
        )

    options = {**OPTIONS, "species": ""}
    for species in ("", "Li,O"):
        converted(write(), tmp_path / "a.h5", **{**options, "species": species})
        with Trajectory(tmp_path / "a.h5") as t:
            assert list(t.species) == [3, 8] * 3
            np.testing.assert_allclose(t.masses, [6.94, 15.999] * 3)
    with pytest.raises(UsageError, match="--species says O where the dump says Li"):
        converted(write(), tmp_path / "a.h5", **{**options, "species": "O,Li"})
    with pytest.raises(UsageError, match=r"an atom of Li has the mass 15\.999"):
        converted(write(mass=15.999), tmp_path / "a.h5", **options)
    with pytest.raises(UsageError, match="'Q' is no element"):
        converted(write(names=("Q", "O")), tmp_path / "a.h5", **options)
    # The mass alone, and neither.
    write_dump(
        tmp_path / "b.dump",
        x,
        columns="id type mass xu yu zu",
        row=lambda i, p: [i + 1, i % 2 + 1, list(masses.values())[i % 2], *p],
    )
    converted(tmp_path / "b.dump", tmp_path / "a.h5", **options)
    with Trajectory(tmp_path / "a.h5") as t:
        assert list(t.species) == [3, 8] * 3
    write_dump(tmp_path / "b.dump", x)
    with pytest.raises(UsageError, match="--species, such as Li,O"):
        converted(tmp_path / "b.dump", tmp_path / "a.h5", **options)
    with pytest.raises(UsageError, match="names 1 types, and the dump has type 2"):
        converted(tmp_path / "b.dump", tmp_path / "a.h5", **{**options, "species": "Li"})
    with pytest.raises(UsageError, match="Oo: no such element"):
        converted(tmp_path / "b.dump", tmp_path / "a.h5", **{**options, "species": "Li,Oo"})


def test_torn_frames_are_left_out_wherever_they_are(tmp_path):
    x = walk(20)
    frames = [
        dump_frame(100 * k, [[i + 1, i % 2 + 1, *p] for i, p in enumerate(f)], "id type xu yu zu")
        for k, f in enumerate(x)
    ]
    path = tmp_path / "a.dump"

    def left(cut, *, missing, torn=0):
        path.write_text(cut)
        _, warned = converted(path, tmp_path / "a.h5", **OPTIONS)
        assert f"the first is frame {missing[0]} " in warned[0]
        assert f"{torn or len(missing)} torn" in warned[0]
        with Trajectory(tmp_path / "a.h5") as t:
            np.testing.assert_array_equal(t.steps, np.delete(np.arange(20) * 100, missing))
            np.testing.assert_allclose(t.positions(), np.delete(x, missing, 0), atol=1e-5)

    whole = "".join(frames)
    for cut in (whole[:-5], whole.rsplit(" ", 1)[0], whole[: -len(frames[-1]) // 2], whole[:-1]):
        left(cut, missing=[19])
    middle = frames[:7] + [frames[7][: len(frames[7]) // 2]] + frames[8:]
    left("".join(middle), missing=[7])
    row = frames[7].splitlines()
    left("".join([*frames[:7], "\n".join(row[:-2] + row[-1:]) + "\n", *frames[8:]]), missing=[7])
    short = "\n".join([*row[:-1], row[-1].rsplit(" ", 1)[0]]) + "\n"
    left("".join([*frames[:7], short, *frames[8:]]), missing=[7])
    twice = "\n".join([*row[:-1], row[-2]]) + "\n"
    left("".join([*frames[:7], twice, *frames[8:12], twice, *frames[13:]]), missing=[7, 12])
    left("".join([*frames[:7], frames[7].replace("zu", "zv"), *frames[8:]]), missing=[7])
    # The header of one frame with the atoms of the next: all counts fit.
    joined = "\n".join([*row[:6], *frames[8].splitlines()[2:]]) + "\n"
    left("".join([*frames[:7], joined, *frames[9:]]), missing=[7, 8], torn=1)
    # Lines of a frame come twice, with those of the one before: either may hold rows of both.
    head, atoms = frames[8][: frames[8].index("zu\n") + 3], frames[7].splitlines(keepends=True)[9:]
    mixed = head + "".join(atoms) + frames[8].replace("ITEM: NUMBER OF ATOMS\n", "")
    left("".join([*frames[:8], mixed, *frames[9:]]), missing=[8], torn=2)
    # A run was killed as it wrote a frame, and its restart wrote it again.
    path.write_text("".join([*frames[:8], frames[8][:-30], *frames[8:]]))
    _, warned = converted(path, tmp_path / "a.h5", **OPTIONS)
    assert "1 torn frame is left out" in warned[0]
    np.testing.assert_allclose(positions(tmp_path / "a.h5"), x, atol=1e-5)
    first = "".join([frames[0][:-30], *frames[1:]])
    left(first, missing=[0])
    packed = gzip.compress(whole.encode(), 1)
    (tmp_path / "a.dump.gz").write_bytes(packed[: len(packed) // 2])
    summary, warned = converted(tmp_path / "a.dump.gz", tmp_path / "a.h5", **OPTIONS)
    assert "cannot be read beyond byte" in warned[0]
    np.testing.assert_allclose(positions(tmp_path / "a.h5"), x[: summary.n_records], atol=1e-5)


@pytest.mark.parametrize("first", [18, 24])
def test_lines_that_come_twice(tmp_path, first):
    """Sixty lines, four frames' worth, come twice: one frame has its atoms from four before."""
    x = walk(20)
    write_dump(tmp_path / "whole.dump", x)
    lines = (tmp_path / "whole.dump").read_text().split("\n")
    lines = lines[: 90 + first] + lines[30 + first :]
    # The frame at step 700 comes once more, whole; there a number is damaged.
    at = len(lines) - (20 - 7) * 15 - 1 + 10
    lines[at] = lines[at][:-1] + "#"
    (tmp_path / "a.dump").write_text("\n".join(lines))
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert any("left out" in warning for warning in warned)
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.steps.tolist() == [100 * i for i in range(20) if i != 7]
        np.testing.assert_allclose(t.positions(), x[t.steps // 100], atol=1e-4)


def test_what_is_no_dump(tmp_path):
    for text in ("", "nothing of the kind\n" * 100, "ITEM: TIMESTEP\n5\n"):
        (tmp_path / "a.dump").write_text(text)
        with pytest.raises(DataError, match="holds no whole frame"):
            converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    write_dump(tmp_path / "a.dump", walk(3), columns="id type fx fy fz")
    with pytest.raises(UsageError, match="has no coordinates among its columns"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    with pytest.raises(UsageError, match="--label is for run folders"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", label="x", **OPTIONS)


def test_format_is_found(tmp_path):
    write_dump(tmp_path / "a.dump", walk(5))
    summary, _ = converted(tmp_path / "a.dump", tmp_path / "a.h5", **{**OPTIONS, "format": "auto"})
    assert summary.source == "LAMMPS dump"


@pytest.mark.parametrize(
    "number",
    [
        "1e",
        "1.2.3",
        "2x",
        "1-2",
        "--1",
        "-",
        ".",
        "1e5e2",
        "1.e+",
        "0x1F",
        "nan",
        "inf",
        "1_0",
        "1e400",
    ],
)
def test_what_is_no_number_is_never_read(tmp_path, number):
    """In a group of whole frames: that one is left out, the others stay."""
    x = walk(40)
    write_dump(tmp_path / "a.dump", x)
    text = (tmp_path / "a.dump").read_text()
    frames = text.split("ITEM: TIMESTEP")
    words = frames[8].split(" ")
    words[-8] = number
    frames[8] = " ".join(words)
    (tmp_path / "a.dump").write_text("ITEM: TIMESTEP".join(frames))
    _, warned = converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    assert "1 torn frame is left out, the first is frame 7 (a number is damaged)" in warned[0]
    np.testing.assert_allclose(positions(tmp_path / "a.h5"), np.delete(x, 7, 0), atol=1e-5)


@pytest.mark.parametrize("form", [".17g", ".3e", "+.6f", "g", ".0f"])
def test_forms_of_numbers(tmp_path, form):
    x = walk(60) - 5
    write_dump(
        tmp_path / "a.dump",
        x,
        row=lambda i, p: [i + 1, i % 2 + 1, *(format(v, form) for v in p)],
    )
    told = [[[float(format(v, form)) for v in p] for p in frame] for frame in x]
    converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)
    np.testing.assert_array_equal(positions(tmp_path / "a.h5").astype("f4"), np.float32(told))


def test_a_column_named_twice_is_refused(tmp_path):
    x = walk(5, 2, pace=0.05)
    rows = [[[k + 1, 1, *frame[k], 0.0] for k in range(2)] for frame in x]
    text = "".join(dump_frame(i, r, "id type xu xu yu zu") for i, r in enumerate(rows))
    (tmp_path / "a.dump").write_text(text)
    with pytest.raises(DataError, match="names the column xu twice"):
        converted(tmp_path / "a.dump", tmp_path / "a.h5", **OPTIONS)


def test_unwrapping_where_the_box_is_not_periodic(tmp_path):
    """Refused without a periodic direction; told where atoms jump along one that is not."""
    x = walk(60, 4, pace=0.5)
    rows = [[[k + 1, 1, *(frame[k] % 10.0)] for k in range(4)] for frame in x]

    def convert(flags):
        frames = [dump_frame(i, r, "id type x y z", flags=flags) for i, r in enumerate(rows)]
        (tmp_path / "a.dump").write_text("".join(frames))
        return converted(tmp_path / "a.dump", tmp_path / "a.h5", unwrap=True, **OPTIONS)[1]

    with pytest.raises(UsageError, match="no direction of it is periodic"):
        convert("ff ff ff")
    assert any("not periodic; they are left as they are" in told for told in convert("pp pp ff"))
    found = positions(tmp_path / "a.h5")
    np.testing.assert_allclose(moved(found)[..., :2], moved(x)[..., :2], atol=1e-4)
