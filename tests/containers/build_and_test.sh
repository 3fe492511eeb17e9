#!/bin/bash
# The image, for real: installs Apptainer and Slurm where they are missing, builds mdgan-cpu.sif or
# mdgan-cpu-docker.sif with this machine's pip configuration, and runs the tests of tests/containers on it.
# As root, on Debian 12.
# Usage: tests/containers/build_and_test.sh [cpu|cpu-docker] [OPTION OF apptainer build...]
set -euo pipefail

cd "$(dirname "$0")/../.."
kind=cpu
case ${1:-} in cpu | cpu-docker) kind=$1; shift ;; esac
python=.venv/bin/python
tests/containers/install_apptainer.sh
tests/cluster/install.sh
begin=$SECONDS
answers() { "$python" -c 'import sys, urllib.request as web; web.urlopen(sys.argv[1], timeout=20)' "$1" 2>/dev/null; }
# The image's Python is Debian's 3.11: wheels can be fetched by the same version only.
if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    index=https://download.pytorch.org/whl/cpu
    answers $index || index=""
    containers/wheels.sh "$python" $index
fi
# Where Debian's archive of one day, or Docker Hub, cannot be reached: the mirror that this machine uses,
# as it is today.
mirror=$(sed -n 's/^ *MIRROR=//p' containers/mdgan-cpu.def)
here=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -1)
base=()
if [ "$kind" = cpu ]; then
    answers "$mirror/dists/bookworm/Release" || { mirror=$here; echo "the snapshot does not answer: base from $here"; }
    base=(--build-arg MIRROR="$mirror")
elif ! answers "https://auth.docker.io/token?service=registry.docker.io"; then
    echo "Docker Hub does not answer: base from $here, by a registry on this machine"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    read -r -a base < <(tests/containers/local_base.sh $$ "$scratch" "$here")
fi
APPTAINER="$python tests/containers/as_container_root.py apptainer" \
    containers/build.sh "$kind" "${base[@]}" "$@"
echo "image built in $((SECONDS - begin)) s"
chmod 666 /dev/fuse # as udev does; an ordinary user mounts the image through it
export MDGAN_TEST_IMAGE=$PWD/mdgan-$kind.sif CI=true # nothing is skipped for want of a program
"$python" -m pytest -m "slow or not slow" tests/containers
