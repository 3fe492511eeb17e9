"""XDATCAR as VASP writes it: columns that touch, headers that repeat, labels of potentials."""

import numpy as np
import pytest
from ase.io import read as ase_read

from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import (
    walk,
    write_xdatcar,
    xdatcar_frame,
    xdatcar_header,
)
from tests.support.siesta_runs import converted

OPTIONS = {"format": "xdatcar", "time_step_fs": 10.0}
LENGTH = 10.0


def moved(x):
    return x - x[:1]


def check(path, x, *, unwrap=True, **options):
    """Convert and compare displacements; return the warnings."""
    summary, warned = converted(path, path.with_suffix(".h5"), unwrap=unwrap, **OPTIONS, **options)
    assert summary.n_records == len(x)
    with Trajectory(path.with_suffix(".h5")) as t:
        np.testing.assert_allclose(moved(t.positions().astype(float)), moved(x), atol=2e-5)
        assert list(t.species) == [3] * 3 + [8] * 3
    return warned


def test_same_as_ase(tmp_path):
    write_xdatcar(tmp_path / "XDATCAR", walk(20))
    converted(tmp_path / "XDATCAR", tmp_path / "a.h5", **OPTIONS)
    theirs = ase_read(tmp_path / "XDATCAR", index=":", format="vasp-xdatcar")
    with Trajectory(tmp_path / "a.h5") as t:
        np.testing.assert_allclose(t.positions(), [a.positions for a in theirs], atol=1e-6)
        np.testing.assert_allclose(t.cells(), [a.cell.array for a in theirs], atol=1e-10)
        np.testing.assert_array_equal(t.species, theirs[0].numbers)


def test_a_blank_title(tmp_path):
    x = walk(20, pace=0.3)
    blank = xdatcar_header().replace("LiO\n", " \n", 1)
    check(write_xdatcar(tmp_path / "X", x, header=blank), x)
    frames = [xdatcar_frame(i + 1, frame / 10 % 1) for i, frame in enumerate(x)]
    (tmp_path / "X").write_text("".join(blank + frame for frame in frames))
    check(tmp_path / "X", x)


@pytest.mark.parametrize("first_touches", [True, False])
def test_columns_that_touch(tmp_path, first_touches):
    x = walk(30, pace=0.2)
    fractions = x / LENGTH
    fractions -= fractions[0] > 0.4  # negative numbers fill the columns
    text = xdatcar_header()
    for i, frame in enumerate(fractions):
        touches = first_touches or i > 12
        text += xdatcar_frame(i + 1, frame, "%11.8f" * 3 if touches else " %12.8f" * 3)
    assert "-0." in text
    (tmp_path / "X").write_text(text)
    assert not check(tmp_path / "X", x, unwrap=False)
    far = fractions + 12.0
    text = xdatcar_header() + "".join(
        xdatcar_frame(i + 1, frame, "%11.8f" * 3) for i, frame in enumerate(far)
    )
    (tmp_path / "X").write_text(text)  # 12.1234567811.98765432
    assert not check(tmp_path / "X", x, unwrap=False)


def test_repeated_headers_and_flags(tmp_path):
    x = walk(20, pace=0.2)
    frames = [xdatcar_frame(i + 1, frame / LENGTH % 1) for i, frame in enumerate(x)]
    (tmp_path / "X").write_text("".join(xdatcar_header() + frame for frame in frames))
    assert not check(tmp_path / "X", x)
    flagged = [
        xdatcar_frame(i + 1, frame / LENGTH % 1, " %11.8f %11.8f %11.8f   T   T   F")
        for i, frame in enumerate(x)
    ]
    (tmp_path / "X").write_text(xdatcar_header() + "Selective dynamics\n" + "".join(flagged))
    assert not check(tmp_path / "X", x)
    (tmp_path / "X").write_text((xdatcar_header() + "".join(frames)).replace("\n", "\r\n"))
    assert not check(tmp_path / "X", x)


@pytest.mark.parametrize("names", ["Li_sv O", "Li/ O/", "Li_sv/0a1b2c3d O_s/ff00", "Li/ab12 O"])
def test_labels_of_potentials(tmp_path, names):
    x = walk(5)
    write_xdatcar(tmp_path / "X", x, header=xdatcar_header(names=names))
    assert not check(tmp_path / "X", x)


def test_species_that_are_not_named(tmp_path):
    x = walk(5)
    header = xdatcar_header().replace(" Li O\n", "")
    write_xdatcar(tmp_path / "X", x, header=header)
    with pytest.raises(UsageError, match="counts 2 species and does not name them"):
        check(tmp_path / "X", x)
    assert not check(tmp_path / "X", x, species="Li,O")
    write_xdatcar(tmp_path / "X", x)
    with pytest.raises(UsageError, match=r"the file names its species \(Li O\)"):
        check(tmp_path / "X", x, species="O,Li")
    write_xdatcar(tmp_path / "X", x, header=xdatcar_header(names="Qq O"))
    with pytest.raises(UsageError, match="'Qq' is no element"):
        check(tmp_path / "X", x)


def test_scale_of_the_header(tmp_path):
    x = walk(5)
    for scale, edge in (("2.0", 5.0), ("-1000.0", 3.0), ("2.0 2.0 2.0", 5.0)):
        header = xdatcar_header(edge).replace(" 1.0\n", f" {scale}\n")
        write_xdatcar(tmp_path / "X", x, header=header)
        assert not check(tmp_path / "X", x)


@pytest.mark.parametrize("first", [3, 5])
def test_lines_that_come_twice(tmp_path, first):
    """Three frames' worth of lines come twice: one frame ends with rows from three before."""
    x = walk(20)
    write_xdatcar(tmp_path / "X", x)
    lines = (tmp_path / "X").read_text().split("\n")
    begin = 7 + 7 * 4 + first
    lines = lines[: begin + 21] + lines[begin:]
    # Frame 8, where that happens, comes once more, whole; there a number is damaged.
    at = 7 + 7 * 10 + 6
    assert lines[at - 6].endswith(" 8")
    lines[at] = lines[at][:-1] + "#"
    (tmp_path / "X").write_text("\n".join(lines))
    _, warned = converted(tmp_path / "X", tmp_path / "a.h5", unwrap=True, **OPTIONS)
    assert any("left out" in warning for warning in warned)
    with Trajectory(tmp_path / "a.h5") as t:
        rows = t.steps - 1
        assert rows.tolist() == [i for i in range(20) if i != 7]
        np.testing.assert_allclose(moved(t.positions()), moved(x[rows]), atol=1e-4)


def concatenated(path, x, *parts, cut=None):
    """Write parts (first, last) one after another, each with its header and its own numbers."""
    texts = []
    for a, b in parts:
        frames = [xdatcar_frame(i + 1, frame / LENGTH % 1) for i, frame in enumerate(x[a:b])]
        texts.append(xdatcar_header() + "".join(frames))
    if cut:
        texts[0] = texts[0][:-cut].rstrip() + "\n"
    path.write_text("".join(texts))
    return path


def test_concatenated_runs(tmp_path):
    x = walk(60, pace=0.15)
    path = concatenated(tmp_path / "X", x, (0, 20), (20, 40), (40, 60))
    assert not check(path, x)
    with Trajectory(tmp_path / "X.h5") as t:
        np.testing.assert_allclose(t.times_ps, np.arange(1, 61) * 0.01)
        assert "record 20 is numbered 1 after 20" in t.parameter("notes")


def test_concatenated_runs_with_repeats(tmp_path):
    x = walk(60, pace=0.15)
    path = concatenated(tmp_path / "X", x, (0, 21), (20, 41), (40, 60))
    warned = check(path, x)
    assert [("repeat" in text) for text in warned] == [True, True]
    with Trajectory(tmp_path / "X.h5") as t:
        np.testing.assert_allclose(t.times_ps, np.arange(1, 61) * 0.01)


@pytest.mark.parametrize("cut", [5, 40, 80])
def test_torn_frame_between_runs(tmp_path, cut):
    x = walk(60, pace=0.15)
    path = concatenated(tmp_path / "X", x, (0, 20), (20, 60), cut=cut)
    warned = check(path, np.delete(x, 19, axis=0))
    assert "1 torn frame is left out, the first is frame 19" in warned[0]
    with Trajectory(tmp_path / "X.h5") as t:
        np.testing.assert_array_equal(t.steps, np.delete(np.arange(1, 61), 19))


def test_torn_frames(tmp_path):
    x = walk(20)
    frames = [xdatcar_frame(i + 1, frame / LENGTH % 1) for i, frame in enumerate(x)]
    path = tmp_path / "X"

    def left(pieces, torn, lost=None):
        missing = torn if lost is None else lost
        path.write_text(xdatcar_header() + "".join(pieces))
        warned = check(path, np.delete(x, missing, axis=0))
        assert f"{len(torn)} torn" in warned[0]
        assert f"the first is frame {missing[0]} " in warned[0]
        with Trajectory(tmp_path / "X.h5") as t:
            np.testing.assert_array_equal(t.steps, np.delete(np.arange(1, 21), missing))

    rows = frames[7].splitlines(keepends=True)
    left([*frames[:19], frames[19][:-4]], [19])
    left([*frames[:19], frames[19][:-1]], [19])
    left([*frames[:7], "".join(rows[:-1]), *frames[8:]], [7])
    left([*frames[:7], "".join([*rows, rows[-1]]), *frames[8:]], [7])
    left([*frames[:7], "".join([*rows[:3], rows[3][:20] + rows[4]]), *frames[8:]], [7])
    left([*frames[:7], frames[7].replace(".", "x", 1), *frames[8:]], [7])
    # A blank less: the end of a row of another frame.
    shorter = "".join([*rows[:3], rows[3][1:], *rows[4:]])
    left([*frames[:7], shorter, *frames[8:]], [7])
    # Lines of a frame come twice, with those of the one before: either may hold rows of both.
    before = frames[6].splitlines(keepends=True)
    mixed = "".join([rows[0], *before[1:], *rows[:-1]])
    left([*frames[:7], mixed, *frames[8:]], [7, 8], [7])
    damaged = xdatcar_header().replace("10.0", "oops")
    left([*frames[:7], damaged, *frames[7:]], [6, 7])


def test_other_atoms_are_refused(tmp_path):
    x = walk(10)
    frames = "".join(xdatcar_frame(i + 1, frame / LENGTH % 1) for i, frame in enumerate(x))
    other = xdatcar_header(names="O Li") + frames
    (tmp_path / "X").write_text(xdatcar_header() + frames + other)
    with pytest.raises(DataError, match="frame 10 holds other atoms than the first"):
        check(tmp_path / "X", x)


def test_an_unrelated_run(tmp_path):
    x, other = walk(30, pace=0.05), walk(30, pace=0.05, seed=4)
    path = concatenated(tmp_path / "X", np.concatenate([x, other]), (0, 30), (30, 60))
    warned = check(path, x)
    assert "record 30 begins another trajectory" in warned[0]


def test_what_is_no_xdatcar(tmp_path):
    for text in (
        "",
        "text\n" * 50,
        xdatcar_header(),
        xdatcar_header() + "Direct configuration= 1\n",
    ):
        (tmp_path / "X").write_text(text)
        with pytest.raises(DataError, match="holds no whole frame"):
            check(tmp_path / "X", walk(2))
