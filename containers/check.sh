#!/bin/bash
# The image's own test (apptainer test IMAGE): MPI, PyTorch, parallel HDF5 and the five commands.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
# Open MPI in a container: as root during a build, and with more ranks than cores on a small machine.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_plm=isolated

for command in convert train generate msd report; do
    "mdgan-$command" --version
    "mdgan-$command" --help >help.txt
    grep -q Example help.txt || { echo "mdgan-$command --help shows no example" >&2; exit 1; }
done
mpiexec -n 2 python /opt/mdgan/check/smoke.py --folder "$scratch" | tee table.txt
for part in MPI "parallel HDF5" "PyTorch collectives"; do
    grep -Eq "^$part +ok " table.txt || { echo "$part does not work in this image" >&2; exit 1; }
done
