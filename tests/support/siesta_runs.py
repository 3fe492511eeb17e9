"""Where the sample runs lie, and how to call the command."""

import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from mdgan_hpc.convert.conversion import convert_run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.errors import DataWarning

DATA = Path(__file__).resolve().parents[1] / "data"

#: Records of each short run (its README) and time step in fs.
SHORT = {
    "nve_lih8": (40, 0.5),
    "nose_li2o12": (40, 1.5),
    "pr_lih8": (40, 1.0),
    "npr_labels": (40, 1.0),
    "restart_verlet": (40, 0.8),
    "restart_xv_only": (40, 0.8),
    "cg_relax": (13, 1.0),
    "cg_varcell": (11, 1.0),
    "anneal_lih8": (30, 1.0),
    "anneal_temperature": (15, 1.0),
    "molecule_auto_cell": (30, 0.5),
    "supercell_constraints": (25, 0.5),
    "out_only": (25, 0.5),
    "spin_longoutput": (10, 0.5),
    "quench": (15, 1.0),
    "trunc_ani": (247, 1.0),
    "v40_pr": (40, 1.0),
    "v41b4_nose": (25, 1.0),
}


def command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `mdgan-convert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mdgan_hpc.cli.convert", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
    )


def write_md(path, steps, positions, velocities, cells=None, order="<", mode="wb"):
    """Write `.MD` records as gfortran does; Bohr and Bohr/fs."""

    def record(payload):
        marker = struct.pack(order + "i", len(payload))
        return marker + payload + marker

    with open(path, mode) as out:
        for i, step in enumerate(steps):
            out.write(
                record(
                    struct.pack(order + "i", step)
                    + positions[i].astype(order + "f8").tobytes()
                    + velocities[i].astype(order + "f8").tobytes()
                )
            )
            if cells is not None:
                both = np.concatenate([cells[i], np.zeros((3, 3))]).astype(order + "f8")
                out.write(record(both.tobytes()))


def read_raw_md(path):
    """Return steps, positions, velocities of a `.MD` file without cells, as they stand in it."""
    data = Path(path).read_bytes()
    length = struct.unpack("<i", data[:4])[0]
    n = (length - 4) // 48
    kind = np.dtype(
        [("h", "<i4"), ("s", "<i4"), ("x", "<f8", (n, 3)), ("v", "<f8", (n, 3)), ("t", "<i4")]
    )
    rows = np.frombuffer(data, kind)
    return rows["s"], rows["x"], rows["v"]


def write_ani(path, positions, symbols, mode="w"):
    """Write `.ANI` frames; Angstrom."""
    with open(path, mode, encoding="ascii", newline="\n") as out:
        for frame in positions:
            out.write(f"{len(symbols):5d}\n\n")
            for symbol, (x, y, z) in zip(symbols, frame, strict=True):
                out.write(f"{symbol:<2s}  {x:12.6f}{y:12.6f}{z:12.6f}\n")


def converted(run, output, **options):
    """Convert without a process of its own; return the summary and the messages of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = ConvertConfig(**{"drift": "none", **options})
        summary = convert_run(run, output, config, force=True, silent=True)
    return summary, [str(w.message) for w in caught if w.category is DataWarning]
