"""Prints whose MPI this Python uses: openmpi, mpich, mpich-wheel, cray, intel, other, or none.

MPICH's wheel speaks PMI2, never PMIx; that of a system may have been built for either.
"""

import importlib.util
import sys


def main() -> str:
    """Return the name."""
    if importlib.util.find_spec("mpi4py") is None:
        return "none"
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        from mpi4py import MPI

        version = MPI.Get_library_version()
    except Exception:
        return "none"  # no MPI library is found, or it is another than mpi4py was built for
    names = {
        "Open MPI": "openmpi",
        "CRAY MPICH": "cray",
        "Intel": "intel",
        "MPICH": "mpich",
    }
    name = next((short for text, short in names.items() if text in version), "other")
    if name == "mpich" and any(sys.prefix in line for line in _loaded()):
        return "mpich-wheel"
    return name


def _loaded() -> list[str]:
    """Return where the MPI libraries of this process lie."""
    with open("/proc/self/maps") as maps:
        return [line.split()[-1] for line in maps if "libmpi" in line]


if __name__ == "__main__":
    print(main())
