"""Where the sample runs lie, and how to call the command."""

import subprocess
import sys
from pathlib import Path

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
