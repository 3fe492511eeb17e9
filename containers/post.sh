#!/bin/bash
# Fills an image: the part of the build that is the same on every base (Debian or Ubuntu).
# Runs inside the image, from %post. Settings come from the definition's build arguments:
#   MPI          openmpi, or mpich where a centre binds its own MPI of the MPICH ABI into the image
#   TORCH_INDEX  extra package index that carries PyTorch for this base; empty: PyPI only
#   GIT_HASH     commit of the source, for labels and provenance
set -euo pipefail

build=/opt/mdgan/build
venv=/opt/mdgan/venv
export DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore

case $MPI in
    openmpi) launcher=openmpi-bin ;;
    mpich) launcher=mpich ;;
    *) echo "post.sh: MPI=$MPI is not known; use openmpi or mpich" >&2; exit 2 ;;
esac

# 1. The distribution's MPI and parallel HDF5, and what compiles against them.
kept=$(apt-mark showmanual)
apt-get update -qq
apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv "$launcher" \
    python3-dev gcc libc6-dev pkg-config "lib$MPI-dev" "libhdf5-$MPI-dev" >/dev/null

# 2. The pinned Python packages: from the folder of wheels alone if it holds any, else the indexes.
python3 -m venv "$venv"
if compgen -G "$build/wheels/*.whl" >/dev/null; then
    from=(--no-index --find-links "$build/wheels")
else
    from=(${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"})
fi
pins() { python3 "$build/containers/pins.py" "$build/pyproject.toml" "$1"; }
install() { "$venv/bin/pip" install -q -c "$build/requirements.lock" "${from[@]}" "$@"; }
mapfile -t binary < <(pins binary)
mapfile -t source < <(pins source)
mapfile -t tools < <(pins build)
install "${tools[@]}" "${binary[@]}"
# mpi4py first: h5py compiles against it. -O1: mpi4py's one large file takes many GB with more.
export CC="mpicc.$MPI" CFLAGS="-O1 -g0" HDF5_MPI=ON HDF5_PKGCONFIG_NAME="hdf5-$MPI"
for package in "${source[@]}"; do
    install --no-build-isolation --no-binary="${package%%=*}" "$package"
done

# 3. The package itself.
install --no-build-isolation --no-deps "$build"
version=$("$venv/bin/python" -c "import mdgan_hpc; print(mdgan_hpc.__version__)")
cat >>"$APPTAINER_LABELS" <<LABELS
org.opencontainers.image.version $version
org.opencontainers.image.revision $GIT_HASH
mdgan.mpi $MPI
mdgan.pins $( (printf '%s\n' "${binary[@]}" "${source[@]}") | sort | tr '\n' ' ')
LABELS
echo "export MDGAN_GIT_HASH=$GIT_HASH" >>"$APPTAINER_ENVIRONMENT"

# 4. Only what runs stays: the compilers go, the libraries that the compiled parts load are kept.
# An image is one file system without layers, so this is as small as a second build stage.
mkdir -p /opt/mdgan/check
cp "$build/containers/check.sh" "$build/jobs/lib/smoke.py" /opt/mdgan/check/
"$venv/bin/pip" uninstall -q -y Cython pkgconfig
mapfile -t libraries < <(find "$venv" \( -path '*/h5py/*.so' -o -path '*/mpi4py/*.so' \) -exec ldd {} + |
    awk '$3 ~ /^\// {print $3}' | sort -u | xargs -n1 realpath | xargs dpkg -S 2>/dev/null |
    cut -d: -f1 | sort -u)
apt-mark auto '.*' >/dev/null
# shellcheck disable=SC2086  # a list of package names
apt-mark manual $kept ca-certificates python3 python3-venv "$launcher" "${libraries[@]}" >/dev/null
apt-get purge -y -qq --auto-remove >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/* "$build" ~root/.cache
