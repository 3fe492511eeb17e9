"""``python -m tests.zoo [WORLD...]``: simulate, learn, generate and compare.

Every stage leaves a finished file, so that a run that was stopped goes on. Each world ends with one
line in ``rows.json`` of the folder; ``--table`` writes those lines to `docs/zoo.md`.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

import mdgan_hpc
from mdgan_hpc.analysis.fidelity.judge import judge
from mdgan_hpc.analysis.runs import read_runs
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.crystal import Crystal
from mdgan_hpc.errors import MdganError
from mdgan_hpc.models.file import load_model
from mdgan_hpc.trajectory import Trajectory
from tests.zoo.simulate import simulate
from tests.zoo.worlds import WORLDS, World

PAGE = Path(__file__).resolve().parents[2] / "docs/zoo.md"
IONS = 1024
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def converted(world: World, folder: Path) -> dict[str, list[Path]]:
    """Simulate a world and convert its dumps."""
    files: dict[str, list[Path]] = {}
    for kind, dumps in simulate(world, folder).items():
        files[kind] = []
        for dump in dumps:
            output = dump.with_suffix(".h5")
            files[kind].append(output)
            if not output.exists():
                mdgan_hpc.convert(
                    dump,
                    output,
                    select=world.mobile,
                    drift="none",
                    format="lammps-dump",
                    species=",".join(world.species),
                    time_step_fs=world.frame_fs,
                    silent=True,
                )
    return files


def row(world: World, folder: Path, files: dict[str, list[Path]], seed: int) -> dict[str, Any]:
    """Learn from the short runs; return how the model moves beside the long one."""
    result: dict[str, Any] = {"world": world.name, "title": world.title, "seed": seed}
    result["looked_at"] = world.looked_at
    begin = time.monotonic()
    model, made = folder / f"model{seed}", folder / f"generated{seed}.h5"
    try:
        mdgan_hpc.train({"train": {"seed": seed}}, files["short"], model)
        result["minutes"] = round(load_model(model).provenance["training_time_s"] / 60, 1)
        records = _records(files["short"][0], load_model(model).record_interval_ps)
        mdgan_hpc.generate(
            model,
            made,
            particles=IONS,
            records=2 * records,
            burn_in=records // 4,
            accept_poor_model=True,
        )
    except MdganError as error:
        return result | {"refused": str(error)}
    return result | _compared(files["long"], made) | {"wall_minutes": _minutes(begin)}


def _minutes(begin: float) -> float:
    return round((time.monotonic() - begin) / 60, 1)


def _records(run: Path, interval_ps: float) -> int:
    with Trajectory(run) as trajectory:
        return round((trajectory.n_records - 1) * trajectory.record_interval_ps / interval_ps)


def _compared(long: list[Path], made: Path) -> dict[str, Any]:
    """Return fidelity against pieces of the long run, each as long as one of the short ones."""
    runs = read_runs(long, "")
    lattice = Lattice.of_crystal(runs.crystal) if isinstance(runs.crystal, Crystal) else None
    count = max(1, 5 // len(long))
    pieces = [piece for run in runs.positions for piece in np.array_split(run, count)]
    shortest = min(map(len, pieces))
    reference = mdgan_hpc.Fidelity(
        [piece[:shortest] for piece in pieces], runs.interval_ps, lattice, cell=runs.cell
    )
    with Trajectory(made) as trajectory:
        positions, interval = trajectory.positions(), trajectory.record_interval_ps
        own = {"ions_per_cell": trajectory.ions_per_cell, "cell": trajectory.constant_cell}
    verdict, _ = judge(reference, positions, interval, against="the long run", **own)
    truth, ours = (mdgan_hpc.diffusion(p, accept_poor_model=True) for p in (long, made))
    found = {
        "median": round(verdict.median, 2),
        "worst": round(verdict.worst, 2),
        "worst_observable": verdict.worst_observable,
        "drift_z": round(verdict.drift_z, 1),
        "msd_ratio": [
            round(float(x), 3) for x in (verdict.msd_ratio.min(), verdict.msd_ratio.max())
        ],
    }
    for name, fit in (("d_truth", truth), ("d_model", ours)):
        found[name] = None if fit.total is None else fit.total.d_angstrom2_per_ps
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| world | looked at | seed | fidelity: median, worst | MSD over the truth | drift z "
        "| D over the truth | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        start = f"| {r['title']} | {'yes' if r['looked_at'] else 'no'} | {r['seed']} "
        if "refused" in r:
            lines.append(f"{start}| {r['refused']} | | | | |")
            continue
        low, high = r["msd_ratio"]
        ratio = (
            "no D" if not (r["d_truth"] and r["d_model"]) else f"{r['d_model'] / r['d_truth']:.2f}"
        )  # type: ignore[operator]
        lines.append(
            f"{start}| {r['median']}, {r['worst']} ({r['worst_observable']}) | {low} to {high} "
            f"| {r['drift_z']} | {ratio} | {r['minutes']} |"
        )
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.argument("worlds", nargs=-1, type=click.Choice(sorted(WORLDS)))
@click.option("--folder", type=click.Path(path_type=Path), default="zoo", show_default=True)
@click.option("--seeds", default=2, show_default=True)
@click.option("--table", "renew", is_flag=True, help="Write the table of docs/zoo.md.")
def main(worlds: tuple[str, ...], folder: Path, seeds: int, renew: bool) -> None:
    """Do what the module says."""
    file = folder / "rows.json"
    for name in worlds or WORLDS:
        world = WORLDS[name]
        files = converted(world, folder / name)
        for seed in range(1, seeds + 1):
            rows = json.loads(file.read_text()) if file.exists() else []
            if any((r["world"], r["seed"]) == (name, seed) for r in rows):
                continue
            new = row(world, folder / name, files, seed)
            click.echo(json.dumps(new))
            file.write_text(json.dumps([*rows, new], indent=1))
    if renew:
        before, rest = PAGE.read_text().split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(before + BEGIN + table(json.loads(file.read_text())) + END + after)


if __name__ == "__main__":
    main()
