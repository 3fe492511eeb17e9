"""Damages one input at a time, hands it to the commands that read it, and judges what they do.

Every outcome is: right, refused in one line, or one of the things that must never be (`Outcome`).
What is kept under a digest never comes out different without a word.

As a program it goes on until it is stopped: ``python -m tests.support.chaos.inputs``.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mdgan_hpc.errors import MdganError
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory import Trajectory
from tests.support.chaos.commands import Commands, Outcome
from tests.support.chaos.hdf5 import damage_bytes, damage_structure
from tests.support.chaos.material import GENERATE, LONGER, Material, make_material
from tests.support.chaos.models import damage_model
from tests.support.chaos.texts import damage_json, damage_options, damage_text, damage_toml

#: Shares of the stages: a report takes seconds, a training one, others a moment.
_WEIGHTS = {
    "msd": 14,
    "sites": 4,
    "convert": 14,
    "train": 2,
    "advise": 3,
    "report": 0.25,
    "generate": 6,
    "resume": 2,
    "grow": 5,
    "arrhenius": 10,
    "configuration": 10,
    "options": 6,
}


class InputChaos:
    """Damages inputs, all by chance of a seed.

    Parameters
    ----------
    folder : path
        For the whole files and the damaged ones.
    commands : Commands
    seed : int
    """

    def __init__(self, folder: Path, commands: Commands, seed: int) -> None:
        self.folder, self.commands, self.seed = folder, commands, seed
        whole = folder / "whole"
        whole.mkdir()
        self.material: Material = make_material(whole)
        self.outcomes: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.failures: list[str] = []
        self.memory = 0  # bytes, of the largest

    def told(self) -> str:
        """Return what came of all inputs so far."""
        stages = {name: round(s) for name, s in sorted(self.seconds.items())}
        return (
            f"{sum(self.outcomes.values())} damaged inputs, at most {self.memory / 2**30:.2f} GiB: "
            f"{dict(sorted(self.outcomes.items()))}; seconds {stages}"
        )

    def copy_to(self, folder: Path) -> Material:
        """Return a copy of the whole files in a folder, in which nothing else is."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.material.folder, folder)
        return Material(folder)

    def one(self, number: int) -> None:
        """Try damage `number`; the same number gives the same damage."""
        rng = random.Random(f"{self.seed} {number}")
        stage = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        work = self.folder / "work"
        try:
            done, outcome = getattr(self, f"_{stage}")(self.copy_to(work), rng)
        except Exception:
            self.failures.append(
                f"seed {self.seed} number {number} {stage}: the suite itself: "
                f"{traceback.format_exc()}"
            )
            return
        wrong = outcome.wrong()
        if list(work.rglob("canary")):
            wrong = "what a file holds was run"
        self.memory = max(self.memory, outcome.memory)
        self.seconds[stage] += outcome.seconds
        kind = "right" if outcome.status == 0 else "refused"
        if not wrong and "DIFFERENT" in done:
            wrong = "other numbers without a word"
        if wrong:
            self.failures.append(f"seed {self.seed} number {number} {stage}, {done}: {wrong}")
        self.outcomes[f"{stage}: {'WRONG' if wrong else kind}"] += 1

    # One method a stage -------------------------------------------------------------------------

    def _trajectory(self, path: Path, rng: random.Random) -> str:
        damage: Callable[..., str] = rng.choice([damage_structure, damage_structure, damage_bytes])
        return damage(path, rng)

    def _msd(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.run, m.mixed, m.generated, m.folder / "gen.shards/part-00000.h5"])
        done = self._trajectory(path, rng)
        target = m.generated if "part" in path.name else path
        out = m.folder / rng.choice(["o.json", "o.h5"])
        line = (target, "-o", out, "--species", "Li", *rng.choice([(), ("--incomplete",)]))
        return f"{target.name}: {done}", self.commands("msd", *line)

    def _sites(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.run, m.generated])
        done = self._trajectory(path, rng)
        line = (path, "-o", m.folder / rng.choice(["o.json", "o.h5"]), "--species", "Li")
        return f"{path.name}: {done}", self.commands("sites", *line)

    def _convert(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.run, m.mixed, m.generated])
        done = self._trajectory(path, rng)
        ways = (
            ("--info",),
            ("--export", "npz", "-o", m.folder / "o.npz"),
            ("--export", "extxyz", "-o", m.folder / "o.xyz"),
            ("--format", "h5md", "-o", m.folder / "o.h5", "--drift", "none"),
        )
        way = rng.choice(ways)
        return f"{path.name} {way[:2]}: {done}", self.commands("convert", path, *way)

    def _train(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        done = self._trajectory(m.run, rng)
        line = (m.config, "--data", m.run, "--out", m.folder / "new", "--set", "phase.steps=2")
        return done, self.commands("train", *line)

    def _advise(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.run, m.mixed])
        done = self._trajectory(path, rng)
        return done, self.commands("train", "--advise", "--data", path, "--species", "Li")

    def _report(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.run, m.generated])
        done = self._trajectory(path, rng)
        line = ("--md", m.run, "--generated", m.generated, "-o", m.folder / "report")
        return done, self.commands("report", *line, timeout_s=300)

    def _generate(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        done = damage_model(m.model, rng)
        out = m.folder / "new.h5"
        return done, self.commands("generate", m.model, "-o", out, *GENERATE)

    def _resume(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        """A run folder whose training goes on from a checkpoint."""
        (m.training / "model.pt").unlink()
        newest = max((m.training / "checkpoints").iterdir())
        if rng.random() < 0.5:
            newest.unlink()
            newest = max((m.training / "checkpoints").iterdir())
        path = rng.choice([newest, m.training / "config.json", m.training / "metrics.jsonl"])
        if path == newest:
            done = damage_bytes(path, rng)
        else:
            done = damage_text(path, rng, ["null", "-1", "[" * 3000, "9" * 5000, '"text"'])
        line = (m.config, "--data", m.run, "--out", m.training)
        outcome = self.commands("train", *line)
        if outcome.status == 0 and not self.same_model(m):
            done += " DIFFERENT"
        return f"{path.name}: {done}", outcome

    def same_model(self, m: Material) -> bool:
        made, whole = (
            torch.load(f.training / "model.pt", weights_only=True)["weights"]
            for f in (m, self.material)
        )
        return all(made[name].equal(whole[name]) for name in whole)

    def _grow(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        """A generated trajectory that is made longer."""
        path = rng.choice([m.generated, m.folder / "gen.shards/part-00000.h5"])
        done = self._trajectory(path, rng)
        line = (m.model, "-o", m.generated, *LONGER)
        return f"{path.name}: {done}", self.commands("generate", *line)

    def _arrhenius(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        path = rng.choice([m.json, m.hdf5])
        done = damage_json(path, rng) if path == m.json else self._trajectory(path, rng)
        given = (f"300={path}", "--arrhenius", f"400={self.material.json}")
        return done, self.commands("msd", "--arrhenius", *given, "-o", m.folder / "a.json")

    def _configuration(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        done = damage_toml(m.config, rng)
        return done, self.commands("train", m.config, "--show-config")

    def _options(self, m: Material, rng: random.Random) -> tuple[str, Outcome]:
        command = rng.choice(["msd", "convert", "generate", "train"])
        out = m.folder / "new.h5"
        lines = {
            "msd": [m.run, "-o", m.folder / "new.json"],
            "convert": [m.run, "--format", "h5md", "-o", out],
            "generate": [m.model, "-o", out, *GENERATE],
            "train": [m.config, "--data", m.run, "--out", m.folder / "new"],
        }
        line = damage_options(command, [str(word) for word in lines[command]], rng)
        shown = " ".join(word[:30] for word in line[len(lines[command]) :])
        return f"{command} {shown}", self.commands(command, *line)


# Bits --------------------------------------------------------------------------------------------


class BitFlips:
    """Flips one bit of a file that has a digest, and compares what comes of it with the true one.

    Parameters
    ----------
    chaos : InputChaos
        Whose material is used.
    """

    def __init__(self, chaos: InputChaos) -> None:
        self.chaos, self.commands, self.whole = chaos, chaos.commands, chaos.material
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._true = self._grown(chaos.copy_to(chaos.folder / "longer"))

    def _grown(self, m: Material) -> np.ndarray | str:
        """Return the positions of the generated trajectory made longer, or why there are none."""
        done = self.commands("generate", m.model, "-o", m.generated, *LONGER)
        if wrong := done.wrong():
            return f"WRONG {wrong}"
        if done.status:
            return done.told
        try:
            with Trajectory(m.generated) as t:
                return t.positions()
        except MdganError as error:
            return str(error)

    def one(self, kind: str, number: int) -> None:
        """Flip bit `number` of ``model``, ``checkpoint``, ``ledger`` or ``results``."""
        rng = random.Random(f"{self.chaos.seed} {kind} {number}")
        found = getattr(self, f"_{kind}")(self.chaos.copy_to(self.chaos.folder / "work"), rng)
        self.outcomes[f"{kind}: {found.split(':')[0]}"] += 1
        if not found.startswith(("refused", "harmless")):
            self.failures.append(f"{kind} {number}: {found}")

    def _model(self, m: Material, rng: random.Random) -> str:
        place = flip(m.model, rng)
        done = self.commands("generate", m.model, "-o", m.folder / "new.h5", *GENERATE)
        if done.wrong() or done.status:
            return f"WRONG: {place} {done.wrong()}" if done.wrong() else "refused"
        with Trajectory(m.folder / "new.h5") as new, Trajectory(self.whole.generated) as true:
            same = new.positions().tobytes() == true.positions().tobytes()
        return "harmless" if same else f"DIFFERENT: {place}"

    def _checkpoint(self, m: Material, rng: random.Random) -> str:
        (m.training / "model.pt").unlink()
        files = sorted((m.training / "checkpoints").iterdir())
        files[-1].unlink()
        place = flip(files[-2], rng)
        done = self.commands("train", m.config, "--data", m.run, "--out", m.training)
        if done.wrong() or done.status:
            return f"WRONG: {place} {done.wrong()}" if done.wrong() else "refused"
        return "harmless" if self.chaos.same_model(m) else f"DIFFERENT: {place}"

    def _ledger(self, m: Material, rng: random.Random) -> str:
        """All of the master and of a part, but for the positions."""
        path = rng.choice([m.generated, m.folder / "gen.shards/part-00000.h5"])
        place = flip(path, rng, besides_positions=True)
        with_flip = self._read(m.generated)
        found = self._grown(m)
        for now, true in ((with_flip, self._read(self.whole.generated)), (found, self._true)):
            if isinstance(now, str) and now.startswith("WRONG"):
                return f"{path.name} {place} {now}"
            if not isinstance(now, str) and now.tobytes() != true.tobytes():
                return f"DIFFERENT: {path.name} {place}"
        return "refused" if isinstance(found, str) or isinstance(with_flip, str) else "harmless"

    def _read(self, path: Path) -> np.ndarray | str:
        """Return what `mdgan-msd` measures of a trajectory, or why it does not."""
        out = path.with_name("read.json")
        done = self.commands("msd", path, "-o", out, "--force")
        if wrong := done.wrong():
            return f"WRONG {wrong}"
        if done.status:
            return done.told
        tree = load_results(out)
        curves = [np.asarray(tree["curves"][n], float) for n in ("lag_ps", "msd", "alpha2")]
        return np.concatenate([*curves, np.atleast_1d(tree["record_interval_ps"])])

    def _results(self, m: Material, rng: random.Random) -> str:
        path = rng.choice([m.json, m.hdf5])
        true = load_results(path)
        place = flip(path, rng)
        given = (f"300={path}", "--arrhenius", f"400={self.whole.json}")
        done = self.commands("msd", "--arrhenius", *given, "-o", m.folder / "a.json")
        if done.wrong():
            return f"WRONG: {path.name} {place} {done.wrong()}"
        if done.status:
            return "refused"
        same = json.dumps(load_results(path), default=str, sort_keys=True) == json.dumps(
            true, default=str, sort_keys=True
        )
        return "harmless" if same else f"DIFFERENT: {path.name} {place}"


def flip(path: Path, rng: random.Random, *, besides_positions: bool = False) -> str:
    """Flip a bit of a file; return where."""
    import h5py

    data = bytearray(path.read_bytes())
    taken: list[range] = []
    if besides_positions:
        with h5py.File(path, "r") as file:
            dataset = file.get("particles/trajectory/position/value")
            if dataset is not None and not dataset.is_virtual:
                for i in range(dataset.id.get_num_chunks()):
                    chunk = dataset.id.get_chunk_info(i)
                    taken.append(range(chunk.byte_offset, chunk.byte_offset + chunk.size))
    # What stands in a file counts, not the space between.
    free = [i for i, byte in enumerate(data) if byte and not any(i in r for r in taken)]
    at, bit = rng.choice(free), rng.randrange(8)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return f"byte {at} bit {bit}"


def main() -> None:
    """Damage inputs until stopped, and tell what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--bits", type=int, default=0, help="bits of each kind of file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Commands() as commands:
        chaos = InputChaos(Path(folder), commands, options.seed)
        told = 0
        for number in range(options.first, options.first + options.count):
            chaos.one(number)
            for failure in chaos.failures[told:]:
                print(failure, flush=True)
            told = len(chaos.failures)
            if number % 50 == 49 or number == options.first + options.count - 1:
                print(number + 1, chaos.told(), file=sys.stderr)
        if options.bits:
            flips = BitFlips(chaos)
            for kind in ("model", "checkpoint", "ledger", "results"):
                for number in range(options.bits):
                    flips.one(kind, number)
            print(*flips.failures, sep="\n")
            print(dict(sorted(flips.outcomes.items())), file=sys.stderr)


if __name__ == "__main__":
    main()
