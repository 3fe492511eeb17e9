"""One world by LAMMPS: short runs to learn from, and a long one for the truth, as dumps.

LAMMPS and MPICH come from the package registry (extra ``zoo``).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from tests.zoo.worlds import Atoms, World, bonds

SHORT_RUNS = 3
_EQUILIBRATE_PS, _VOLUME_PS = 5.0, 10.0
_SOFT = """
pair_style soft 4.5
pair_coeff * * 0.0
bond_style harmonic
bond_coeff 1 2.0 3.88
special_bonds lj 1 1 1
variable push equal ramp(0.0,2.0)
fix push all adapt 1 pair soft a * * v_push
fix move all nve/limit 0.05
fix cool all langevin {temperature} {temperature} 0.5 {seed}
run 20000
unfix push
unfix move
unfix cool
"""
_VOLUME = """
reset_timestep 0
fix free all npt temp {temperature} {temperature} 0.1 iso 0 0 1.0
run {wait}
variable edge equal lx
fix mean all ave/time 1 {average} {average} v_edge
run {average}
variable found equal f_mean
print "edge ${{found}}"
variable edges equal $(f_mean)/$(lx)
unfix mean
unfix free
change_box all x scale ${{edges}} y scale ${{edges}} z scale ${{edges}} remap
"""
_RUN = """
velocity all create {temperature} {seed} mom yes rot no
run {wait}
reset_timestep 0
dump out all custom {every} {name}.part id type xu yu zu
dump_modify out sort id units yes format float %.6f
run {steps}
undump out
shell mv {name}.part {name}
"""


def simulate(world: World, folder: Path) -> dict[str, list[Path]]:
    """Run a world; what is there already is kept.

    Returns
    -------
    dict
        Dumps by ``short`` and ``long``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    short = [folder / f"short{n}.dump" for n in range(1, SHORT_RUNS + 1)]
    long = [folder / f"long{n}.dump" for n in range(1, world.media + 1)]
    share = SHORT_RUNS // world.media
    for medium in range(world.media):
        mine = short[medium * share : (medium + 1) * share]
        names = [*((path, world.short_ps) for path in mine)]
        names.append((long[medium], world.long_ps / world.media))
        if all(path.exists() for path, _ in names):
            continue
        _lammps(folder / f"world{medium + 1}", _script(world, folder, medium, names))
    return {"short": short, "long": long}


def _script(world: World, folder: Path, medium: int, outputs: list[tuple[Path, float]]) -> str:
    """Return what LAMMPS is told, and write the atoms that it reads."""
    atoms, box = world.build(np.random.default_rng(100 + medium))
    data = folder / f"world{medium + 1}.data"
    data.write_text(_data(world, atoms, box))
    numbers = {"temperature": world.temperature_k, "seed": 4711 + medium}
    per_ps = 1000 / world.step_fs
    lines = [
        "units metal\natom_style full\nboundary p p p\nneighbor 1.0 bin",
        f"timestep {world.step_fs / 1000}\nthermo 5000",
        f"read_data {data}",
        _SOFT.format(**numbers) if bonds(world) else "",
        world.force_field,
        "" if bonds(world) else "minimize 0 1e-3 500 5000",
        "velocity all create {temperature} {seed} mom yes rot no".format(**numbers),
        world.prepare.format(**numbers),
    ]
    if world.pressure:
        steps = round(_VOLUME_PS / 2 * per_ps)
        lines.append(_VOLUME.format(wait=steps, average=steps, **numbers))
    lines.append("fix go all nvt temp {temperature} {temperature} 0.1".format(**numbers))
    for n, (path, length_ps) in enumerate(outputs):
        lines.append(
            _RUN.format(
                temperature=world.temperature_k,
                seed=1000 * (medium + 1) + n + 1,
                wait=round(_EQUILIBRATE_PS * per_ps),
                every=round(world.frame_fs / world.step_fs),
                steps=round(length_ps * per_ps),
                name=path,
            )
        )
    return "\n".join(lines)


def _data(world: World, atoms: Atoms, box: np.ndarray) -> str:
    """Return the atoms in LAMMPS' format; charges come from the force field."""
    pairs = bonds(world)
    lines = [
        f"{world.name}\n",
        f"{len(atoms)} atoms\n{len(world.species)} atom types",
        f"{len(pairs)} bonds\n1 bond types" if pairs else "",
        *(f"0 {edge:.10f} {axis}lo {axis}hi" for axis, edge in zip("xyz", box, strict=True)),
        "\nMasses\n",
        *(
            f"{n} {atomic_masses[atomic_numbers[label]]}"
            for n, label in enumerate(world.species, 1)
        ),
        "\nAtoms\n",
        *(
            f"{n} {0} {kind} 0.0 {x:.8f} {y:.8f} {z:.8f}"
            for n, (kind, (x, y, z)) in enumerate(atoms, 1)
        ),
    ]
    if pairs:
        lines += ["\nBonds\n", *(f"{n} 1 {a} {b}" for n, (a, b) in enumerate(pairs, 1))]
    return "\n".join(lines) + "\n"


def _lammps(name: Path, script: str) -> None:
    name.with_suffix(".in").write_text(script)
    libraries = os.pathsep.join(
        filter(None, [f"{sys.prefix}/lib", os.environ.get("LD_LIBRARY_PATH", "")])
    )
    done = subprocess.run(
        [f"{sys.prefix}/bin/lmp", "-in", name.with_suffix(".in"), "-log", name.with_suffix(".log")],
        env=os.environ | {"LD_LIBRARY_PATH": libraries, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"LAMMPS failed, see {name}.log: {done.stdout[-400:]}")
