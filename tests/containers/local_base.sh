#!/bin/bash
# A docker base where Docker Hub cannot be reached: Debian by debootstrap, put into a registry that runs
# on this machine alone. As root, on Debian 12. Prints the build arguments that name the base; the
# registry ends with the process PARENT.
# Usage: tests/containers/local_base.sh PARENT FOLDER MIRROR
set -euo pipefail

parent=$1 folder=$2 mirror=$3
"$(dirname "$0")/../tools/apt_install.sh" debootstrap docker-registry skopeo umoci >&2
mkdir -p "$folder"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/registry.yml" <<CONFIG
version: 0.1
storage: {filesystem: {rootdirectory: $folder/registry}}
http: {addr: "127.0.0.1:$port"}
CONFIG
docker-registry serve "$folder/registry.yml" >"$folder/registry.log" 2>&1 &
registry=$!
(tail --pid="$parent" -f /dev/null; kill "$registry") >/dev/null 2>&1 &

debootstrap --variant=minbase --include=ca-certificates bookworm "$folder/root" "$mirror" >&2
tar -C "$folder/root" --exclude='./dev/*' -cf "$folder/root.tar" .
umoci init --layout "$folder/oci" >&2
umoci new --image "$folder/oci:base" >&2
umoci raw add-layer --image "$folder/oci:base" "$folder/root.tar" >&2
skopeo copy -q --dest-tls-verify=false "oci:$folder/oci:base" "docker://127.0.0.1:$port/debian:bookworm" >&2
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://127.0.0.1:$port/debian:bookworm")
rm -rf "$folder/root" "$folder/root.tar" "$folder/oci"
echo "--no-https --build-arg BASE=127.0.0.1:$port/debian@$digest"
