"""Text formats: extended XYZ and the dump of LAMMPS."""

from pathlib import Path

import numpy as np

from mdgan_hpc.convert.export.excerpt import Excerpt, Piece


def export_extxyz(excerpt: Excerpt, path: Path) -> None:
    """Write extended XYZ as ASE and OVITO read it.

    Positions in Angstrom, ``velo`` in Angstrom/ps, ``forces`` in eV/Angstrom, ``Time`` in ps,
    ``energy`` in eV, ``Lattice`` by rows; what is not known of a frame is left out there.
    """
    symbols = excerpt.symbols
    energies, done = excerpt.observable("potential_energy"), 0
    with open(path, "w", encoding="ascii") as out:
        for piece in excerpt.pieces():
            columns = {"pos": piece.positions, "velo": piece.velocities, "forces": piece.forces}
            for i in range(len(piece.record)):
                known = {
                    name: values[i]
                    for name, values in columns.items()
                    if values is not None and np.isfinite(values[i]).all()
                }
                cell = None if piece.cells is None else piece.cells[i]
                comment = ""
                if cell is not None and np.isfinite(cell).all():
                    comment = f'Lattice="{" ".join(f"{x:.9g}" for x in cell.ravel())}" '
                comment += f"Properties=species:S:1{''.join(f':{name}:R:3' for name in known)} "
                comment += f"Time={piece.times_ps[i]:.9g} Step={piece.steps[i]} "
                if energies is not None and np.isfinite(energies[done + i]):
                    comment += f"energy={energies[done + i]:.9g} "
                comment += f'pbc="{"F F F" if not comment.startswith("Lattice") else "T T T"}"'
                line = " %.6f" * (3 * len(known)) + "\n"
                atoms = "".join(f"{symbol:<2s}{line}" for symbol in symbols)
                values = np.concatenate(list(known.values()), axis=1)
                out.write(f"{len(symbols)}\n{comment}\n" + atoms % tuple(values.ravel().tolist()))
            done += len(piece.record)


def export_lammps(excerpt: Excerpt, path: Path) -> None:
    """Write a dump of LAMMPS in units ``metal``.

    Columns ``id type element``, ``xu yu zu`` in Angstrom (folded: ``x y z ix iy iz``), ``vx vy vz``
    in Angstrom/ps and ``fx fy fz`` in eV/Angstrom where all records know them; TIME in ps. Without
    a cell the box is that of the positions, with open boundaries.

    Source: the page "dump" of the manual of LAMMPS.
    """
    kinds = np.unique(excerpt.species, return_inverse=True)[1]
    heads = [
        f"{i + 1} {kind + 1} {symbol}"
        for i, (kind, symbol) in enumerate(zip(kinds, excerpt.symbols, strict=True))
    ]
    with open(path, "w", encoding="ascii") as out:
        out.write("ITEM: UNITS\nmetal\n")
        for piece in excerpt.standard_pieces():
            names, line = "xu yu zu", " %.6f" * 3
            if piece.images is not None:
                names, line = "x y z ix iy iz", line + " %d" * 3
            columns = [piece.positions, piece.images]
            for values, more in ((piece.velocities, " vx vy vz"), (piece.forces, " fx fy fz")):
                if values is not None and np.isfinite(values).all():
                    names, line = names + more, line + " %.8g" * 3
                    columns.append(values)
            atoms = "".join(f"{head}{line}\n" for head in heads)
            table = np.concatenate([c for c in columns if c is not None], axis=2)
            for i in range(len(piece.record)):
                out.write(
                    f"ITEM: TIME\n{piece.times_ps[i]:.12g}\nITEM: TIMESTEP\n{piece.steps[i]}\n"
                    f"ITEM: NUMBER OF ATOMS\n{len(heads)}\n{_box(piece, i)}"
                    f"ITEM: ATOMS id type element {names}\n"
                )
                out.write(atoms % tuple(table[i].ravel().tolist()))


def _box(piece: Piece, i: int) -> str:
    """Return the lines of the box of a record, whose vectors are a lower triangle."""
    if piece.cells is None:
        low, high = piece.positions[i].min(0) - 1.0, piece.positions[i].max(0) + 1.0
        rows = "".join(f"{a:.9g} {b:.9g}\n" for a, b in zip(low, high, strict=True))
        return f"ITEM: BOX BOUNDS ff ff ff\n{rows}"
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = piece.cells[i].tolist()
    if max(abs(xy), abs(xz), abs(yz)) < 1e-9 * lx:
        return f"ITEM: BOX BOUNDS pp pp pp\n0 {lx:.9g}\n0 {ly:.9g}\n0 {lz:.9g}\n"
    low_x, high_x = min(0.0, xy, xz, xy + xz), lx + max(0.0, xy, xz, xy + xz)
    return (
        f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{low_x:.9g} {high_x:.9g} {xy:.9g}\n"
        f"{min(0.0, yz):.9g} {ly + max(0.0, yz):.9g} {xz:.9g}\n0 {lz:.9g} {yz:.9g}\n"
    )
