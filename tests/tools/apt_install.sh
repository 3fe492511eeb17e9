#!/bin/bash
# Installs the Debian packages that are missing; asks for new lists only where the old ones fail.
# Usage (as root): apt_install.sh PACKAGE...
set -euo pipefail
dpkg -s "$@" >/dev/null 2>&1 && exit 0
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -o DPkg::Lock::Timeout=300 -qq)
install=("${apt[@]}" install -y --no-install-recommends "$@")
"${install[@]}" >/dev/null 2>&1 || { "${apt[@]}" update && "${install[@]}" >/dev/null; }
