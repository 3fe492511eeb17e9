#!/bin/bash
# Fetches everything an image build takes from Python indexes into containers/wheels, with this
# machine's pip configuration; the build then needs only the distribution's packages.
# Run with the Python version of the image (3.11 for mdgan-cpu.def).
# Usage: containers/wheels.sh [PYTHON] [TORCH_INDEX]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python3}
index=(${2:+--extra-index-url "$2"})
pins() { "$python" "$here/pins.py" "$here/../pyproject.toml" "$1"; }
fetch() { "$python" -m pip download -q -c "$here/../requirements.lock" --dest "$here/wheels" "${index[@]}" "$@"; }
mapfile -t binary < <(pins binary; pins build)
mapfile -t source < <(pins source)
fetch "${binary[@]}"
fetch --no-deps --no-binary=mpi4py,h5py "${source[@]}"
echo "$(find "$here/wheels" -name '*.whl' -o -name '*.tar.gz' | wc -l) packages in $here/wheels"
