#!/bin/bash
# Apptainer on Debian 12, for the tests. Debian carries it in its unstable suite only, built for a
# newer C library: its two binaries get a private copy of that library, the system keeps its own.
# Usage (as root): install_apptainer.sh [SCRATCH_FOLDER]
set -euo pipefail

if command -v apptainer >/dev/null; then apptainer --version; exit 0; fi
[ "$(id -u)" = 0 ] || { echo "install_apptainer.sh: needs root" >&2; exit 2; }
scratch=${1:-${TMPDIR:-/tmp}/apptainer-packages}
libraries=/opt/apptainer-libraries

"$(dirname "$0")/../tools/apt_install.sh" debootstrap patchelf squashfs-tools squashfuse fuse2fs \
    fuse-overlayfs fakeroot uidmap e2fsprogs libcap2-bin

# An apt of its own, so that the machine's sources and lists stay as they are.
mkdir -p "$scratch"/{lists/partial,cache/archives/partial,packages,unpacked}
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} sid main" >"$scratch/sources.list"
unstable=(apt-get -qq -o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root)
"${unstable[@]}" update
(cd "$scratch/packages" && "${unstable[@]}" download apptainer libc6 libseccomp2 libsqlite3-0)

dpkg -x "$scratch"/packages/apptainer_*.deb /
mkdir -p "$libraries"
for package in libc6 libseccomp2 libsqlite3-0; do
    dpkg -x "$scratch/packages/${package}"_*.deb "$scratch/unpacked"
done
find "$scratch/unpacked" -name '*.so*' \( -type f -o -type l \) -not -path '*/gconv/*' \
    -not -path '*/lib64/*' -exec cp -a -t "$libraries" {} +
for binary in /usr/bin/apptainer /usr/lib/*/apptainer/bin/starter; do
    patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath \
        --set-rpath "$libraries" "$binary"
done

# A virtual machine's root may lack single capabilities (CAP_SYS_RESOURCE, say), and Apptainer as
# root asks for all. Give root's containers those that this root has.
sed -i 's/^root default capabilities = .*/root default capabilities = file/' /etc/apptainer/apptainer.conf
held=$(capsh --decode="$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)" | cut -d= -f2 | tr '[:lower:]' '[:upper:]')
apptainer -s capability add --user root "$held" 2>/dev/null
apptainer --version
