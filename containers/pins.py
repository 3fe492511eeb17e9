"""What an image installs: names from pyproject.toml, versions from requirements.lock beside it.

``python3 pins.py PYPROJECT binary`` prints what comes as wheels, ``source`` what is compiled
against the image's MPI, ``build`` what compiles it.
"""

import re
import sys
import tomllib
from pathlib import Path

#: Needed to compile the second group, without pip's build isolation: in isolation h5py would
#: build an MPI binding of its own choice. Gone from the finished image, so not in the lock.
BUILD = ["Cython==3.3.1", "pkgconfig==1.6.0", "setuptools==81.0.0"]


def name_of(requirement: str) -> str:
    """Return the bare name of a requirement."""
    return re.split(r"[=<>~!;\[ ]", requirement, maxsplit=1)[0]


def groups(pyproject: str) -> dict[str, list[str]]:
    """Sort the locked requirements of the package by how an image gets them."""
    with open(pyproject, "rb") as stream:
        project = tomllib.load(stream)["project"]
    lines = Path(pyproject).with_name("requirements.lock").read_text().splitlines()
    locked = {name_of(line).lower(): line for line in lines if "==" in line}
    extras = project["optional-dependencies"]
    names = [name_of(r) for r in project["dependencies"] + extras["mpi"] + extras["zstd"]]
    pins = {name: locked[name.lower()] for name in names}
    pins.pop("mpich")  # the image has an MPI of its distribution
    source = [pins.pop("mpi4py"), pins.pop("h5py")]
    return {
        "binary": list(pins.values()),
        "source": source,
        "build": [*BUILD, locked["packaging"]],
    }


if __name__ == "__main__":
    print("\n".join(groups(sys.argv[1])[sys.argv[2]]))
