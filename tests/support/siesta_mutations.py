"""Damaged copies of run folders, from a seed, and what a conversion made of them.

As a program it goes on until it is stopped: ``python -m tests.support.siesta_mutations --seed 1``.
"""

import argparse
import gzip
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

from mdgan_hpc.convert.conversion import convert_run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.errors import DataWarning, MdganError
from mdgan_hpc.trajectory import Trajectory
from tests.support.siesta_runs import DATA

#: Kinds of file that are damaged; the others of the folder stay as they are.
TARGETS = (
    ".MD",
    ".MD.nc",
    ".ANI",
    ".MD_CAR",
    ".MDE",
    ".XV",
    ".STRUCT_OUT",
    ".FA",
    ".fdf",
    ".out",
)
RUNS = ("nve_lih8", "pr_lih8", "anneal_lih8", "restart_xv_only", "molecule_auto_cell", "out_only")
SOURCES = {"MD": ".MD", "MD.nc": ".MD.nc", "ANI": ".ANI", "MD_CAR": ".MD_CAR", "out": ".out"}
#: Processor time that a conversion may take; they take some hundredths of a second.
SECONDS = 20
#: Numbers that a count may turn into.
HUGE = (b"-1", b"0", b"99999999", b"2147483647", b"4294967295", b"9999999999999999999", b"nan")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return damaged bytes: flipped, cut, repeated, shuffled, or with a huge number."""
    if not data:
        return data
    kind = rng.randrange(10)
    place = rng.randrange(len(data))
    head = rng.random() < 0.3  # damage near the beginning is the most harmful
    if head:
        place = rng.randrange(min(len(data), 200))
    out = bytearray(data)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 4, 64))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[place] = rng.randrange(256)
    elif kind == 2:
        return bytes(out[:place])
    elif kind == 3:
        return bytes(out[place:])
    elif kind == 4:
        end = min(len(out), place + rng.choice((1, 4, 41, 335, 5000)))
        return bytes(out[:end] + out[place:])
    elif kind == 5:
        end = min(len(out), place + rng.choice((1, 4, 41, 335, 5000)))
        return bytes(out[:place] + out[end:])
    elif kind == 6:
        lines = data.split(b"\n")
        a = rng.randrange(len(lines))
        b = min(len(lines), a + rng.choice((2, 10, 100)))
        part = lines[a:b]
        rng.shuffle(part)
        return b"\n".join(lines[:a] + part + lines[b:])
    elif kind == 7:
        words = [i for i in range(len(data) - 1) if data[i : i + 1].isdigit()][:5000]
        if words:
            at = rng.choice(words)
            end = at
            while end < len(data) and data[end : end + 1].isdigit():
                end += 1
            return bytes(out[:at]) + rng.choice(HUGE) + bytes(out[end:])
    elif kind == 8:
        value = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 52, 2**30, 144))
        out[place : place + 4] = value.to_bytes(4, rng.choice(("little", "big")))
    else:
        return data + bytes(rng.randrange(256) for _ in range(rng.choice((1, 7, 400))))
    return bytes(out)


def _plain(path: Path) -> str:
    return path.name.removesuffix(".gz")


class _Timeout(BaseException):
    pass


def _alarm(*_: object) -> None:
    raise _Timeout


class Mutations:
    """Damages one file of a copied run at a time and converts the folder.

    Parameters
    ----------
    folder : path
        Where the copies go.
    seed : int
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._copies = {}
        for run in RUNS:
            copy = folder / run
            copy.mkdir()
            for path in (DATA / "short" / run).iterdir():
                data = path.read_bytes()
                if path.suffix == ".gz":
                    data = gzip.decompress(data)
                (copy / _plain(path)).write_bytes(data)
            self._copies[run] = copy

    def one(self, number: int) -> None:
        """Try mutation `number`; the same number gives the same damage."""
        rng = random.Random(f"{self.seed} {number}")
        run = self._copies[rng.choice(RUNS)]
        files = [p for p in sorted(run.iterdir()) if p.name.endswith(TARGETS)]
        target = rng.choice(files)
        original = target.read_bytes()
        data = original
        for _ in range(rng.choice((1, 1, 1, 3))):
            data = mutated(data, rng)
        source = next((k for k, end in SOURCES.items() if target.name.endswith(end)), "best")
        packed = rng.random() < 0.1
        damaged = target.with_name(target.name + ".gz") if packed else target
        if packed:
            data = gzip.compress(data, 1)
            if rng.random() < 0.5:
                data = mutated(data, rng)
            target.unlink()
        damaged.write_bytes(data)
        output = self.folder / "out.h5"
        config = ConvertConfig(
            source=source if rng.random() < 0.8 else "best",
            include_initial=rng.random() < 0.1,
            unwrap=rng.random() < 0.2,
        )
        output.unlink(missing_ok=True)
        signal.signal(signal.SIGPROF, _alarm)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        label = f"seed {self.seed} number {number}, {run.name}/{damaged.name}"
        try:
            self._converted(run, config, output, label)
        except _Timeout:
            self.failures.append(f"{label}: more than {SECONDS} s")
        except Exception:
            self.failures.append(f"{label}: {traceback.format_exc()}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            if packed:
                damaged.unlink()
            target.write_bytes(original)

    def _converted(self, run: Path, config: ConvertConfig, output: Path, label: str) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                summary = convert_run(run, output, config, force=True, silent=True)
            except MdganError as error:
                told = str(error)
                assert told.strip(), label
                assert "\n" not in told, f"{label}: more than one line: {told}"
                left = [p.name for p in self.folder.iterdir() if "out.h5" in p.name]
                assert not left, f"{label}: left {left}"
                self.outcomes["refused"] += 1
                return
        strange = [str(w.message) for w in caught if w.category is not DataWarning]
        assert not strange, f"{label}: {strange}"
        with Trajectory(output) as trajectory:
            assert trajectory.n_records == summary.n_records
            times = trajectory.times_ps
            assert (times[1:] > times[:-1]).all(), f"{label}: times do not increase"
        self.outcomes["warned" if summary.warnings else "right"] += 1


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0, help="0: without end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    last = options.first + options.count if options.count else sys.maxsize
    folder = Path(tempfile.mkdtemp())
    mutations = Mutations(folder, options.seed)
    try:
        for number in range(options.first, last):
            known = len(mutations.failures)
            mutations.one(number)
            print(*mutations.failures[known:], sep="\n", end="", flush=True)
            if (number + 1) % 500 == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                print(number + 1, dict(mutations.outcomes), f"peak {peak} MB", flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder)
    sys.exit(bool(mutations.failures))


if __name__ == "__main__":
    main()
