#!/bin/bash
# What the tests on a real Slurm need, on Debian as root: Slurm, munge, and a Python with parallel
# HDF5 on Slurm's MPI. About three minutes; nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/tools/apt_install.sh slurm-wlm munge
tests/tools/install_parallel_hdf5.sh
