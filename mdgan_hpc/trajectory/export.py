"""Trajectories back out to other formats, in pieces of bounded size."""

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from mdgan_hpc.errors import DataError
from mdgan_hpc.outputs import check_output, written_whole
from mdgan_hpc.trajectory.opening import files_of
from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.trajectory.species import composition

_PIECE_VALUES = 1_000_000


def _pieces(trajectory: Trajectory) -> Iterator[slice]:
    step = max(1, _PIECE_VALUES // (3 * trajectory.n_particles))
    for start in range(0, trajectory.n_records, step):
        yield slice(start, min(start + step, trajectory.n_records))


def _positions(trajectory: Trajectory, records: slice) -> np.ndarray:
    """Return positions [t, N, 3].

    Raises
    ------
    DataError
        If one of them is not finite.
    """
    found = trajectory.positions(records)
    if not np.isfinite(found).all():
        bad = int(np.argmin(np.isfinite(found).all((1, 2))))
        raise DataError(
            "holds positions that are no numbers",
            where=f"{trajectory.path}, record {records.start + bad}",
            remedy="make the file again",
        )
    return found


def export_extxyz(trajectory: Trajectory, path: Path) -> None:
    """Write extended XYZ as ASE and OVITO read it.

    Positions in Angstrom, ``velo`` in Angstrom/ps, ``forces`` in eV/Angstrom, ``Time`` in ps,
    ``energy`` in eV, ``Lattice`` by rows; what is not known of a frame is left out there.
    """
    symbols = [chemical_symbols[z] for z in trajectory.species]
    more = {
        "velo": trajectory.velocities if trajectory.has_velocities else None,
        "forces": trajectory.forces if trajectory.has_forces else None,
    }
    energies = trajectory.observable("potential_energy")
    with open(path, "w", encoding="ascii") as out:
        for records in _pieces(trajectory):
            columns = {"pos": _positions(trajectory, records)}
            columns |= {name: read(records) for name, read in more.items() if read is not None}
            cells = trajectory.cells(records) if trajectory.has_cell else None
            for i, record in enumerate(range(*records.indices(trajectory.n_records))):
                known = [name for name, values in columns.items() if np.isfinite(values[i]).all()]
                properties = "".join(f":{name}:R:3" for name in known)
                comment = ""
                if cells is not None:
                    comment = f'Lattice="{" ".join(f"{x:.9g}" for x in cells[i].ravel())}" '
                comment += f"Properties=species:S:1{properties} "
                comment += (
                    f"Time={trajectory.times_ps[record]:.9g} Step={trajectory.steps[record]} "
                )
                if energies is not None and np.isfinite(energies[record]):
                    comment += f"energy={energies[record]:.9g} "
                comment += f'pbc="{"F F F" if cells is None else "T T T"}"'
                line = " %.6f" * (3 * len(known)) + "\n"
                atoms = "".join(f"{symbol:<2s}{line}" for symbol in symbols)
                values = np.concatenate([columns[name][i] for name in known], axis=1)
                out.write(f"{len(symbols)}\n{comment}\n" + atoms % tuple(values.ravel().tolist()))


def export_npz(trajectory: Trajectory, path: Path) -> None:
    """Write a NumPy archive: positions, times_ps, steps, species, cell, and what else is known."""
    n, m = trajectory.n_records, trajectory.n_particles

    def streamed(shape: tuple[int, ...], read: Callable[[slice], np.ndarray], dtype: str) -> None:
        np.lib.format.write_array_header_2_0(
            member, {"descr": dtype, "fortran_order": False, "shape": shape}
        )
        for records in _pieces(trajectory):
            member.write(np.ascontiguousarray(read(records), dtype).tobytes())

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("positions.npy", "w", force_zip64=True) as member:
            streamed((n, m, 3), partial(_positions, trajectory), "<f4")
        if trajectory.has_velocities:
            with archive.open("velocities.npy", "w", force_zip64=True) as member:
                streamed((n, m, 3), trajectory.velocities, "<f4")
        if trajectory.has_forces:
            with archive.open("forces.npy", "w", force_zip64=True) as member:
                streamed((n, m, 3), trajectory.forces, "<f4")
        if trajectory.has_cell:
            with archive.open("cell.npy", "w", force_zip64=True) as member:
                streamed((n, 3, 3), trajectory.cells, "<f8")
        arrays: dict[str, np.ndarray | None] = {
            "times_ps": trajectory.times_ps,
            "steps": trajectory.steps,
            "species": trajectory.species,
        }
        for name in trajectory.observables:
            arrays[name] = trajectory.observable(name)
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)


EXPORTS = {"extxyz": export_extxyz, "npz": export_npz}


def export(source: Path, path: Path, format: str, *, force: bool = False) -> int:
    """Write the trajectory `source` to `path` as ``extxyz`` or ``npz``; return its frames.

    Raises
    ------
    DataError
        If `source` is no complete trajectory, or holds positions that are no numbers.
    OutputExistsError
        If `path` exists and `force` is false.
    """
    check_output(path, force=force, inputs=files_of(source))
    with Trajectory(source) as trajectory, written_whole(path, force=force) as made:
        EXPORTS[format](trajectory, made)
        return trajectory.n_records


def describe(source: Path) -> str:
    """Return what a trajectory file holds, for people.

    Raises
    ------
    DataError
        If it is no trajectory.
    """
    with Trajectory(source, incomplete_ok=True) as t:
        times = t.times_ps
        lines = [
            f"file         {source}",
            f"frames       {t.n_records}"
            + ("" if t.complete else f", INCOMPLETE: {int(t.completed_records.min())} written"),
            f"atoms        {t.n_particles} ({composition(t.species)})",
            f"time         {times[0]:g} to {times[-1]:g} ps",
        ]
        if t.n_records > 1:
            intervals = np.diff(times)
            lines.append(f"interval     {_range(intervals * 1000.0)} fs")
        if t.has_cell:
            cell = t.constant_cell
            kind = "constant" if cell is not None else "changes, first"
            cell = t.cells(slice(0, 1))[0] if cell is None else cell
            rows = "; ".join(" ".join(f"{x:.4f}" for x in row) for row in cell)
            lines.append(f"cell         {kind}: {rows} Angstrom")
        else:
            lines.append("cell         none")
        lines.append(f"velocities   {'yes' if t.has_velocities else 'no'}")
        lines.append(f"forces       {'yes' if t.has_forces else 'no'}")
        for name in t.observables:
            values = t.observable(name)
            known = values[np.isfinite(values)] if values is not None else np.zeros(0)
            if len(known):
                lines.append(f"{name:<12s} {known.mean():.6g} +- {known.std():.3g}")
        for name in ("source", "drift", "siesta_version", "notes", "warnings"):
            text = t.parameter(name)
            if isinstance(text, str) and text:
                lines += [f"{name:<12s} {part}" for part in text.splitlines()]
        if t.framework is not None:
            lines.append(
                f"framework    {len(t.framework.species)} atoms "
                f"({composition(t.framework.species)}), rms displacement "
                f"{_range(t.framework.rms_displacement)} Angstrom"
            )
        if t.provenance:
            lines.append(f"made by      {t.provenance.get('command', '')}")
    return "\n".join(lines)


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if high - low <= 1e-4 * abs(high) else f"{low:.4g} to {high:.4g}"
