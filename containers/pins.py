"""The one list of pinned versions is pyproject.toml; this prints the part an image installs.

``python3 pins.py PYPROJECT binary`` prints what comes as wheels, ``source`` what is compiled
against the image's MPI, ``build`` what compiles it.
"""

import re
import sys
import tomllib

#: Needed to compile the second group, without pip's build isolation: in isolation h5py would
#: build an MPI binding of its own choice.
BUILD = ["Cython==3.3.1", "packaging==26.3", "pkgconfig==1.6.0", "setuptools==81.0.0"]


def groups(pyproject: str) -> dict[str, list[str]]:
    """Sort the pinned requirements of the package by how an image gets them."""
    with open(pyproject, "rb") as stream:
        project = tomllib.load(stream)["project"]
    pins = project["dependencies"] + project["optional-dependencies"]["mpi"]
    pins += project["optional-dependencies"]["zstd"]
    named = {re.split(r"[=<>\[ ]", pin, maxsplit=1)[0]: pin for pin in pins}
    named.pop("mpich")  # the image has an MPI of its distribution
    source = [named.pop("mpi4py"), named.pop("h5py")]
    return {"binary": list(named.values()), "source": source, "build": BUILD}


if __name__ == "__main__":
    print("\n".join(groups(sys.argv[1])[sys.argv[2]]))
