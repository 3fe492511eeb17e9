"""Damaged dumps, XDATCARs and extended XYZ files, and what a conversion made of them.

Every frame that comes out is compared with the one that was written at its step: a right result, a
named warning, or one line of error; never a wrong number without a word. Damage that leaves a
number of another value in its place (a digit for a digit), or that takes out whole frames' worth of
lines so that the ends meet, is none that a reader can see, and is not made.

As a program it goes on until it is stopped: ``python -m tests.support.foreign_mutations``.
"""

import argparse
import random
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from mdgan_hpc.convert.conversion import convert_run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.errors import DataWarning, MdganError
from mdgan_hpc.trajectory import Trajectory
from tests.support.foreign import walk, write_dump, write_extxyz, write_xdatcar

_LENGTH = 10.0
#: What may stand where something else stood: no part of a number, nor a blank.
_STRANGE = b"xyzQ#*\x00\xff$:"
_OPTIONS = {
    "unwrapped dump": {"format": "lammps-dump", "species": "Li,O"},
    "folded dump": {"format": "lammps-dump", "species": "Li,O", "unwrap": True},
    "xdatcar": {"format": "xdatcar", "unwrap": True},
    "extxyz": {"format": "extxyz", "unwrap": True},
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return damaged bytes: cut, parts lost or twice, lines in another place, strange letters."""
    kind = rng.randrange(8)
    a = rng.randrange(len(data))
    lines = data.split(b"\n")
    i = rng.randrange(len(lines) - 1)
    if kind == 0:
        return data[:a]
    if kind == 1:  # a part is lost, of more than a line
        return data[:a] + data[a + rng.choice((61, 203, 1001)) :]
    if kind == 2:
        return data[:a] + bytes([rng.choice(_STRANGE)]) + data[a + 1 :]
    if kind == 3:  # lines are lost
        return b"\n".join(lines[:i] + lines[i + rng.choice((1, 2, 11)) :])
    if kind == 4:  # lines come twice
        n = rng.choice((1, 2, 15, 24, 28, 60))
        return b"\n".join(lines[: i + n] + lines[i:])
    if kind == 5:  # a line is cut within
        return b"\n".join([*lines[:i], lines[i][: len(lines[i]) // 2], *lines[i + 1 :]])
    if kind == 6:
        return data[a:]
    junk = bytes(rng.choice(_STRANGE) for _ in range(rng.choice((1, 10, 300))))
    return data[:a] + junk + data[a:]


class ForeignMutations:
    """Damages a file at a time and converts it.

    Parameters
    ----------
    folder : path
    seed : int
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._x = walk(40, 6, pace=0.25, seed=3)
        folded = self._x % _LENGTH
        write_dump(folder / "unwrapped dump", self._x, steps=range(100, 4100, 100))
        write_dump(
            folder / "folded dump",
            folded,
            steps=range(100, 4100, 100),
            columns="id type x y z vx",
            row=lambda i, p: [i + 1, i % 2 + 1, *p, 0.5],
        )
        write_xdatcar(folder / "xdatcar", self._x)
        lattice = f'Lattice="{_LENGTH} 0 0 0 {_LENGTH} 0 0 0 {_LENGTH}"'
        write_extxyz(
            folder / "extxyz",
            self._x,
            comment=lambda i: f'{lattice} Properties=species:S:1:pos:R:3 pbc="T T T" step={i + 1}',
        )

    def one(self, number: int) -> None:
        """Try mutation `number`; the same number gives the same damage."""
        rng = random.Random(f"{self.seed} {number}")
        name = rng.choice(sorted(_OPTIONS))
        data = (self.folder / name).read_bytes()
        for _ in range(rng.choice((1, 1, 1, 2))):
            data = mutated(data, rng) or b"\n\n"
        path, output = self.folder / "damaged", self.folder / "out.h5"
        path.write_bytes(data)
        output.unlink(missing_ok=True)
        label = f"seed {self.seed} number {number}, {name}"
        try:
            self._converted(path, output, name, label)
        except Exception:
            self.failures.append(f"{label}: {traceback.format_exc()}")

    def _converted(self, path: Path, output: Path, name: str, label: str) -> None:
        config = ConvertConfig(drift="none", time_step_fs=10.0, **_OPTIONS[name])  # type: ignore[arg-type]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                convert_run(path, output, config, force=True, silent=True)
            except MdganError as error:
                told = str(error)
                assert told.strip(), label
                assert "\n" not in told, f"{label}: more than one line: {told}"
                self.outcomes["refused"] += 1
                return
        strange = [str(w.message) for w in caught if w.category is not DataWarning]
        assert not strange, f"{label}: {strange}"
        warned = [str(w.message) for w in caught]
        wrong = self._wrong(output)
        # That frames were left out tells nothing of what is wrong in those that are there.
        told_of = [w for w in warned if "left out" not in w or not wrong.startswith("positions")]
        assert not wrong or told_of, f"{label}: {wrong}, and nothing told but {warned}"
        self.outcomes["warned" if warned else "right"] += 1
        if warned and wrong:
            self.outcomes[f"warned: {wrong.split()[0]}"] += 1

    def _wrong(self, output: Path) -> str:
        """Return what is not as it was written, at the step that a frame states."""
        with Trajectory(output) as t:
            steps, times, x = t.steps, t.times_ps, t.positions().astype(float)
        step = 100 if steps.max() > 50 else 1
        rows = steps // step - 1
        if (steps % step).any() or rows.min() < 0 or rows.max() >= len(self._x):
            return f"steps {steps}"
        if not np.allclose(times - times[0], (steps - steps[0]) / step * 0.01, atol=1e-9):
            return f"times {times}"
        # Unfolded, a path may begin in another image.
        moved, true = x - x[:1], self._x[rows] - self._x[rows[:1]]
        if np.abs(moved - true).max() > 1e-3:
            return f"positions by {np.abs(moved - true).max():.3g} Angstrom"
        # A file may begin and end with any frame; within it none may be missing unsaid.
        return "frames missing" if (np.diff(rows) != 1).any() else ""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0, help="0: without end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    last = options.first + options.count if options.count else sys.maxsize
    with tempfile.TemporaryDirectory() as folder:
        mutations = ForeignMutations(Path(folder), options.seed)
        for number in range(options.first, last):
            known = len(mutations.failures)
            mutations.one(number)
            print(*mutations.failures[known:], sep="\n", end="", flush=True)
            if (number + 1) % 500 == 0:
                print(number + 1, dict(mutations.outcomes), flush=True)
    sys.exit(bool(mutations.failures))


if __name__ == "__main__":
    main()
