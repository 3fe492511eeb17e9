"""What a trajectory file holds, for people."""

from pathlib import Path

import numpy as np

from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.trajectory.species import composition


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
