"""Proves and measures on a GPU what tests on a CPU cannot: one table, and JSON beside it.

    python3 -m tests.gpu                         all pieces; in small where there is no GPU
    python3 -m tests.gpu training generation     some of them
    python3 -m tests.gpu --small --device cpu    in small, in seconds
    python3 -m tests.gpu --data lzp.pt           on runs of one's own

The latter are prepared where everything is installed: python -m tests.gpu.worlds RUN.h5 ... lzp.pt

Needs Python with PyTorch, NumPy, SciPy, h5py and click, and this checkout; nothing is installed.
Ends with status 1 if anything is wrong.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

NEEDED = ("torch", "numpy", "scipy", "h5py", "click")


def shown(value: object) -> str:
    """Return a value as the table has it."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Do the pieces; return the exit status."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"Error: {', '.join(missing)} cannot be imported here", file=sys.stderr)
        return 2
    import torch

    from tests.gpu.pieces import PIECES, Setting

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"of {', '.join(PIECES)}")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--data", type=Path, help="prepared runs")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="of the results")
    options = parser.parse_args()
    unknown = [name for name in options.pieces if name not in PIECES]
    if unknown:
        parser.error(f"no piece is called {', '.join(unknown)}; there are {', '.join(PIECES)}")
    device = torch.device(options.device)
    small = options.small or device.type == "cpu"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    before = json.loads(options.out.read_text()) if options.out.exists() else {}
    results = before if before.get("device") == name and before.get("small") == small else {}
    results |= {"device": name, "small": small, "torch": torch.__version__}
    good = True
    print(f"{name}, torch {torch.__version__}{', in small' if small else ''}")
    if device.type == "cpu":
        torch.set_num_threads(1)
        print("There is no GPU: what a GPU would do is not measured.")
    for piece in options.pieces or PIECES:
        begin, rows = time.perf_counter(), []
        with tempfile.TemporaryDirectory() as folder:
            setting = Setting(device, Path(folder), small, options.data)
            for row in PIECES[piece](setting):
                rows.append(row)
                good &= row.get("good", True)
                what, *rest = row.items()
                told = ", ".join(f"{key} {shown(value)}" for key, value in rest)
                print(f"{piece:11}| {what[1]:40}| {told}", flush=True)
        seconds = time.perf_counter() - begin
        results[piece] = {"seconds": seconds, "rows": rows}
        options.out.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{piece:11}| {'all of it':40}| seconds {seconds:.3g}", flush=True)
    print(f"{'All is good' if good else 'Something is WRONG'}; written to {options.out}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
