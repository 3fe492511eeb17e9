#!/bin/bash
# Builds an image from the working tree, labelled with its commit.
# Usage: containers/build.sh cpu|cpu-docker|cuda|rocm [OPTION OF apptainer build...]
#   as in: containers/build.sh cpu --build-arg MPI=mpich
# APPTAINER names the program, where it is not simply "apptainer". Result: mdgan-KIND.sif
set -euo pipefail

cd "$(dirname "$0")/.."
kind=${1:?cpu, cpu-docker, cuda or rocm}
shift
definition=containers/mdgan-$kind.def
[ -f "$definition" ] || { echo "Error: no $definition; use cpu, cpu-docker, cuda or rocm" >&2; exit 2; }
commit=$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
read -r -a apptainer <<<"${APPTAINER:-apptainer}"
# Not under the final name before it is whole.
"${apptainer[@]}" build --force --build-arg GIT_HASH="$commit" "$@" ".mdgan-$kind.sif.partial" "$definition"
mv ".mdgan-$kind.sif.partial" "mdgan-$kind.sif"
ls -lh "mdgan-$kind.sif"
