#!/bin/bash
# The image, for real: installs Apptainer where it is missing, builds mdgan-cpu.sif with this
# machine's pip configuration, and runs the tests of tests/containers on it. As root, on Debian 12.
# Usage: tests/containers/build_and_test.sh [PYTHON]     (.venv/bin/python)
set -euo pipefail

cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
tests/containers/install_apptainer.sh
begin=$SECONDS
# The image's Python is Debian's 3.11: wheels can be fetched by the same version only.
if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    containers/wheels.sh "$python" https://download.pytorch.org/whl/cpu
fi
APPTAINER="$python tests/containers/as_container_root.py apptainer" containers/build.sh cpu
echo "image built in $((SECONDS - begin)) s"
MDGAN_TEST_IMAGE=$PWD/mdgan-cpu.sif "$python" -m pytest -m "slow or not slow" tests/containers
