"""Small files as other codes write them, of walks whose answer is known."""

from pathlib import Path

import numpy as np

SYMBOLS = ["Li", "O"]


def walk(n=60, n_atoms=6, *, pace=0.3, seed=1, length=10.0):
    """Return an unwrapped random walk [n, N, 3] that begins in a box, Angstrom."""
    generator = np.random.default_rng(seed)
    start = generator.uniform(0, length, (n_atoms, 3))
    moves = generator.normal(0, pace, (n, n_atoms, 3))
    moves[0] = 0
    return start + moves.cumsum(axis=0)


def dump_frame(
    step, rows, columns, *, length=10.0, header="", bounds=None, count=None, flags="pp pp pp"
):
    """Return a frame of a LAMMPS dump; `bounds` are the lines of the box."""
    box = [f"0 {length}"] * 3 if bounds is None else bounds
    lines = [f"{header}ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS"]
    lines += [str(len(rows) if count is None else count), f"ITEM: BOX BOUNDS {flags}", *box]
    lines += [f"ITEM: ATOMS {columns}"]
    for row in rows:
        words = (v if isinstance(v, str) else f"{v:.8g}" for v in row)
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def write_dump(path, x, *, steps=None, columns="id type xu yu zu", row=None, **options):
    """Write walks [n, N, 3] as a dump; `row(i, position)` gives the values of an atom."""
    steps = range(0, 100 * len(x), 100) if steps is None else steps
    row = row or (lambda i, p: [i + 1, i % 2 + 1, *p])
    Path(path).write_text(
        "".join(
            dump_frame(step, [row(i, p) for i, p in enumerate(frame)], columns, **options)
            for step, frame in zip(steps, x, strict=True)
        )
    )
    return path


def xdatcar_header(length=10.0, names="Li O", counts="3 3"):
    """Return the lines before the frames of an XDATCAR."""
    edges = f" {length:12.8f} 0.0 0.0\n 0.0 {length:12.8f} 0.0\n 0.0 0.0 {length:12.8f}\n"
    return f"LiO\n 1.0\n{edges} {names}\n {counts}\n"


def xdatcar_frame(number, fractions, form=" %11.8f %11.8f %11.8f"):
    """Return one frame of an XDATCAR."""
    rows = "".join(form % tuple(row) + "\n" for row in fractions)
    return f"Direct configuration= {number:5d}\n{rows}"


def write_xdatcar(path, x, *, length=10.0, first=1, header=None, form=" %11.8f %11.8f %11.8f"):
    """Write walks [n, N, 3], folded, as an XDATCAR of a cubic cell."""
    text = xdatcar_header(length) if header is None else header
    text += "".join(xdatcar_frame(first + i, frame / length % 1, form) for i, frame in enumerate(x))
    Path(path).write_text(text)
    return path


def write_extxyz(path, x, *, length=10.0, comment=None):
    """Write walks [n, N, 3], folded, as extended XYZ; `comment(i)` gives a frame's own."""
    lattice = f'Lattice="{length} 0 0 0 {length} 0 0 0 {length}"'
    own = comment or (lambda i: f'{lattice} Properties=species:S:1:pos:R:3 pbc="T T T"')
    with open(path, "w", encoding="ascii") as out:
        for i, frame in enumerate(x):
            out.write(f"{len(frame)}\n{own(i)}\n")
            for k, p in enumerate(frame % length):
                out.write(f"{SYMBOLS[k % 2]} {p[0]:.8f} {p[1]:.8f} {p[2]:.8f}\n")
    return path
