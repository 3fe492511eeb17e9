#!/bin/bash
# A Python with parallel HDF5 for the tests: Debian's Open MPI and HDF5, mpi4py and h5py with MPI.
# About 90 s; needs root for apt. Everything else (torch, numpy ...) is taken from the ordinary
# environment, so nothing large is installed twice.
#
#   tests/tools/install_parallel_hdf5.sh [ENVIRONMENT] [BASE_ENVIRONMENT]      (.venv-mpio  .venv)
#
# The tests find it as .venv-mpio, or by MDGAN_MPIO_PYTHON=ENVIRONMENT/bin/python.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
environment=${1:-$here/.venv-mpio}
base=${2:-$here/.venv}
base_python=$base/bin/python

check() {
    "$environment/bin/python" -c '
import h5py, torch
from mpi4py import MPI
assert h5py.get_config().mpi
print("parallel HDF5", h5py.version.hdf5_version, "with", MPI.Get_library_version().split(",")[0])' 2>/dev/null
}

[ -x "$base_python" ] || { echo "no $base_python: run 'make venv' first" >&2; exit 2; }
check && exit 0

"$here/tests/tools/apt_install.sh" openmpi-bin libopenmpi-dev libhdf5-openmpi-dev pkg-config gcc libc6-dev

rm -rf "$environment"
"$base_python" -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
numpy=$("$base_python" -c 'import numpy; print(numpy.__version__)')
h5py=$("$base_python" -c 'import importlib.metadata as m; print(m.version("h5py"))')
"${pip[@]}" "$(grep ^mpi4py== "$here/requirements.lock")" numpy=="$numpy" 'Cython>=3,<4' pkgconfig packaging 'setuptools>=77'
# Without --no-build-isolation, h5py's build compiles an old mpi4py at -O3, which needs over 20 GB.
# Without --no-cache-dir, pip may reuse an h5py that was built for another MPI.
CFLAGS="-O1 -g0" CC=mpicc.openmpi HDF5_MPI=ON HDF5_PKGCONFIG_NAME=hdf5-openmpi \
    "${pip[@]}" --no-cache-dir --no-build-isolation --no-binary=h5py h5py=="$h5py"

# What is not here comes from the base environment; what is here (h5py, mpi4py) goes first.
purelib='import sysconfig; print(sysconfig.get_path("purelib"))'
"$base_python" -c "$purelib" >"$("$environment/bin/python" -c "$purelib")/base-environment.pth"
check || { echo "parallel HDF5 was installed, but does not work" >&2; exit 1; }
